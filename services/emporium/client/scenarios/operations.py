"""Kubernetes' own scenarios, second part: what is done to nodes, releases and the API server."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

from emporium.client import hands
from emporium.client.cluster import (
    GROUPS,
    ROLES,
    Cluster,
    DeadlinePassedError,
    DrillError,
    Replica,
)
from emporium.client.scenarios.blows import Bar, Compare, repeat
from emporium.client.scenarios.stage import NotPossibleError, Stage
from emporium.client.store import Store, StoreError

CUT_BAR = Bar(3.0, 8.0)
CHANGED = "requests.timeoutMs=4800"
"""A value that every role reads, so that every pod is replaced."""
OUTAGE_S = 20
CHECK_S = 0.2
BROKEN = 500
"""From this HTTP status on, an answer says nothing about who asked."""


def node_cut(stage: Stage) -> None:
    """Cut the node of a reigning pod off, and heal it: the majority goes on without it."""
    stage.needs(hands.CUT_NODE, hands.HEAL_NODE)
    times, proof = stage.options.repeats, ("the same processes come back", _same_process)
    _on_its_node(stage, (hands.CUT_NODE, hands.HEAL_NODE), times, proof, CUT_BAR)


def node_crashed(stage: Stage) -> None:
    """Crash the node of a reigning pod and bring it back: its disks and pods return."""
    stage.needs(hands.CRASH_NODE, hands.RESTART_NODE)
    proof = ("other processes come back", lambda before, after: not _same_process(before, after))
    _on_its_node(stage, (hands.CRASH_NODE, hands.RESTART_NODE), len(GROUPS), proof)


def _same_process(before: Replica, after: Replica) -> bool:
    return (before.pid, before.process) == (after.pid, after.process)


def _on_its_node(
    stage: Stage,
    drills: tuple[str, str],
    times: int,
    proof: tuple[str, Compare],
    bar: Bar | None = None,
) -> None:
    """Blows to nodes, each ended again; until then the pod that reigned there says nothing."""
    begin, end = drills
    nodes: list[str] = []
    silent: list[bool] = []

    def strike(name: str) -> None:
        nodes.append(_begin(stage, begin, end, name))

    def mend(name: str) -> None:
        try:
            silent.append(not stage.replica(name).answers)
        finally:
            stage.cluster.drill(end, node=nodes[-1])

    repeat(stage, strike, bar, mend=mend, times=times, proof=proof)
    told = f"{sum(silent)} of {times}: {', '.join(nodes)}"
    stage.evidence(f"{begin} silences the pod", sum(silent) == times, told)


def _begin(stage: Stage, begin: str, end: str, pod: str) -> str:
    """Begin a drill on a pod's node; the node. Where it fails it may be done half, so it is ended
    first. Raises DrillError."""
    try:
        return str(stage.cluster.drill(begin, pod=pod)["node"])
    except DrillError:
        with contextlib.suppress(DrillError):
            stage.cluster.drill(end, pod=pod)
        raise


def node_drained(stage: Stage) -> None:
    """Drain the node of the catalog's primary: one replica of a group goes, no second one may."""
    stage.needs(hands.DRAIN_NODE, hands.UNCORDON_NODE, hands.EVICT_POD)
    before = stage.settled_primary("catalog")
    with _Watch(stage.cluster) as watch:
        node = _begin(stage, hands.DRAIN_NODE, hands.UNCORDON_NODE, before.name)
        try:
            after = stage.wait_reign("catalog", before.epoch)
            stage.new_epoch("catalog", before, after)
            stage.go_on_buying()
            _refuses_eviction(stage, before)
        finally:
            stage.cluster.drill(hands.UNCORDON_NODE, node=node)
        stage.wait_healthy()
    told = ", ".join(f"{role} {count} of {watch.all[role]}" for role, count in watch.fewest.items())
    most = all(2 * count > watch.all[role] for role, count in watch.fewest.items())
    stage.check("a majority of each group runs all the time", watch.fewest and most, told)


