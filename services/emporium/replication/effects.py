"""What goes into a step and what comes out of it.

A step takes a batch of events, the time and the wall clock, and gives `Effects`. The order of the
fields of `Effects` is the order in which the driver must obey them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from emporium.replication.messages import Entry, Envelope, Heartbeat, Snapshot

# --- what a replica finds on its disk, and what it asks to be put there ---


@dataclass(frozen=True, slots=True)
class Promised:
    """The persisted promise: one candidate per epoch (PROTOCOL 1.3). (0, -1) before the first."""

    epoch: int = 0
    candidate: int = -1


@dataclass(frozen=True, slots=True)
class Durable:
    """What the journal holds at the start. A fresh journal: no genesis, no entry."""

    incarnation: str
    promised: Promised = Promised()
    genesis: Entry | None = None
    snapshot: Snapshot | None = None
    entries: tuple[Entry, ...] = ()  # those after the snapshot that are kept, in order


@dataclass(slots=True)
class Persist:
    """One transaction on stable storage, done in this order: promise, genesis, truncation (delete
    every entry ≥ truncate_from), snapshot (replaces the older one), compaction (delete every
    entry ≤ compact_to), entries."""

    promised: Promised | None = None
    genesis: Entry | None = None
    truncate_from: int | None = None
    snapshot: Snapshot | None = None
    compact_to: int | None = None
    entries: list[Entry] = field(default_factory=list)


# --- events ---


@dataclass(frozen=True, slots=True)
class Received:
    """A message from another replica of the group."""

    envelope: Envelope


@dataclass(frozen=True, slots=True)
class Propose:
    """Append `command` (JSON text). The answer comes back under `token`."""

    token: object
    command: str


@dataclass(frozen=True, slots=True)
class Read:
    """Tell me when a read at `level` (local, primary or linearizable) may look at the state."""

    token: object
    level: str


@dataclass(frozen=True, slots=True)
class Persisted:
    """The last `Persist` is on stable storage."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The connection to a peer was reset or ended: a reason to probe, no proof (PROTOCOL 2.3)."""

    replica: int


@dataclass(frozen=True, slots=True)
class Probed:
    """The result of a fresh connect: refused means that the process is dead."""

    replica: int
    refused: bool


@dataclass(frozen=True, slots=True)
class FromHolder:
    """A holder's message: `Renew`, `Invalidated` or `ReturnLease`."""

    message: object


@dataclass(frozen=True, slots=True)
class Leave:
    """SIGTERM: hand the reign over to whoever can take it (PROTOCOL 2.4)."""


@dataclass(frozen=True, slots=True)
class Request:
    """Something for the role's desk: a call from a stream, from another role or from HTTP.
    `deadline` is on the receiver's clock, in ms."""

    token: object
    payload: object
    deadline: float


@dataclass(frozen=True, slots=True)
class CallReply:
    """The answer to a `Call` of the desk. `payload` is None when the call can't be answered any
    more (the connection was lost, the time is over)."""

    token: object
    payload: object


@dataclass(frozen=True, slots=True)
class Seen:
    """A heartbeat of a replica of another group."""

    heartbeat: Heartbeat


# --- answers of the core to the desk ---

DONE, READY, NOT_REIGNING, UNKNOWN, OVERLOADED, UNAVAILABLE = (
    "done",
    "ready",
    "not_reigning",
    "unknown",
    "overloaded",
    "unavailable",
)


@dataclass(frozen=True, slots=True)
class Answer:
    """To a proposal: DONE with the fact, NOT_REIGNING (surely not appended), OVERLOADED (surely
    not appended) or UNKNOWN. To a read: READY (look at the state now), NOT_REIGNING, UNAVAILABLE.
    `index` is the applied index to which it belongs: a reply leaves when that is released."""

    token: object
    status: str
    index: int = 0
    fact: object = None


# --- effects ---


@dataclass(frozen=True, slots=True)
class Call:
    """A request of the desk to replica `replica` of `role`; answered by `CallReply(token)`."""

    role: str
    replica: int
    token: object
    payload: object
    deadline: float


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a `Request`. `timings` says which tier behind this one took how many ms."""

    token: object
    payload: object
    timings: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Note:
    """Something worth a line in the log and a count: `name` is one of a documented few."""

    name: str
    detail: str = ""


@dataclass(slots=True)
class Effects:
    """Obey in the order of the fields."""

    send_early: list[tuple[int, object]] = field(default_factory=list)  # 1. Append only: may leave
    #                                          while this replica still syncs (PROTOCOL 1.3)
    persist: Persist | None = None  #            2. on stable storage; then step(Persisted())
    send: list[tuple[int, object]] = field(default_factory=list)  # 3. to replicas of the group
    probe: list[int] = field(default_factory=list)  # 4. fresh connects to make
    to_holders: list[tuple[str, object]] = field(default_factory=list)  # 5. (holder, message)
    heartbeat: Heartbeat | None = None  #        6. to every peer and every stream
    operations: list[str] = field(default_factory=list)  # 7. lines of the operation log
    calls: list[Call] = field(default_factory=list)  # 8. to another group
    replies: list[Reply] = field(default_factory=list)  # 9. to whoever asked
    notes: list[Note] = field(default_factory=list)  # 10. for the log and the metrics
