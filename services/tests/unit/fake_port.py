"""A port in the hands of a test: what the desk says lies in lists, what it sees is set by hand.

`Replica` goes one step further: a group of one, whose log is a list. The test decides when
proposals commit, when reads are confirmed and when a reign ends.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from emporium.replication.effects import (
    DONE,
    READY,
    UNKNOWN,
    Answer,
    Call,
    CallReply,
    Request,
    Seen,
)
from emporium.replication.messages import Heartbeat
from emporium.replication.node import Desk
from emporium.replication.state_machine import Outcome


class Machine(Protocol):
    """The part of a state machine that a log needs."""

    stamp: int

    def apply(self, index: int, command: str) -> Outcome:
        """Apply one command."""


@dataclass(frozen=True, slots=True)
class Said:
    """A reply of the desk."""

    token: object
    payload: Any
    index: int
    timings: tuple[tuple[str, float], ...]


@dataclass(slots=True)
class FakePort:
    """`replication.node.Port` as plain fields and lists."""

    now: float = 1_000.0
    clock: int = 1_700_000_000_000
    replica: int = 0
    group: str = "group"
    epoch: int = 1
    reigning: bool = True
    primary: int = 0
    applied: int = 2
    released: int = 1_000_000
    serving: bool = True
    leaving: bool = False
    proposed: list[tuple[object, str]] = field(default_factory=list)
    reads: list[tuple[object, str]] = field(default_factory=list)
    said: list[Said] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    operations: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def propose(self, token: object, command: str) -> None:
        """Keep the proposal."""
        self.proposed.append((token, command))

    def read(self, token: object, level: str) -> None:
        """Keep the read."""
        self.reads.append((token, level))

    def reply(
        self,
        token: object,
        payload: object,
        index: int = 0,
        timings: tuple[tuple[str, float], ...] = (),
    ) -> None:
        """Keep the reply."""
        self.said.append(Said(token, payload, index, timings))

    def call(
        self, role: str, replica: int, token: object, payload: object, deadline: float
    ) -> None:
        """Keep the call."""
        self.calls.append(Call(role, replica, token, payload, deadline))

    def operation(self, line: str) -> None:
        """Keep the line."""
        self.operations.append(line)

    def note(self, name: str, detail: str = "") -> None:
        """Keep the note."""
        self.notes.append(f"{name} {detail}")

    def take_said(self) -> list[Said]:
        """The replies since the last look."""
        said, self.said = self.said, []
        return said

    def take_calls(self) -> list[Call]:
        """The calls since the last look."""
        calls, self.calls = self.calls, []
        return calls


class Replica:
    """A group of one: port, desk, state machine, and a log that the test commits."""

    def __init__(self, machine: Machine, desk: Desk, port: FakePort | None = None) -> None:
        self.port = port or FakePort()
        self.machine = machine
        self.desk = desk
        self.log: list[str] = []

    def ask(self, payload: object, token: object = "t", within_ms: float = 5_000.0) -> None:
        """A request comes in, and a tick follows."""
        self.desk.request(self.port, Request(token, payload, self.port.now + within_ms))
        self.desk.tick(self.port)

    def commit(self) -> None:
        """Commit and apply every proposal, then tick; again until nothing is proposed."""
        while self.port.proposed:
            proposed, self.port.proposed = self.port.proposed, []
            for token, command in proposed:
                self.log.append(command)
                self.port.applied += 1
                outcome = self.machine.apply(self.port.applied, command)
                self.port.operations.extend(outcome.operations)
                answer = Answer(token, DONE, self.port.applied, outcome.fact)
                self.desk.answered(self.port, answer)
            self.desk.tick(self.port)

    def refuse(self, status: str = UNKNOWN) -> None:
        """Answer every proposal without appending it."""
        proposed, self.port.proposed = self.port.proposed, []
        for token, _ in proposed:
            self.desk.answered(self.port, Answer(token, status))
        self.desk.tick(self.port)

    def confirm(self, status: str = READY) -> None:
        """Answer every read."""
        reads, self.port.reads = self.port.reads, []
        for token, _ in reads:
            self.desk.answered(self.port, Answer(token, status, self.port.applied))
        self.desk.tick(self.port)

    def hear(self, call: Call, payload: object) -> None:
        """The answer to a call comes in."""
        self.desk.called(self.port, CallReply(call.token, payload))
        self.desk.tick(self.port)

    def see(self, beat: Heartbeat) -> None:
        """A heartbeat of another group comes in."""
        self.desk.seen(self.port, Seen(beat))
        self.desk.tick(self.port)

    def wait(self, ms: float) -> None:
        """Time passes."""
        self.port.now += ms
        self.port.clock += int(ms)
        self.desk.tick(self.port)


def heartbeat(**changes: Any) -> Heartbeat:
    """A heartbeat of the catalog's reign, with `changes`."""
    fields: dict[str, Any] = {
        "role": "catalog",
        "replica": 0,
        "incarnation": "a",
        "epoch": 1,
        "commit": 2,
        "last_index": 2,
        "voter": True,
        "caught_up": True,
        "reigning": True,
        "leaving": False,
        "hears_majority": True,
        "clock": 1_700_000_000_000,
        "stamp": 1_700_000_000_000,
        "group": "catalog-group",
    }
    return Heartbeat(**{**fields, **changes})
