"""Processes that keep copies, around the real holder's rule: caches, and frontends that hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from emporium.cache.holder import Holder
from emporium.catalog.requests import ItemFound, ItemList
from emporium.frontend.view import NOBODY, ClusterView
from emporium.replication import effects as fx
from emporium.replication import messages as m
from tests.simulation.clock import DriftingClock
from tests.simulation.world import World

if TYPE_CHECKING:
    from tests.simulation.run import Store

COPIES = 3


class Process:
    """A process that hears heartbeats: its life, its clock, its view of the cluster."""

    def __init__(self, store: Store, name: str) -> None:
        self.store, self.name = store, name
        self.world: World = store.world
        plan = store.plan
        self.clock = DriftingClock(
            store.world.between(1_000, 100_000), 1 + store.world.between(-plan.drift, plan.drift)
        )
        self.life = 0
        self.alive = self.paused = False
        self.waiting: list[tuple[Any, tuple[Any, ...]]] = []  # what arrives during a pause
        self.view = self._new_view()

    def _new_view(self) -> ClusterView:
        roles = ("catalog", "order")
        addresses = {role: ("",) * self.store.members(role) for role in roles}
        return ClusterView(addresses, self.store.plan.timeout_ms)

    @property
    def local(self) -> float:
        """This machine's monotonic clock."""
        return self.clock.local(self.world.now)

    def start(self) -> None:
        """A new life: nothing is remembered."""
        if self.alive:
            return
        self.life += 1
        self.alive, self.paused, self.waiting = True, False, []
        self.view = self._new_view()
        self.world.log(self.name, "start", f"life {self.life}")

    def crash(self) -> None:
        """The process dies."""
        if self.alive:
            self.alive = self.paused = False
            self.waiting = []
            self.world.log(self.name, "dead")

    def pause(self) -> None:
        """SIGSTOP."""
        self.paused = self.alive

    def resume(self) -> None:
        """SIGCONT: what came meanwhile is done now, late."""
        if not self.paused:
            return
        self.paused = False
        waiting, self.waiting = self.waiting, []
        for action, arguments in waiting:
            if self.alive:
                action(*arguments)

    def runs(self, action: Any, *arguments: Any) -> bool:
        """Whether this process can act now; if it is paused, `action` is done later."""
        if self.paused:
            self.waiting.append((action, arguments))
        return self.alive and not self.paused

    def heard(self, beat: m.Heartbeat) -> None:
        """A heartbeat of a replica."""
        if self.runs(self.heard, beat):
            before = self.view.reign(beat.role)
            self.view.heard(beat, self.local)
            if self.view.reign(beat.role) != before:
                self.reign_changed(beat.role)

    def reign_changed(self, role: str) -> None:
        """The view shows another reign of `role`."""

    def lost(self, role: str, replica: int) -> None:
        """The connection to a replica is gone."""

    def primary(self, role: str) -> int:
        """Who reigns, as far as is known here."""
        self.view.tick(self.local)
        reign = self.view.reign(role)
        return NOBODY if reign is None else reign.replica


class Keeper:
    """A holder inside a process."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.store, self.world = process.store, process.world
        self._life = 0
        self.holder = self._new_holder()

    def _new_holder(self) -> Holder:
        name = f"{self.process.name}-{self.process.life}"
        return Holder(name, copies=COPIES, lease_ms=self.store.plan.lease_ms)

    def start(self) -> None:
        """With the process."""
        self._life = self.process.life
        self.holder = self._new_holder()
        self.store.keepers[self.holder.name] = self
        self._tick(self._life)

    def crash(self) -> None:
        """With the process."""
        self.store.keepers.pop(self.holder.name, None)
        self._count()

    def _count(self) -> None:
        counters = self.holder.counters
        counts = self.world.counts
        counts["fills"] += counters.fills
        counts["refused_fills"] += counters.fills_refused
        counts["holder_lapses"] += counters.lapses
        counts["leases_granted"] += counters.grants

    def _tick(self, life: int) -> None:
        process = self.process
        if life != process.life or not process.runs(self._tick, life):
            return
        now = process.local
        self._send(self.holder.tick(now, process.primary("catalog")))
        due = process.clock.true(min(self.holder.wake_at(), now + self.store.plan.heartbeat_ms))
        self.world.at(max(due, self.world.now + 1.0), self._tick, life)

    def receive(self, replica: int, message: object) -> None:
        """A message of a catalog replica."""
        if self.process.runs(self.receive, replica, message):
            self._send(self.holder.receive(replica, message, self.process.local))

    def _send(self, outgoing: list[tuple[int, object]]) -> None:
        for replica, message in outgoing:
            target = self.store.replicas["catalog"][replica]
            if self.world.tracing:
                self.world.log(self.process.name, ">", f"{target.name} {message}")
            self.store.network.send(
                self.process.name, target.name, target.deliver, fx.FromHolder(message)
            )

    # --- copies ---

    def get(self, key: str) -> object | None:
        """A copy that may be answered with."""
        return self.holder.get(key, self.process.local)

    def session(self) -> str:
        """What a fill must name."""
        return self.holder.session(self.process.local)

    def put(self, key: str, value: object, session: str) -> None:
        """A fill."""
        if isinstance(value, ItemFound):
            index = value.view.commit_index
        elif isinstance(value, ItemList):
            index = value.commit_index
        else:
            return
        if session:
            self.holder.put(key, value, index, session, self.process.local)


class Cache(Process):
    """The cache role: frontends ask it over the network."""

    def __init__(self, store: Store, number: int) -> None:
        super().__init__(store, f"k{number}")
        self.keeper = Keeper(self)

    def start(self) -> None:
        """A new holder in every life."""
        if not self.alive:
            super().start()
            self.keeper.start()

    def crash(self) -> None:
        """The copies are gone."""
        if self.alive:
            super().crash()
            self.keeper.crash()

    def lost(self, role: str, replica: int) -> None:
        """Tell the holder."""
        if role == "catalog" and self.runs(self.lost, role, replica):
            self.keeper.holder.disconnected(replica)

    def lookup(self, frontend: Any, number: int, key: str) -> None:
        """Answer (value, session) to question `number`; a dead cache answers nothing."""
        if self.runs(self.lookup, frontend, number, key):
            value = self.keeper.get(key)
            session = "" if value is not None else self.keeper.session()
            network = self.store.network
            network.send(self.name, frontend.name, frontend.cache_said, number, value, session)

    def put(self, key: str, value: object, session: str) -> None:
        """A fill."""
        if self.runs(self.put, key, value, session):
            self.keeper.put(key, value, session)
