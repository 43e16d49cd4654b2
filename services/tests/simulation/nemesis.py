"""The faults, within "at most f voters of a group down or without their disk at a time".

A restart of all takes everybody down, but no disk. A replica that lost its disk counts until it is
a voter again. Pauses, cuts, slow disks and clocks have no bound: they may cost time, never truth.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from emporium.replication import effects as fx
from tests.simulation.replica import Replica
from tests.simulation.world import World

if TYPE_CHECKING:
    from tests.simulation.run import Store

ROLES = ("catalog", "order")
LEAVING_MS = 2.0  # failure timeouts that SIGTERM gives


class Nemesis:
    """Chooses faults and undoes them in time."""

    def __init__(self, store: Store) -> None:
        self.store, self.world = store, store.world
        self._undo: dict[int, Callable[[], None]] = {}
        self._number = 0
        self._stopped = False
        self._without_disk: set[Replica] = set()
        self._away: set[Replica] = set()
        self._table: dict[str, Callable[[], None]] = {
            name: getattr(self, name) for name in store.plan.faults
        }

    # --- when ---

    def start(self) -> None:
        """Begin, and go on until `stop`."""
        world: World = self.world
        self._set_weather()
        world.after(self.store.plan.fault_every_ms * world.between(0.5, 1.5), self._next)

    def _next(self) -> None:
        if self._stopped:
            return
        weights = self.store.plan.faults
        name = self.world.random.choices(list(weights), list(weights.values()))[0]
        self._table[name]()
        pause = self.store.plan.fault_every_ms * self.world.between(0.3, 1.7)
        self.world.after(pause, self._next)

    def stop(self) -> None:
        """Undo everything that is under way, and bring back everybody."""
        self._stopped = True
        for undo in list(self._undo.values()):
            undo()
        self._undo.clear()
        self.store.network.loss = self.store.network.late = self.store.network.duplicate = 0.0
        for replica in self.store.everyone:
            replica.start()

    def _for_a_while(self, longest: float, undo: Callable[[], None]) -> None:
        """Undo it after up to `longest` failure timeouts."""
        self._number += 1
        number = self._number
        self._undo[number] = undo

        def end() -> None:
            if self._undo.pop(number, None) is not None:
                undo()

        self.world.after(self.store.plan.timeout_ms * self.world.between(0.1, longest), end)

    def happened(self, what: str, who: str = "", detail: object = "") -> None:
        """Count and log a fault."""
        self.world.count(f"fault_{what}")
        self.world.log(who or "-", "fault", f"{what} {detail}")

    # --- whom ---

    def _any(self) -> Replica:
        return self.world.random.choice(self.store.everyone)

    def _primary(self, role: str = "") -> Replica | None:
        role = role or self.world.random.choice(ROLES)
        return self.store.reign(role)

    def _spare(self, role: str) -> int:
        """How many more voters of the group may go."""
        group = self.store.replicas[role]
        for replica in list(self._without_disk):
            if replica.node is not None and replica.node.core.voter:
                self._without_disk.discard(replica)
        gone = {r for r in group if not r.alive} | (self._without_disk & set(group))
        return (len(group) - 1) // 2 - len(gone)

    # --- crashes ---

    def crash_one(self, victim: Replica | None, what: str) -> bool:
        """kill -9, if the group can spare it; back after a while."""
        if victim is None or not victim.alive:
            return False
        alone = len(self.store.replicas[victim.role]) == 1
        if self._spare(victim.role) < 1 and not alone and victim not in self._without_disk:
            return False
        self.happened(what, victim.name)
        victim.crash()
        self._for_a_while(2.5, lambda: self._back(victim))
        return True

    def _back(self, victim: Replica) -> None:
        self.world.count("restarts")
        victim.start()

    def crash(self) -> None:
        """Any replica."""
        self.crash_one(self._any(), "crash")

    def crash_primary(self) -> None:
        """A reign."""
        self.crash_one(self._primary(), "crash_primary")

    def crash_both_primaries(self) -> None:
        """Catalog's and order's at once."""
        for role in ROLES:
            self.crash_one(self._primary(role), "crash_both_primaries")

    def restart_all(self) -> None:
        """All pods of a group, or of both, are deleted at once."""
        groups = self.world.random.choice((("catalog",), ("order",), ROLES))
        self.happened("restart_all", "-", groups)
        for role in groups:
            for replica in self.store.replicas[role]:
                if replica.alive:
                    replica.crash()
                    self._for_a_while(1.5, lambda replica=replica: self._back(replica))  # type: ignore[misc]

    def lose_disk(self) -> None:
        """A replica comes back with an empty folder."""
        self._lose(self._any(), "lose_disk")

    def set_back(self) -> None:
        """A journal comes back behind its mark."""
        self._lose(self._any(), "set_back")

    def _lose(self, victim: Replica, what: str) -> None:
        if victim in self._without_disk or not victim.alive or self._spare(victim.role) < 1:
            return
        if not self.store.formed(victim.role):
            return
        if not self.crash_one(victim, what):
            return
        self._without_disk.add(victim)
        if what == "lose_disk":
            victim.journal.erase()
        else:
            victim.journal.set_back(self.world.random.randrange(1, 12))

    # --- stops that are no crashes ---

    def pause_one(self, victim: Any, what: str) -> None:
        """SIGSTOP, then SIGCONT: a zombie with an old view."""
        if victim is None or not victim.alive or victim.paused:
            return
        self.happened(what, victim.name)
        victim.pause()
        self._for_a_while(3.0, victim.resume)

    def pause(self) -> None:
        """Any replica."""
        self.pause_one(self._any(), "pause")

    def pause_primary(self) -> None:
        """A reign."""
        self.pause_one(self._primary(), "pause")

    def leave(self) -> None:
        """SIGTERM to any replica."""
        self.leave_one(self._any())

    def leave_primary(self) -> None:
        """SIGTERM to a reign: it hands over."""
        self.leave_one(self._primary())

    def leave_one(self, victim: Replica | None) -> None:
        """SIGTERM: hand over, then stop; back after a while."""
        if victim is None or not victim.alive or victim in self._away:
            return
        if self._spare(victim.role) < 1:
            return
        self.happened("leave", victim.name)
        self._away.add(victim)
        victim.deliver(fx.Leave())
        end = self.world.now + LEAVING_MS * self.store.plan.timeout_ms
        self.world.after(5.0, self._left, victim, victim.life, end)

    def _left(self, victim: Replica, life: int, end: float) -> None:
        reigns = victim.node is not None and victim.node.core.reigning
        if victim.life == life and victim.alive and reigns and self.world.now < end:
            self.world.after(10.0, self._left, victim, life, end)
            return
        self._away.discard(victim)
        if victim.life == life and victim.alive:
            self.world.count("left" if not reigns else "left_reigning")
            victim.crash()
            self._for_a_while(1.5, lambda: self._back(victim))
            if self._stopped:
                victim.start()

    # --- the network ---

    def _cut(self, directions: list[tuple[str, str]], longest: float = 3.0) -> None:
        network = self.store.network
        for source, target in directions:
            network.cut(source, target)

        def mend() -> None:
            for source, target in directions:
                network.mend(source, target)

        self._for_a_while(longest, mend)

    def _others(self, victim: Replica) -> list[str]:
        return [name for name in self.store.names if name != victim.name]

    def isolate(self) -> None:
        """Nothing reaches a replica, nothing leaves it."""
        self._isolate(self._any())

    def isolate_primary(self) -> None:
        """The same with a reign."""
        self._isolate(self._primary())

    def _isolate(self, victim: Replica | None) -> None:
        if victim is None:
            return
        others = self._others(victim)
        if self.world.chance(0.5):  # only from its group: clients and holders still reach it
            others = [r.name for r in self.store.replicas[victim.role] if r is not victim]
        self.happened("partition", victim.name, others)
        own = victim.name
        self._cut([(own, other) for other in others] + [(other, own) for other in others])

    def one_way(self) -> None:
        """One direction between two replicas of a group."""
        source = self._any()
        others = [r for r in self.store.replicas[source.role] if r is not source]
        if others:
            target = self.world.random.choice(others)
            self.happened("one_way", source.name, target.name)
            self._cut([(source.name, target.name)])

    def deaf(self) -> None:
        """A replica sends and hears nothing."""
        victim = self._primary() or self._any()
        self.happened("deaf", victim.name)
        self._cut([(other, victim.name) for other in self._others(victim)])

    def mute(self) -> None:
        """A replica hears and nothing that it sends arrives."""
        victim = self._primary() or self._any()
        self.happened("mute", victim.name)
        self._cut([(victim.name, other) for other in self._others(victim)])

    def split_groups(self) -> None:
        """The order group can't reach the catalog."""
        self.happened("split_groups")
        pairs = [
            (order.name, catalog.name)
            for order in self.store.replicas["order"]
            for catalog in self.store.replicas["catalog"]
        ]
        back = [(catalog, order) for order, catalog in pairs]
        self._cut(self.world.random.choice((pairs, back, pairs + back)), 2.0)

    def cut_holder(self) -> None:
        """A holder can't hear the catalog, or isn't heard."""
        holders = [listener.name for listener in self.store.listeners]
        holder = self.world.random.choice(holders)
        catalogs = [replica.name for replica in self.store.replicas["catalog"]]
        there = [(holder, catalog) for catalog in catalogs]
        back = [(catalog, holder) for catalog in catalogs]
        self.happened("cut_holder", holder)
        self._cut(self.world.random.choice((there, back, there + back)), 2.0)

    def reset(self) -> None:
        """All connections of a replica end; the process lives."""
        victim = self._any()
        if victim.alive:
            self.happened("reset", victim.name)
            self.store.connections_lost(victim)

    def _set_weather(self) -> None:
        plan, network = self.store.plan, self.store.network
        network.loss, network.duplicate, network.late = plan.loss, plan.duplicate, plan.late

    def bad_weather(self) -> None:
        """Much is lost, late or doubled for a while."""
        network = self.store.network
        self.happened("bad_weather")
        network.loss, network.duplicate, network.late = 0.15, 0.1, 0.2
        self._for_a_while(2.0, self._set_weather)

    # --- disks, clocks, holders ---

    def slow_disk(self) -> None:
        """Every sync takes long."""
        victim = self._any()
        self.happened("slow_disk", victim.name)
        victim.sync_ms = self.store.plan.timeout_ms * self.world.between(0.05, 0.4)

        def heal() -> None:
            victim.sync_ms = self.store.plan.sync_ms

        self._for_a_while(2.0, heal)

    def clock_ahead(self) -> None:
        """A wall clock jumps far ahead, and stays."""
        victim = self._any()
        self.happened("clock_ahead", victim.name)
        victim.clock.wall_ahead_ms += self.world.random.randrange(11_000, 120_000)

    def pause_holder(self) -> None:
        """A frontend or cache stops, and goes on with what it had."""
        self.pause_one(self.world.random.choice(self.store.listeners), "pause_holder")

    def crash_holder(self) -> None:
        """A frontend or cache dies, with its copies."""
        victim = self.world.random.choice(self.store.listeners)
        if victim.alive:
            self.happened("crash_holder", victim.name)
            victim.crash()
            self._for_a_while(1.0, victim.start)
