"""A replica as a process: node, journal, clocks, and a driver that obeys effects in their order.

The driver of the real process persists before it goes on; here the sync takes virtual time, in
which a crash may come: after `send_early`, before or after the transaction is on the disk, before
anything else leaves.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

from emporium.catalog.desk import CatalogDesk
from emporium.catalog.state_machine import CatalogState
from emporium.order.desk import OrderDesk
from emporium.order.state_machine import OrderState
from emporium.replication import effects as fx
from emporium.replication import messages as m
from emporium.replication import wire
from emporium.replication.core import Core
from emporium.replication.failures import Overloaded
from emporium.replication.node import Node
from emporium.replication.settings import CoreSettings
from emporium.runtime.data_folder import AMNESIAC
from emporium.runtime.memory_journal import MemoryJournal, open_memory
from tests.simulation.clock import DriftingClock
from tests.simulation.plan import DATA
from tests.simulation.world import SimulationFailure

if TYPE_CHECKING:
    from tests.simulation.run import Store

QUEUE_REQUESTS = 64
STEP_DELAY_MS = 0.05
SHORTEST_WAIT_MS = 0.2
SPINNING_STEPS = 200  # so many steps in a row without an event or an effect: it spins


class Asker(Protocol):
    """Whoever asks a replica."""

    name: str

    def returned(self, life: int, number: int, payload: object) -> None:
        """The answer to question `number` that it asked in its life `life`; None: lost."""


Token = tuple[Asker, int, int]
"""Who asked, in which of its lives, under which number."""


class Replica:
    """One replica over all its lives."""

    def __init__(self, store: Store, role: str, replica: int) -> None:
        self.store, self.world, self.role, self.replica = store, store.world, role, replica
        self.name = f"{role[0]}{replica}"
        world, plan = store.world, store.plan
        self.clock = DriftingClock(
            world.between(1_000, 100_000), 1 + world.between(-plan.drift, plan.drift)
        )
        self.members = store.members(role)
        self.journal = MemoryJournal(store.new_incarnation)
        self.incarnation = ""
        self.sync_ms = plan.sync_ms
        self.node: Node | None = None
        self.life = 0
        self.paused = False
        self.checked = 0  # commit index up to which `watch` has compared the chain
        self._inbox: list[object] = []
        self.asked: dict[Token, object] = {}  # requests taken in and not answered
        self._turn_due = False
        self._syncing: fx.Effects | None = None
        self._synced_in_pause = False
        self._due = self._armed = math.inf
        self._idle_steps = 0

    # --- life and death ---

    @property
    def alive(self) -> bool:
        """Whether the process runs (perhaps paused)."""
        return self.node is not None

    def start(self) -> None:
        """Start the process on what the journal holds."""
        if self.alive:
            return
        self.life += 1
        opened = open_memory(self.journal)
        self.incarnation = opened.durable.incarnation
        if opened.outcome == AMNESIAC:
            self.world.count("amnesiac_starts")
        machine: CatalogState | OrderState
        desk: CatalogDesk | OrderDesk
        if self.role == "catalog":
            machine = CatalogState()
            desk = CatalogDesk(machine)
        else:
            machine = OrderState()
            desk = OrderDesk(machine)
        core = Core(self._settings(), machine, opened.durable, self.local)
        self.node = Node(core, desk)
        self.paused, self.checked, self._syncing = False, core.commit, None
        self._armed = self._due = math.inf
        self._inbox, self.asked, self._turn_due = [], {}, False
        if self.world.tracing:
            detail = f"life {self.life} incarnation {self.incarnation} {core.log.extent}"
            self.world.log(self.name, "start", detail)
        self._take_turn_soon()

    def _settings(self) -> CoreSettings:
        plan, catalog = self.store.plan, self.role == "catalog"
        return CoreSettings(
            role=self.role,
            replica=self.replica,
            members=tuple(range(self.members)),
            heartbeat_interval_ms=plan.heartbeat_ms,
            failure_timeout_ms=plan.timeout_ms,
            lease_ms=plan.lease_ms if catalog else 0.0,
            data=DATA if catalog else "",
            batch_entries=plan.batch_entries,
            snapshot_entries=plan.snapshot_entries,
            keep_entries=plan.keep_entries,
            pending_proposals=plan.pending_proposals,
            steady_ms=plan.steady_ms,
        )

    def crash(self) -> None:
        """The process dies at once; what isn't synced is lost."""
        if not self.alive:
            return
        if self._syncing is not None and self._syncing.persist is not None:
            if self.world.chance(0.5):
                self._write(self._syncing.persist)
                self.world.count("crash_between_persist_and_send")
            else:
                self.world.count("crash_between_send_early_and_persist")
        self.journal.crash()
        self.node, self._syncing, self.paused = None, None, False
        self.world.log(self.name, "dead")
        asked, self.asked = self.asked, {}
        for token in asked:
            self._return(token, None)
        self.store.connections_lost(self)

    def pause(self) -> None:
        """SIGSTOP: the queue goes on to fill."""
        self.paused = True

    def resume(self) -> None:
        """SIGCONT."""
        if not self.paused:
            return
        self.paused = False
        if self._synced_in_pause:
            self._synced_in_pause = False
            self._synced(self.life)
        self._take_turn_soon()
        self._arm()

    # --- time ---

    @property
    def local(self) -> float:
        """This machine's monotonic clock."""
        return self.clock.local(self.world.now)

    def _arm(self) -> None:
        """Wake up when the node wants it."""
        if self.node is None:
            return
        soonest = self.world.now + SHORTEST_WAIT_MS
        self._due = max(self.clock.true(self.node.wake_at()), soonest)
        if self._due < self._armed:
            self._armed = self._due
            self.world.at(self._due, self._wake, self.life, self._due)

    def _wake(self, life: int, due: float) -> None:
        if life != self.life or due != self._armed or self.node is None:
            return
        self._armed = math.inf
        if self.paused or self._syncing is not None or self._turn_due:
            return  # it steps and arms again soon
        if self._due > self.world.now + 1e-6:
            self._armed = self._due
            self.world.at(self._due, self._wake, self.life, self._due)
            return
        self._step([])

    # --- the driver ---

    def deliver(self, event: object) -> None:
        """An event for the queue."""
        if self.node is None:
            return
        self._inbox.append(event)
        if not self._turn_due and self._syncing is None and not self.paused:
            self._take_turn_soon()

    def request(self, token: Token, payload: object, timeout_ms: float) -> None:
        """A request that came over a stream."""
        if self.node is None:
            self._return(token, None)
        elif len(self._inbox) > QUEUE_REQUESTS:
            self.world.count("full_queue")
            self._return(token, Overloaded(50))
        else:
            self.asked[token] = payload
            self.deliver(fx.Request(token, payload, self.local + timeout_ms))

    def _take_turn_soon(self) -> None:
        self._turn_due = True
        self.world.after(STEP_DELAY_MS, self._turn, self.life)

    def _turn(self, life: int) -> None:
        if life != self.life:
            return
        self._turn_due = False
        if self.node is None or self.paused or self._syncing is not None:
            return
        events, self._inbox = self._inbox, []
        self._step(events)

    def _step(self, events: list[Any]) -> None:
        node = self.node
        assert node is not None
        try:
            effects = node.step(events, self.local, self.clock.wall(self.world.now))
        except Exception as error:
            what = f"{type(error).__name__}: {error}"
            raise SimulationFailure(f"{self.name} raised {what}") from error
        if self.world.tracing and events:
            self.world.log(self.name, "step", len(events))
        self._watch_spinning(events, effects)
        for note in effects.notes:
            self.store.watch.noted(self, note)
        self.store.watch.stepped(self)
        for replica, message in effects.send_early:
            self._send(replica, message, ">>")
        if effects.persist is None:
            self._obey(effects)
            self._arm()
            return
        self._syncing = effects
        sync = self.sync_ms * self.world.between(0.5, 2.0)
        self.world.after(sync, self._synced, self.life)

    def _watch_spinning(self, events: list[Any], effects: fx.Effects) -> None:
        if events or effects.send or effects.send_early or effects.heartbeat or effects.notes:
            self._idle_steps = 0
            return
        self._idle_steps += 1
        if self._idle_steps > SPINNING_STEPS:
            raise SimulationFailure(f"{self.name} spins: its wake_at is always in the past")

    def _synced(self, life: int) -> None:
        if life != self.life or self._syncing is None:
            return
        if self.paused:
            self._synced_in_pause = True
            return
        effects, self._syncing = self._syncing, None
        assert effects.persist is not None
        self._write(effects.persist)
        self._obey(effects)
        self._step([fx.Persisted()])
        if self._inbox and not self._turn_due:
            self._take_turn_soon()

    def _write(self, persist: fx.Persist) -> None:
        try:
            self.journal.write(persist)
        except Exception as error:
            raise SimulationFailure(f"{self.name}'s journal: {error}") from error
        self.world.log(self.name, "sync")
        if persist.promised is not None:
            self.store.watch.promised(self, persist.promised)

    # --- obeying ---

    def _obey(self, effects: fx.Effects) -> None:
        for replica, message in effects.send:
            self._send(replica, message, ">")
        for replica in effects.probe:
            self._probe(replica)
        for holder, message in effects.to_holders:
            self.store.to_holder(self, holder, message)
        if effects.heartbeat is not None:
            self._broadcast(effects.heartbeat)
        for call in effects.calls:
            self._call(call)
        for reply in effects.replies:
            token: Any = reply.token
            if self.asked.pop(token, None) is not None:
                self._return(token, reply.payload)

    def _wrap(self, message: object) -> m.Envelope:
        assert self.node is not None
        return m.Envelope(self.node.core.group, self.replica, self.incarnation, message)

    def _send(self, replica: int, message: object, mark: str) -> None:
        peer = self.store.replicas[self.role][replica]
        if self.world.tracing:
            self.world.log(self.name, mark, f"{peer.name} {message}")
        event = fx.Received(self._travel(self._wrap(message)))
        self.store.network.send(self.name, peer.name, peer.deliver, event)

    def _travel(self, message: Any) -> Any:
        return wire.decode(wire.encode(message)) if self.store.plan.wire else message

    def _broadcast(self, beat: m.Heartbeat) -> None:
        network = self.store.network
        event = fx.Received(self._wrap(beat))
        for peer in self.store.replicas[self.role]:
            if peer is not self:
                network.send(self.name, peer.name, peer.deliver, event)
        seen = fx.Seen(beat)
        if self.role == "catalog":
            for order in self.store.replicas["order"]:
                network.send(self.name, order.name, order.deliver, seen)
        for listener in self.store.listeners:
            network.send(self.name, listener.name, listener.heard, beat)

    def _probe(self, replica: int) -> None:
        peer = self.store.replicas[self.role][replica]
        network = self.store.network
        way = network.open(self.name, peer.name) and network.open(peer.name, self.name)
        refused = way and not peer.alive
        wait = network.delay_ms if way else self.store.plan.heartbeat_ms
        if refused:
            self.world.count("proofs_of_death")
        self.world.after(wait, self._probed, self.life, fx.Probed(replica, refused))

    def _probed(self, life: int, event: fx.Probed) -> None:
        if life == self.life:
            self.deliver(event)

    # --- calls, out and in ---

    def _call(self, call: fx.Call) -> None:
        target = self.store.replicas[call.role][call.replica]
        token: Any = (self, self.life, call.token)
        timeout = max(0.0, call.deadline - self.local)
        payload = self._travel(call.payload)
        if self.world.tracing:
            self.world.log(self.name, ">", f"{target.name} {payload}")
        self.store.network.send(
            self.name, target.name, target.request, token, payload, min(timeout, 60_000.0)
        )

    def returned(self, life: int, number: int, payload: object) -> None:
        """The answer to a call."""
        if life == self.life:
            self.deliver(fx.CallReply(number, payload))

    def _return(self, token: Token, payload: object) -> None:
        asker, life, number = token
        self.store.watch.replied(payload)
        if self.world.tracing:
            self.world.log(self.name, "reply", f"{asker.name} {number} {payload}")
        if payload is not None:
            payload = self._travel(payload)
        self.store.network.send(self.name, asker.name, asker.returned, life, number, payload)
