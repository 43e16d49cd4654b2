"""Calls in flight: requests over streams that wait for their answers.

A call ends in exactly one of these ways: answered, `Unreachable` (there is no stream, or it was
lost: `definite` when not one byte can have left), `Abandoned` (given up here, for a newer reign)
or `TimedOut`. A late answer finds nobody and is forgotten.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable

from emporium.runtime.errors import Abandoned, CallError, Overloaded, TimedOut, Unreachable
from emporium.runtime.frames import Answered, Ask
from emporium.runtime.streams import Stream

CALLS_IN_FLIGHT = 4_096

Done = Callable[[object, dict[str, float]], None]
"""Called with the answer, or with None when there is none, and the timings in ms by tier."""


class Pending:
    """One call. For one waiting thread, or for a callback, which runs in the reader's thread."""

    __slots__ = ("_calls", "_done", "_error", "_payload", "_ready", "_timings", "id", "stream")

    def __init__(self, calls: Calls, number: int, stream: Stream | None, done: Done | None):
        """Made by `Calls.ask`."""
        self.id = number
        self.stream = stream
        self._calls = calls
        self._done = done
        self._payload: object = None
        self._timings: dict[str, float] = {}
        self._error: CallError | Overloaded | None = None
        # A lock that is held until the end: the cheapest thing that waits with a deadline.
        self._ready = threading.Lock()
        self._ready.acquire()

    def wait(self, timeout_ms: float) -> tuple[object, dict[str, float]]:
        """The answer and its timings in ms by tier.

        Raises TimedOut, Unreachable, Abandoned, Overloaded (too many calls in flight)."""
        if not self._ready.acquire(timeout=max(timeout_ms, 0) / 1000):
            self._finish(None, {}, TimedOut(f"no answer within {timeout_ms:.0f} ms"))
            self._ready.acquire()  # whoever finished it lets go of it at once
        self._ready.release()
        if self._error is not None:
            raise self._error
        return self._payload, self._timings

    @property
    def finished(self) -> bool:
        """Whether `wait` would return at once."""
        return not self._ready.locked()

    def abandon(self) -> None:
        """Give it up; whoever waits gets Abandoned. The request may be done all the same."""
        self._finish(None, {}, Abandoned())

    def fail(self, error: CallError | Overloaded) -> None:
        """End it without an answer, unless it has ended."""
        self._finish(None, {}, error)

    def resolve(self, payload: object, timings: dict[str, float]) -> None:
        """End it with its answer, unless it has ended."""
        self._finish(payload, timings, None)

    def _finish(
        self, payload: object, timings: dict[str, float], error: CallError | Overloaded | None
    ) -> None:
        if not self._calls.forget(self):
            return  # another thread took it off the table first and finishes it
        self._payload, self._timings, self._error = payload, timings, error
        self._ready.release()
        if self._done is not None:
            self._done(payload, timings)


class Calls:
    """The table of calls in flight, bounded."""

    def __init__(self, bound: int = CALLS_IN_FLIGHT) -> None:
        """Nothing is in flight."""
        self._bound = bound
        self._numbers = itertools.count(1)
        self._open: dict[int, Pending] = {}

    def __len__(self) -> int:
        """How many calls are in flight."""
        return len(self._open)

    def ask(
        self,
        stream: Stream | None,
        payload: object,
        timeout_ms: float,
        request_id: str = "",
        done: Done | None = None,
    ) -> Pending:
        """Send `payload` as a request. What goes wrong is told by the `Pending`."""
        pending = Pending(self, next(self._numbers), stream, done)
        full = len(self._open) >= self._bound
        self._open[pending.id] = pending
        if full:
            pending.fail(Overloaded(100, "too many calls are in flight"))
        elif stream is None:
            pending.fail(Unreachable("there is no stream to it", sent=False))
        elif not stream.send(Ask(pending.id, timeout_ms, request_id, payload)):
            pending.fail(Unreachable(f"nothing could be sent to {stream.peer}", sent=False))
        return pending

    def answered(self, stream: Stream, answer: Answered) -> None:
        """An answer has come in. One that nobody waits for, or of another stream, is ignored."""
        pending = self._open.get(answer.id)
        if pending is not None and pending.stream is stream:
            timings = dict(answer.timings)
            timings[stream.peer.role] = answer.took_ms
            pending.resolve(answer.payload, timings)

    def lost(self, stream: Stream) -> None:
        """A stream has ended: its calls end with it."""
        for pending in list(self._open.values()):
            if pending.stream is stream:
                pending.fail(Unreachable(f"the stream to {stream.peer} was lost", sent=True))

    def forget(self, pending: Pending) -> bool:
        """Take a call off the table: True for the one that did it."""
        return self._open.pop(pending.id, None) is not None
