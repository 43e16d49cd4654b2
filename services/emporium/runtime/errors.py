"""Every error that Emporium raises on purpose, as one tree.

    EmporiumError                 500 internal
    ├── SettingsError             500 settings            a setting can't be used; nothing starts
    ├── RequestError              the caller must change something
    │   ├── BadRequest            400 bad-request         malformed; names the field
    │   ├── Unauthorized          401 unauthorized        no or a wrong operator token
    │   ├── Forbidden             403 forbidden           not for this caller, or not on this port
    │   ├── NotFound              404 not-found           no such item, order or route
    │   ├── OutOfStock            409 out-of-stock        refused, for this request id for ever
    │   ├── TooLarge              413 too-large           the body is over the limit
    │   ├── Misdirected           421 misdirected         forwarded once already; has a hint
    │   ├── Conflict              422 conflict            the request id names another purchase
    │   └── TooMany               429 too-many            this caller asks too often
    ├── ServiceError              the caller may try again
    │   ├── NotServing            503 not-serving         this replica can't answer now
    │   ├── Overloaded            503 overloaded          a bounded queue is full
    │   ├── OutcomeUnknown        503 outcome-unknown     done or not: ask by the request id
    │   └── CallError             a call to another role failed
    │       ├── TimedOut          503 timed-out           no answer within the deadline
    │       ├── Unreachable       503 unreachable         no stream, or it broke
    │       └── Abandoned         503 abandoned           given up in flight for a newer reign
    └── FatalError                the process must leave at once, with `exit_code`
        ├── DataFolderInUse       another process holds the data folder's lock
        └── JournalError          the journal can't be written or trusted
            ├── DiskFull          no space left; the journal is intact (PROTOCOL 1.7)
            └── Corrupt           a record or checksum is broken

Each class says its HTTP `status`, the `slug` of its problem type (RFC 9457) and whether it is
`definite`: True means that this request has surely done nothing. It says nothing about earlier
requests under the same request id: what they left open stays open. `members()` are the further
fields of the problem document.
"""

from __future__ import annotations

from typing import ClassVar

from emporium.replication import failures


class EmporiumError(Exception):
    """The root. `detail` is one sentence for people."""

    status: ClassVar[int] = 500
    slug: ClassVar[str] = "internal"
    title: ClassVar[str] = "Internal error"
    definite: bool = False

    def __init__(self, detail: str = "") -> None:
        """Keep the sentence; the title stands in for a missing one."""
        self.detail = detail or self.title
        super().__init__(self.detail)

    def members(self) -> dict[str, str | int]:
        """Further fields of the problem document, by name."""
        return {}


class SettingsError(EmporiumError):
    """A setting is missing, unknown or out of bounds; the text names it and what is allowed."""

    slug = "settings"
    title = "A setting can't be used"
    definite = True


# --- the caller must change something ---


class RequestError(EmporiumError):
    """The request as it is can't be done, and surely wasn't."""

    status = 400
    slug = "bad-request"
    title = "The request can't be done"
    definite = True


class BadRequest(RequestError):
    """The request is malformed; `field` names the part that is wrong."""

    title = "The request is malformed"

    def __init__(self, field: str, detail: str = "") -> None:
        """Name the field, then say what is wrong with it."""
        super().__init__(detail or f"{field} is not valid")
        self.field = field

    def members(self) -> dict[str, str | int]:
        """The field's name."""
        return {"field": self.field}


class Unauthorized(RequestError):
    """The route is for operators and the bearer token is missing or wrong."""

    status = 401
    slug = "unauthorized"
    title = "An operator's token is needed"


class Forbidden(RequestError):
    """The caller is known and may not do this."""

    status = 403
    slug = "forbidden"
    title = "Not allowed"


class NotFound(RequestError):
    """No such item, order, purchase or route."""

    status = 404
    slug = "not-found"
    title = "Not found"


class OutOfStock(RequestError):
    """The stock doesn't cover the quantity; recorded as the outcome of this request id."""

    status = 409
    slug = "out-of-stock"
    title = "Out of stock"


class TooLarge(RequestError):
    """The body, a header or a parameter is longer than the limit."""

    status = 413
    slug = "too-large"
    title = "The request is too large"


