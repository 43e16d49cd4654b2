"""Metrics of one process, and the small server on its health port that shows them.

| path | answer |
|---|---|
| `/healthz` | 200 while the driver's last step is younger than `alive_within_ms`, else 503 |
| `/readyz` | 200 when the process may be given requests, else 503 with the reason |
| `/metrics` | all metrics in Prometheus's text format |
| `/status` | the status as JSON: what `emporium status` prints |

Liveness is about the driver alone: a replica that lost its group is alive, and restarting it would
not help. The server has threads of its own, few and with a time limit, so that a full pool of
request threads never looks like a dead process. Numbers and flags of the status are metrics by
themselves (`emporium_epoch`, `emporium_commit_index`, ...), read when somebody asks for them.
"""

from __future__ import annotations

import json
import re
import socket
import socketserver
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from emporium.runtime import logs
from emporium.runtime.errors import FatalError

ANSWERS_AT_ONCE: Final = 8  # more than that, and the connection is closed
REQUEST_TIMEOUT_S: Final = 5.0
SECONDS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
ALERTED_EVENTS: Final = ("reign_open",)
"""Events whose increase an alert of the chart asks for. They are counted from 0 on: an increase
isn't seen in a counter that appears with its first event."""
_log = logs.logger("health")

Status = Mapping[str, Any]


class StatusCollector(Collector):
    """Every number and flag of the status as a gauge, as it is at the scrape."""

    def __init__(self, status: Callable[[], Status], labels: dict[str, str]) -> None:
        """`status` may be called from any thread."""
        self._status = status
        self._labels = labels

    def describe(self) -> list[Metric]:
        """Nothing: the names are known only when the replica runs."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The gauges."""
        for name, value in self._status().items():
            if isinstance(value, bool | int | float):
                safe = re.sub(r"[^a-zA-Z0-9_]", "_", name)
                gauge = GaugeMetricFamily(
                    f"emporium_{safe}", f"{name} in the status", labels=list(self._labels)
                )
                gauge.add_metric(list(self._labels.values()), float(value))
                yield gauge


