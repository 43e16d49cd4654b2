"""`emporium demo`: ends by itself without a terminal, with a verdict, and leaves nothing behind."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from emporium.local import demo
from emporium.local.cluster import LocalCluster
from emporium.local.launcher import Launcher
from emporium.local.readiness import wait_until_answers
from emporium.local.screen import Screen
from tests.local.up_process import SERVICES
from tests.waiting import eventually

LONGEST_S = 180.0
START_S = 60.0
MARK = "DEMO_UNDER_TEST"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc"),
]


def marked(mark: str) -> list[int]:
    """The living processes that inherited the mark."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                environment = (folder / "environ").read_bytes()
                state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if f"{MARK}={mark}".encode() in environment.split(b"\0") and state != "Z":
                found.append(int(folder.name))
    return found


@pytest.fixture
def mark() -> Iterator[str]:
    """A mark for the demo's processes; whatever carries it is killed in the end."""
    name = uuid.uuid4().hex
    yield name
    for pid in marked(name):
        os.kill(pid, signal.SIGKILL)


def start(mark: str, output: Path) -> subprocess.Popen[str]:
    """Start the demo without a terminal."""
    return subprocess.Popen(
        [sys.executable, "-m", "emporium", "demo", "--output", str(output)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONPATH": str(SERVICES), MARK: mark},
        start_new_session=True,
    )


def test_demo(mark: str, tmp_path: Path) -> None:
    """The verdict is good, and it is the exit code."""
    with start(mark, tmp_path) as process:
        text, _ = process.communicate(timeout=LONGEST_S)
    assert process.returncode == 0, text
    assert "kill -9 catalog-0" in text
    assert "without a successful buy for" in text
    assert "GOOD: no acknowledged purchase was lost" in text
    assert "\x1b" not in text
    assert marked(mark) == []
    report = json.loads((tmp_path / "demo" / "demo.json").read_text())
    assert report["passed"] is True


def test_another_one_may_reign_at_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Who is killed is who gets its reign back: the smallest id, once that reigns."""
    smallest = "catalog-0"
    start_all = Launcher.start_all

    def start_all_and_one_again(launcher: Launcher) -> None:
        start_all(launcher)
        replicas = LocalCluster(launcher).replicas
        wait_until_answers(launcher, START_S)
        launcher.kill(smallest)
        eventually(
            lambda: any(each.reigning and each.name != smallest for each in replicas("catalog")),
            "another one reigns",
            timeout_s=START_S,
        )
        launcher.start(smallest)

    monkeypatch.setattr(Launcher, "start_all", start_all_and_one_again)
    told = io.StringIO()
    assert demo.run(Screen(told, colour=False), tmp_path) == 0, told.getvalue()
    assert f"kill -9 {smallest}" in told.getvalue()
    assert f"{smallest} was given its reign back" in told.getvalue()


def test_an_interrupted_demo_leaves_nothing(mark: str, tmp_path: Path) -> None:
    """SIGTERM in the middle of the start stops every process that was started."""
    with start(mark, tmp_path) as process:
        eventually(lambda: len(marked(mark)) > 5, "its processes start", timeout_s=60.0)
        process.send_signal(signal.SIGTERM)
        text, _ = process.communicate(timeout=60.0)
    assert process.returncode == 130, text
    eventually(lambda: marked(mark) == [], "nothing is left")
