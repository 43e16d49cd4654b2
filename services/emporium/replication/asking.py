"""What a desk has asked and not yet heard: one table for proposals, reads and calls.

Every question has a handler and a deadline. An answer goes to its handler once; when the deadline
comes first, the handler hears the answer that says so (a proposal: UNKNOWN, a read: UNAVAILABLE,
a call: None), and the late answer is dropped. So no table of a desk can grow without end.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass

from emporium.replication.effects import UNAVAILABLE, UNKNOWN, Answer, CallReply
from emporium.replication.node import Port

AnswerHandler = Callable[[Port, Answer], None]
CallHandler = Callable[[Port, object], None]

_HEAP_SLACK = 64  # deadlines of questions already answered that may stay in the heap


class Token:
    """Names one question. Equal to nothing else, so that an answer to an earlier desk of the same
    process (a replica that was shut down and recovered) is never taken for one of this desk."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number

    def __repr__(self) -> str:
        return f"ask-{self.number}"


@dataclass(frozen=True, slots=True)
class _Asked:
    deadline: float
    hear: Callable[[Port, object], None]  # the answer's payload, or None: time is over


class Asking:
    """The open questions of one desk. `limit` bounds those that requests from outside open."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._asked: dict[object, _Asked] = {}
        self._deadlines: list[tuple[float, int, Token]] = []
        self._number = 0

    def __len__(self) -> int:
        """How many questions are open."""
        return len(self._asked)

    @property
    def crowded(self) -> bool:
        """Whether requests from outside are to be refused for now."""
        return len(self._asked) >= self._limit

    def token(self) -> Token:
        """A fresh token, for a handler that must know its own."""
        self._number += 1
        return Token(self._number)

    def propose(self, port: Port, command: str, handler: AnswerHandler, deadline: float) -> None:
        """Propose `command`. `handler` hears the Answer."""
        token = self.token()

        def hear(port: Port, answer: object) -> None:
            handler(port, answer if isinstance(answer, Answer) else Answer(token, UNKNOWN))

        self._add(token, deadline, hear)
        port.propose(token, command)

    def read(self, port: Port, level: str, handler: AnswerHandler, deadline: float) -> None:
        """Ask for a look at the state. `handler` hears the Answer."""
        token = self.token()

        def hear(port: Port, answer: object) -> None:
            handler(port, answer if isinstance(answer, Answer) else Answer(token, UNAVAILABLE))

        self._add(token, deadline, hear)
        port.read(token, level)

    def call(
        self,
        port: Port,
        target: tuple[str, int],
        payload: object,
        handler: CallHandler,
        deadline: float,
        token: Token | None = None,
    ) -> None:
        """Call `target` (role, replica). `handler` hears the payload or None."""
        token = token or self.token()
        self._add(token, deadline, handler)
        port.call(target[0], target[1], token, payload, deadline)

    def answered(self, port: Port, answer: Answer) -> None:
        """Hand the core's answer to its handler."""
        asked = self._asked.pop(answer.token, None)
        if asked is not None:
            asked.hear(port, answer)

    def called(self, port: Port, reply: CallReply) -> None:
        """Hand the answer to a call to its handler."""
        asked = self._asked.pop(reply.token, None)
        if asked is not None:
            asked.hear(port, reply.payload)

    def expire(self, port: Port) -> None:
        """Tell the handlers of all questions whose deadline is over."""
        while self._deadlines and self._deadlines[0][0] <= port.now:
            _, _, token = heapq.heappop(self._deadlines)
            asked = self._asked.pop(token, None)
            if asked is not None:
                asked.hear(port, None)

    def wake_at(self) -> float:
        """The earliest deadline (ms of now), perhaps of a question already answered."""
        return self._deadlines[0][0] if self._deadlines else float("inf")

    def _add(self, token: Token, deadline: float, hear: Callable[[Port, object], None]) -> None:
        self._asked[token] = _Asked(deadline, hear)
        if deadline != float("inf"):
            heapq.heappush(self._deadlines, (deadline, token.number, token))
        if len(self._deadlines) > 2 * len(self._asked) + _HEAP_SLACK:
            self._deadlines = [one for one in self._deadlines if one[2] in self._asked]
            heapq.heapify(self._deadlines)
