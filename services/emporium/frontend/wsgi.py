"""A frontend as a process: the parts, built from settings in the worker."""

from __future__ import annotations

from collections.abc import Callable

from flask import Flask

from emporium.cache.holder import Holder
from emporium.cache.keeper import Keeper
from emporium.editions import EditionError, edition
from emporium.frontend.app import create_app
from emporium.frontend.board import Board
from emporium.frontend.copies import CacheServer, Copies, NoCopies, OwnCopies
from emporium.frontend.hits import Hits
from emporium.frontend.parts import Parts
from emporium.frontend.purchasing import Writing
from emporium.frontend.reading import Reading
from emporium.frontend.view import ClusterView
from emporium.runtime import web
from emporium.runtime.errors import SettingsError
from emporium.runtime.hub import Hub, build_hub
from emporium.runtime.lifecycle import PROCESS
from emporium.runtime.metrics import Health, HealthServer, Metrics
from emporium.runtime.settings import FrontendSettings

GROUPS = ("catalog", "order")
WATCHERS_SHARE = 4
"""One in so many request threads may serve somebody who watches the cluster."""

Status = Callable[[], dict[str, object]]


def build(settings: FrontendSettings) -> Flask:
    """The running frontend behind its app. Raises SettingsError, FatalError."""
    try:
        edition(settings.edition)
    except EditionError as error:
        raise SettingsError(str(error)) from error
    if settings.cache_mode == "server" and not settings.cache:
        raise SettingsError("EMPORIUM_CACHE is not set, and the cache mode is server")
    hub = build_hub(settings)
    board = Board(_view(settings), hub)
    keeper = _keeper(settings, hub) if settings.cache_mode == "frontend" else None
    gate = web.Gate(settings.waiters)
    timeout_ms = float(settings.request_timeout_ms)
    metrics = Metrics(settings.role, settings.replica)
    status = _status(settings, board, keeper)
    parts = Parts(
        limits=web.Limits(settings.max_body_bytes, settings.operator_token, settings.faults),
        edition=settings.edition,
        board=board,
        reading=Reading(
            *(board, _copies(settings, board, keeper), gate),
            *(timeout_ms, float(settings.failure_timeout_ms)),
        ),
        writing=Writing(board, gate, timeout_ms),
        watchers=web.Gate(max(1, settings.threads // WATCHERS_SHARE)),
        orders_private=settings.orders_private,
        about=lambda: {"role": "frontend", "id": settings.replica, "cache": settings.cache_mode},
        ending=lambda: PROCESS.leaving,
        caches=tuple(str(address) for address in settings.cache),
        hits=Hits() if keeper is None else Hits(keeper.get_quietly),
        metrics=metrics,
    )
    app = create_app(parts)
    _start(settings, metrics, status, board, hub)
    return app


def _view(settings: FrontendSettings) -> ClusterView:
    addresses = {role: tuple(str(each) for each in settings.public(role)) for role in GROUPS}
    return ClusterView(addresses, float(settings.failure_timeout_ms), settings.replica)


def _keeper(settings: FrontendSettings, hub: Hub) -> Keeper:
    """This frontend as a holder."""
    name = f"{settings.name}-{web.new_request_id()}"
    holder = Holder(name, copies=settings.cache_items, lease_ms=float(settings.lease_ms))
    keeper = Keeper(holder, hub, float(settings.failure_timeout_ms))
    keeper.start()
    PROCESS.on_leave(keeper.close)
    return keeper


def _copies(settings: FrontendSettings, board: Board, keeper: Keeper | None) -> Copies:
    """Where copies are looked for."""
    if keeper is not None:
        return OwnCopies(keeper)
    if settings.cache_mode == "server":
        return CacheServer(board, len(settings.cache))
    return NoCopies()


def _status(settings: FrontendSettings, board: Board, keeper: Keeper | None) -> Status:
    def status() -> dict[str, object]:
        found: dict[str, object] = {
            "role": settings.role,
            "replica": settings.replica,
            "up": True,
            "serving": not _unready(board),
        }
        for role, reign in board.reigns().items():
            found[f"{role}_primary"] = -1 if reign is None else reign.replica
            found[f"{role}_epoch"] = 0 if reign is None else reign.epoch
        if keeper is not None:
            found.update({f"holder_{name}": each for name, each in keeper.status().items()})
        return found

    return status


def _unready(board: Board) -> str:
    """Why this frontend should get no requests; empty when it should."""
    if PROCESS.leaving:
        return "leaving"
    for role in GROUPS:
        if board.reign(role) is None:
            return f"no {role} replica reigns, as far as is known here"
    return ""


def _start(
    settings: FrontendSettings, metrics: Metrics, status: Status, board: Board, hub: Hub
) -> None:
    """Let everything run, and register its end."""
    metrics.show(status)
    health = HealthServer(
        settings.host,
        settings.health_port,
        Health(status, lambda: _unready(board), board.ticker.age_ms),
        metrics,
    )
    PROCESS.on_stop(hub.close)
    PROCESS.on_stop(health.stop)
    PROCESS.on_stop(board.close)
    health.start()
    board.start()
    hub.start()
