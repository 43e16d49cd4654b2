"""The core of a replica: one replicated log, whatever the mode and the role.

House rules: no socket, file, thread, clock or random number here. Time comes in as an argument.
A step takes a batch of events and gives `Effects`; nothing else goes in or out. Impossible states
raise and the process dies, for a replica that goes on with a broken invariant can break a promise
to a customer.

Theory of operation. Entries are (epoch, index, command); an epoch has at most one reign, because
a majority of voters promised it to one candidate, and a promise is persisted. An entry is
committed when a majority has it on stable storage and it, or a later one, is of the reign's own
epoch. A reign begins with the most up-to-date log of its promise majority, which therefore holds
every committed entry, and with a no-op, until whose commitment it answers nothing. Failure
detection decides who stands, never who may commit.

Parts: `Forming` (first start), `Elections` (who stands, promises, adoption), `Reign` (replicating
as the primary), `Following` (being replicated to), `Reading` (ReadIndex), `ReleaseGate` (leases
of holders), `HandOver`. They share the fields of `Core` and have one handler per message.

Sources: PROTOCOL.md 1 and 2; Ongaro and Ousterhout, In Search of an Understandable Consensus
Algorithm, 5 and 8; Oki and Liskov, Viewstamped Replication, 4; Gray and Cheriton, Leases, 2.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import Any

from emporium.replication import effects as fx
from emporium.replication import messages as m
from emporium.replication.elections import Elections
from emporium.replication.following import Following
from emporium.replication.forming import Forming
from emporium.replication.handover import HandOver
from emporium.replication.log import Log, LogBroken
from emporium.replication.modes import mode_of
from emporium.replication.reading import Reading
from emporium.replication.reign import Reign
from emporium.replication.release import ReleaseGate
from emporium.replication.settings import CoreSettings
from emporium.replication.state_machine import StateMachine
from emporium.replication.states import TRANSITIONS, State
from emporium.replication.vitals import Peer, Vitals
from emporium.replication.voters import Voters


class InvariantError(Exception):
    """A state that can't be: the replica must stop."""


