"""Kubernetes' own scenarios, second part: what is done to nodes, releases and the API server."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

from emporium.client import hands
from emporium.client.cluster import GROUPS, ROLES, Cluster, DrillError, Replica
from emporium.client.scenarios.blows import Bar, repeat
from emporium.client.scenarios.stage import NotPossibleError, Stage

CUT_BAR = Bar(3.0, 8.0)
CHANGED = "requests.timeoutMs=4800"
"""A value that every role reads, so that every pod is replaced."""
OUTAGE_S = 20
VOTERS = 3
CHECK_S = 0.2


def node_cut(stage: Stage) -> None:
    """Cut the node of a reigning pod off, and heal it: the majority goes on without it."""
    stage.needs(hands.CUT_NODE, hands.HEAL_NODE)
    _on_its_node(stage, hands.CUT_NODE, hands.HEAL_NODE, stage.options.repeats, CUT_BAR)


def node_crashed(stage: Stage) -> None:
    """Crash the node of a reigning pod and bring it back: its disks and pods return."""
    stage.needs(hands.CRASH_NODE, hands.RESTART_NODE)
    _on_its_node(stage, hands.CRASH_NODE, hands.RESTART_NODE, len(GROUPS))


def _on_its_node(stage: Stage, begin: str, end: str, times: int, bar: Bar | None = None) -> None:
    nodes: list[str] = []

    def strike(name: str) -> None:
        nodes.append(str(stage.cluster.drill(begin, pod=name)["node"]))

    def mend(_name: str) -> None:
        stage.cluster.drill(end, node=nodes[-1])

    repeat(stage, strike, bar, mend=mend, times=times)
    stage.evidence(f"{begin} was done", len(nodes) == times, ", ".join(nodes))


def node_drained(stage: Stage) -> None:
    """Drain the node of the catalog's primary: one replica of a group goes, no second one may."""
    stage.needs(hands.DRAIN_NODE, hands.UNCORDON_NODE, hands.EVICT_POD)
    before = stage.primary("catalog")
    with _Watch(stage.cluster) as watch:
        node = str(stage.cluster.drill(hands.DRAIN_NODE, pod=before.name)["node"])
        try:
            after = stage.wait_reign("catalog", before.epoch)
            stage.new_epoch("catalog", before, after)
            stage.go_on_buying()
            _refuses_eviction(stage, before, after)
        finally:
            stage.cluster.drill(hands.UNCORDON_NODE, node=node)
        stage.wait_healthy()
    told = ", ".join(f"{role} {count}" for role, count in watch.fewest.items())
    stage.check("a majority of each group runs all the time", min(watch.fewest.values()) > 1, told)


def _refuses_eviction(stage: Stage, drained: Replica, after: Replica) -> None:
    """While a group lacks one replica, its disruption budget gives no other away. The drained pod
    may have been placed on another node; then the budget is whole again, and nothing is asked."""
    if stage.replica(drained.name).healthy:
        stage.evidence("the drained pod runs elsewhere", shown=True)
        return
    told = stage.cluster.drill(hands.EVICT_POD, pod=after.name)
    detail = str(told.get("reason", ""))
    stage.evidence("the eviction of a second one is refused", told.get("refused"), detail)