def _refuses_eviction(stage: Stage, drained: Replica) -> None:
    """While a group lacks one replica, its disruption budget gives no other away. Where the
    drained pod has found another node by now, one more is evicted first."""
    group = drained.role
    missing = drained.name
    if stage.replica(drained.name).healthy:
        missing = next(r.name for r in stage.backups(group) if r.name != drained.name)
        stage.cluster.wait_until(
            lambda: not stage.cluster.drill(hands.EVICT_POD, pod=missing).get("refused"),
            stage.options.healthy_s,
            f"{missing} may be evicted, now that {drained.name} is back",
        )
    told = stage.cluster.drill(hands.EVICT_POD, pod=stage.primary(group).name)
    detail = f"{missing} is away; {told.get('reason', '')}"
    stage.evidence("the eviction of a second one is refused", told.get("refused"), detail)


class _Watch:
    """How few processes of each group ran at any look, while the block runs. That is what a
    disruption budget is about; a new reign takes a moment to be followed."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="watch", daemon=True)
        self.fewest: dict[str, int] = {}
        self.all: dict[str, int] = {}

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
                group = [r for r in replicas if r.role == role]
                running = sum(bool(r.pid or r.process) for r in group)
                self.all[role] = len(group)
                self.fewest[role] = min(running, self.fewest.get(role, running))
            over = self._over.wait(CHECK_S)


def upgrade(stage: Stage) -> None:
    """`helm upgrade` with a value that every role reads: every pod is replaced, one by one."""
    _rolled(stage, lambda: stage.cluster.drill(hands.UPGRADE, set=CHANGED), hands.UPGRADE)


def rollback(stage: Stage) -> None:
    """`helm rollback`: every pod is replaced again."""
    _rolled(stage, lambda: stage.cluster.drill(hands.ROLLBACK), hands.ROLLBACK)


def _rolled(stage: Stage, roll: Callable[[], object], *needs: str) -> None:
    """Something that replaces every pod by a rolling update; every purchase and read of the load
    must be answered, which is judged when the load has stopped."""
    stage.needs(*needs)
    stage.all_answered = True
    before = stage.cluster.replicas()
    roll()
    now = {replica.name: replica for replica in stage.wait_healthy()}
    for replica in before:
        stage.new_process(replica, now[replica.name])
    stage.go_on_buying()


def next_version(stage: Stage) -> None:
    """Roll every pod to an image whose message version is one higher, and back, under load."""
    tag = stage.options.next_tag
    if not tag:
        raise NotPossibleError("no image with another message version was given")
    stage.needs(hands.UPGRADE, hands.ROLLBACK)
    values = ",".join(f"image.tags.{role}={tag}" for role in ROLES)
    version = max(_versions(stage).values())
    _speak(stage, version, "before")
    try:
        _rolled(stage, lambda: stage.cluster.drill(hands.UPGRADE, set=values))
        _speak(stage, version + 1, "after the upgrade")
    finally:
        _rolled(stage, lambda: stage.cluster.drill(hands.ROLLBACK))
    _speak(stage, version, "after the rollback")


def _versions(stage: Stage) -> dict[str, int]:
    """The message version that each replica of both groups speaks."""
    return {r.name: r.message_version for role in GROUPS for r in stage.replicas(role)}


def _speak(stage: Stage, version: int, when: str) -> None:
    """Evidence that every replica speaks this message version, once its old streams are closed."""
    with contextlib.suppress(DeadlinePassedError):  # the evidence will say so
        stage.cluster.wait_until(
            lambda: set(_versions(stage).values()) == {version},
            stage.options.settle_s,
            f"all replicas speak version {version}",
        )
    found = _versions(stage)
    told = ", ".join(f"{name} {spoken}" for name, spoken in found.items())
    shown = version > 0 and set(found.values()) == {version}
    stage.evidence(f"all speak message version {version} {when}", shown, told)


def secrets_rotated(stage: Stage) -> None:
    """Rotate the group secret in its two steps, then the operator token: the old token is refused.

    Of the group secret only the order of the steps is shown, and that every pod is replaced in
    each and talks with the others: a process tells nobody its secret. That the operator token is
    another one is shown by asking with both.
    """
    stage.needs(hands.UPGRADE)
    secret, token = stage.cluster.secret_generations()
    old = stage.cluster.operator_token()
    for values in (
        f"secrets.generation={secret + 1},secrets.acceptPrevious=true",
        "secrets.acceptPrevious=false",
        f"secrets.operatorTokenGeneration={token + 1}",
    ):
        _rolled(stage, functools.partial(stage.cluster.drill, hands.UPGRADE, set=values))
    stage.cluster.wait_until(  # the kubelet brings a changed Secret's files within about a minute
        lambda: stage.cluster.operator_token() != old,
        stage.options.healthy_s,
        "another operator token is read",
    )
    now = (secret + 1, token + 1)
    told = stage.cluster.secret_generations()
    stage.evidence("the pods have new generations", told == now, f"{(secret, token)} → {told}")
    _tell_answers(stage, "the old operator token is refused", old, 401)
    _tell_answers(stage, "the new one is accepted", stage.cluster.operator_token(), 200)


def _tell_answers(stage: Stage, what: str, token: str, wanted: int) -> None:
    """Evidence: what the catalog's replicas answer who shows this token at an operators' route."""
    client = Store(stage.cluster.frontends(), token=token)
    found: dict[str, int] = {}

    def all_said() -> bool:
        group = stage.replicas("catalog")
        for replica in group:
            with contextlib.suppress(StoreError):  # too busy just now
                found[replica.name] = client.get_at(f"http://{replica.address}/v1/digest").status
        return len(found) == len(group) and max(found.values()) < BROKEN

    try:
        stage.cluster.wait_until(all_said, stage.options.settle_s, f"all say whether {what}")
    except DeadlinePassedError:
        pass  # the evidence will say so
    finally:
        client.close()
    told = ", ".join(f"{name} {status}" for name, status in found.items())
    stage.evidence(what, set(found.values()) == {wanted}, told)


def api_outage(stage: Stage) -> None:
    """Stop Kubernetes' API server for a while: the store sells on, for it doesn't ask it."""
    stage.needs(hands.API_OUTAGE)
    for role in GROUPS:  # a reign that is given back meanwhile isn't the outage's doing
        stage.settled_primary(role)
    before = {r.name: (r.process, r.epoch) for r in stage.wait_healthy()}
    outage = _Aside(lambda: stage.cluster.drill(hands.API_OUTAGE, seconds=str(OUTAGE_S)))
    silent = _first_silence(stage, outage)
    stage.evidence("the API server is silent", silent, "a list of the pods isn't answered")
    stage.go_on_buying(stage.options.during)
    still = not stage.cluster.reachable()
    stage.evidence("purchases while it is silent", still, f"{stage.options.during}, silent after")
    outage.wait()
    after = {r.name: (r.process, r.epoch) for r in stage.wait_healthy()}
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
    counts = {role: len(stage.replicas(role)) for role in ("catalog", "frontend", "order")}
    now: list[Replica] = []
    for role, steps in (("catalog", (2, 0, -1, 0)), ("frontend", (1, 0)), ("order", (1, 0))):
        seen: list[int] = []
        try:
            for step in steps:
                seen.append(_scale(stage, role, counts[role] + step))
                stage.go_on_buying()
        finally:
            stage.cluster.drill(hands.SCALE, role=role, replicas=str(counts[role]))
        now = stage.wait_healthy()
        told = " → ".join(map(str, seen))
        wanted = [counts[role] + step for step in steps]
        stage.evidence(f"{role} had so many pods, each started", seen == wanted, told)
    voters = {role: sum(r.voter for r in now if r.role == role) for role in GROUPS}
    wanted_voters = {role: counts[role] for role in GROUPS}
    stage.check("the voters are those of before", voters == wanted_voters, f"{voters}")


def _scale(stage: Stage, role: str, count: int) -> int:
    """Scale a role, and wait until it has so many pods and each has begun to run, for those that
    no setting names end again at once; how many there are then."""
    stage.cluster.drill(hands.SCALE, role=role, replicas=str(count))
    found: dict[str, bool] = {}

    def there() -> bool:
        with contextlib.suppress(DrillError):  # not listed just now
            found.clear()
            found.update(stage.cluster.pods(role))
        return len(found) == count and all(found.values())

    what = f"{role} has {count} pods, and each has been started"
    stage.cluster.wait_until(there, stage.options.healthy_s, what)
    return len(found)
