"""A replica as its process holds it: built from settings, asked by request threads, shut down and
recovered by the fault hooks, and led away at SIGTERM.

`build_replica` puts it together: data folder and journal, core and node, streams, metrics and the
health port. What lives between `shutdown` and `recover` is the shell alone: the handle, its
metrics and its operation log; core, state, journal, internal port and streams are made anew from
the disk, as after a kill.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from emporium.replication.core import Core
from emporium.replication.effects import Leave, Request
from emporium.replication.node import Desk, Node
from emporium.replication.state_machine import StateMachine
from emporium.runtime import errors, logs
from emporium.runtime.backup import restored_data
from emporium.runtime.clock import SYSTEM, Clock
from emporium.runtime.data_folder import AMNESIAC, DataFolder
from emporium.runtime.faults import FaultTable
from emporium.runtime.frames import Peer
from emporium.runtime.hub import DIALLED_BY, Hub, credentials_from, internal_addresses
from emporium.runtime.lifecycle import PROCESS, Lifecycle, leave_at_once
from emporium.runtime.metrics import ALERTED_EVENTS, Health, HealthServer, Metrics
from emporium.runtime.operation_log import OperationLog, open_log
from emporium.runtime.settings import ReplicaSettings
from emporium.runtime.stepper import Stepper
from emporium.runtime.transport import Deliver, Identity, StreamTransport

LEAVE_MS = 2_000.0
RECOVER_MS = 10_000.0
LOOK_AGAIN_MS = 10.0
ANSWER_GRACE_MS = 100.0
"""The desk answers at the deadline by itself; the waiter gives it this much to arrive."""
RETRY_AFTER_MS = 200

_log = logs.logger("driver")
Machine = TypeVar("Machine", bound=StateMachine)


class Waiter:
    """The token of a request whose asker is a thread of this process."""

    __slots__ = ("_ready", "payload", "timings")

    def __init__(self) -> None:
        """Nothing is there yet."""
        self._ready = threading.Lock()
        self._ready.acquire()
        self.payload: object = None
        self.timings: tuple[tuple[str, float], ...] = ()

    def answer(self, payload: object, timings: tuple[tuple[str, float], ...]) -> None:
        """The answer, from the driver's thread; the first one counts."""
        if self._ready.locked():
            self.payload, self.timings = payload, timings
            self._ready.release()

    def wait(self, timeout_ms: float) -> bool:
        """Whether the answer came in time."""
        return self._ready.acquire(timeout=max(timeout_ms, 0.0) / 1000)


@dataclass(frozen=True, slots=True)
class Running:
    """What `shutdown` drops and `recover` makes anew."""

    folder: DataFolder
    stepper: Stepper
    transport: StreamTransport


Assemble = Callable[[], Running]
"""Opens the journal and starts a replica on it. Raises FatalError."""


