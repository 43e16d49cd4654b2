"""What the routes of a frontend are made of, built by `wsgi.py` or by a test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from flask import Response, request

from emporium.frontend.board import Board
from emporium.frontend.copies import Encoder
from emporium.frontend.hits import HIT, Hits
from emporium.frontend.purchasing import Writing
from emporium.frontend.reading import Read, Reading
from emporium.runtime import errors, web
from emporium.runtime.clock import SYSTEM, Clock

MISS: Final = "emporium; fwd=miss"
NO_STORE: Final = {"Cache-Control": "no-store"}


@dataclass(frozen=True, slots=True)
class Parts:
    """`about` says what `/v1/cluster` shows of this frontend itself; `watchers` is how many may
    watch the cluster's events at the same time, and they must end when `ending`."""

    limits: web.Limits
    edition: str
    board: Board
    reading: Reading
    writing: Writing
    watchers: web.Gate
    orders_private: bool = False
    about: Callable[[], dict[str, object]] = dict
    ending: Callable[[], bool] = bool
    caches: tuple[str, ...] = ()
    hits: Hits = field(default_factory=Hits)
    metrics: web.Counted | None = None
    clock: Clock = field(default=SYSTEM)


def server_timing(started: float, now: float, timings: dict[str, float]) -> str:
    """The Server-Timing header: ms in this frontend and, within that, at each tier behind."""
    parts = [f"frontend;dur={now - started:.3f}"]
    parts += [f"{tier};dur={took:.3f}" for tier, took in timings.items()]
    return ", ".join(parts)


def read_answer(parts: Parts, read: Read, encode: Encoder, form: str, started: float) -> Response:
    """The answer to a read that found something, in one of its forms."""
    if read.page is None:
        raise errors.NotServing("the catalog gave nothing")
    parts.hits.learn(request.environ, read.key, form, encode)
    timing = server_timing(started, parts.clock.now_ms(), read.timings)
    headers = {"Server-Timing": timing, "Cache-Status": HIT if read.hit else MISS, **NO_STORE}
    return web.raw_answer(read.page.body(form, encode), 200, headers)


def write_headers(parts: Parts, timings: dict[str, float], started: float) -> dict[str, str]:
    """The headers of an answer to a write."""
    return {"Server-Timing": server_timing(started, parts.clock.now_ms(), timings), **NO_STORE}
