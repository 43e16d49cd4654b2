"""The seeds' tests, a zombie and a short kill loop against real processes on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from emporium.client import kill_loop, scenarios
from emporium.client.items import scenario_items
from emporium.client.scenarios import Options
from emporium.local.cluster import LocalCluster

COUNTS = {"frontend": 2, "catalog": 3, "order": 3}
OPTIONS = Options(purchases=200)


def test_the_seeds_tests_and_a_zombie_pass(tmp_path: Path) -> None:
    """Scenarios 1-8 agree with the golden logs, and a paused primary does no harm."""
    with LocalCluster.fresh(COUNTS, items=scenario_items()) as cluster:
        names = ["1-8", "pause"]
        report = scenarios.run(cluster, names, tmp_path, lambda _line: None, OPTIONS)
    assert report.passed, report.to_text()


@pytest.mark.parametrize("waiting", [True, False])
def test_a_short_kill_loop_passes(tmp_path: Path, *, waiting: bool) -> None:
    """A few faults of random replicas, in both forms of the loop, lose and double nothing."""
    with LocalCluster.fresh(COUNTS, items=scenario_items(), cache_mode="frontend") as cluster:
        report = kill_loop.run(
            cluster, 6, 11, waiting, tmp_path, progress=lambda _line: None, options=OPTIONS
        )
    assert report.passed, report.to_text()