class _Watch:
    """How few processes of each group ran at any look, while the block runs. That is what a
    disruption budget is about; a new reign takes a moment to be followed."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="watch", daemon=True)
        self.fewest: dict[str, int] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        over = False
        while not over:
            replicas = self._cluster.replicas()
            for role in GROUPS:
                running = sum(bool(r.pid or r.process) for r in replicas if r.role == role)
                self.fewest[role] = min(running, self.fewest.get(role, running))
            over = self._over.wait(CHECK_S)


def upgrade(stage: Stage) -> None:
    """`helm upgrade` with a value that every role reads: every pod is replaced, one by one."""
    _rolled(stage, lambda: stage.cluster.drill(hands.UPGRADE, set=CHANGED), hands.UPGRADE)


def rollback(stage: Stage) -> None:
    """`helm rollback`: every pod is replaced again."""
    _rolled(stage, lambda: stage.cluster.drill(hands.ROLLBACK), hands.ROLLBACK)


def _rolled(stage: Stage, roll: Callable[[], object], *needs: str) -> None:
    """Something that replaces every pod by a rolling update; no purchase may remain unknown."""
    stage.needs(*needs)
    before = stage.cluster.replicas()
    roll()
    stage.wait_healthy()
    for replica in before:
        stage.new_process(replica, stage.replica(replica.name))
    stage.go_on_buying()
    if stage.load is not None:
        counts = stage.load.counts()
        told = f"{counts.unknown} unknown, {counts.failed_reads} failed reads"
        stage.check("every purchase and read was answered", not counts.unknown, told)


def next_version(stage: Stage) -> None:
    """Roll every pod to an image whose message version is one higher, and back, under load."""
    tag = stage.options.next_tag
    if not tag:
        raise NotPossibleError("no image with another message version was given")
    values = ",".join(f"image.tags.{role}={tag}" for role in ROLES)
    _rolled(
        stage,
        lambda: stage.cluster.drill(hands.UPGRADE, set=values),
        *(hands.UPGRADE, hands.ROLLBACK),
    )
    _rolled(stage, lambda: stage.cluster.drill(hands.ROLLBACK))


def secrets_rotated(stage: Stage) -> None:
    """Rotate the group secret in the two steps that UPGRADING.md gives, and the operator token."""
    first = "secrets.generation=2,secrets.acceptPrevious=true"
    _rolled(stage, lambda: stage.cluster.drill(hands.UPGRADE, set=first), hands.UPGRADE)
    _rolled(stage, lambda: stage.cluster.drill(hands.UPGRADE, set="secrets.acceptPrevious=false"))


def api_outage(stage: Stage) -> None:
    """Stop Kubernetes' API server for a while: the store sells on, for it doesn't ask it."""
    stage.needs(hands.API_OUTAGE)
    before = {r.name: (r.process, r.epoch) for r in stage.cluster.replicas()}
    outage = _Aside(lambda: stage.cluster.drill(hands.API_OUTAGE, seconds=str(OUTAGE_S)))
    silent = _first_silence(stage, outage)
    stage.evidence("the API server is silent", silent, "a list of the pods isn't answered")
    stage.go_on_buying(stage.options.during)
    stage.evidence("purchases while it is silent", not outage.over, f"{stage.options.during}")
    outage.wait()
    stage.wait_healthy()
    after = {r.name: (r.process, r.epoch) for r in stage.cluster.replicas()}
    changed = [name for name, told in after.items() if told != before.get(name)]
    stage.check("no replica and no reign changed", not changed, ", ".join(changed))


def _first_silence(stage: Stage, outage: _Aside) -> bool:
    """Whether the API server falls silent before the outage is over."""
    silent = False

    def seen() -> bool:
        nonlocal silent
        silent = not stage.cluster.reachable()
        return silent or outage.over

    stage.cluster.wait_until(seen, stage.options.healthy_s, "the API server is silent")
    return silent


@dataclass
class _Aside:
    """Something done in a thread of its own."""

    act: Callable[[], object]
    errors: list[Exception] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._run, name="aside", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.act()
        except DrillError as error:
            self.errors.append(error)

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return not self._thread.is_alive()

    def wait(self) -> None:
        """Wait for its end; raise what it raised."""
        self._thread.join()
        for error in self.errors:
            raise error


def scaled(stage: Stage) -> None:
    """`kubectl scale` up and down: the voters are in the log, so it does no harm."""
    stage.needs(hands.SCALE)
    for role, counts in (("catalog", (5, 3, 2, 3)), ("frontend", (3, 2)), ("order", (4, 3))):
        seen = []
        for count in counts:
            stage.cluster.drill(hands.SCALE, role=role, replicas=str(count))
            _wait_pods(stage, role, count)
            seen.append(len(stage.cluster.pods(role)))
            stage.go_on_buying()
        stage.wait_healthy()
        told = " → ".join(map(str, seen))
        stage.evidence(f"{role} had so many pods", tuple(seen) == counts, told)
    voters = {role: sum(r.voter for r in stage.replicas(role)) for role in GROUPS}
    stage.check("the voters are those of before", set(voters.values()) == {VOTERS}, f"{voters}")


def _wait_pods(stage: Stage, role: str, count: int) -> None:
    stage.cluster.wait_until(
        lambda: len(stage.cluster.pods(role)) == count,
        stage.options.healthy_s,
        f"{role} has {count} pods",
    )
