"""`bench` and `evaluate` against real processes, with numbers too small to mean anything: that they
run, count and write. What they measure is never checked here (a time is no verdict)."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from emporium.local import bench, evaluate, failover, rates, sides
from emporium.local.rates import Effort
from emporium.local.screen import Screen

pytestmark = pytest.mark.slow


@pytest.fixture
def screen() -> Screen:
    """What is printed, to look at."""
    return Screen(io.StringIO(), colour=False)


@pytest.fixture
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stores of one replica a group: half the processes to start."""
    whole = sides.store
    monkeypatch.setattr(sides, "store", lambda _replicas, mode: whole(1, mode))


def printed(screen: Screen) -> str:
    """What is on it."""
    assert isinstance(screen.stream, io.StringIO)
    return screen.stream.getvalue()


@pytest.mark.usefixtures("_small")
def test_bench_compares_a_store_with_a_bare_endpoint(
    screen: Screen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One short round of the uncached lookup: both sides answer everything."""
    monkeypatch.setattr(rates, "QUICK", Effort(1, 0.3))
    path = tmp_path / "bench.json"
    assert bench.main(["uncached", "--quick", "--json", str(path)], screen) == 0
    found = json.loads(path.read_text("utf-8"))
    assert [each["clients"] for each in found["rates"]] == list(rates.CLIENTS)
    assert all(each["failed"] == 0 and each["ratio"]["median"] > 0 for each in found["rates"])
    assert "uncached lookup: store, cache mode off" in printed(screen)


def test_bench_measures_the_gap_that_a_kill_leaves() -> None:
    """One kill -9 of the catalog's primary."""
    (outcome,) = failover.run(failover.DRILLS[:1], 1, print)
    (blow,) = outcome.blows
    assert blow.name.startswith("catalog-")
    assert 0 < blow.gap_s < failover.TAKEOVER_S


@pytest.mark.usefixtures("_small")
def test_evaluate_writes_its_document(screen: Screen, tmp_path: Path) -> None:
    """Eight requests of each kind, by one and by two clients."""
    path = tmp_path / "docs" / "EVALUATION.md"
    arguments = ["--clients", "1,2", "--requests", "8", "--output", str(path), "--no-plots"]
    assert evaluate.main([*arguments, "--json", str(tmp_path / "figures.json")], screen) == 0
    figures = json.loads((tmp_path / "figures.json").read_text("utf-8"))
    assert {cell["mode"] for cell in figures["cells"]} == {"off", "server", "frontend"}
    assert all(cell["failed"] == 0 for cell in figures["cells"])
    tiers = {cell["operation"]: set(cell["tiers_ms"]) for cell in figures["cells"][:9]}
    assert {"frontend", "order"} <= tiers["buy"] <= {"frontend", "order", "catalog"}
    lives = {life["mode"]: life for life in figures["lives"]}
    assert lives["off"]["before_copies"] == 0
    assert lives["server"]["after_copies"] == lives["frontend"]["after_copies"] == 0
    assert "## Where the time goes" in path.read_text("utf-8")
    assert "the life of a copy" in printed(screen)
