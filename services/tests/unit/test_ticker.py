"""A thread that does one thing again and again."""

from __future__ import annotations

import threading

from emporium.runtime.ticker import Ticker
from tests.waiting import eventually


def test_it_calls_at_once_when_woken_and_no_more_when_stopped() -> None:
    """Whatever wait the action asked for."""
    calls: list[int] = []

    def act() -> float:
        calls.append(1)
        return 60_000.0

    ticker = Ticker("test", act)
    ticker.start()
    eventually(lambda: len(calls) == 1, "the first call")
    ticker.wake()
    eventually(lambda: len(calls) == 2, "the call after waking")
    ticker.stop()
    assert ticker.join(5)
    assert len(calls) == 2


def test_its_age_grows_while_an_action_hangs() -> None:
    """Liveness sees it."""
    leave = threading.Event()
    ticker = Ticker("test", lambda: 60_000.0 if leave.wait(10) else 0.0)
    ticker.start()
    eventually(lambda: ticker.age_ms() > 30, "the age grows")
    leave.set()
    ticker.stop()
    assert ticker.join(5)