class ReplicaHandle:
    """The one way from HTTP to a replica. Safe for all request threads."""

    def __init__(
        self,
        settings: ReplicaSettings,
        faults: FaultTable,
        metrics: Metrics,
        operations: OperationLog,
        assemble: Assemble,
        clock: Clock = SYSTEM,
        lifecycle: Lifecycle = PROCESS,
    ) -> None:
        """Nothing runs before `start`."""
        self.settings = settings
        self.faults = faults
        self.metrics = metrics
        self._operations = operations
        self._assemble = assemble
        self._clock = clock
        self._lifecycle = lifecycle
        self._running: Running | None = None
        self._changing = threading.Lock()
        self._waiters: set[Waiter] = set()
        self._places = threading.BoundedSemaphore(settings.waiters)

    # --- asking ---

    def ask(
        self, payload: object, timeout_ms: float, request_id: str = ""
    ) -> tuple[object, dict[str, float]]:
        """The desk's answer, and the timings in ms by tier.

        Raises the error that an answer of `replication.failures` stands for; Overloaded when too
        many threads wait or the queue is full; NotServing when the replica is shut down; after
        the deadline OutcomeUnknown when there is a request id, else TimedOut."""
        running = self._running
        if running is None:
            raise errors.NotServing("this replica is shut down")
        if not self._places.acquire(blocking=False):
            raise errors.Overloaded(RETRY_AFTER_MS, "all waiting places are taken")
        try:
            return self._ask(running, payload, timeout_ms, request_id)
        finally:
            self._places.release()

    def _ask(
        self, running: Running, payload: object, timeout_ms: float, request_id: str
    ) -> tuple[object, dict[str, float]]:
        waiter = Waiter()
        started = self._clock.now_ms()
        self._waiters.add(waiter)
        try:
            if not running.stepper.submit(Request(waiter, payload, started + timeout_ms)):
                raise errors.Overloaded(RETRY_AFTER_MS, "the queue of the replica is full")
            if self._running is not running:  # shut down meanwhile: nobody may answer any more
                waiter.answer(None, ())
            answered = waiter.wait(timeout_ms + ANSWER_GRACE_MS)
        finally:
            self._waiters.discard(waiter)
        if not answered or waiter.payload is None:
            raise self._unanswered(timeout_ms, request_id, answered=answered)
        failure = errors.of_failure(waiter.payload)
        if failure is not None:
            raise failure
        timings = dict(waiter.timings)
        timings[self.settings.role] = round(self._clock.now_ms() - started, 3)
        return waiter.payload, timings

    @staticmethod
    def _unanswered(timeout_ms: float, request_id: str, *, answered: bool) -> errors.ServiceError:
        if request_id:
            return errors.OutcomeUnknown(request_id)
        if answered:
            return errors.Abandoned("the replica was shut down")
        return errors.TimedOut(f"no answer within {timeout_ms:.0f} ms")

    # --- looking ---

    def status(self) -> dict[str, Any]:
        """What the node says of itself, and what its process adds. Small when it is shut down."""
        own = self.settings
        found: dict[str, Any] = {"role": own.role, "replica": own.replica, "up": False}
        running = self._running
        if running is not None:
            seen = running.stepper.status()
            found.update(seen)
            found["up"] = bool(seen)
            found["queue"] = running.stepper.waiting
            found["refused_requests"] = running.stepper.refused
            found["refused_connections"] = running.transport.server.refused
            found["calls_in_flight"] = running.transport.hub.in_flight
            found["dropped_frames"] = running.transport.hub.dropped()
            found["message_version"] = running.transport.message_version()
        found["lost_operations"] = self._operations.dropped
        found["faults"] = self.faults.describe()
        return found

    @property
    def serving(self) -> bool:
        """Whether requests can be answered now."""
        return bool(self.status().get("serving"))

    @property
    def up(self) -> bool:
        """Whether it runs: not shut down by the fault hook."""
        return self._running is not None

    def unready(self) -> str:
        """Why this replica should get no requests; empty when it should."""
        if self._lifecycle.leaving:
            return "leaving"
        status = self.status()
        if not status["up"]:
            return "shut down" if self._running is None else "the driver doesn't answer"
        if not status.get("voter", True):
            return "a learner: not yet in the voter set"
        return "" if status.get("serving") else "not caught up, or no majority is heard"

    def step_age_ms(self) -> float:
        """How long ago the driver's last step ended; 0 when it is shut down on purpose."""
        running = self._running
        return running.stepper.step_age_ms if running is not None else 0.0

    def operation(self, line: str) -> None:
        """A line of the operation log."""
        self._operations.write(line)

    # --- beginning, the fault hooks, the end ---

    def start(self) -> None:
        """Open the journal and take part. Raises FatalError."""
        with self._changing:
            if self._running is None:
                self._running = self._assemble()

    def shutdown(self) -> None:
        """Fault hook: drop the core, all state in memory and the internal port, as a crash does.
        Whoever waits is told that the outcome isn't known."""
        with self._changing:
            running, self._running = self._running, None
            if running is None:
                return
            running.transport.server.close()  # first: a fresh connect proves the death at once
            running.stepper.stop()
            running.transport.close()
            running.folder.close()
            for waiter in tuple(self._waiters):
                waiter.answer(None, ())

    def recover(self, timeout_ms: float = RECOVER_MS) -> None:
        """Fault hook: read the journal again, catch up, and return when it serves.

        Raises NotServing when that takes longer."""
        started = self._clock.now_ms()
        self.start()
        if not self.wait_until(lambda status: bool(status.get("serving")), timeout_ms):
            waited = self._clock.now_ms() - started
            raise errors.NotServing(f"not serving again after {waited:.0f} ms")

    def leave(self, timeout_ms: float = LEAVE_MS) -> None:
        """SIGTERM: hand the reign over; return when it is given or the time is over."""
        running = self._running
        if running is None:
            return
        running.stepper.submit(Leave())
        if not self.wait_until(lambda status: not status.get("reigning"), timeout_ms):
            _log.warning("nobody took the reign over in time")

    def wait_until(self, condition: Callable[[dict[str, Any]], bool], timeout_ms: float) -> bool:
        """Whether the status fulfilled the condition in time."""
        give_up = self._clock.now_ms() + timeout_ms
        while not condition(self.status()):
            if self._clock.now_ms() >= give_up:
                return False
            self._clock.sleep_ms(LOOK_AGAIN_MS)
        return True

    def close(self) -> None:
        """The end of the process."""
        self.shutdown()
        self._operations.close()