class Core:
    """One replica of one group."""

    def __init__(
        self,
        settings: CoreSettings,
        machine: StateMachine,
        durable: fx.Durable,
        now: float,
    ) -> None:
        """Begin with what the journal held. A reign is volatile: whatever this replica was
        before, it starts as a follower of nobody."""
        self.settings, self.machine = settings, machine
        self.mode = mode_of(settings.mode)
        self.replica, self.incarnation = settings.replica, durable.incarnation
        self.now, self.clock, self.started = now, 0, now
        self.state = State.EMPTY
        self.promised = durable.promised
        self.seen_epoch = durable.promised.epoch  # newest epoch heard of, only to pick the next
        self.genesis: m.Entry | None = None
        self.group = ""
        self.lease_ms = 0.0  # as the log says
        self.log, self.voters = Log(), Voters()
        self.snapshot: m.Snapshot | None = None
        self.commit = self.applied = self.durable = self.replayed = 0
        self.reign_epoch, self.reign_id = 0, -1  # the newest reign heard of; -1: none
        self.reign_heard, self.reign_leaving = now, False
        self.peers = {r: Peer(r) for r in settings.members if r != settings.replica}
        self.leaving = False  # SIGTERM was received
        self.effects, self.answers = fx.Effects(), list[fx.Answer]()
        self._restore(durable)
        self.gate = ReleaseGate(self)
        self.forming, self.elections = Forming(self), Elections(self)
        self.reign, self.following = Reign(self), Following(self)
        self.reading, self.handover = Reading(self), HandOver(self)
        self.vitals = Vitals(self)
        self._next_beat = now
        self._parts = (self.forming, self.elections, self.reign, self.reading, self.handover)
        self._events = self._event_handlers()
        self._messages = self._message_handlers()

    def _event_handlers(self) -> dict[type, Callable[[Any], None]]:
        return {
            fx.Received: self._on_received,
            fx.Persisted: self._on_persisted,
            fx.Lost: self.elections.on_lost,
            fx.Probed: self.elections.on_probed,
            fx.Propose: self.reign.on_propose,
            fx.Read: self.reading.on_read,
            fx.FromHolder: self._on_holder,
            fx.Leave: self._on_leave,
        }

    def _message_handlers(self) -> dict[type, Callable[[Peer, Any], None]]:
        return {
            m.Heartbeat: self._on_heartbeat,
            m.Hello: self.forming.on_hello,
            m.ShowGenesis: self.forming.on_genesis,
            m.PreVote: self.elections.on_pre_vote,
            m.PreVoted: self.elections.on_pre_voted,
            m.RequestPromise: self.elections.on_request_promise,
            m.Promise: self.elections.on_promise,
            m.FetchLog: self.elections.on_fetch_log,
            m.LogPart: self.elections.on_log_part,
            m.Refused: self.elections.on_refused,
            m.Append: self.following.on_append,
            m.InstallSnapshot: self.following.on_snapshot,
            m.Appended: self.reign.on_appended,
            m.SnapshotReceived: self.reign.on_snapshot_received,
            m.AskReadIndex: self.reading.on_ask,
            m.ReadIndex: self.reading.on_read_index,
            m.StandNow: self.handover.on_stand_now,
        }

    # --- start ---

    def _restore(self, durable: fx.Durable) -> None:
        if durable.genesis is None:
            return
        self.adopt_genesis(durable.genesis)
        self.log, self.snapshot = Log(), durable.snapshot
        base = json.loads(durable.genesis.command)["voters"]
        voters = tuple((int(replica), str(name)) for replica, name in base)
        if durable.snapshot is not None:
            voters = self._restore_snapshot(durable.snapshot, durable.entries)
        for entry in durable.entries:
            if entry.index > self.log.last_index:
                self.log.add(entry)
        self.voters.rebase(voters, (e for e in durable.entries if e.index > self.applied))
        self.durable = self.replayed = self.log.last_index

    def _restore_snapshot(
        self, snapshot: m.Snapshot, entries: Sequence[m.Entry]
    ) -> tuple[tuple[int, str], ...]:
        self.machine.restore(snapshot.state)
        self.commit = self.applied = snapshot.index
        if entries and entries[0].index <= snapshot.index:  # kept for catch-up by suffix
            first = entries[0]
            self.log.reset(first.index, first.epoch, first.chain)
        else:
            self.log.reset(snapshot.index, snapshot.epoch, snapshot.chain)
        return snapshot.voters

    def adopt_genesis(self, genesis: m.Entry) -> None:
        """Make `genesis` entry 1 of this replica's log (in memory; the caller persists it)."""
        data = json.loads(genesis.command)
        self.genesis, self.group = genesis, genesis.chain
        self.lease_ms = float(data["lease_ms"])
        self.log = Log([genesis])
        self.voters.rebase(tuple((int(r), str(name)) for r, name in data["voters"]))
        self.become(State.FOLLOWING)

    # --- the step ---

    def begin(self, now: float, clock: int) -> None:
        """Open a step at `now` (ms, monotonic) and `clock` (ms since 1970)."""
        self.now, self.clock = max(now, self.now), clock
        self.effects = fx.Effects()

    def handle(self, event: object) -> None:
        """Take one event; its effects gather until `finish`."""
        self._events[type(event)](event)

    def step(self, events: Sequence[object], now: float, clock: int) -> fx.Effects:
        """A whole step without a desk. `answers` keeps the answers until the caller takes them."""
        self.begin(now, clock)
        for event in events:
            self.handle(event)
        return self.finish()

    def finish(self) -> fx.Effects:
        """Do what time and the events so far demand, and give the effects."""
        for part in self._parts:
            part.tick()
        self.advance()
        self.reign.flush()
        self._beat()
        self.check_invariants()
        return self.effects

    def wake_at(self) -> float:
        """When the next step is due at the latest, in ms of `now`."""
        return min(self._next_beat, self.gate.wake_at(), *(p.wake_at() for p in self._parts))

    def advance(self) -> None:
        """Commit, apply and release as far as possible."""
        if self.reigning:
            self.reign.commit_majority()
        self._apply()
        self.gate.advance()
        self.reading.advance()

    def advance_confirmed(self) -> None:
        """A round may be confirmed at once where this replica alone is the majority."""
        self.gate.advance()
        self.reading.advance()

    # --- what all parts use ---

    @property
    def epoch(self) -> int:
        """The newest epoch that this replica has promised or accepted."""
        return self.promised.epoch

    @property
    def reigning(self) -> bool:
        """Whether this replica is the reign of its epoch, be it on its way out."""
        return self.state in (State.REIGNING, State.LEAVING)

    @property
    def open(self) -> bool:
        """Whether the reign may answer: its no-op is committed and applied (PROTOCOL 1.2)."""
        return self.reigning and self.applied >= self.reign.noop_index

    @property
    def handing_over(self) -> bool:
        """Whether this reign is on its way out."""
        return self.state is State.LEAVING

    @property
    def known_primary(self) -> int:
        """The reign that was heard within the timeout, -1 when there is none."""
        fresh = self.now - self.reign_heard <= self.timeout and not self.reign_leaving
        return self.reign_id if fresh and self.reign_id != self.replica else -1

    @property
    def voter(self) -> bool:
        """Whether this replica's own word counts."""
        return self.voters.counts(self.replica, self.incarnation, self.commit)

    @property
    def timeout(self) -> float:
        """How long silence is tolerated, in ms."""
        return self.settings.failure_timeout_ms

    def become(self, state: State) -> None:
        """Change the state. Raises InvariantError for a transition that isn't in the table."""
        if state is self.state:
            return
        if (self.state, state) not in TRANSITIONS:
            raise InvariantError(f"no transition from {self.state.value} to {state.value}")
        self.state = state

    def send(self, replica: int, message: object) -> None:
        """Send after everything of this step is on stable storage."""
        self.effects.send.append((replica, message))

    def note(self, name: str, detail: str = "") -> None:
        """Something worth a line and a count."""
        self.effects.notes.append(fx.Note(name, detail))

    def answer(self, token: object, status: str, index: int = 0, fact: object = None) -> None:
        """Answer a proposal or read of the desk."""
        self.answers.append(fx.Answer(token, status, index, fact))

    def persist(self) -> fx.Persist:
        """This step's transaction."""
        if self.effects.persist is None:
            self.effects.persist = fx.Persist()
        return self.effects.persist

    def promise(self, epoch: int, candidate: int) -> None:
        """Hold to `epoch` and its candidate, on stable storage before anything is sent."""
        if (epoch, candidate) != (self.promised.epoch, self.promised.candidate):
            self.promised = fx.Promised(epoch, candidate)
            self.persist().promised = self.promised
            self.seen_epoch = max(self.seen_epoch, epoch)

    def append(self, epoch: int, kind: str, command: str = "") -> m.Entry:
        """Append a new entry as the reign."""
        entry = self.log.make(epoch, kind, command)
        self.voters.add(entry)
        self.persist().entries.append(entry)
        return entry

    def take(self, entries: Sequence[m.Entry]) -> None:
        """Append entries that another replica made; conflicting ones of ours are truncated, never
        committed ones."""
        for position, entry in enumerate(entries):
            if entry.index <= self.log.base_index:
                continue
            if entry.index <= self.log.last_index:
                own = self.log.entry(entry.index)
                if own.epoch == entry.epoch:
                    if own.chain != entry.chain:
                        raise LogBroken(f"entry {entry.index} differs from the reign's")
                    continue
                self._truncate_from(entry.index)
            for new in entries[position:]:
                self.log.add(new)
                self.voters.add(new)
                self.persist().entries.append(new)
            return

    def _truncate_from(self, index: int) -> None:
        if index <= self.commit:
            raise InvariantError(f"entry {index} is committed and can't be truncated")
        self.log.truncate_from(index)
        self.voters.truncate_from(index)
        self.durable = min(self.durable, index - 1)
        persist = self.persist()
        persist.entries = [entry for entry in persist.entries if entry.index < index]
        first = persist.truncate_from
        persist.truncate_from = index if first is None else min(first, index)
        self.note("log_truncated", f"from {index}")

    def install(self, snapshot: m.Snapshot) -> None:
        """Replace the state by a snapshot that is ahead of what is committed here."""
        self.machine.restore(snapshot.state)
        fits = (
            self.log.base_index <= snapshot.index <= self.log.last_index
            and self.log.epoch_at(snapshot.index) == snapshot.epoch
        )
        persist = self.persist()
        if not fits:
            persist.truncate_from = min(self.log.base_index, snapshot.index) + 1
            persist.compact_to = snapshot.index
            persist.entries = []
            self.log.reset(snapshot.index, snapshot.epoch, snapshot.chain)
        persist.snapshot = self.snapshot = snapshot
        kept = [self.log.entry(i) for i in range(snapshot.index + 1, self.log.last_index + 1)]
        self.voters.rebase(snapshot.voters, kept)
        self.commit = self.applied = snapshot.index
        self.durable = max(self.durable if fits else 0, snapshot.index)
        self.replayed = max(self.replayed, snapshot.index)
        self.note("snapshot_installed", f"index {snapshot.index}")

    # --- events that concern all parts ---

    def _on_received(self, event: fx.Received) -> None:
        envelope = event.envelope
        peer = self.peers.get(envelope.sender)
        if peer is None:
            return self.note("stranger_refused", f"id {envelope.sender}")
        kind = type(envelope.message)
        if envelope.group != self.group and kind not in (m.Hello, m.ShowGenesis, m.Heartbeat):
            return self.note("foreign_group_refused", f"{kind.__name__} of {envelope.sender}")
        if envelope.incarnation != peer.incarnation:
            self._new_incarnation(peer, envelope.incarnation)
        if self.now - peer.heard > self.timeout:
            peer.steady_since = math.inf
        peer.heard, peer.dead = self.now, False
        handler = self._messages.get(kind)
        if handler is not None:
            handler(peer, envelope.message)
        return None

    def _new_incarnation(self, peer: Peer, incarnation: str) -> None:
        peer.incarnation, peer.beat, peer.steady_since = incarnation, None, math.inf
        self.reign.forget(peer.replica)

    def _on_heartbeat(self, peer: Peer, beat: m.Heartbeat) -> None:
        if beat.group != self.group:
            return
        peer.beat = beat
        self.seen_epoch = max(self.seen_epoch, beat.epoch)
        if not beat.caught_up or beat.leaving:
            peer.steady_since = math.inf
        elif peer.steady_since == math.inf:
            peer.steady_since = self.now
        if beat.reigning:
            self.hear_reign(peer.replica, beat.epoch, leaving=beat.leaving)

    def hear_reign(self, replica: int, epoch: int, *, leaving: bool) -> None:
        """A reign of `epoch` is alive; liveness only."""
        if epoch < max(self.epoch, self.reign_epoch):
            return
        if (epoch, replica) != (self.reign_epoch, self.reign_id):
            self.handover.reign_changed(self.reign_id, handed_over=self.reign_leaving)
            self.reign_epoch, self.reign_id = epoch, replica
            if replica != self.replica:
                self.note("reign_heard", f"epoch {epoch} of {replica}")
        self.reign_heard, self.reign_leaving = self.now, leaving
        self.elections.reign_heard()
        if self.reigning and replica != self.replica and epoch > self.epoch:
            self.step_down("a newer reign was heard")

    def step_down(self, why: str) -> None:
        """End the own reign or candidacy. What was proposed may or may not be committed."""
        if self.reigning:
            self.note("stepped_down", f"epoch {self.epoch}: {why}")
            self.reign.end()
            if self.reign_id == self.replica:
                self.reign_id = -1
        if self.state is not State.EMPTY:
            self.become(State.FOLLOWING)
        self.elections.delay()

    def _on_persisted(self, _event: fx.Persisted) -> None:
        self.durable = self.log.last_index
        self.elections.own_promise_persisted()

    def _on_holder(self, event: fx.FromHolder) -> None:
        self.gate.on_message(event.message)

    def _on_leave(self, _event: fx.Leave) -> None:
        self.leaving = True
        self.note("leaving", "asked to stop")

    # --- committing, applying, beating ---

    def _apply(self) -> None:
        limit, replaced = min(self.commit, self.durable), False
        while self.applied < limit:
            entry = self.log.entry(self.applied + 1)
            self.applied = entry.index
            if entry.kind == m.COMMAND:
                outcome = self.machine.apply(entry.index, entry.command)
                if entry.index > self.replayed:  # an operation is logged once, not on replay
                    self.effects.operations.extend(outcome.operations)
                self.gate.applied(entry.index, outcome.keys)
                self.reign.applied(entry.index, outcome.fact)
            elif entry.kind == m.GENESIS:
                lines = self.machine.start(json.dumps(json.loads(entry.command)["data"]))
                if entry.index > self.replayed:
                    self.effects.operations.extend(lines)
            elif entry.kind == m.NOOP and self.reigning and entry.index == self.reign.noop_index:
                self.beat_now()
                self.note("reign_open", f"epoch {entry.epoch}")
            elif entry.kind == m.REPLACE:
                self.note("voter_replaced", entry.command)
                replaced = True
        self._take_snapshot(at_once=replaced)

    def _take_snapshot(self, *, at_once: bool) -> None:
        """Now and then; `at_once` after a change of the voters: a replica that starts must know
        that it is committed, or a voter that was replaced long ago counts for nothing then."""
        previous = self.snapshot.index if self.snapshot else 0
        # A large state is written less often, so that its cost per entry stays constant.
        size = len(self.snapshot.state) // 256 if self.snapshot else 0
        if self.applied - previous < max(self.settings.snapshot_entries, size) and not at_once:
            return
        at = self.applied
        self.snapshot = m.Snapshot(
            at,
            self.log.epoch_at(at),
            self.log.chain_at(at),
            self.voters.at(at),
            self.machine.snapshot(),
        )
        persist = self.persist()
        persist.snapshot = self.snapshot
        keep = at - self.settings.keep_entries
        if keep > self.log.base_index:
            self.log.compact_to(keep)
            persist.compact_to = keep - 1  # the base's entry stays: its chain is needed at a start
        self.note("snapshot_taken", f"index {at}")

    def _beat(self) -> None:
        if self.now >= self._next_beat:
            self._next_beat = self.now + self.settings.heartbeat_interval_ms
            self.effects.heartbeat = self.vitals.beat()

    def beat_now(self) -> None:
        """Something changed that others wait for: the next heartbeat leaves in this step."""
        self._next_beat = self.now

    # --- invariants ---

    def check_invariants(self) -> None:
        """O(1); raises InvariantError."""
        self._must(self.applied <= self.commit <= self.log.last_index, "applied ≤ commit ≤ last")
        self._must(self.durable <= self.log.last_index, "durable ≤ last")
        self._must(self.log.base_index <= self.applied or not self.applied, "base ≤ applied")
        self._must(self.gate.released <= self.applied or not self.reigning, "released ≤ applied")
        mine = self.promised.candidate == self.replica
        self._must(mine or not self.reigning, "a reign holds its own promise")

    def _must(self, holds: bool, rule: str) -> None:  # noqa: FBT001 - it reads as an assertion
        if not holds:
            raise InvariantError(f"{rule} doesn't hold: {self.vitals.status()}")
