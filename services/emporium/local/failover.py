"""How long a client can't buy when a primary dies, stops or leaves.

A generator with four clients buys all the time through two frontends, each purchase under one
request id until its outcome is known. The primary of the catalog, then of order, and so on in turn
is hit; the gap is the longest time between two successful buys of any client from just before the
blow until the store sells again under another reign. Between two blows the store becomes whole.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from emporium.client.cluster import DeadlinePassedError, Replica, read_status, wait_until
from emporium.local import sides
from emporium.local.cluster import LocalCluster
from emporium.local.errors import LocalError
from emporium.local.generator import GOOD, Connection, buy
from emporium.local.layout import GROUPS
from emporium.local.measuring import Aim, Spread, longest_gap, spread

Tell = Callable[[str], None]

CLIENTS, PAUSE_S = 4, 0.01
FRONTENDS = 2
BEFORE_S = 0.6  # of buying before the blow
AFTER_S = 0.4  # and after the store sells again
TAKEOVER_S = 30.0
WHOLE_S = 60.0
CALM_S = 0.5  # whole for so long, before the next blow
LOOK_S = 0.02
STATUS_S = 0.3
BUY_S = 2.0
TIMES, QUICK_TIMES = 20, 3
DEFAULT_HEARTBEAT_MS = 250


@dataclass(frozen=True, slots=True)
class Drill:
    """One kind of blow. `aims` are for the median and for the maximum, in seconds."""

    blow: signal.Signals
    heartbeat_ms: int
    median_aim: Aim | None = None
    most_aim: Aim | None = None

    @property
    def name(self) -> str:
        """As it is printed."""
        return f"{self.blow.name}, heartbeat {self.heartbeat_ms} ms"


def _stopped(heartbeat_ms: int) -> Drill:
    bound = 6 * heartbeat_ms / 1000
    return Drill(signal.SIGSTOP, heartbeat_ms, Aim(bound, "median <= 6 heartbeats", most=True))


DRILLS = (
    Drill(
        signal.SIGKILL,
        DEFAULT_HEARTBEAT_MS,
        Aim(1.0, "median <= 1 s", most=True),
        Aim(3.0, "max <= 3 s", most=True),
    ),
    Drill(
        signal.SIGTERM,
        DEFAULT_HEARTBEAT_MS,
        Aim(0.3, "median <= 0.3 s", most=True),
        Aim(0.3, "max <= 0.3 s", most=True),
    ),
    _stopped(DEFAULT_HEARTBEAT_MS),
    _stopped(100),
    _stopped(1000),
)


@dataclass(frozen=True, slots=True)
class Blow:
    """One run: who was hit, the gap in seconds, and failed tries of clients."""

    name: str
    gap_s: float
    failures: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """All runs of a drill."""

    drill: Drill
    blows: tuple[Blow, ...]

    @property
    def gap(self) -> Spread:
        """Seconds without a successful buy."""
        return spread(blow.gap_s for blow in self.blows)

    def by_role(self, role: str) -> Spread | None:
        """The same for the primaries of one role; None when it had no turn."""
        gaps = [blow.gap_s for blow in self.blows if blow.name.startswith(f"{role}-")]
        return spread(gaps) if gaps else None

    @property
    def verdicts(self) -> list[str]:
        """The aims and whether they are met."""
        drill, gap = self.drill, self.gap
        found = []
        if drill.median_aim is not None:
            found.append(drill.median_aim.verdict(gap.median))
        if drill.most_aim is not None:
            found.append(drill.most_aim.verdict(gap.high))
        return found

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "drill": self.drill.name,
            "gap_s": self.gap.to_json(),
            "heartbeats": self.gap.median * 1000 / self.drill.heartbeat_ms,
            "blows": [[blow.name, blow.gap_s, blow.failures] for blow in self.blows],
            "aims": self.verdicts,
        }


def run(drills: Sequence[Drill], times: int, tell: Tell) -> Iterator[Outcome]:
    """Every drill so many times; drills with the same heartbeat share a store. Raises
    LocalError."""
    for heartbeat_ms in dict.fromkeys(drill.heartbeat_ms for drill in drills):
        tell(f"Failover: starting a store with a heartbeat of {heartbeat_ms} ms")
        settings = {"HEARTBEAT_INTERVAL_MS": str(heartbeat_ms)}
        with sides.store(3, "server", FRONTENDS, **settings) as cluster:
            for drill in drills:
                if drill.heartbeat_ms != heartbeat_ms:
                    continue
                outcome = _repeat(cluster, drill, times, tell)
                if outcome is not None:
                    yield outcome


def _repeat(cluster: LocalCluster, drill: Drill, times: int, tell: Tell) -> Outcome | None:
    """None when the store never was whole. A store that doesn't become whole again ends the drill
    and is told; the blows so far count."""
    blows = []
    for number in range(times):
        try:
            _wait_whole(cluster)
        except DeadlinePassedError as error:
            tell(f"{drill.name}: given up after {number} of {times}: {error}")
            break
        blow = _strike(cluster, drill, GROUPS[number % len(GROUPS)])
        tell(f"  {drill.name}, {number + 1} of {times}: {blow.name}, {blow.gap_s:.2f} s")
        blows.append(blow)
    return Outcome(drill, tuple(blows)) if blows else None


def _strike(cluster: LocalCluster, drill: Drill, role: str) -> Blow:
    watch = sides.Watch(sides.frontends_of(cluster), CLIENTS, PAUSE_S)
    try:
        time.sleep(BEFORE_S)
        victim = _primary(cluster, role)
        struck = time.monotonic()
        _hit(cluster, victim, drill.blow)
        with contextlib.suppress(DeadlinePassedError):  # then the gap is as long as that
            wait_until(lambda: _reigns_elsewhere(cluster, role, victim), TAKEOVER_S, "a reign")
            wait_until(lambda: _sells(cluster), TAKEOVER_S, "a buy")
        time.sleep(AFTER_S)
        ended = time.monotonic()
        told = watch.end()
    finally:
        watch.kill()
    _bring_back(cluster, victim)
    failures = sum(when >= struck for when, _ in told["failures"])
    return Blow(victim, longest_gap(told["successes"], struck, ended), failures)


def _hit(cluster: LocalCluster, victim: str, blow: signal.Signals) -> None:
    if blow == signal.SIGSTOP:
        cluster.pause(victim)  # the master and its worker
    else:
        cluster.kill(victim, blow)


def _primary(cluster: LocalCluster, role: str) -> str:
    """Who reigns by the newest epoch; between two reigns, and where a status is slow, it is waited
    for. Raises LocalError."""
    found: list[Replica] = []

    def reigns() -> bool:
        found[:] = [replica for replica in cluster.replicas(role) if replica.reigning]
        return bool(found)

    try:
        wait_until(reigns, TAKEOVER_S, f"somebody reigns over {role}")
    except DeadlinePassedError as error:
        raise LocalError(str(error)) from error
    return max(found, key=lambda replica: replica.epoch).name


def _reigns_elsewhere(cluster: LocalCluster, role: str, victim: str) -> bool:
    """Whether another than the victim reigns and serves. The victim isn't asked: it may stand
    still."""
    for member in cluster.members():
        if member.role == role and member.name != victim:
            told = read_status(member.health, STATUS_S)
            if told and told.get("reigning") and told.get("serving"):
                return True
    return False


def _sells(cluster: LocalCluster) -> bool:
    """Whether a buy succeeds now; the watch must not end in the middle of the gap."""
    for address in sides.frontends_of(cluster):
        connection = Connection(address, BUY_S)
        status, _ = connection.send(buy(sides.BOOKS[0]))
        connection.close()
        if status in GOOD:
            return True
    return False


def _bring_back(cluster: LocalCluster, victim: str) -> None:
    state = cluster.launcher.state(victim)
    if state == "paused":
        cluster.resume(victim)
        return
    wait_until(lambda: cluster.launcher.state(victim) == "dead", WHOLE_S, f"{victim} has gone")
    cluster.start(victim)


def _wait_whole(cluster: LocalCluster) -> None:
    """Every replica a voter that serves, for a while."""

    def whole() -> bool:
        replicas = cluster.replicas()
        reigns = sum(replica.reigning for replica in replicas)
        return reigns == len(GROUPS) and all(replica.healthy for replica in replicas)

    since = 0.0
    end = time.monotonic() + WHOLE_S
    while True:
        now = time.monotonic()
        since = (since or now) if whole() else 0.0
        if since and now - since >= CALM_S:
            return
        if now > end:
            raise DeadlinePassedError(f"not within {WHOLE_S:g} s: the store is whole again")
        time.sleep(LOOK_S)
