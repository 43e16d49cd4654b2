"""Replicating as the primary: appending, counting, confirming (PROTOCOL 1.1 to 1.6, 1.9).

Messages to a peer are pipelined: `next` runs ahead of `match` and is set back when nothing comes
of it. A confirmation round is a number that appends carry and answers echo; a read, a lease or
the reign itself is confirmed by a majority's echo of a round that was sent afterwards.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from emporium.replication import effects as fx
from emporium.replication import messages as m
from emporium.replication.states import State
from emporium.replication.voters import replacement

if TYPE_CHECKING:
    from emporium.replication.core import Core
    from emporium.replication.vitals import Peer

IN_FLIGHT = 8
"""At most so many unanswered appends with entries per peer."""
SNAPSHOT_PART = 256 * 1024
"""Characters of a snapshot in one message."""


@dataclass(slots=True)
class Progress:
    """How far one incarnation of a peer is, as the reign knows."""

    incarnation: str
    next: int  # the next entry to send
    match: int = 0  # durably the same log up to here
    round: int = 0  # newest round echoed
    in_flight: deque[int] = field(default_factory=deque)  # last index of each unanswered append
    unanswered: int = 0  # the first entry of what is in flight
    sent: float = -math.inf  # the last append with entries
    commit_sent: int = -1
    released_sent: int = -1
    wants_reads: float = -math.inf  # when it last asked for a read index
    snapshot_offset: int = -1  # ≥ 0: a snapshot is being sent, so much has arrived
    joined_at: int = 0  # commit index when this incarnation appeared
    joined_round: int = 0  # a round sent after it appeared
    refused: bool = False
    resynced: float = -math.inf  # when it last lacked entries before those that were sent


class Reign:
    """The part of a core that is busy while this replica reigns."""

    def __init__(self, core: Core) -> None:
        """Not reigning."""
        self.core = core
        self.noop_index = 0
        self.round = 0
        self.pending: dict[int, object] = {}  # index → token of the proposal
        self._progress: dict[int, Progress] = {}
        self._rounds: deque[tuple[int, float]] = deque()  # sent, unconfirmed: (round, when)
        self._confirmed, self._confirmed_sent = 0, 0.0
        self._round_wanted = False
        self._next_round = math.inf

    # --- begin and end ---

    def begin(self, epoch: int, handed_by: int) -> None:
        """A majority promised `epoch` and its log is adopted: append the no-op and announce."""
        core = self.core
        core.become(State.REIGNING)
        core.elections.won()
        self.noop_index = self._first_entry(epoch)
        core.following.verified_epoch = 0
        self._progress.clear()
        self._rounds.clear()
        self._confirmed, self._confirmed_sent = self.round, core.now
        self._next_round = core.now
        core.gate.begin(core.handover.table_for(epoch, handed_by))
        core.hear_reign(core.replica, epoch, leaving=False)
        core.reading.reign_changed()
        core.note("reign_began", f"epoch {epoch}")

    def _first_entry(self, epoch: int) -> int:
        """Every reign begins with a no-op of its epoch: only with it can older entries be
        committed (PROTOCOL 1.2). Gives its index."""
        return self.core.append(epoch, m.NOOP).index

    def end(self) -> None:
        """Step down: nobody knows yet what becomes of the proposals that aren't committed."""
        for index, token in self.pending.items():
            self.core.answer(token, fx.UNKNOWN, index)
        self.pending.clear()
        self._next_round = math.inf
        self.core.gate.end()
        self.core.reading.reign_changed()
        self.core.handover.reign_ended()
        self.core.beat_now()

    def forget(self, replica: int) -> None:
        """A peer came back as another incarnation: what the old one had doesn't count."""
        self._progress.pop(replica, None)

    def progress(self, replica: int) -> Progress:
        """How far a peer's present incarnation is."""
        core = self.core
        found = self._progress.get(replica)
        if found is None:
            incarnation = core.peers[replica].incarnation
            # Most peers have what was there before the reign: its no-op is what they lack.
            found = Progress(incarnation, max(self.noop_index, core.log.base_index + 1))
            found.joined_at, found.joined_round = core.commit, self.round + 1
            self._progress[replica] = found
        return found

    # --- proposals ---

    def on_propose(self, event: fx.Propose) -> None:
        """Append a command of the desk, or say surely not."""
        core = self.core
        if core.state is not State.REIGNING or not core.open:
            core.answer(event.token, fx.NOT_REIGNING)
        elif len(self.pending) >= core.settings.pending_proposals:
            core.answer(event.token, fx.OVERLOADED)
        else:
            entry = core.append(core.epoch, m.COMMAND, event.command)
            self.pending[entry.index] = event.token

    def applied(self, index: int, fact: object) -> None:
        """An entry was applied: answer its proposal."""
        token = self.pending.pop(index, None)
        if token is not None:
            self.core.answer(token, fx.DONE, index, fact)

    # --- counting ---

    def commit_majority(self) -> None:
        """Commit what a majority of the voters has durably, counted by entries of our epoch."""
        core = self.core
        while True:
            index = self._majority_index()
            if index <= core.commit or not self._countable(index):
                return
            changing = core.voters.changing(core.commit)
            core.commit = index
            if not changing:
                return  # else the new voter counts from here on: look again

    def _countable(self, index: int) -> bool:
        """Only entries of the own epoch are committed by counting (Raft, figure 8)."""
        return self.core.log.epoch_at(index) == self.core.epoch

    def _majority_index(self) -> int:
        core = self.core
        matches = [
            progress.match
            for replica, progress in self._progress.items()
            if core.voters.counts(replica, progress.incarnation, core.commit)
        ]
        if core.voter:
            matches.append(core.durable)
        needed = core.voters.majority
        return sorted(matches, reverse=True)[needed - 1] if len(matches) >= needed else 0

    # --- rounds ---

    def want_round(self) -> int:
        """The number of a confirmation round that is yet to be sent."""
        self._round_wanted = True
        return self.round + 1

    @property
    def confirmed(self) -> int:
        """The newest round that a majority has echoed."""
        return self._confirmed

    def _confirm(self) -> None:
        core = self.core
        rounds = [
            progress.round
            for replica, progress in self._progress.items()
            if core.voters.counts(replica, progress.incarnation, core.commit)
        ]
        if core.voter:
            rounds.append(self.round)
        needed = core.voters.majority
        if len(rounds) < needed:
            return
        newest = sorted(rounds, reverse=True)[needed - 1]
        while self._rounds and self._rounds[0][0] <= newest:
            self._confirmed, self._confirmed_sent = self._rounds.popleft()

    def tick(self) -> None:
        """Step down without a majority (check-quorum); look after learners."""
        core = self.core
        if not core.reigning:
            return
        self._confirm()
        if core.now - self._confirmed_sent > core.timeout:
            core.step_down("no majority answered for a timeout")
            return
        core.reign_heard = core.now
        if core.now >= self._next_round:
            self._round_wanted = True
        self._replace_lost()

    def wake_at(self) -> float:
        """The next round, which is also the check of the quorum."""
        return self._next_round

    # --- sending ---

    def flush(self) -> None:
        """Send each peer what it lacks: entries, a snapshot, a round, a commit index."""
        core = self.core
        if not core.reigning:
            return
        new_round = self._round_wanted
        if new_round:
            self.round += 1
            self._rounds.append((self.round, core.now))
            self._next_round = core.now + core.settings.heartbeat_interval_ms
            self._round_wanted = False
            self._confirm()
        for replica in core.peers:
            self._flush_peer(replica, self.progress(replica), new_round=new_round)
        core.advance_confirmed()

    def _flush_peer(self, replica: int, progress: Progress, *, new_round: bool) -> None:
        core = self.core
        self._resend_if_silent(progress)
        sent = False
        if progress.next <= core.log.base_index and progress.snapshot_offset < 0:
            progress.snapshot_offset = 0
            self._send_snapshot_part(replica, progress)
        while (
            progress.snapshot_offset < 0
            and progress.next <= core.log.last_index
            and len(progress.in_flight) < (1 if progress.refused else IN_FLIGHT)
        ):
            self._send_entries(replica, progress)
            sent = True
        if not sent and (new_round or self._commit_is_news(progress)):
            self._send_append(replica, progress, ())

    def _commit_is_news(self, progress: Progress) -> bool:
        """Whether the peer waits for a commit or released index that we haven't sent: then it
        goes at once, not with the next round."""
        core = self.core
        if core.now - progress.wants_reads > core.timeout:
            return False
        sent = (progress.commit_sent, progress.released_sent)
        return sent != (core.commit, core.gate.released)

    def _resend_if_silent(self, progress: Progress) -> None:
        core = self.core
        waited = core.now - progress.sent > 2 * core.settings.heartbeat_interval_ms
        if waited and progress.next > progress.match + 1 and progress.in_flight:
            progress.next = max(progress.match + 1, progress.unanswered)
            progress.in_flight.clear()
        if waited and progress.snapshot_offset >= 0:
            progress.snapshot_offset = -1

    def _send_entries(self, replica: int, progress: Progress) -> None:
        core = self.core
        entries = core.log.after(
            progress.next - 1, core.settings.batch_entries, core.settings.batch_bytes
        )
        self._send_append(replica, progress, entries)
        if not progress.in_flight:
            progress.unanswered = progress.next
        progress.next += len(entries)
        progress.in_flight.append(progress.next - 1)
        progress.sent = core.now

    def _send_append(self, replica: int, progress: Progress, entries: tuple[m.Entry, ...]) -> None:
        core, previous = self.core, max(progress.next - 1, self.core.log.base_index)
        progress.commit_sent, progress.released_sent = core.commit, core.gate.released
        append = m.Append(
            epoch=core.epoch,
            previous_index=previous,
            previous_epoch=core.log.epoch_at(previous),
            entries=entries,
            commit=core.commit,
            released=core.gate.released,
            round=self.round,
            leaving=core.state is State.LEAVING,
            previous_chain=core.log.chain_at(previous),
        )
        core.effects.send_early.append((replica, append))

    def _send_snapshot_part(self, replica: int, progress: Progress) -> None:
        core, snapshot = self.core, self.core.snapshot
        if snapshot is None:
            return
        offset = progress.snapshot_offset
        part = m.InstallSnapshot(
            epoch=core.epoch,
            index=snapshot.index,
            entry_epoch=snapshot.epoch,
            chain=snapshot.chain,
            voters=snapshot.voters,
            offset=offset,
            total=len(snapshot.state),
            data=snapshot.state[offset : offset + SNAPSHOT_PART],
            round=self.round,
        )
        progress.sent = core.now
        core.send(replica, part)

    # --- answers ---

    def on_appended(self, peer: Peer, answer: m.Appended) -> None:
        """A peer's log matches up to an index, or it names where to try."""
        core = self.core
        if not core.reigning or answer.epoch != core.epoch:
            return
        progress = self.progress(peer.replica)
        if progress.incarnation != peer.incarnation:
            return
        progress.round = max(progress.round, answer.round)
        if answer.accepted:
            if answer.match > core.log.last_index:
                core.note("match_beyond_log", f"replica {peer.replica}: {answer.match}")
                return
            progress.match = max(progress.match, answer.match)
            progress.next = max(progress.next, progress.match + 1)
            while progress.in_flight and progress.in_flight[0] <= progress.match:
                progress.in_flight.popleft()  # an answer to an empty append ends nothing
            progress.unanswered = progress.match + 1
            progress.refused, progress.snapshot_offset = False, -1
        else:
            self._note_resync(peer.replica, progress)
            progress.in_flight.clear()
            progress.refused = True
            progress.next = max(progress.match, min(progress.next - 1, answer.match)) + 1

    def _note_resync(self, replica: int, progress: Progress) -> None:
        """The log of a replica that was away is brought up to date from here (seed: resync)."""
        if self.core.now - progress.resynced > self.core.timeout:
            self.core.note("resync", str(replica))
        progress.resynced = self.core.now

    def on_snapshot_received(self, peer: Peer, answer: m.SnapshotReceived) -> None:
        """A part of a snapshot has arrived: the next one, please."""
        core = self.core
        if not core.reigning or answer.epoch != core.epoch or core.snapshot is None:
            return
        progress = self.progress(peer.replica)
        progress.round = max(progress.round, answer.round)
        if answer.index != core.snapshot.index:  # a newer snapshot was taken meanwhile
            progress.snapshot_offset = -1
            return
        if progress.snapshot_offset >= 0 and answer.offset < len(core.snapshot.state):
            progress.snapshot_offset = answer.offset
            self._send_snapshot_part(peer.replica, progress)

    # --- learners and hand-over candidates ---

    def _replace_lost(self) -> None:
        """Make a learner a voter in place of the incarnation that its id lost, once it has all
        that was committed when it appeared and the reign was confirmed since (PROTOCOL 1.6)."""
        core = self.core
        if not core.open or core.state is not State.REIGNING or core.voters.changing(core.commit):
            return
        for replica, progress in self._progress.items():
            voter = core.voters.incarnation(replica)
            if not voter or voter == progress.incarnation or not progress.incarnation:
                continue
            near = progress.match + core.settings.batch_entries >= core.log.last_index
            caught_up = near and progress.match >= progress.joined_at
            if caught_up and self._confirmed >= progress.joined_round:
                core.append(
                    core.epoch, m.REPLACE, replacement(replica, voter, progress.incarnation)
                )
                core.note("replace_proposed", f"replica {replica}: {progress.incarnation}")
                return

    def within_batch(self, replica: int) -> bool:
        """Whether a peer is a voter that has answered this reign and lacks at most one batch."""
        core, progress = self.core, self.progress(replica)
        return (
            core.voters.counts(replica, progress.incarnation, core.commit)
            and progress.match >= self.noop_index
            and progress.match + core.settings.batch_entries >= core.log.last_index
        )

    def wants_reads(self, replica: int) -> None:
        """A peer asks for read indexes: from now on commits are sent to it at once."""
        self.progress(replica).wants_reads = self.core.now