def build_replica(
    settings: ReplicaSettings,
    machine: Callable[[], Machine],
    desk: Callable[[Machine], Desk],
    data: str = "",
    lifecycle: Lifecycle = PROCESS,
) -> ReplicaHandle:
    """A replica of the role, running: `machine` makes its state machine and `desk` the rule over
    it, once at each start; `data` is the data set of a group that forms here (JSON text).

    Serves the health port and says good-bye at SIGTERM by itself. Raises FatalError."""
    faults = FaultTable(settings.name)
    metrics = Metrics(settings.role, settings.replica, ALERTED_EVENTS)
    operations = open_log(settings.output_dir, settings.role, settings.replica)

    def assemble() -> Running:
        return _assemble(settings, machine(), desk, data, faults, metrics, operations)

    handle = ReplicaHandle(settings, faults, metrics, operations, assemble, lifecycle=lifecycle)
    metrics.show(handle.status)
    health = HealthServer(
        settings.host,
        settings.health_port,
        Health(handle.status, handle.unready, handle.step_age_ms),
        metrics,
    )
    health.start()
    lifecycle.on_stop(health.stop)
    handle.start()
    lifecycle.on_leave(handle.leave)
    lifecycle.on_stop(handle.close)
    return handle


def _assemble(
    settings: ReplicaSettings,
    machine: Machine,
    desk: Callable[[Machine], Desk],
    data: str,
    faults: FaultTable,
    metrics: Metrics,
    operations: OperationLog,
) -> Running:
    place = Path(settings.data_dir)
    folder = DataFolder(place, settings.lock_wait_ms)
    opened = folder.open()
    _log.log(logging.WARNING if opened.outcome == AMNESIAC else logging.INFO, opened.sentence)
    data = restored_data(place, settings.role) or data  # a backup begins the new group
    core = Core(settings.core(data), machine, opened.durable, SYSTEM.now_ms())
    _warn_of_lease(core)
    stepper = Stepper(
        Node(core, desk(machine)),
        opened.journal,
        SYSTEM,
        metrics,
        operations.write,
        leave_at_once,
        settings.step_events,
    )
    identity = Identity(
        Peer(settings.role, settings.replica), opened.durable.incarnation, lambda: core.group
    )
    transport = _transport(settings, identity, faults, stepper.submit)
    stepper.start(transport)
    try:
        transport.start()
    except errors.FatalError:
        stepper.stop()
        folder.close()
        raise
    return Running(folder, stepper, transport)


def _warn_of_lease(core: Core) -> None:
    """The lease is fixed in the group's first entry: say so where the settings ask for another."""
    asked = core.settings.lease_ms
    if core.genesis is not None and core.lease_ms != asked:
        _log.warning(
            "EMPORIUM_LEASE_MS has no effect: the group keeps the lease that it was formed with",
            extra=logs.fields(asked_ms=f"{asked:g}", lease_ms=f"{core.lease_ms:g}"),
        )


def _transport(
    settings: ReplicaSettings, identity: Identity, faults: FaultTable, deliver: Deliver
) -> StreamTransport:
    """The streams of a replica, as settings say."""
    addresses = internal_addresses(settings, DIALLED_BY[settings.role])
    credentials = credentials_from(settings)
    interval_ms = float(settings.heartbeat_interval_ms)
    hub = Hub(identity.own, addresses, credentials, faults, interval_ms)
    listen = (settings.host, settings.internal_port)
    return StreamTransport(
        identity, addresses, listen, credentials, hub, SYSTEM, interval_ms, deliver
    )
