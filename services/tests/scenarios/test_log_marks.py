"""Marks in operation logs that are read late, on a pretended store."""

from __future__ import annotations

import dataclasses
import threading
from collections import Counter
from pathlib import Path

import pytest

from emporium.client.cluster import DeadlinePassedError
from emporium.client.report import PASSED, ScenarioResult
from emporium.client.scenarios import Options, crashes, log_marks, runner
from emporium.client.scenarios.stage import Stage
from emporium.client.store import Bought
from tests.scenarios.fake_store import FakeCluster
from tests.scenarios.healing_cluster import HealingCluster
from tests.scenarios.test_scenarios import QUICK

UPDATE = "update,4,na,-1"
PATIENT = dataclasses.replace(QUICK, settle_s=20)  # where lines come late, and do come


class LateLogs(FakeCluster):
    """Each log is shown as it was three readings ago: nobody has forced it out by then."""

    readings = 3

    def logs(self, name: str) -> list[str]:
        """What was written long enough ago."""
        seen = self.__dict__.setdefault("seen", {}).setdefault(name, [])
        seen.append(super().logs(name))
        return list(seen[-1 - self.readings]) if len(seen) > self.readings else []


class LostLogs(FakeCluster):
    """Every other reading of a log gives nothing: the API server was too busy."""

    def logs(self, name: str) -> list[str]:
        """All, or nothing."""
        readings = self.__dict__.setdefault("readings", dict.fromkeys(self.store.processes, 0))
        readings[name] += 1
        return super().logs(name) if readings[name] % 2 else []


class DoubleLogs(FakeCluster):
    """Every update is logged twice."""

    def logs(self, name: str) -> list[str]:
        """The updates once more."""
        return [one for line in super().logs(name) for one in [line] * (1 + line.startswith("upd"))]


def stage_of(cluster: FakeCluster, output: Path, options: Options = PATIENT) -> Stage:
    """A scenario's view of the store."""
    result = ScenarioResult(5, "primary-crash", "")
    return Stage(cluster, options, result, output, lambda _line: None)


def test_a_mark_comes_after_all_that_was_done(tmp_path: Path) -> None:
    """Lines that are still on their way belong before it."""
    with LateLogs.open() as cluster:
        stage = stage_of(cluster, tmp_path)
        store = stage.store()
        bought = [store.buy_book("4") for _ in range(3)]
        store.close()
        assert all(isinstance(each, Bought) for each in bought)
        ends = log_marks.mark(stage, stage.replicas("catalog"))
        assert len(ends) == 3
        for name, end in ends.items():
            assert Counter(FakeCluster.logs(cluster, name)[:end])[UPDATE] == 3
            assert Counter(FakeCluster.logs(cluster, name)[end:])[UPDATE] == 0


def test_a_log_that_says_nothing_has_no_mark(tmp_path: Path) -> None:
    """The deadline passes."""
    with LateLogs.open() as cluster:
        assert isinstance(cluster, LateLogs)
        cluster.readings = 10_000
        stage = stage_of(cluster, tmp_path, QUICK)
        with pytest.raises(DeadlinePassedError, match="catalog-0 has logged a read"):
            log_marks.mark(stage, stage.replicas("catalog"))


def test_scenarios_pass_on_late_logs(tmp_path: Path) -> None:
    """Golden logs and counted updates are of the scenario itself, after others of its kind."""
    with LateLogs.open() as cluster:
        report = runner.run(cluster, ["1-8"], tmp_path, lambda _line: None, PATIENT)
    assert {result.verdict for result in report.results} == {PASSED}, report.to_text()


def test_a_log_that_cannot_be_read_once_says_nothing_of_the_updates(tmp_path: Path) -> None:
    """They are counted in one that can be read."""
    with LostLogs.open() as cluster:
        (result,) = runner.run(cluster, ["7"], tmp_path, lambda _line: None, PATIENT).results
    (found,) = [each for each in result.checks if "logs each update" in each.name]
    assert found.passed, result


def test_a_crash_hits_a_whole_store(tmp_path: Path) -> None:
    """A pod that still comes back from the scenario before is no reason to kill another one."""
    with HealingCluster.open() as cluster:
        assert isinstance(cluster, HealingCluster)
        away: list[list[str]] = []
        kill = cluster.kill

        def noted(name: str, signal: int = 9) -> None:
            group = [p for p in cluster.store.processes.values() if p.role == "catalog"]
            away.append([p.name for p in group if not cluster.store.able(p.name)])
            kill(name, signal)

        cluster.kill = noted  # type: ignore[method-assign]
        stage = stage_of(cluster, tmp_path)
        cluster.pause("catalog-1")  # it runs, and doesn't answer yet
        back = threading.Timer(0.5, cluster.resume, ("catalog-1",))
        back.start()
        crashes.primary_recovers(stage)
        back.join()
    assert away == [[]]


def test_an_update_that_is_logged_twice_is_seen(tmp_path: Path) -> None:
    """One too many fails as one too few does."""
    with DoubleLogs.open() as cluster:
        (result,) = runner.run(cluster, ["5"], tmp_path, lambda _line: None, QUICK).results
    failed = [found.name for found in result.checks if not found.passed]
    assert failed == ["every living replica logs each update once"], result
