"""What a scenario reads once and takes for a fact, on a pretended store that is slow to tell it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from emporium.client.cluster import DrillError, Replica
from emporium.client.report import PASSED
from emporium.client.scenarios import blows, operations, runner, shopping
from tests.scenarios.fake_store import FakeCluster, FakeStore, Process, Reply
from tests.scenarios.healing_cluster import HealingCluster
from tests.scenarios.test_log_marks import stage_of
from tests.scenarios.test_scenarios import QUICK

LATE = 10
"""Readings."""


class Forgetful(FakeCluster):
    """A replica's notes can be read every other time."""

    def notes(self, name: str) -> dict[str, int]:
        """Something, or nothing."""
        reads = self.__dict__.setdefault("reads", dict.fromkeys(self.store.processes, 0))
        reads[name] += 1
        return super().notes(name) if reads[name] % 2 else {}


class Busy(FakeCluster):
    """Nobody answers in time but at the first look."""

    def replicas(self, role: str = "") -> list[Replica]:
        """Every process, silent from the second look on."""
        found = super().replicas(role)
        looks = self.__dict__.setdefault("looks", [])
        looks.append(role)
        return found if len(looks) == 1 else [dataclasses.replace(r, answers=False) for r in found]


def refuse(monkeypatch: pytest.MonkeyPatch, kind: str, times: int = 1) -> list[str]:
    """The store answers 503 to the first requests whose method and target begin so; gives all of
    the kind that were made."""
    answer = FakeStore.answer
    asked: list[str] = []

    def refuses(store: FakeStore, name: str, method: str, target: str, *rest: Any) -> Reply:
        if not f"{method} {target}".startswith(kind):
            return answer(store, name, method, target, *rest)
        asked.append(target)
        refused = len(asked) <= times
        return (503, {}, {}) if refused else answer(store, name, method, target, *rest)

    monkeypatch.setattr(FakeStore, "answer", refuses)
    return asked


def test_a_replica_is_told_as_it_was_when_it_was_healthy(tmp_path: Path) -> None:
    """It isn't asked once more: it may be too busy to answer then."""
    with Busy.open() as cluster:
        stage = stage_of(cluster, tmp_path)
        (after,) = stage.start_again("catalog-1")
    assert (after.name, after.healthy) == ("catalog-1", True)


def test_pods_that_are_not_listed_once_are_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A silent API server says nothing about them."""
    asked: list[str] = []
    pods = HealingCluster.pods

    def silent_once(cluster: HealingCluster, role: str) -> dict[str, bool]:
        asked.append(role)
        if len(asked) == 1:
            raise DrillError("the pods can't be listed")
        return pods(cluster, role)

    monkeypatch.setattr(HealingCluster, "pods", silent_once)
    with HealingCluster.open() as cluster:
        assert operations._scale(stage_of(cluster, tmp_path), "catalog", 5) == 5
    assert len(asked) == 2


def test_notes_that_cannot_be_read_are_no_notes(tmp_path: Path) -> None:
    """What was refused before counts as before, and what was seen once was seen."""
    with Forgetful.open() as cluster:
        cluster.store.processes["catalog-1"].notes["old_epoch_refused"] = 5
        options = dataclasses.replace(QUICK, settle_s=20)
        (result,) = runner.run(cluster, ["12"], tmp_path, lambda _line: None, options).results
    (found,) = [each for each in result.evidence if "zombie" in each.name]
    assert (found.passed, found.detail) == (True, "1 refused")


def test_notes_that_come_late_are_old_ones(tmp_path: Path) -> None:
    """Of who hasn't told its notes before the pause only what it refuses later counts."""

    class Silent(FakeCluster):
        """Notes of catalog-1 can't be read before there was a second reign."""

        def notes(self, name: str) -> dict[str, int]:
            late = name == "catalog-1" and self.store.epochs["catalog"] == 1
            return {} if late else super().notes(name)

    with Silent.open() as cluster:
        cluster.store.processes["catalog-1"].notes["old_epoch_refused"] = 5
        (result,) = runner.run(cluster, ["12"], tmp_path, lambda _line: None, QUICK).results
    (found,) = [each for each in result.evidence if "zombie" in each.name]
    assert found.detail in ("0 refused", "1 refused"), found


def test_reads_are_counted_while_nobody_comes_or_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replica that comes back among them gets some, and was dead when they began."""
    search = FakeStore.search
    reads: list[str] = []

    def comes_back(store: FakeStore, topic: str) -> Reply:
        reads.append(topic)
        if len(reads) == shopping.EVEN_READS // 2:
            store.processes["catalog-0"].paused = False
        return search(store, topic)

    monkeypatch.setattr(FakeStore, "search", comes_back)
    with FakeCluster.open() as cluster:
        cluster.pause("catalog-0")
        stage = stage_of(cluster, tmp_path)
        shopping.check_even_load(stage)
    (found,) = stage.result.checks
    assert found.passed, found.detail
    assert len(reads) == 2 * shopping.EVEN_READS


def test_a_replica_that_cannot_say_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two reigns it refuses; a stock that it has said counts."""
    asked = refuse(monkeypatch, "GET /query_by_item", times=2)
    with FakeCluster.open() as cluster:
        stage = stage_of(cluster, tmp_path)
        store = stage.store()
        for stock in (shopping.STOCKS["1"], 99):
            shopping.check_stock_everywhere(stage, store, "1", stock)
        store.close()
    right, wrong = stage.result.checks
    assert (right.passed, wrong.passed) == (True, False), right.detail
    assert len(asked) == 2 + 3 + 3


def test_a_fresh_store_may_be_between_two_reigns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What makes its copies go is done again."""
    changes = refuse(monkeypatch, "PATCH ")
    with FakeCluster.open() as cluster:
        options = dataclasses.replace(QUICK, settle_s=20)
        (result,) = runner.run(cluster, ["1"], tmp_path, lambda _line: None, options).results
    assert result.verdict == PASSED, result
    assert len(changes) == 1 + len(shopping.STOCKS)


def test_a_replica_that_is_too_busy_is_shown_the_token_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it says of the token counts, not that it said nothing."""
    refuse(monkeypatch, "GET /v1/digest")
    with FakeCluster.open() as cluster:
        cluster.store.token = "new"
        stage = stage_of(cluster, tmp_path)
        operations._tell_answers(stage, "the old one is refused", "old", 401)
        operations._tell_answers(stage, "the new one is refused", "new", 401)
    told = [(found.name, found.passed) for found in stage.result.evidence]
    assert told == [("the old one is refused", True), ("the new one is refused", False)]


class LateStatus(HealingCluster):
    """A process that serves is still told of as the one before it, for a while."""

    def _replica(self, process: Process) -> Replica:
        found = super()._replica(process)
        told = self.__dict__.setdefault("told", {})
        seen = self.__dict__.setdefault("seen", {})
        seen[found.process] = seen.get(found.process, 0) + found.healthy
        if found.healthy and seen[found.process] > LATE:
            told[found.name] = found.process
        return dataclasses.replace(found, process=told.get(found.name, found.process))


def test_another_process_may_be_told_late(tmp_path: Path) -> None:
    """It is waited for: the one that was killed doesn't serve."""
    with LateStatus.open() as cluster:
        stage = stage_of(cluster, tmp_path)
        stage.cluster.wait_until(lambda: [stage.wait_healthy() for _ in range(LATE + 1)], 5, "told")
        proof = ("other containers", lambda before, now: before.process != now.process)
        blows.repeat(stage, cluster.kill, proof=proof, times=1)
    (found, _) = stage.result.evidence
    assert found.passed, found.detail