class Misdirected(RequestError):
    """Another replica reigns and the call was forwarded once already; `hint` is its id, or -1."""

    status = 421
    slug = "misdirected"
    title = "Another replica reigns"

    def __init__(self, hint: int = -1, epoch: int = 0, detail: str = "") -> None:
        """Keep the id of the replica that reigns (-1: not known) and its epoch."""
        super().__init__(detail or (f"replica {hint} reigns" if hint >= 0 else "nobody reigns"))
        self.hint = hint
        self.epoch = epoch

    def members(self) -> dict[str, str | int]:
        """The hint and the epoch that it is from."""
        return {"hint": self.hint, "epoch": self.epoch}


class Conflict(RequestError):
    """The request id was used for another purchase."""

    status = 422
    slug = "conflict"
    title = "The request id was used for another purchase"


class TooMany(RequestError):
    """The caller is over its rate; `retry_after_ms` says when to come back."""

    status = 429
    slug = "too-many"
    title = "Too many requests"

    def __init__(self, retry_after_ms: int = 1_000, detail: str = "") -> None:
        """Keep the time to wait, in milliseconds."""
        super().__init__(detail)
        self.retry_after_ms = retry_after_ms


# --- the caller may try again ---


class ServiceError(EmporiumError):
    """The store can't do it now."""

    status = 503
    slug = "not-serving"
    title = "Not available now"
    retry_after_ms: int = 1_000


class NotServing(ServiceError):
    """This replica, or the group, can't answer now; surely nothing was done."""

    definite = True


class Overloaded(ServiceError):
    """A bounded queue is full; surely nothing was done."""

    slug = "overloaded"
    title = "Overloaded"
    definite = True

    def __init__(self, retry_after_ms: int = 1_000, detail: str = "") -> None:
        """Keep the time after which a retry makes sense, in milliseconds."""
        super().__init__(detail)
        self.retry_after_ms = retry_after_ms


class OutcomeUnknown(ServiceError):
    """It may or may not have been done: ask again under the same `request_id`."""

    slug = "outcome-unknown"
    title = "The outcome isn't known"

    def __init__(self, request_id: str, detail: str = "") -> None:
        """Keep the request id, the one way to find the outcome."""
        super().__init__(detail or f"the outcome of {request_id} isn't known; ask again under it")
        self.request_id = request_id

    def members(self) -> dict[str, str | int]:
        """The request id to ask with."""
        return {"request_id": self.request_id}


class CallError(ServiceError):
    """A call to another role has no answer. Not definite unless it was surely never sent."""


class TimedOut(CallError):
    """No answer within the deadline."""

    slug = "timed-out"
    title = "No answer in time"


class Unreachable(CallError):
    """No stream to the replica, or the stream broke. Definite when nothing was `sent`."""

    slug = "unreachable"
    title = "A replica can't be reached"

    def __init__(self, detail: str = "", *, sent: bool = True) -> None:
        """`sent` is False only when not one byte of the call can have left."""
        super().__init__(detail)
        self.definite = not sent


class Abandoned(CallError):
    """Given up in flight, because there is a newer reign to ask or the process stops."""

    slug = "abandoned"
    title = "Given up in flight"


# --- the process must leave ---


class FatalError(EmporiumError):
    """Nothing can be promised any more: log one line and leave with `exit_code` (PROTOCOL 5.3)."""

    slug = "fatal"
    title = "The process must stop"
    exit_code: ClassVar[int] = 3  # gunicorn's WORKER_BOOT_ERROR, which halts its master too


class DataFolderInUse(FatalError):
    """Another process holds the lock of the data folder (PROTOCOL 5.4)."""

    slug = "data-folder-in-use"
    title = "The data folder is in use"


class JournalError(FatalError):
    """A write or an fsync failed: what is on the disk isn't known (PROTOCOL 1.7)."""

    slug = "journal"
    title = "The journal can't be written"


class DiskFull(JournalError):
    """No space left; the journal is intact and the replica comes back as a voter."""

    slug = "disk-full"
    title = "The disk is full"


class Corrupt(JournalError):
    """A record, a checksum or the chain is broken, or the format is newer than this version."""

    slug = "corrupt"
    title = "The journal is broken"


def of_failure(answer: object) -> EmporiumError | None:
    """The error that says what an answer of `replication.failures` says; None for any other."""
    match answer:
        case failures.NotReigning(primary=primary, epoch=epoch):
            return Misdirected(primary, epoch)
        case failures.Overloaded(retry_after_ms=retry_after_ms):
            return Overloaded(retry_after_ms)
        case failures.OutcomeUnknown(request_id=request_id):
            return OutcomeUnknown(request_id)
        case failures.Unavailable(reason=reason):
            return NotServing(reason)
        case failures.Malformed(field=field, reason=reason):
            return BadRequest(field, reason)
        case _:
            return None
