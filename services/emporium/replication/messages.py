"""The messages of the protocol: frozen, slotted records without behaviour.

Requests are imperative (`Append`), facts are past tense (`Appended`). Every message between the
replicas of one group travels in an `Envelope`, which names the group, the sender and the sender's
incarnation (PROTOCOL 5.5). Times are milliseconds, indexes and epochs count from 1; epoch 0 is
that of the genesis entry alone.
"""

from __future__ import annotations

from dataclasses import dataclass

GENESIS, NOOP, REPLACE, COMMAND = "genesis", "noop", "replace", "command"


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a group's log. `chain` is the hash over all entries up to this one."""

    epoch: int
    index: int
    kind: str  # GENESIS, NOOP, REPLACE or COMMAND
    command: str  # JSON text; empty for a no-op
    chain: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state after `index`, in place of the entries up to it."""

    index: int
    epoch: int  # epoch of the entry at `index`
    chain: str  # chain hash at `index`
    voters: tuple[tuple[int, str], ...]  # sorted (id, incarnation)
    state: str  # what the state machine's snapshot() gave


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Liveness and view, from every replica to its group and to every stream (never safety)."""

    role: str
    replica: int
    incarnation: str
    epoch: int
    commit: int
    last_index: int
    voter: bool
    caught_up: bool
    reigning: bool
    leaving: bool
    hears_majority: bool
    clock: int  # the sender's wall clock
    stamp: int  # newest stamped time of the state machine; the reign's own clock if that is later
    group: str  # group id, empty before the group has formed


@dataclass(frozen=True, slots=True)
class Hello:
    """First start (PROTOCOL 1.8): what an empty replica tells every configured peer, and the
    answer of any replica to it. `seed` is the digest of the data set that it would write; `seen`
    the empty incarnations that it knows of, by id: a group forms only when all see the same."""

    empty: bool
    incarnation: str
    seed: str
    seen: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class ShowGenesis:
    """The first entry of a formed group, shown to an empty replica."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class PreVote:
    """Would you promise `epoch` to me? Changes nothing (PROTOCOL 2.1)."""

    epoch: int
    last_epoch: int
    last_index: int


@dataclass(frozen=True, slots=True)
class PreVoted:
    """The answer to a `PreVote` for `epoch`; `promised` is the receiver's own promised epoch."""

    epoch: int
    granted: bool
    promised: int


@dataclass(frozen=True, slots=True)
class RequestPromise:
    """Promise me `epoch`. `leaving_epoch` > 0 names the reign that handed over (PROTOCOL 2.4)."""

    epoch: int
    last_epoch: int
    last_index: int
    leaving_epoch: int


@dataclass(frozen=True, slots=True)
class Promise:
    """The answer: a persisted promise of `epoch`, with the extent of the promiser's log."""

    epoch: int
    granted: bool
    promised: int  # the epoch that the answering replica holds to
    last_epoch: int
    last_index: int


@dataclass(frozen=True, slots=True)
class FetchLog:
    """Adoption (PROTOCOL 1.4): the entries after `after`, please, as of my promised `epoch`."""

    epoch: int
    after: int


@dataclass(frozen=True, slots=True)
class LogPart:
    """A bounded part of the donor's log. `after` is above what was asked for when the donor no
    longer keeps those entries."""

    epoch: int
    after: int
    entries: tuple[Entry, ...]
    last_index: int  # where the donor's log ends


@dataclass(frozen=True, slots=True)
class Append:
    """Entries after (previous_index, previous_epoch); empty to carry commit, round, released."""

    epoch: int
    previous_index: int
    previous_epoch: int
    entries: tuple[Entry, ...]
    commit: int
    released: int
    round: int  # confirmation round, echoed in the answer
    leaving: bool
    previous_chain: str  # must be equal where (index, epoch) are: anything else is corruption


@dataclass(frozen=True, slots=True)
class Appended:
    """Answer to `Append`: on success the log matches the reign's up to `match`, durably."""

    epoch: int
    accepted: bool
    match: int  # accepted: durable match; refused: the last index worth trying
    round: int


@dataclass(frozen=True, slots=True)
class InstallSnapshot:
    """One part of a snapshot for a replica whose suffix is gone. `data` parts are joined."""

    epoch: int
    index: int
    entry_epoch: int
    chain: str
    voters: tuple[tuple[int, str], ...]
    offset: int
    total: int
    data: str
    round: int


@dataclass(frozen=True, slots=True)
class SnapshotReceived:
    """How much of the snapshot at `index` has arrived, in characters."""

    epoch: int
    index: int
    offset: int
    round: int


@dataclass(frozen=True, slots=True)
class Refused:
    """The answer to a message of an older epoch: whoever gets it steps down."""

    epoch: int


@dataclass(frozen=True, slots=True)
class AskReadIndex:
    """A backup's request for a confirmed commit index for its reads numbered `read`."""

    epoch: int
    read: int


@dataclass(frozen=True, slots=True)
class ReadIndex:
    """The confirmed index for the backup's reads up to `read`."""

    epoch: int
    read: int
    index: int
    released: int


@dataclass(frozen=True, slots=True)
class StandNow:
    """The hand-over: the released index and what is left of each holder's lease, in ms."""

    epoch: int
    released: int
    leases: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Envelope:
    """What travels between two replicas of one group. `to_incarnation` may be empty."""

    group: str
    sender: int
    incarnation: str
    message: object


# --- holders (PROTOCOL 4): between a process that keeps copies and the catalog's primary ---


@dataclass(frozen=True, slots=True)
class Renew:
    """A holder asks for a session (`session` empty) or to renew its lease. `sent` is the holder's
    own clock, echoed, from which it counts the lease."""

    holder: str
    session: str
    sent: float


@dataclass(frozen=True, slots=True)
class Granted:
    """A lease: `floor` is the commit index below which a copy is too old."""

    session: str
    epoch: int
    floor: int
    lease_ms: float
    sent: float


@dataclass(frozen=True, slots=True)
class NotGranted:
    """No lease here; `primary` is a hint, -1 when unknown."""

    primary: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Invalidate:
    """Drop your copies of `keys` older than `index`, then say so."""

    session: str
    index: int
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Invalidated:
    """The holder has obeyed the invalidation of `index`, and says nothing of earlier ones."""

    holder: str
    session: str
    index: int


@dataclass(frozen=True, slots=True)
class ReturnLease:
    """The holder stops: it answers from no copy any more."""

    holder: str
    session: str
