"""What a scenario works with: the cluster, a client, the load, and where its findings go.

A scenario is a function of one `Stage`. It calls `check` for what must hold, `evidence` for the
proof that its fault really happened, and the verbs of this class for what it does to the store.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from emporium.client.cluster import GROUPS, Cluster, DeadlinePassedError, DrillError, Replica
from emporium.client.conservation import Finding
from emporium.client.history import Recorder
from emporium.client.report import ScenarioResult
from emporium.client.store import ClientLog, Store
from emporium.client.workload import Load, LoadSettings


@dataclass(frozen=True, slots=True)
class Options:
    """Bounds of a run. Deadlines in seconds."""

    purchases: int = 500  # acknowledged by the background load, at least
    before: int = 60  # of those before the fault
    during: int = 40  # acknowledged while the fault lasts, at least
    healthy_s: float = 60.0  # until all replicas are voters, caught up and serving
    takeover_s: float = 30.0  # until a group has a new reign
    load_s: float = 120.0  # until the load has its purchases
    settle_s: float = 30.0  # until the replicas are equal
    longest_gap_s: float = 0.0  # without a buy, while the load runs; a longer one fails. 0: any
    repeats: int = 1  # of a blow whose gaps are compared with a bar
    rolling_purchases: int = 5000  # while every pod is deleted, one after the other
    next_tag: str = ""  # of images whose message version is one higher
    load: LoadSettings = field(default_factory=LoadSettings)


class NotPossibleError(Exception):
    """The cluster can't do what the scenario needs, and nothing was done to it: "not shown", with
    the reason."""


class Stage:
    """One scenario's view of the store."""

    def __init__(
        self,
        cluster: Cluster,
        options: Options,
        result: ScenarioResult,
        output: Path,
        say: Callable[[str], None],
        memory: dict[str, Replica] | None = None,
    ) -> None:
        """`say` takes one line of progress; `memory` lasts over the scenarios of a run."""
        self.cluster = cluster
        self.options = options
        self.result = result
        self.output = output
        self.say = say
        self.recorder = Recorder()
        self.log = ClientLog(output / "client_log")
        self.load: Load | None = None
        self.all_answered = False  # whether every purchase and read of the load must be
        self.memory = {} if memory is None else memory  # replicas as they were when killed

    # --- findings ---

    def check(self, name: str, passed: object, detail: str = "") -> None:
        """Something that must hold."""
        self.result.checks.append(Finding(name, bool(passed), detail))

    def evidence(self, name: str, shown: object, detail: str = "") -> None:
        """Proof that the fault happened; without it the scenario is "not shown"."""
        self.result.evidence.append(Finding(name, bool(shown), detail))

    def needs(self, *drills: str) -> None:
        """Raises NotPossibleError when the cluster lacks a drill."""
        missing = sorted(set(drills) - self.cluster.drills())
        if missing:
            raise NotPossibleError(f"this cluster has no drill for: {', '.join(missing)}")

    # --- clients ---

    def store(self, name: str = "Client0", *, logged: bool = True, recorded: bool = True) -> Store:
        """A client of all frontends, which begins with the first."""
        return Store(
            self.cluster.frontends(),
            name=name,
            log=self.log if logged else None,
            recorder=self.recorder if recorded else None,
        )

    def operator(self) -> Store:
        """A client that may change items."""
        return Store(self.cluster.frontends(), token=self.cluster.operator_token())

    def start_load(self) -> Load:
        """Start the background load and wait until it buys."""
        self.load = Load(self.cluster.frontends(), self.recorder, self.options.load)
        self.load.start()
        self.load.wait_acknowledged(self.options.before, self.options.load_s, since=0)
        return self.load

    def go_on_buying(self, more: int = 0) -> None:
        """Wait until the load has `more` (default: `during`) further purchases."""
        if self.load is not None:
            self.load.wait_acknowledged(more or self.options.during, self.options.load_s)

    # --- replicas ---

    def replicas(self, role: str) -> list[Replica]:
        """All replicas of a role."""
        return self.cluster.replicas(role)

    def replica(self, name: str) -> Replica:
        """One process. Raises DrillError when there is none of that name."""
        for replica in self.cluster.replicas(name.rsplit("-", 1)[0]):
            if replica.name == name:
                return replica
        raise DrillError(f"there is no {name} in this store")

    def reign(self, role: str) -> Replica | None:
        """The replica that reigns over the group, by the newest epoch; None between two reigns."""
        reigning = [replica for replica in self.replicas(role) if replica.reigning]
        return max(reigning, key=lambda replica: replica.epoch, default=None)

    def primary(self, role: str) -> Replica:
        """The reigning replica, waiting for one. Raises DeadlinePassedError."""
        return self.wait_reign(role, 0)

    def settled_primary(self, role: str) -> Replica:
        """The reigning replica once the smallest id has its reign back; where that isn't the rule,
        or doesn't come, whoever reigns then. Raises DeadlinePassedError when nobody does."""
        with contextlib.suppress(DeadlinePassedError):
            self.wait_handed_back(role, self.options.takeover_s)
        return self.primary(role)

    def wait_handed_back(self, role: str, deadline_s: float) -> str:
        """Wait until the smallest id reigns; its name. Raises DeadlinePassedError."""
        smallest = min(self.replicas(role), key=lambda replica: replica.replica).name

        def handed_back() -> bool:
            reign = self.reign(role)
            return reign is not None and reign.name == smallest

        self.cluster.wait_until(handed_back, deadline_s, "the smallest id reigns")
        return smallest

    def wait_reign(self, role: str, above: int) -> Replica:
        """Wait for a reign of an epoch above `above`. Raises DeadlinePassedError."""
        found: list[Replica] = []

        def reigns() -> bool:
            reign = self.reign(role)
            if reign is None or reign.epoch <= above:
                return False
            found.append(reign)
            return True

        what = f"{role} has a reign of an epoch above {above}"
        self.cluster.wait_until(reigns, self.options.takeover_s, what)
        return found[-1]

    def backups(self, role: str) -> list[Replica]:
        """The healthy replicas that don't reign, waiting for one. Raises DeadlinePassedError."""
        found: list[Replica] = []

        def some() -> bool:
            primary = self.primary(role)
            found[:] = [r for r in self.replicas(role) if r.healthy and r.name != primary.name]
            return bool(found)

        self.cluster.wait_until(some, self.options.healthy_s, f"{role} has a healthy backup")
        return found

    def wait_healthy(self, *names: str) -> list[Replica]:
        """Wait until these processes (default: all) are up, voters, caught up and serve; how they
        are then, by that very reading: in another one somebody may be too slow to answer."""
        chosen: list[Replica] = []
        ailing: list[str] = []

        def healthy() -> bool:
            chosen[:] = [r for r in self.cluster.replicas() if not names or r.name in names]
            ailing[:] = _ailing(chosen)
            return not ailing

        try:
            self.cluster.wait_until(healthy, self.options.healthy_s, "everything is healthy")
        except AssertionError as error:
            raise type(error)(f"{error}: {', '.join(ailing)} isn't") from error
        return chosen

    def wait_equal(self, role: str) -> None:
        """Wait until all running replicas of a group have applied the same entries."""
        self.cluster.wait_until(
            lambda: len({r.applied for r in self.replicas(role) if r.answers}) == 1,
            self.options.settle_s,
            f"the {role} replicas are equal",
        )

    def start_again(self, *names: str) -> list[Replica]:
        """Start processes that don't run and wait until they are healthy; how they are then."""
        for name in names:
            self.cluster.start(name)
        now = {replica.name: replica for replica in self.wait_healthy(*names)}
        return [now[name] for name in names]

    def all_gone(self, victims: Sequence[Replica]) -> None:
        """Evidence that these processes have ended; their successors may run by now."""
        names = {victim.name: victim.process or str(victim.pid) for victim in victims}
        now = {r.name: r for r in self.cluster.replicas() if r.name in names}
        alive = [n for n, r in now.items() if r.answers and names[n] == (r.process or str(r.pid))]
        self.evidence(
            f"{', '.join(names)} killed",
            not alive,
            f"{', '.join(alive)} runs on" if alive else f"process {', '.join(names.values())}",
        )

    def new_process(self, before: Replica, after: Replica) -> None:
        """Evidence that a process is another one than before."""
        old, new = before.process or before.pid, after.process or after.pid
        self.evidence(f"{before.name} is a new process", new and new != old, f"{old} → {new}")

    def new_epoch(self, role: str, before: Replica, after: Replica) -> None:
        """Evidence that a group has a newer reign than before."""
        self.evidence(
            f"{role} has a new epoch",
            after.epoch > before.epoch,
            f"{before.name} in epoch {before.epoch} → {after.name} in epoch {after.epoch}",
        )


def _ailing(chosen: Sequence[Replica]) -> list[str]:
    """What these processes lack to be healthy."""
    ailing = [replica.name for replica in chosen if not replica.healthy]
    for role in GROUPS:
        group = [r for r in chosen if r.role == role]
        if len(group) > 1 and not any(r.reigning for r in group):
            ailing.append(f"{role}'s reign")
    return ailing