class Metrics:
    """The metrics of one process, in a registry of its own. Safe for several threads."""

    def __init__(self, role: str, replica: int, events: Iterable[str] = ()) -> None:
        """Every metric has the labels `role` and `id`. `events` are shown before they happen."""
        self.registry = CollectorRegistry()
        self._labels = {"role": role, "id": str(replica)}
        self._by_route: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        own = tuple(self._labels)
        self._requests = Counter(
            "emporium_requests",
            "Requests answered",
            (*own, "route", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "emporium_request_seconds",
            "From the first byte of a request to its answer",
            (*own, "route"),
            buckets=SECONDS,
            registry=self.registry,
        )
        self._notes = Counter(
            "emporium_events", "What happened, by name", (*own, "event"), registry=self.registry
        )
        for event in events:
            self.note(event, 0)
        self._step = Histogram(
            "emporium_step_seconds",
            "One step of the driver with all its effects",
            own,
            buckets=SECONDS,
            registry=self.registry,
        ).labels(**self._labels)
        self._step_events = Histogram(
            "emporium_step_events",
            "Events that one step took from the queue",
            own,
            buckets=SIZES,
            registry=self.registry,
        ).labels(**self._labels)
        self._sync = Histogram(
            "emporium_sync_seconds",
            "One durable write of the journal",
            own,
            buckets=SECONDS,
            registry=self.registry,
        ).labels(**self._labels)

    def request(self, route: str, status: int, seconds: float) -> None:
        """One answered request. `route` is the rule, never the path: a path has no bound."""
        children = self._by_route.get((route, status))
        if children is None:  # looking a child up by its labels costs more than counting
            children = (
                self._requests.labels(**self._labels, route=route, status=str(status)),
                self._seconds.labels(**self._labels, route=route),
            )
            self._by_route[route, status] = children
        counter, histogram = children
        counter.inc()
        histogram.observe(seconds)

    def note(self, event: str, count: int = 1) -> None:
        """Something happened. `event` is one of few fixed names."""
        self._notes.labels(**self._labels, event=event).inc(count)

    def step(self, seconds: float, events: int) -> None:
        """One step of the driver."""
        self._step.observe(seconds)
        self._step_events.observe(events)

    def sync(self, seconds: float) -> None:
        """One durable write."""
        self._sync.observe(seconds)

    def show(self, status: Callable[[], Status]) -> None:
        """Export the numbers of `status`; call it once."""
        self.registry.register(StatusCollector(status, self._labels))

    def text(self) -> bytes:
        """All metrics in Prometheus's text format."""
        return generate_latest(self.registry)


@dataclass(frozen=True, slots=True)
class Health:
    """What the health port asks the process; each may be called from any thread."""

    status: Callable[[], Status]
    unready: Callable[[], str]  # why no requests, please; empty when ready
    step_age_ms: Callable[[], float]  # since the driver's last step
    alive_within_ms: float = 10_000.0


@dataclass(frozen=True, slots=True)
class Page:
    """One answer of the health port."""

    status: HTTPStatus
    content_type: str
    body: bytes


def _text(status: HTTPStatus, text: str) -> Page:
    """A line of plain text."""
    return Page(status, "text/plain; charset=utf-8", f"{text}\n".encode())


def page(path: str, health: Health, metrics: Metrics) -> Page:
    """The answer for a path."""
    match path.partition("?")[0]:
        case "/healthz":
            age = health.step_age_ms()
            alive = age < health.alive_within_ms
            code = HTTPStatus.OK if alive else HTTPStatus.SERVICE_UNAVAILABLE
            return _text(code, f"last step {age:.0f} ms ago")
        case "/readyz":
            reason = health.unready()
            code = HTTPStatus.SERVICE_UNAVAILABLE if reason else HTTPStatus.OK
            return _text(code, reason or "ready")
        case "/metrics":
            return Page(HTTPStatus.OK, CONTENT_TYPE_LATEST, metrics.text())
        case "/status":
            body = json.dumps(dict(health.status()), default=str).encode()
            return Page(HTTPStatus.OK, "application/json", body + b"\n")
        case _:
            return _text(HTTPStatus.NOT_FOUND, "/healthz /readyz /metrics /status")


class _Handler(BaseHTTPRequestHandler):
    """GET, nothing else."""

    server: HealthServer
    timeout = REQUEST_TIMEOUT_S
    server_version = "emporium"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer; an error inside is a 500 and a line in the log."""
        try:
            answer = page(self.path, self.server.health, self.server.metrics)
        except Exception:  # noqa: BLE001 logged; a probe must have an answer
            _log.exception("the health port failed", extra=logs.fields(path=self.path))
            answer = _text(HTTPStatus.INTERNAL_SERVER_ERROR, "see the log")
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, format: str, *values: object) -> None:  # noqa: A002 as in the base
        """Probes come every second: only for those who look for them."""
        _log.debug(format % values)


class HealthServer(socketserver.ThreadingMixIn, HTTPServer):
    """The server of the health port; it runs from `start` to `stop`."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 32

    def __init__(self, host: str, port: int, health: Health, metrics: Metrics) -> None:
        """Listen. Port 0 takes a free one. Raises FatalError when the port is taken."""
        self.health = health
        self.metrics = metrics
        self._slots = threading.BoundedSemaphore(ANSWERS_AT_ONCE)
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            super().__init__((host, port), _Handler)
        except OSError as problem:
            raise FatalError(f"health port {host}:{port}: {problem.strerror}") from problem
        self._thread = threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.1}, name="health", daemon=True
        )

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.server_address[1])

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Close the port; answers under way may still go out."""
        if self._thread.is_alive():
            self.shutdown()
            self._thread.join()
        self.server_close()

    def server_bind(self) -> None:
        """Bind without asking the name service for our own name, which can take seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "emporium", self.port

    def process_request(self, request: Any, client_address: Any) -> None:
        """A thread for each connection, up to the bound."""
        if not self._slots.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread can be started: the next prober may have more luck
            self._slots.release()
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Give the place back whatever happens."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 the base's
        """A prober that goes away is no error."""
        _log.debug("a connection broke", exc_info=True)
