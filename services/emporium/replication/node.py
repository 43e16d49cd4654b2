"""A replica as one pure thing: the core of its group and the desk of its role.

The desk is the role's rule: it takes requests, asks the core for entries and reads, calls the
other group, and replies. Everything it says goes through its `Port`, so that the whole replica is
`step(events, now, clock) -> Effects`, in the simulation as in production.
"""

from __future__ import annotations

from typing import Protocol

from emporium.replication.effects import Answer, CallReply, Request, Seen


class Port(Protocol):
    """What a desk can see and do. Valid within a step only."""

    now: float  # ms, monotonic
    clock: int  # ms since 1970
    replica: int  # own id
    group: str  # group id; empty before the group has formed
    epoch: int  # of the reign that is known
    reigning: bool  # reigning here, and its no-op is committed
    primary: int  # id of the reign as known here, -1 when none
    applied: int  # index up to which the state machine is
    released: int  # index up to which anybody may be told (PROTOCOL 4.3)
    serving: bool  # caught up and in contact with a majority, so that reads can be served

    def propose(self, token: object, command: str) -> None:
        """Append a command; the `Answer` comes to `answered` under `token`."""

    def read(self, token: object, level: str) -> None:
        """Ask when the state may be looked at; the `Answer` comes to `answered`."""

    def reply(
        self,
        token: object,
        payload: object,
        index: int = 0,
        timings: tuple[tuple[str, float], ...] = (),
    ) -> None:
        """Answer the request `token`, as soon as `index` is released."""

    def call(self, role: str, replica: int, token: object, payload: object, deadline: float) -> None:
        """Call a replica of another role, or of this one; the `CallReply` comes to `called`."""

    def operation(self, line: str) -> None:
        """A line of the operation log."""

    def note(self, name: str, detail: str = "") -> None:
        """Something to log and count."""


class Desk(Protocol):
    """The rule of a role over its replicated log."""

    def request(self, port: Port, request: Request) -> None:
        """A request has come in."""

    def answered(self, port: Port, answer: Answer) -> None:
        """The core's answer to a proposal or a read of this desk."""

    def called(self, port: Port, reply: CallReply) -> None:
        """The answer to a call."""

    def seen(self, port: Port, seen: Seen) -> None:
        """A heartbeat of a replica of another group."""

    def tick(self, port: Port) -> None:
        """Once in every step, after everything else: look at the time, the reign and `released`."""

    def wake_at(self) -> float:
        """When the next `tick` is due at the latest, in ms of `now`; infinity when idle."""
