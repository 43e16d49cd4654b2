"""The first seed's client program against `emporium up --faults --like 000`.

The program isn't shipped; this stand-in sends the requests of its logs (000, tests 1-8), in their
order, as plainly as it does: no request id, no second try, 3 s of patience after `shutdown` and
none after `recover`. The answers must be those of the seed's logs.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests

from emporium.local.layout import HEALTH_OFFSET, INTERNAL_OFFSET
from emporium.local.ports import free_base
from tests.waiting import eventually

HOST = "127.0.0.1"
START_S = 90.0
STOP_S = 30.0
SHUTDOWN_PATIENCE_S = 3.0
ANSWER_S = 30.0

BOOKS = {
    "1": ("10", 3, "distributed systems", "How to get a good grade in 677 in 20 minutes a day"),
    "2": ("20", 3, "distributed systems", "RPCs for Dummies"),
    "3": ("5", 3, "graduate school", "Xen and the Art of Surviving Graduate School"),
    "4": ("15", 6, "graduate school", "Cooking for the Impatient Graduate Student"),
    "5": ("15", 3, "graduate school", "How to finish Project 3 on time"),
    "6": ("15", 3, "graduate school", "Why theory classes are so hard"),
    "7": ("15", 3, "travel", "Spring in the Pioneer Valley"),
}
SUCCESS, FAILED, SUCCEED = {"result": "Success"}, {"result": "Failed"}, {"result": "Succeed"}


def book(item: str, stock: int) -> dict[str, Any]:
    """What a lookup of a book answers."""
    cost, _, topic, title = BOOKS[item]
    told = {"cost": cost, "item_number": item, "stock": stock, "title": title, "type": topic}
    return {"result": told}


def topic_list(topic: str) -> dict[str, Any]:
    """What a search answers."""
    found = [(item, told[3]) for item, told in BOOKS.items() if told[2] == topic]
    return {"result": [{"item_number": item, "title": title} for item, title in found]}


@dataclass
class SeedClient:
    """Sends one request after the other and keeps what was answered otherwise than in the seed."""

    base: int
    wrong: list[str] = field(default_factory=list)

    def ask(self, offset: int, path: str) -> Any:
        """One request to the process at base + offset (8000 + offset in the seed's logs)."""
        url = f"http://{HOST}:{self.base + offset}{path}"
        return requests.get(url, timeout=ANSWER_S).json()

    def expect(self, answer: Any, offset: int, path: str) -> None:
        """One request and the seed's answer."""
        found = self.ask(offset, path)
        if found != answer:
            self.wrong.append(f"{8000 + offset}{path}: {found}, in the seed's log {answer}")

    def buys(self, item: str, *answers: dict[str, str]) -> None:
        """Buys, one after the other."""
        for answer in answers:
            self.expect(answer, 0, f"/buy?item_number={item}")

    def race(self, item: str) -> list[Any]:
        """Four clients buy the same book at the same time: their answers, sorted."""
        gate, answers = threading.Barrier(4), list[Any]()

        def client() -> None:
            gate.wait(10)
            answers.append(self.ask(0, f"/buy?item_number={item}"))

        threads = [threading.Thread(target=client) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(ANSWER_S)
        return sorted(answers, key=str)

    def crash_and_recovery(self, crashed: int, stock: int) -> None:
        """Tests 5 and 6 (the primary), 7 and 8 (the backup)."""
        self.expect(SUCCEED, crashed, "/shutdown")
        threading.Event().wait(SHUTDOWN_PATIENCE_S)  # the seed's client sleeps as long
        self.buys("4", SUCCESS, SUCCESS, SUCCESS)
        self.expect(SUCCEED, crashed, "/recover")
        self.expect(book("4", stock), 2, "/query_by_item?item_number=4")
        self.expect(book("4", stock), 1, "/query_by_item?item_number=4")


@pytest.fixture
def base(tmp_path: Path) -> Iterator[int]:
    """A store as 000's, on free ports; gives what stands for 8000 in the seed's logs."""
    uses = (0, INTERNAL_OFFSET, HEALTH_OFFSET)
    offsets = [use + offset for use in uses for offset in range(20)]
    base = free_base(HOST, offsets)
    roles = ("frontend", "catalog", "catalog", "order", "order", "cache")
    lines = [f"{role},{HOST}:{base + offset}" for offset, role in enumerate(roles)]
    config = tmp_path / "config"
    config.write_text("\n".join(lines) + "\n", "utf-8")
    command = [sys.executable, "-m", "emporium", "up", "--faults", "--like", "000"]
    command += ["--config", str(config), "--data", str(tmp_path / "data")]
    log = tmp_path / "up.log"
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env=dict(os.environ))
    try:
        text = ""

        def started() -> bool:
            nonlocal text
            text = log.read_text("utf-8")
            return "The store answers" in text or process.poll() is not None

        eventually(started, "the store starts", START_S, 0.1)
        assert process.poll() is None, text
        yield base
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def test_the_seeds_client_gets_the_seeds_answers(base: int) -> None:
    """The complete request list of 000's client logs is answered as the seed's logs show."""
    client = SeedClient(base)
    for _ in range(2):
        for topic in ("distributed systems", "graduate school"):
            client.expect(topic_list(topic), 0, f"/search?topic={quote(topic)}")
    for item, (_, stock, _, _) in BOOKS.items():
        for _ in range(2):
            client.expect(book(item, stock), 0, f"/lookup?item_number={item}")
    client.buys("1", SUCCESS, SUCCESS, SUCCESS, FAILED)
    assert client.race("2") == [FAILED, SUCCESS, SUCCESS, SUCCESS]
    client.crash_and_recovery(1, stock=3)
    client.crash_and_recovery(2, stock=0)
    assert not client.wrong, "\n".join(client.wrong)
