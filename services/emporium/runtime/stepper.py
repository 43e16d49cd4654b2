"""The thread that owns a replica's node: it gathers events, steps, and obeys.

Everything that happens to a replica goes through one bounded queue. The thread takes all that
waits and makes one step of it, so that what comes in while the disk syncs shares the next sync
(group commit); alone in the queue an event is stepped at once. It obeys the effects in the order
of their fields and waits for nothing but the journal. It decides nothing.

Any error here ends the process (PROTOCOL 5.3): a core that has raised has seen what can't be, and
a journal that has raised can't be trusted until the next start.
"""

from __future__ import annotations

import heapq
import itertools
import math
import queue
import threading
from collections.abc import Callable
from typing import Any, Protocol

from emporium.replication.effects import (
    Call,
    CallReply,
    Effects,
    Note,
    Persist,
    Persisted,
    Received,
    Request,
)
from emporium.runtime import logs
from emporium.runtime.clock import Clock
from emporium.runtime.errors import FatalError
from emporium.runtime.rpc import Done
from emporium.runtime.transport import Transport

QUEUE_REQUESTS = 2_048
"""Above so many waiting events, requests are refused (overloaded)."""
QUEUE_MESSAGES = 8_192
"""Above so many, messages of the group are dropped too: the core repeats them."""
STEP_EVENTS = 1_024
LONGEST_WAIT_MS = 250.0
LONGEST_CALL_MS = 60_000.0
STATUS_WAIT_S = 2.0
NOTES_A_WINDOW = 10
NOTE_WINDOW_MS = 1_000.0
"""At most so many lines of one name within so much time: a broken peer must not fill the log."""

_log = logs.logger("driver")


class SteppedNode(Protocol):
    """What is stepped: `replication.node.Node`, or a fake one in tests."""

    def step(self, events: list[Any], now_ms: float, clock_ms: int) -> Effects:
        """Take the events; say what is to be done."""

    def wake_at(self) -> float:
        """When the next step is due at the latest."""

    def status(self) -> dict[str, Any]:
        """What is to be seen from outside."""


class Writable(Protocol):
    """What brings a transaction to stable storage."""

    def write(self, persist: Persist) -> None:
        """Return when it is there. Raises FatalError."""


class Meter(Protocol):
    """What counts and times: `runtime.metrics.Metrics`."""

    def note(self, event: str, count: int = 1) -> None:
        """Something happened."""

    def step(self, seconds: float, events: int) -> None:
        """One step."""

    def sync(self, seconds: float) -> None:
        """One durable write."""


class Answerable(Protocol):
    """A request's token, as the node gives it back."""

    def answer(self, payload: object, timings: tuple[tuple[str, float], ...]) -> None:
        """Give the answer to whoever asked; never waits."""


class _CallEnded:
    """The end of call `number`, on its way to the thread."""

    __slots__ = ("number", "payload")

    def __init__(self, number: int, payload: object) -> None:
        self.number = number
        self.payload = payload


class _Look:
    """Somebody wants to see the status."""

    __slots__ = ("ready", "status")

    def __init__(self) -> None:
        self.ready = threading.Event()
        self.status: dict[str, Any] = {}


