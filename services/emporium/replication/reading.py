"""Linearizable reads by ReadIndex (PROTOCOL 1.9; Raft, 6.4).

A read waits for a confirmation round that is sent after it arrived, then for the state at the
commit index of its arrival. Reads that arrive together share a round. A backup asks the reign for
a confirmed index on behalf of all its reads.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from emporium.replication import effects as fx
from emporium.replication import messages as m

if TYPE_CHECKING:
    from emporium.replication.core import Core
    from emporium.replication.vitals import Peer


@dataclass(slots=True)
class Waiting:
    """A read at the reign that waits for its round and then for its index."""

    token: object
    round: int
    index: int
    peer: int = -1  # ≥ 0: asked by this backup, `token` is its read number
    since: float = 0.0


@dataclass(slots=True)
class Asked:
    """A read at a backup that waits for the reign's index (-1) and then for its own state."""

    token: object
    number: int
    since: float
    index: int = -1


class Reading:
    """The part of a core that answers reads."""

    def __init__(self, core: Core) -> None:
        """No read waits."""
        self.core = core
        self._waiting: deque[Waiting] = deque()
        self._asked: deque[Asked] = deque()
        # An answer to an earlier life of this replica, still under way, must fit no read of now.
        self._number = int(core.now * 1000)
        self._asked_upto = 0
        self._ask_again = math.inf

    def on_read(self, event: fx.Read) -> None:
        """A read of the desk, at the level that it names."""
        core = self.core
        if event.level == "local":
            status = fx.READY if core.applied else fx.UNAVAILABLE
            core.answer(event.token, status, core.applied)
        elif event.level == "primary":
            core.answer(event.token, fx.READY if core.open else fx.NOT_REIGNING, core.applied)
        elif len(self._waiting) + len(self._asked) >= core.settings.pending_reads:
            core.answer(event.token, fx.OVERLOADED)
        elif core.reigning:
            self._wait(event.token, -1)
        elif core.vitals.serving:
            self._number += 1
            self._asked.append(Asked(event.token, self._number, core.now))
        else:
            core.answer(event.token, fx.UNAVAILABLE)

    def on_ask(self, peer: Peer, ask: m.AskReadIndex) -> None:
        """A backup asks for an index for its reads up to a number."""
        core = self.core
        if core.reigning and ask.epoch == core.epoch:
            core.reign.wants_reads(peer.replica)
            self._wait(ask.read, peer.replica)
        elif ask.epoch < core.epoch:
            core.send(peer.replica, m.Refused(core.epoch))

    def _wait(self, token: object, peer: int) -> None:
        """Join the next round, never one that was already sent: its echoes may be older than the
        read."""
        core = self.core
        index = max(core.commit, core.reign.noop_index)
        self._waiting.append(Waiting(token, core.reign.want_round(), index, peer, core.now))

    def on_read_index(self, _peer: Peer, answer: m.ReadIndex) -> None:
        """The reign's confirmed index for our reads up to a number."""
        core = self.core
        if answer.epoch != core.epoch or core.reigning:
            return
        core.following.learn(answer.epoch, answer.index, answer.released)
        for asked in self._asked:
            if asked.number > answer.read:
                break
            if asked.index < 0:
                asked.index = answer.index

    def tick(self) -> None:
        """Ask the reign for the new reads of this step; give up what waits too long."""
        core = self.core
        if core.reigning or not self._asked:
            self._ask_again = math.inf
            return
        while self._asked and core.now - self._asked[0].since > 2 * core.timeout:
            core.answer(self._asked.popleft().token, fx.UNAVAILABLE)
        due = core.now >= self._ask_again
        new = self._number > self._asked_upto
        if due or new or self._ask_again == math.inf:
            self._ask_again = core.now + core.settings.heartbeat_interval_ms
        if core.reign_id < 0 or core.reign_id == core.replica:
            return
        if new or (due and any(asked.index < 0 for asked in self._asked)):
            self._asked_upto = self._number
            core.send(core.reign_id, m.AskReadIndex(core.epoch, self._number))

    def wake_at(self) -> float:
        """When to ask again."""
        return self._ask_again

    def advance(self) -> None:
        """Answer the reads whose round is confirmed and whose index is applied."""
        core = self.core
        while self._waiting and core.open:
            first = self._waiting[0]
            if first.round > core.reign.confirmed or first.index > core.applied:
                break
            self._waiting.popleft()
            self._done(first)
        while self._asked and 0 <= self._asked[0].index <= core.applied:
            core.answer(self._asked.popleft().token, fx.READY, core.applied)

    def _done(self, read: Waiting) -> None:
        core = self.core
        if read.peer < 0:
            core.answer(read.token, fx.READY, core.applied)
            return
        number = read.token
        assert isinstance(number, int)  # noqa: S101 - set in on_ask
        index = m.ReadIndex(core.epoch, number, read.index, core.gate.released)
        core.send(read.peer, index)

    def reign_changed(self) -> None:
        """The reign that reads waited for is gone: they are refused (nothing was done) or, at a
        backup, asked anew of the next one."""
        core = self.core
        while self._waiting:
            read = self._waiting.popleft()
            if read.peer < 0:
                core.answer(read.token, fx.NOT_REIGNING)
        for asked in self._asked:
            asked.index = -1
        if core.reigning:
            while self._asked:
                core.answer(self._asked.popleft().token, fx.UNAVAILABLE)
        self._asked_upto = 0
