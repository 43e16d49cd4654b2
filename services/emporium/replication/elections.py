"""Who stands, who promises, and which log a reign begins with (PROTOCOL 1.3, 1.4, 2).

A candidacy has three steps: ask (pre-vote, changes nothing), stand (collect promises of a new
epoch from a majority), adopt (take over the most up-to-date log among the promises). Rank is a
delay, not a right, so that any voter stands in the end.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from emporium.replication import effects as fx
from emporium.replication import messages as m
from emporium.replication.log import chain_hash
from emporium.replication.states import State

if TYPE_CHECKING:
    from emporium.replication.core import Core
    from emporium.replication.vitals import Peer

Extent = tuple[int, int]


class Elections:
    """The part of a core that is about becoming the reign and letting others become it."""

    def __init__(self, core: Core) -> None:
        """Nothing is under way."""
        self.core = core
        self._since = core.now  # when the delay of the own rank began
        self._impatient = True  # death is proved, or nobody was heard since the start: no timeout
        self._attempts = 0
        self._target = 0  # the epoch asked for or stood for
        self._leaving_epoch = 0  # of the reign that asked this replica to stand
        self._until = math.inf  # when the present step is repeated, or given up
        self._granted: dict[int, str] = {}  # pre-votes: id → incarnation
        self._yielded = False  # our question is given up for a more preferred one's
        self._promises: dict[int, tuple[str, Extent]] = {}  # id → (incarnation, its log's extent)
        self._held: dict[int, m.PreVote] = {}  # pre-votes that wait for a probe
        self._donor, self._part = -1, list[m.Entry]()

    # --- when to stand ---

    def first_start(self) -> None:
        """The group has just formed: nobody can reign yet, so nobody has to be waited for."""
        self._since, self._impatient = self.core.now, True

    def delay(self) -> None:
        """Begin the delay of the own rank anew."""
        self._since, self._impatient = self.core.now, False
        self._until = math.inf

    def reign_heard(self) -> None:
        """A reign is alive: whatever was proved dead, it isn't the reign."""
        self._impatient = False

    def rank(self) -> int:
        """How many voters are to stand before this one."""
        core = self.core
        alive = [peer for peer in core.peers.values() if self._may_stand(peer)]
        batch = core.settings.batch_entries
        ready = [p for p in alive if p.beat is None or p.beat.last_index + batch >= core.commit]
        if self._others_first(alive):
            return len(alive)
        return core.mode.rank(core.replica, [peer.replica for peer in ready])

    def _others_first(self, alive: list[Peer]) -> bool:
        """Whether this replica stands last: it lacks much, leaves, or its clock is ahead."""
        core = self.core
        reach = core.log.last_index + core.settings.batch_entries
        behind = any(p.beat and p.beat.commit > reach for p in alive)
        return behind or core.leaving or core.vitals.clock_ahead

    def _goes_on_asking(self) -> bool:
        """Not when a reign is heard, nor when it turns out that the others stand first: they have
        their head start then."""
        core = self.core
        if core.state is not State.ASKING or self._reign_alive(core.replica):
            return False
        return not self._others_first([p for p in core.peers.values() if core.vitals.alive(p)])

    def _may_stand(self, peer: Peer) -> bool:
        """Whether it is a voter that lives, or could be on its way as we are: after a restart of
        all nobody has been heard yet, and the most preferred should be the first to stand."""
        core = self.core
        if core.vitals.alive(peer):
            return core.voters.counts(peer.replica, peer.incarnation, core.commit)
        unheard = peer.heard == -math.inf
        fresh = core.now - core.started <= core.timeout
        return unheard and fresh and bool(core.voters.incarnation(peer.replica))

    def _stand_at(self) -> float:
        core = self.core
        start = self._since
        if not self._impatient:
            start = max(start, core.reign_heard) + core.timeout
        if core.now < start:
            return start  # the rank is looked at when it matters, not in every step
        quarter = core.timeout / 4
        delay = self.rank() * quarter
        if self._attempts:  # ids differ, so two candidates that met once don't meet again
            delay += quarter / 4 * (self._attempts % 4) * (1 + core.replica)
        return start + delay

    def tick(self) -> None:
        """Stand when it is time; ask again, or give up a step that takes too long."""
        core = self.core
        if core.state is State.FOLLOWING:
            if core.voter and core.now >= self._stand_at():
                self._ask()
        elif core.now < self._until:
            return
        elif self._goes_on_asking():
            self._ask()
        else:
            self._attempts += 1
            impatient = self._impatient
            core.step_down("no majority in time")
            self._impatient = impatient

    def wake_at(self) -> float:
        """When to stand or to give up."""
        if self.core.state is State.FOLLOWING:
            return self._stand_at() if self.core.voter else math.inf
        return self._until

    # --- proof of death ---

    def on_lost(self, event: fx.Lost) -> None:
        """A connection ended: look whether the process is dead, if it matters."""
        if event.replica == self.core.reign_id:
            self._probe(event.replica)

    def _probe(self, replica: int) -> None:
        peer = self.core.peers.get(replica)
        if peer is not None and not peer.probing:
            peer.probing = True
            self.core.effects.probe.append(replica)

    def on_probed(self, event: fx.Probed) -> None:
        """A fresh connect was refused (the process is dead) or not (nothing is proved)."""
        core = self.core
        peer = core.peers.get(event.replica)
        if peer is None:
            return
        peer.probing = False
        if event.refused:
            peer.dead, peer.steady_since = True, math.inf
            if event.replica == core.reign_id and core.state is State.FOLLOWING:
                self._since, self._impatient = core.now, True
                core.note("death_proved", f"replica {event.replica} refuses connections")
        held, self._held = self._held, {}
        for sender, pre_vote in held.items():
            self._answer_pre_vote(sender, pre_vote, granted=not self._reign_alive(sender))

    # --- asking ---

    def _ask(self) -> None:
        """Ask everybody. A question changes nothing, so it is asked again after a heartbeat until
        somebody stands or a reign is heard: who couldn't be reached may be now, and after a restart
        of all that is what everybody waits for. The less preferred ask less often: two who asked in
        step would stand in step, too."""
        core = self.core
        target = max(core.epoch, core.seen_epoch) + 1
        if core.state is not State.ASKING or target != self._target:
            core.become(State.ASKING)
            core.note("asking", f"epoch {target}")
        rarer = 1 + core.mode.rank(core.replica, list(core.peers)) / 4
        self._target, self._until = target, core.now + core.settings.heartbeat_interval_ms * rarer
        self._granted, self._yielded = {core.replica: core.incarnation}, False
        pre_vote = m.PreVote(self._target, *core.log.extent)
        for replica in core.peers:
            core.send(replica, pre_vote)
        self._count_pre_votes()

    def _reign_alive(self, candidate: int) -> bool:
        """Whether a reign was heard within the timeout that isn't leaving, isn't the candidate's
        and isn't proven dead (PROTOCOL 2.1)."""
        core = self.core
        if core.reigning:
            return core.state is not State.LEAVING
        if core.reign_id < 0 or core.reign_id == candidate or core.reign_leaving:
            return False
        if core.peers[core.reign_id].dead:
            return False
        return core.now - core.reign_heard <= core.timeout

    def on_pre_vote(self, peer: Peer, pre_vote: m.PreVote) -> None:
        """Somebody asks whether it could stand."""
        core = self.core
        if not core.voter:
            return
        if pre_vote.epoch > core.epoch and self._reign_alive(peer.replica):
            if not core.reigning:
                self._held[peer.replica] = pre_vote
                self._probe(core.reign_id)
                return
            self._answer_pre_vote(peer.replica, pre_vote, granted=False)
            return
        self._answer_pre_vote(peer.replica, pre_vote, granted=True)

    def _answer_pre_vote(self, sender: int, pre_vote: m.PreVote, *, granted: bool) -> None:
        core = self.core
        granted = granted and pre_vote.epoch > core.epoch and self._log_may_reign(pre_vote)
        if granted and core.state is State.ASKING and core.mode.preferred(sender, core.replica):
            self._yielded = True  # or both would stand, each with its own promise
        core.send(sender, m.PreVoted(pre_vote.epoch, granted, core.epoch))

    def _log_may_reign(self, asked: m.PreVote | m.RequestPromise) -> bool:
        """Where the reign adopts no log, only an up-to-date one may get the promise."""
        adopts = self.core.mode.adopts
        return adopts or (asked.last_epoch, asked.last_index) >= self.core.log.extent

    def on_pre_voted(self, peer: Peer, answer: m.PreVoted) -> None:
        """An answer to our question."""
        core = self.core
        core.seen_epoch = max(core.seen_epoch, answer.promised)
        if core.state is not State.ASKING or answer.epoch != self._target:
            return
        if answer.granted:
            self._granted[peer.replica] = peer.incarnation
            if not self._yielded and not self._reign_alive(core.replica):
                self._count_pre_votes()
        elif answer.promised >= self._target:
            self._ask()  # for an epoch that nobody has promised yet

    def _majority_of(self, votes: dict[int, str]) -> bool:
        core = self.core
        count = sum(core.voters.counts(r, name, core.commit) for r, name in votes.items())
        return count >= core.voters.majority

    def _count_pre_votes(self) -> None:
        if self._majority_of(self._granted):
            self.stand(leaving_epoch=0)

    # --- standing ---

    def stand(self, leaving_epoch: int) -> None:
        """Collect promises of a new epoch; `leaving_epoch` > 0: the reign asked us to."""
        core = self.core
        epoch = max(core.epoch, core.seen_epoch) + 1
        if leaving_epoch:
            epoch = leaving_epoch + 1
        self._target, self._leaving_epoch = epoch, leaving_epoch
        self._until = core.now + max(core.timeout / 2, 3 * core.settings.heartbeat_interval_ms)
        self._promises, self._donor = {}, -1
        core.become(State.STANDING)
        core.promise(epoch, core.replica)
        core.note("standing", f"epoch {epoch}")
        request = m.RequestPromise(epoch, *core.log.extent, leaving_epoch)
        for replica in core.peers:
            core.send(replica, request)

    def own_promise_persisted(self) -> None:
        """What this replica promised to itself is on stable storage: now it counts."""
        core = self.core
        if core.state is State.STANDING and core.promised.epoch == self._target:
            self._promises[core.replica] = (core.incarnation, core.log.extent)
            self._count_promises()

    def on_request_promise(self, peer: Peer, request: m.RequestPromise) -> None:
        """Somebody stands."""
        core = self.core
        if not core.voter:
            return
        taken = request.epoch == core.epoch and core.promised.candidate != peer.replica
        handed_over = request.leaving_epoch > 0 and request.leaving_epoch >= core.reign_epoch
        blocked = not handed_over and self._reign_alive(peer.replica)
        granted = request.epoch >= core.epoch and not taken and not blocked
        if granted and self._log_may_reign(request):
            if request.epoch > core.epoch:
                core.promise(request.epoch, peer.replica)
                core.step_down(f"epoch {request.epoch} is promised to {peer.replica}")
                self._since = core.now
        else:
            granted = False
            if request.epoch < core.epoch:
                core.note("old_epoch_refused", f"RequestPromise of {peer.replica}")
        answer = m.Promise(request.epoch, granted, core.epoch, *core.log.extent)
        core.send(peer.replica, answer)

    def on_promise(self, peer: Peer, promise: m.Promise) -> None:
        """An answer to our candidacy."""
        core = self.core
        core.seen_epoch = max(core.seen_epoch, promise.promised)
        standing = core.state in (State.STANDING, State.ADOPTING)
        if not standing or promise.epoch != self._target or not promise.granted:
            return
        extent = (promise.last_epoch, promise.last_index)
        self._promises[peer.replica] = (peer.incarnation, extent)
        if core.state is State.STANDING:
            self._count_promises()

    def _count_promises(self) -> None:
        core = self.core
        if core.replica not in self._promises or not self._promise_majority():
            return
        best = self._best_log()
        if best == core.replica:
            core.reign.begin(self._target, self._leaving_epoch)
        else:
            self._adopt_from(best)

    def _promise_majority(self) -> bool:
        return self._majority_of({r: name for r, (name, _) in self._promises.items()})

    def _best_log(self) -> int:
        """Whose log is the most up to date, in the order (last entry's epoch, last index); our
        own when it is as good as any. By length alone committed entries would be lost."""
        best = max(self._promises, key=lambda replica: self._promises[replica][1])
        own = self._promises[self.core.replica][1]
        return self.core.replica if own >= self._promises[best][1] else best

    # --- adoption ---

    def _adopt_from(self, donor: int) -> None:
        core = self.core
        core.become(State.ADOPTING)
        self._donor, self._part = donor, []
        core.note("adopting", f"the log of {donor} for epoch {self._target}")
        core.send(donor, m.FetchLog(self._target, core.commit))

    def on_fetch_log(self, peer: Peer, fetch: m.FetchLog) -> None:
        """A candidate adopts our log: served only while our promise is exactly its epoch."""
        core = self.core
        if core.promised != fx.Promised(fetch.epoch, peer.replica):
            return
        settings, after = core.settings, max(fetch.after, core.log.base_index)
        entries = core.log.after(after, settings.batch_entries, settings.batch_bytes)
        core.send(peer.replica, m.LogPart(fetch.epoch, after, entries, core.log.last_index))

    def on_log_part(self, peer: Peer, part: m.LogPart) -> None:
        """The donor's entries arrive; the last part completes the adoption."""
        core = self.core
        expected = self._part[-1].index if self._part else core.commit
        if core.state is not State.ADOPTING or peer.replica != self._donor:
            return
        if part.epoch != self._target:
            return
        if part.after > expected and not self._joins(part):
            # So far behind that a snapshot is needed: let the donor stand before us.
            core.step_down("the donor no longer keeps the entries that are missing here")
            self._since = core.now + core.timeout
            return
        if part.after < expected:
            return  # a part that came twice
        self._part.extend(part.entries)
        reached = self._part[-1].index if self._part else part.after
        if reached < part.last_index and part.entries:
            core.send(self._donor, m.FetchLog(self._target, reached))
            self._until = core.now + core.timeout
            return
        self._adopt()

    def _joins(self, part: m.LogPart) -> bool:
        """Whether a first part that begins above our commit index goes on from our own log."""
        log = self.core.log
        if self._part or not part.entries or part.after > log.last_index:
            return False
        first, chain = part.entries[0], log.chain_at(part.after)
        return first.chain == chain_hash(chain, first.epoch, first.index, first.kind, first.command)

    def _adopt(self) -> None:
        """Take the whole log over in this step's one transaction, then count again who promised:
        the voter set may be another one now."""
        core = self.core
        core.take(self._part)
        self._part = []
        core.note("log_adopted", f"up to {core.log.last_index} of epoch {core.log.last_epoch}")
        core.become(State.STANDING)
        self._until = core.now + core.timeout / 2
        self._recount()

    def _recount(self) -> None:
        """Forget our own promise's old extent: it is counted again, with the adopted log, when the
        transaction is on stable storage."""
        self._promises.pop(self.core.replica, None)
        if self.core.effects.persist is None:
            self.own_promise_persisted()

    def won(self) -> None:
        """The reign has begun."""
        self._attempts, self._until = 0, math.inf

    def on_refused(self, peer: Peer, refused: m.Refused) -> None:
        """Somebody holds to a newer epoch than ours."""
        core = self.core
        core.seen_epoch = max(core.seen_epoch, refused.epoch)
        if refused.epoch > core.epoch and core.reigning:
            core.step_down(f"replica {peer.replica} holds to epoch {refused.epoch}")