class Stepper:
    """One node, one journal, one thread."""

    def __init__(
        self,
        node: SteppedNode,
        journal: Writable,
        clock: Clock,
        meter: Meter,
        on_operation: Callable[[str], None],
        on_fatal: Callable[[str, int], None],
        step_events: int = STEP_EVENTS,
    ) -> None:
        """`on_fatal(sentence, exit code)` ends the process; in tests it only takes note.
        `step_events` is how many events share a step, and so a sync, at most."""
        self._node = node
        self._journal = journal
        self._clock = clock
        self._meter = meter
        self._on_operation = on_operation
        self._on_fatal = on_fatal
        self._step_events = step_events
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._persisted = 0  # steps in a row that persisted
        self._numbers = itertools.count()
        self._calls: dict[int, object] = {}  # tokens of calls in flight
        self._call_deadlines: list[tuple[float, int]] = []
        self._noted: dict[str, tuple[float, int]] = {}
        self._stopping = False
        self._stepped_at = clock.now_ms()
        self.refused = 0
        self._thread: threading.Thread | None = None

    def start(self, transport: Transport) -> None:
        """Begin to step."""
        self._thread = threading.Thread(
            target=self._run, args=(transport,), name="driver", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """End after the present step. Nothing is sent or written afterwards."""
        self._stopping = True
        self._queue.put(None)
        if self._thread is not None and threading.current_thread() is not self._thread:
            self._thread.join()

    @property
    def step_age_ms(self) -> float:
        """How long ago the last step ended: large when the thread is stuck."""
        return self._clock.now_ms() - self._stepped_at

    @property
    def waiting(self) -> int:
        """How many events wait."""
        return self._queue.qsize()

    def submit(self, event: object) -> bool:
        """Put an event into the queue; False when it is full and the event is dropped."""
        if self._stopping:
            return False
        waiting = self._queue.qsize()
        if waiting > QUEUE_REQUESTS and (
            isinstance(event, Request) or (waiting > QUEUE_MESSAGES and isinstance(event, Received))
        ):
            self.refused += 1
            return False
        self._queue.put(event)
        return True

    def status(self, timeout_s: float = STATUS_WAIT_S) -> dict[str, Any]:
        """The node's status between two steps; empty when the thread doesn't answer in time."""
        look = _Look()
        if not self._stopping:
            self._queue.put(look)
            look.ready.wait(timeout_s)
        return look.status

    # --- the thread ---

    def _run(self, transport: Transport) -> None:
        try:
            while not self._stopping:
                self._turn(transport)
        except FatalError as error:
            self._end(f"{error.title}: {error.detail}", error.exit_code)
        except Exception as error:  # noqa: BLE001 (logged; the process ends)
            _log.exception("the replica has met what can't be")
            self._end(f"{type(error).__name__}: {error}", FatalError.exit_code)

    def _end(self, sentence: str, exit_code: int) -> None:
        self._stopping = True
        self._on_fatal(sentence, exit_code)

    def _turn(self, transport: Transport) -> None:
        """Gather, step, obey: once."""
        # What is now durable is told alone, so that its answers don't wait for the next sync;
        # when that persists again, the queue has its turn too.
        events: list[Any] = [Persisted()] if self._persisted else []
        if self._persisted != 1:
            self._gather(events)
        if self._stopping:
            return
        now = self._clock.now_ms()
        self._expire_calls(now, events)
        effects = self._node.step(events, now, self._clock.stamp_ms())
        self._obey(transport, effects)
        self._stepped_at = self._clock.now_ms()
        self._meter.step((self._stepped_at - now) / 1000, len(events))
        self._persisted = self._persisted + 1 if effects.persist is not None else 0

    def _gather(self, events: list[Any]) -> None:
        """Wait for an event or for the time, then take all that waits, up to a bound."""
        try:
            # How long nothing is due matters only when nothing waits.
            patience_s = self._patience_s(events) if self._queue.empty() else 0.0
            self._take(self._queue.get(timeout=patience_s), events)
            for _ in range(self._step_events - 1):
                self._take(self._queue.get_nowait(), events)
        except queue.Empty:
            return

    def _patience_s(self, events: list[Any]) -> float:
        if events:
            return 0.0
        due = self._node.wake_at()
        if self._call_deadlines:
            due = min(due, self._call_deadlines[0][0])
        return min(max(due - self._clock.now_ms(), 0.0), LONGEST_WAIT_MS) / 1000

    def _take(self, item: object, events: list[Any]) -> None:
        if isinstance(item, _CallEnded):
            token = self._calls.pop(item.number, None)
            if token is not None:
                events.append(CallReply(token, item.payload))
        elif isinstance(item, _Look):
            item.status = self._node.status()
            item.ready.set()
        elif item is not None:
            events.append(item)

    def _expire_calls(self, now: float, events: list[Any]) -> None:
        while self._call_deadlines and self._call_deadlines[0][0] <= now:
            _, number = heapq.heappop(self._call_deadlines)
            token = self._calls.pop(number, None)
            if token is not None:
                events.append(CallReply(token, None))

    # --- obeying ---

    def _obey(self, transport: Transport, effects: Effects) -> None:
        """In the order of the fields of `Effects`."""
        for replica, message in effects.send_early:
            transport.send(replica, message)
        if effects.persist is not None:
            self._write(effects.persist)
        for replica, message in effects.send:
            transport.send(replica, message)
        for replica in effects.probe:
            transport.probe(replica)
        for holder, message in effects.to_holders:
            transport.tell(holder, message)
        if effects.heartbeat is not None:
            transport.broadcast(effects.heartbeat)
        for line in effects.operations:
            self._on_operation(line)
        for call in effects.calls:
            self._call(transport, call)
        for reply in effects.replies:
            token: Any = reply.token
            token.answer(reply.payload, reply.timings)
        for note in effects.notes:
            self._note(note)

    def _write(self, persist: Persist) -> None:
        started = self._clock.now_ms()
        self._journal.write(persist)
        self._meter.sync((self._clock.now_ms() - started) / 1000)

    def _call(self, transport: Transport, call: Call) -> None:
        number = next(self._numbers)
        self._calls[number] = call.token
        if math.isfinite(call.deadline):
            heapq.heappush(self._call_deadlines, (call.deadline, number))
        timeout_ms = min(max(call.deadline - self._clock.now_ms(), 0.0), LONGEST_CALL_MS)
        transport.call(call.role, call.replica, call.payload, timeout_ms, self._ended(number))

    def _ended(self, number: int) -> Done:
        def done(payload: object, _timings: dict[str, float]) -> None:
            self._queue.put(_CallEnded(number, payload))

        return done

    def _note(self, note: Note) -> None:
        """All are counted; those of one name that come too often are not all written."""
        self._meter.note(note.name)
        now = self._clock.now_ms()
        began, count = self._noted.get(note.name, (now, 0))
        if now - began > NOTE_WINDOW_MS:
            began, count = now, 0
        self._noted[note.name] = (began, count + 1)
        if count < NOTES_A_WINDOW:
            _log.info(note.name.replace("_", " "), extra=logs.fields(detail=note.detail))
        elif count == NOTES_A_WINDOW:
            _log.info(note.name.replace("_", " "), extra=logs.fields(detail="and more of these"))
