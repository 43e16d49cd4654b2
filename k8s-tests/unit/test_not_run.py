"""`not_run.toml` leaves out exactly what a kind of cluster can't show, and nothing by mistake."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from emporium.client import hands
from emporium.client.kubernetes_cluster import KubernetesCluster
from emporium.client.scenarios.stage import NotPossibleError
from emporium_e2e import cluster, session
from emporium_e2e.cluster import CONTEXT

THREADS = {"race", "retry-storm"}
"""They begin with threads of their own, and need nothing."""


class ReachedError(Exception):
    """A scenario has everything that it needs, and begins."""


class Stage:
    """Says what a scenario lacks; ends it when that is nothing."""

    def __init__(self, drills: frozenset[str]) -> None:
        self._drills = drills

    def needs(self, *drills: str) -> None:
        if set(drills) - self._drills:
            raise NotPossibleError

    def __getattr__(self, name: str) -> Any:
        raise ReachedError(name)


def drills(verbs: frozenset[str], folder: Path) -> frozenset[str]:
    """What the job can do with such hands."""
    (folder / "token").write_text("t", "utf-8")
    nothing: Any = SimpleNamespace(operator_token_file=str(folder / "token"))
    return KubernetesCluster(nothing, nothing, "shop", hands.Mailbox(folder), verbs).drills()


@pytest.mark.parametrize("kind", cluster.KINDS)
def test_what_a_kind_of_cluster_leaves_out_is_what_it_cant_do(kind: str, tmp_path: Path) -> None:
    """Every scenario that lacks a drill is listed with its reason, and no other is."""
    can = drills(cluster.KINDS[kind].verbs, tmp_path)
    stage: Any = Stage(can)
    lacks = set()
    for name, scenario in session.SCENARIOS.items():
        if name in THREADS:
            continue
        try:
            scenario.run(stage)
        except NotPossibleError:
            lacks.add(name)
        except ReachedError:
            pass
    if kind == CONTEXT:
        lacks.add("next-version")  # its images can't be put there
    assert set(session.not_run().of(kind)) == lacks


def test_what_ci_leaves_out_is_run_by_the_full_set() -> None:
    """By its number: 31 and above."""
    left_out = session.not_run().of("ci")
    assert {name for name in session.SCENARIOS if name in left_out} == {
        name for name, scenario in session.SCENARIOS.items() if scenario.number > 30
    }


def test_the_readme_lists_every_scenario() -> None:
    """By number and name, in their order."""
    text = (session.NOT_RUN.parent / "README.md").read_text("utf-8")
    rows = re.findall(r"(?m)^\| (\d+) (\S+) \|", text)
    assert rows == [(str(s.number), s.name) for s in session.SCENARIOS.values()]
