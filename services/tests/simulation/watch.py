"""What is checked at every step, with the eyes of somebody who sees all replicas at once.

- Promise 2: never two different entries committed at an index: every replica's chain hash at every
  index that it takes for committed is compared with the first one seen.
- One reign in an epoch, and it has persisted promises of a majority of the voters in its own log.
- The state is the same at the same applied index everywhere (and `apply` raises when the books
  don't balance: promise 4).
- An order has the chain hash of the sale with its number: orders are the catalog's sales.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from emporium.catalog.requests import TakeFenced
from emporium.replication import effects as fx
from emporium.replication import messages as m
from emporium.replication.failures import Overloaded
from tests.simulation.world import SimulationFailure, World

if TYPE_CHECKING:
    from tests.simulation.replica import Replica

COUNTED_NOTES = frozenset(
    "group_formed group_joined reign_began reign_open log_adopted log_truncated snapshot_taken"
    " snapshot_installed voter_replaced stepped_down old_epoch_refused lease_lapsed session_opened"
    " death_proved handing_over asked_to_stand record_failed foreign_group_refused standing"
    " asking".split()
)


class Watch:
    """Everything that was ever committed, promised or applied."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._chains: dict[str, dict[int, str]] = {"catalog": {}, "order": {}}
        self._digests: dict[tuple[str, int], tuple[str, str]] = {}
        self._promises: dict[tuple[str, int, int], set[tuple[int, str]]] = {}
        self._reigns: dict[tuple[str, int], tuple[str, int]] = {}
        self._sales: dict[int, str] = {}
        self._released: dict[int, int] = {}  # by epoch of the catalog: what its reign has told
        self._sessions: set[str] = set()

    def promised(self, replica: Replica, promised: fx.Promised) -> None:
        """A promise has reached a disk."""
        key = (replica.role, promised.epoch, promised.candidate)
        self._promises.setdefault(key, set()).add((replica.replica, replica.incarnation))

    def noted(self, replica: Replica, note: fx.Note) -> None:
        """Count what the summary tells; look at a reign when it begins."""
        if note.name in COUNTED_NOTES:
            self.world.counts[note.name] += 1
        if self.world.tracing:
            self.world.log(replica.name, "note", f"{note.name} {note.detail}")
        if note.name == "reign_began":
            self._reign_began(replica, int(note.detail.split()[1]))

    def _reign_began(self, replica: Replica, epoch: int) -> None:
        assert replica.node is not None
        core = replica.node.core
        key, who = (replica.role, epoch), (replica.name, replica.life)
        if self._reigns.setdefault(key, who) != who:
            raise SimulationFailure(f"two reigns of epoch {key}: {self._reigns[key]} and {who}")
        if core.epoch != epoch:
            return  # over within the same step; the voters may be others now
        given = self._promises.get((replica.role, core.epoch, replica.replica), set())
        count = sum(core.voters.counts(r, name, core.commit) for r, name in given)
        if count < core.voters.majority:
            raise SimulationFailure(f"{who} reigns in epoch {core.epoch} on {count} promises")

    def granted(self, grant: m.Granted) -> None:
        """A holder gets a lease. A new session's floor is not below what anybody was told before
        by earlier reigns (PROTOCOL 4.4)."""
        if grant.session in self._sessions or grant.lease_ms <= 0:
            return
        self._sessions.add(grant.session)
        told = max((i for e, i in self._released.items() if e < grant.epoch), default=0)
        if grant.floor < told:
            raise SimulationFailure(f"{grant} begins below {told}, which was told before")

    def replied(self, payload: object) -> None:
        """A replica answers."""
        if isinstance(payload, TakeFenced):
            self.world.count(f"fenced_takes_{payload.reason}")
        elif isinstance(payload, Overloaded):
            self.world.count("overloaded")

    def stepped(self, replica: Replica) -> None:
        """Compare what is newly committed and applied."""
        assert replica.node is not None
        core = replica.node.core
        if core.reigning and replica.role == "catalog":
            self._released[core.epoch] = core.gate.released
        if core.commit > replica.checked:
            self._compare_chains(replica, core)
            replica.checked = core.commit
            self._compare_states(replica, core)

    def _compare_chains(self, replica: Replica, core: Any) -> None:
        chains, log = self._chains[replica.role], core.log
        for index in range(max(replica.checked + 1, log.base_index), core.commit + 1):
            chain = log.chain_at(index)
            if chains.setdefault(index, chain) != chain:
                raise SimulationFailure(f"{replica.name} commits another entry at index {index}")

    def _compare_states(self, replica: Replica, core: Any) -> None:
        key = (replica.role, core.applied)
        digest = core.machine.digest()
        first = self._digests.setdefault(key, (digest, replica.name))
        if first[0] != digest:
            raise SimulationFailure(f"{replica.name} and {first[1]} differ at {key}")
        ledger = core.machine.ledger if replica.role == "catalog" else core.machine.orders
        chain = self._sales.setdefault(ledger.length, ledger.chain)
        if ledger.length and chain != ledger.chain:
            raise SimulationFailure(f"{replica.name} has another sale {ledger.length}")
