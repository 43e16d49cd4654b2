"""Answers that any request may get instead of its own (each says whether it is definite)."""

from __future__ import annotations

from dataclasses import dataclass

from emporium.replication import wire


@dataclass(frozen=True, slots=True)
class NotReigning:
    """Surely not done here; `primary` is a hint (id, -1 unknown) of `epoch`. HTTP 421."""

    primary: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Overloaded:
    """Surely not done: a bounded queue is full. HTTP 503 + Retry-After."""

    retry_after_ms: int


@dataclass(frozen=True, slots=True)
class OutcomeUnknown:
    """It may or may not be done: ask again under the same request id. HTTP 503."""

    request_id: str


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Surely not done: this replica can't serve now, and `reason` says why. HTTP 503."""

    reason: str


@dataclass(frozen=True, slots=True)
class Malformed:
    """Surely not done: the request breaks a rule, named with its field. HTTP 400."""

    field: str
    reason: str


wire.register(NotReigning, Overloaded, OutcomeUnknown, Unavailable, Malformed)
