"""`/v1/cluster`: who is there, who reigns; as a document and as a stream of events.

The stream (server-sent events) has two kinds: `cluster` with the whole document, at once, after
every change and each second; `change` with one fact and its number as id, so that a watcher that
comes back with `Last-Event-ID` misses none of the last 256. A stream ends after a minute and the
watcher comes back by itself: no thread belongs to anybody for ever.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from flask import Blueprint, Response, request

from emporium.frontend.board import Board
from emporium.frontend.parts import Parts
from emporium.frontend.routes_answers import NO_STORE
from emporium.frontend.view import Change
from emporium.runtime import errors, web

PERIOD_MS = 1_000.0
STREAM_MS = 60_000.0
MOST_EVENTS = 10_000  # of one stream
RETRY_MS = 1_000
NEWEST_EVENT = 2**53


def document(parts: Parts) -> dict[str, object]:
    """The cluster as this frontend sees it."""
    rows = [*parts.board.rows(), *_others(parts)]
    reigns = {
        role: None if reign is None else {"id": reign.replica, "epoch": reign.epoch}
        for role, reign in parts.board.reigns().items()
    }
    now = datetime.fromtimestamp(parts.clock.stamp_ms() / 1000, UTC)
    return {
        "replicas": rows,
        "reigns": reigns,
        "edition": parts.edition,
        "seen_by": parts.about(),
        "at": now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }


def _others(parts: Parts) -> list[dict[str, object]]:
    """The caches, which have no heartbeat: healthy while there is a stream to them."""
    return [
        {
            "role": "cache",
            "id": number,
            "address": address,
            "healthy": parts.board.connected("cache", number),
            "reigning": False,
            "last_heartbeat_ms": None,
        }
        for number, address in enumerate(parts.caches)
    ]


def blueprint(parts: Parts) -> Blueprint:
    """The routes."""
    routes = Blueprint("cluster", __name__)

    @routes.get("/v1/cluster")
    def show() -> Response:
        web.parameters()
        return web.answer(document(parts), 200, NO_STORE)

    @routes.get("/v1/cluster/events")
    def watch() -> Response:
        web.refuse_head()  # an answer without a body is never closed: its place would be lost
        web.parameters()
        after = _last_event(parts.board)
        try:
            parts.watchers.__enter__()
        except errors.Overloaded:
            raise errors.TooMany(detail="too many watch the cluster already") from None
        answer = Response(
            _events(parts, after), content_type="text/event-stream", headers=dict(NO_STORE)
        )
        answer.call_on_close(lambda: parts.watchers.__exit__(None, None, None))
        return answer

    return routes


def _last_event(board: Board) -> int:
    """The number after which the watcher wants changes: those from now on, or as it says."""
    text = request.headers.get("Last-Event-ID")
    if not text:
        return board.last_change
    return min(web.whole_number("Last-Event-ID", text, 0, NEWEST_EVENT), board.last_change)


def _events(parts: Parts, after: int) -> Iterator[bytes]:
    board = parts.board
    end = board.now_ms() + STREAM_MS
    yield f"retry: {RETRY_MS}\n\n".encode()
    for _ in range(MOST_EVENTS):
        for change in board.changes(after):
            after = change.number
            yield _event("change", _fact(change), change.number)
        yield _event("cluster", document(parts))
        if board.closed or parts.ending() or board.now_ms() >= end:
            return
        board.wait_for_change(after, PERIOD_MS)


def _fact(change: Change) -> dict[str, object]:
    return {
        "number": change.number,
        "what": change.what,
        "role": change.role,
        "id": change.replica,
        "epoch": change.epoch,
    }


def _event(name: str, data: dict[str, object], number: int = 0) -> bytes:
    head = f"id: {number}\n" if number else ""
    return f"{head}event: {name}\ndata: ".encode() + web.encode(data) + b"\n\n"
