"""The background load: what it counts as a time without a purchase."""

from __future__ import annotations

import types
from typing import Any

import pytest

from emporium.client import workload
from emporium.client.history import Recorder
from emporium.client.store import Bought, Store
from emporium.client.workload import Load, LoadSettings
from tests.waiting import eventually


def test_what_the_last_calls_take_is_no_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    """One purchase still waits for its answer when the load ends: nobody else tries by then."""
    clock, calls = [0.0], [0]

    def buy(_store: Store, item: str, **_: Any) -> Bought:
        calls[0] += 1
        if calls[0] > 1:  # the second purchase is answered long after the end
            assert load._stop.wait(10)
            clock[0] += 60.0
        clock[0] += 1.0
        return Bought("k" * 16, calls[0], item, 1, "buy", repeated=False)

    monkeypatch.setattr(Store, "buy", buy)
    monkeypatch.setattr(workload, "time", types.SimpleNamespace(monotonic=lambda: clock[0]))
    load = Load(["http://frontend"], Recorder(), LoadSettings(buyers=1, readers=0, buy_pause_s=0))
    load.start()
    eventually(lambda: calls[0] == 2, "the second purchase is under way")
    load.stop()
    counts = load.counts()
    assert counts.acknowledged == 2
    assert counts.longest_gap_s == 1.0
