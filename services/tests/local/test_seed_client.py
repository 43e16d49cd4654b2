"""The first seed's client program, as a stand-in, against `emporium up --faults`.

Its requests are those of the seed's client logs, tests 1 to 8 in that order, by plain GETs
without a request id and without trying again. It waits three seconds after a `shutdown`, as the
seed's does, and not at all after a `recover`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from emporium.editions import bookstore
from emporium.local.folder import DataFolder
from emporium.local.launcher import Launcher
from tests.local.up_process import Up, config_text

COUNTS = {"frontend": 2, "cache": 1, "catalog": 3, "order": 3}
AFTER_SHUTDOWN_S = 3.0
TIMEOUT_S = 30.0
TOPICS = ("distributed%20systems", "graduate%20school")

pytestmark = pytest.mark.slow


class SeedClient:
    """Knows what the seed's config file names: one frontend, two catalog servers."""

    def __init__(self, frontend: str, catalog: list[str]) -> None:
        """The addresses, as ip:port."""
        self.frontend = frontend
        self.catalog = catalog

    def get(self, address: str, path: str) -> Any:
        """One request; its result."""
        answer = requests.get(f"http://{address}/{path}", timeout=TIMEOUT_S)
        assert answer.status_code == 200, answer.text
        return answer.json()["result"]

    def buy(self, item: int) -> Any:
        """One buy through the frontend."""
        return self.get(self.frontend, f"buy?item_number={item}")

    def shutdown(self, server: int) -> None:
        """Take a catalog server down, then wait as the seed's program does."""
        assert self.get(self.catalog[server], "shutdown") == "Succeed"
        threading.Event().wait(AFTER_SHUTDOWN_S)

    def recover(self, server: int) -> None:
        """Bring it back."""
        assert self.get(self.catalog[server], "recover") == "Succeed"


@pytest.fixture
def client(tmp_path: Path) -> Iterator[SeedClient]:
    """A client of a fresh store that was started with --faults."""
    folder = DataFolder(tmp_path / "data")
    config = tmp_path / "config"
    config.write_text(config_text(COUNTS))
    up = Up("--faults", "--data", str(folder.root), "--config", str(config))
    try:
        up.ready()
        plan = Launcher.running(folder).plan
        yield SeedClient(
            plan.place("frontend-0").address, [place.address for place in plan.of("catalog")[:2]]
        )
    finally:
        left = Launcher.recorded(folder)
        up.close(list(left.keys().values()) if left else [])


def test_the_seeds_client_runs_its_complete_list(client: SeedClient) -> None:
    """Tests 1 to 8 of the first seed, request by request."""
    books = bookstore.items()
    for topic in TOPICS * 2:
        found = client.get(client.frontend, f"search?topic={topic}")
        wanted = [
            {"item_number": book.item, "title": book.title}
            for book in books
            if book.topic == topic.replace("%20", " ")
        ]
        assert found == wanted
    for book in books:
        wanted_book = {
            "item_number": book.item,
            "stock": book.stock,
            "cost": str(book.price // 100),
            "type": book.topic,
            "title": book.title,
        }
        for _ in range(2):
            assert client.get(client.frontend, f"lookup?item_number={book.item}") == wanted_book
    assert [client.buy(1) for _ in range(4)] == ["Success"] * 3 + ["Failed"]
    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(client.buy, [2] * 4)) == ["Failed"] + ["Success"] * 3
    for server, left in ((0, 3), (1, 0)):
        client.shutdown(server)
        assert [client.buy(4) for _ in range(3)] == ["Success"] * 3
        client.recover(server)
        for address in reversed(client.catalog):
            assert client.get(address, "query_by_item?item_number=4") == {
                "item_number": "4",
                "stock": left,
                "cost": "15",
                "type": "graduate school",
                "title": "Cooking for the Impatient Graduate Student",
            }
