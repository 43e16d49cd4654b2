"""The process around a role that has no log of its own: a frontend or a cache.

What `driver.build_replica` does for a replica is done here for the others: the hub with its
streams, the port on which a cache answers, operation log, metrics, health, and the good-bye. The
role's `wsgi` module adds its callbacks to `hub`, then calls `start`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from emporium.runtime import logs
from emporium.runtime.clock import SYSTEM, Clock
from emporium.runtime.faults import FaultTable
from emporium.runtime.frames import Answered, Ask, Peer
from emporium.runtime.hub import build_hub, credentials_from
from emporium.runtime.internal_server import InternalServer
from emporium.runtime.lifecycle import PROCESS, Lifecycle
from emporium.runtime.metrics import Health, HealthServer, Metrics
from emporium.runtime.operation_log import open_log
from emporium.runtime.settings import CommonSettings
from emporium.runtime.streams import Stream

_log = logs.logger("shell")

Answer = Callable[[object], object]
"""The rule of a role that answers over streams: quick, and without waiting, since it runs in the
thread that reads the stream."""


class Shell:
    """Hub, logs, metrics and health of one process."""

    def __init__(
        self, settings: CommonSettings, clock: Clock = SYSTEM, lifecycle: Lifecycle = PROCESS
    ) -> None:
        """Opens the operation log; nothing is dialled or listened to before `start`."""
        self.settings = settings
        self.faults = FaultTable(settings.name)
        self.metrics = Metrics(settings.role, settings.replica)
        self.operations = open_log(settings.output_dir, settings.role, settings.replica)
        self.hub = build_hub(settings, self.faults)
        self.lifecycle = lifecycle
        self._clock = clock

    def start(
        self,
        status: Callable[[], Mapping[str, Any]] = dict,
        unready: Callable[[], str] = str,
        answer: Answer | None = None,
    ) -> None:
        """Serve the health port, dial, and listen on the internal port where there is an `answer`.

        `status` and `unready` are the role's own words. Raises FatalError for a taken port."""
        own = self.settings

        def all_status() -> dict[str, Any]:
            return {
                "role": own.role,
                "replica": own.replica,
                "up": True,
                "leaving": self.lifecycle.leaving,
                "calls_in_flight": self.hub.in_flight,
                "dropped_frames": self.hub.dropped(),
                "lost_operations": self.operations.dropped,
                "faults": self.faults.describe(),
                **status(),
            }

        def any_unready() -> str:
            return "leaving" if self.lifecycle.leaving else unready()

        self.lifecycle.on_stop(self.operations.close)
        self.metrics.show(all_status)
        health = HealthServer(
            own.host,
            own.health_port,
            Health(all_status, any_unready, lambda: 0.0),
            self.metrics,
        )
        health.start()
        self.lifecycle.on_stop(health.stop)
        self.hub.start()
        self.lifecycle.on_stop(self.hub.close)
        if answer is not None:
            server = self._server(answer)
            server.start()
            self.lifecycle.on_stop(server.close)

    def _server(self, answer: Answer) -> InternalServer:
        """The internal port of a role that answers by itself."""
        own = self.settings

        def asked(stream: Stream, record: object) -> None:
            if isinstance(record, Ask):
                started = self._clock.now_ms()
                payload = answer(record.payload)
                took_ms = round(self._clock.now_ms() - started, 3)
                stream.send(Answered(record.id, payload, (), took_ms))

        def changed(stream: Stream, *, up: bool) -> None:
            _log.debug("%s is %s", stream.peer, "there" if up else "gone")

        return InternalServer(
            Peer(own.role, own.replica),
            (own.host, own.internal_port),
            credentials_from(own),
            self.faults,
            asked,
            changed,
        )
