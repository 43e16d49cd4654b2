"""What a scenario reads once and takes for a fact, on a pretended store that is slow to tell it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from emporium.client.cluster import DrillError, Replica
from emporium.client.scenarios import operations, runner
from tests.scenarios.fake_store import FakeCluster
from tests.scenarios.healing_cluster import HealingCluster
from tests.scenarios.test_log_marks import stage_of
from tests.scenarios.test_scenarios import QUICK


class Forgetful(FakeCluster):
    """A replica's notes can be read every other time."""

    def notes(self, name: str) -> dict[str, int]:
        """Something, or nothing."""
        reads = self.__dict__.setdefault("reads", dict.fromkeys(self.store.processes, 0))
        reads[name] += 1
        return {"reign_heard": 1, **super().notes(name)} if reads[name] % 2 else {}


class Busy(FakeCluster):
    """Nobody answers in time but at the first look."""

    def replicas(self, role: str = "") -> list[Replica]:
        """Every process, silent from the second look on."""
        found = super().replicas(role)
        looks = self.__dict__.setdefault("looks", [])
        looks.append(role)
        return found if len(looks) == 1 else [dataclasses.replace(r, answers=False) for r in found]


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
        (result,) = runner.run(cluster, ["12"], tmp_path, lambda _line: None, QUICK).results
    (found,) = [each for each in result.evidence if "zombie" in each.name]
    assert (found.passed, found.detail) == (True, "1 refused")
