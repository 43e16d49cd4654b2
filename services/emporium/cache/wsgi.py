"""The cache as a process: the parts, built from settings in the worker."""

from __future__ import annotations

from flask import Flask

from emporium.cache.app import Parts, create_app
from emporium.cache.desk import CacheDesk
from emporium.cache.holder import Holder
from emporium.cache.keeper import Keeper
from emporium.replication.messages import Invalidate
from emporium.runtime import web
from emporium.runtime.clock import SYSTEM
from emporium.runtime.faults import FaultTable
from emporium.runtime.frames import Answered, Ask, Peer
from emporium.runtime.hub import build_hub, credentials_from
from emporium.runtime.internal_server import InternalServer
from emporium.runtime.lifecycle import PROCESS
from emporium.runtime.metrics import Health, HealthServer, Metrics
from emporium.runtime.operation_log import open_log
from emporium.runtime.settings import CacheSettings
from emporium.runtime.streams import Stream


def build(settings: CacheSettings) -> Flask:
    """The running cache behind its app. Raises SettingsError, FatalError."""
    operations = open_log(settings.output_dir, settings.role, settings.replica)
    faults = FaultTable(settings.name)
    hub = build_hub(settings, faults)
    name = f"{settings.name}-{web.new_request_id()}"
    holder = Holder(name, copies=settings.cache_items, lease_ms=float(settings.lease_ms))

    def invalidated(message: Invalidate) -> None:
        desk.invalidated(message)

    keeper = Keeper(holder, hub, float(settings.failure_timeout_ms), invalidated)
    desk = CacheDesk(keeper, operations.write)
    server = _server(settings, desk, faults)
    metrics = Metrics(settings.role, settings.replica)
    _serve_health(settings, keeper, metrics)
    PROCESS.on_leave(keeper.close)
    for end in (operations.close, hub.close, server.close):
        PROCESS.on_stop(end)
    server.start()
    keeper.start()
    hub.start()
    limits = web.Limits(settings.max_body_bytes, settings.operator_token, settings.faults)
    return create_app(Parts(desk, keeper, operations.write, limits, metrics))


def _server(settings: CacheSettings, desk: CacheDesk, faults: FaultTable) -> InternalServer:
    """Where the frontends ask. Answers come from memory, in the stream's own thread."""

    def on_record(stream: Stream, record: object) -> None:
        if isinstance(record, Ask):
            started = SYSTEM.now_ms()
            answer = desk.answer(record.payload)
            took_ms = round(SYSTEM.now_ms() - started, 3)
            stream.send(Answered(record.id, answer, (), took_ms))

    return InternalServer(
        Peer(settings.role, settings.replica),
        (settings.host, settings.internal_port),
        credentials_from(settings),
        faults,
        on_record,
        _ignore_change,
    )


def _ignore_change(stream: Stream, *, up: bool) -> None:
    """Whoever asks may come and go."""
    del stream, up


def _serve_health(settings: CacheSettings, keeper: Keeper, metrics: Metrics) -> None:
    def status() -> dict[str, object]:
        found: dict[str, object] = {
            "role": settings.role,
            "replica": settings.replica,
            "up": True,
            "serving": not unready(),
        }
        return {**found, **keeper.status()}

    def unready() -> str:
        return "leaving" if PROCESS.leaving else ""

    metrics.show(status)
    health = HealthServer(
        settings.host,
        settings.health_port,
        Health(status, unready, keeper.ticker.age_ms),
        metrics,
    )
    health.start()
    PROCESS.on_stop(health.stop)
