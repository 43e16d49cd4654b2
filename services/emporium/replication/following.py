"""Being replicated to: what a backup or learner does with the reign's messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emporium.replication import messages as m
from emporium.replication.log import LogBroken
from emporium.replication.states import State

if TYPE_CHECKING:
    from emporium.replication.core import Core
    from emporium.replication.vitals import Peer


class Following:
    """The part of a core that is busy while another replica reigns."""

    def __init__(self, core: Core) -> None:
        """Nothing is verified against any reign's log yet."""
        self.core = core
        self.verified = 0  # our log is the reign's of `verified_epoch` up to here
        self.verified_epoch = 0
        self._part: list[str] = []
        self._part_of = (0, 0)  # (epoch, index) of the snapshot that is arriving

    def _accepts(self, peer: Peer, epoch: int, kind: str, *, leaving: bool) -> bool:
        """Whether the message is of a reign that we may follow; if not, its sender hears of the
        newer epoch and steps down."""
        core = self.core
        if core.state is State.EMPTY:
            return False
        if not self._current(epoch):
            core.note("old_epoch_refused", f"{kind} of {peer.replica}, epoch {epoch}")
            core.send(peer.replica, m.Refused(core.epoch))
            return False
        if epoch > core.epoch:
            core.promise(epoch, peer.replica)
        if core.state is not State.FOLLOWING:
            core.step_down(f"epoch {epoch} is the reign of {peer.replica}")
        core.hear_reign(peer.replica, epoch, leaving=leaving)
        if epoch != self.verified_epoch:
            self.verified_epoch, self.verified = epoch, 0
            core.reading.reign_changed()
        return True

    def _current(self, epoch: int) -> bool:
        """Whoever has seen a newer epoch refuses an older one (promise 2)."""
        return epoch >= self.core.epoch

    def on_append(self, peer: Peer, append: m.Append) -> None:
        """Take the entries when the log fits before them; say how far it is the reign's."""
        core, log = self.core, self.core.log
        if not self._accepts(peer, append.epoch, "Append", leaving=append.leaving):
            return
        if not self._fits(append):
            hint = min(log.last_index, append.previous_index - 1)
            if append.previous_index <= log.last_index:  # a whole epoch of ours is in the way
                hint = log.first_of_epoch(append.previous_index) - 1
            hint = max(hint, core.commit)
            core.send(
                peer.replica,
                m.Appended(append.epoch, accepted=False, match=hint, round=append.round),
            )
            return
        core.take(append.entries)
        reached = append.previous_index + len(append.entries)
        self.verified = max(self.verified, reached)
        self._learn(append.commit, append.released)
        core.send(
            peer.replica, m.Appended(append.epoch, accepted=True, match=reached, round=append.round)
        )

    def _fits(self, append: m.Append) -> bool:
        """The log matching rule: same index and epoch before the new entries."""
        log, index = self.core.log, append.previous_index
        if index < log.base_index:
            return True  # up to the base everything is committed, here and there
        if index > log.last_index or log.epoch_at(index) != append.previous_epoch:
            return False
        if log.chain_at(index) != append.previous_chain:
            raise LogBroken(f"the logs differ at or before entry {index} of the same epoch")
        return True

    def _learn(self, commit: int, released: int) -> None:
        core = self.core
        core.commit = max(core.commit, min(commit, self._limit()))
        core.gate.learn(released)

    def _limit(self) -> int:
        """Commit never beyond what is verified against this epoch's log (PROTOCOL 1.9)."""
        return self.verified

    def learn(self, epoch: int, commit: int, released: int) -> None:
        """A read index is also news of the commit and released index."""
        if epoch == self.verified_epoch:
            self._learn(commit, released)

    def on_snapshot(self, peer: Peer, part: m.InstallSnapshot) -> None:
        """Collect the parts of a snapshot; install it when it is whole and ahead of us."""
        core = self.core
        if not self._accepts(peer, part.epoch, "InstallSnapshot", leaving=False):
            return
        if part.index <= core.commit:
            core.send(peer.replica, self._whole(part))
            return
        if self._part_of != (part.epoch, part.index) or part.offset == 0:
            self._part_of, self._part = (part.epoch, part.index), []
        arrived = sum(map(len, self._part))
        if part.offset == arrived:
            self._part.append(part.data)
            arrived += len(part.data)
        if arrived < part.total:
            answer = m.SnapshotReceived(part.epoch, part.index, arrived, part.round)
            core.send(peer.replica, answer)
            return
        state, self._part = "".join(self._part), []
        core.install(m.Snapshot(part.index, part.entry_epoch, part.chain, part.voters, state))
        self.verified = max(self.verified, part.index)
        core.send(peer.replica, self._whole(part))

    def _whole(self, part: m.InstallSnapshot) -> m.Appended:
        """Everything up to the snapshot's index is here."""
        return m.Appended(part.epoch, accepted=True, match=part.index, round=part.round)
