"""Answers to reads and writes, with what they tell about the way: Server-Timing, Cache-Status."""

from __future__ import annotations

from typing import Final

from flask import Response, request

from emporium.frontend.copies import Encoder
from emporium.frontend.hits import HIT
from emporium.frontend.parts import Parts
from emporium.frontend.reading import Read
from emporium.runtime import errors, web

MISS: Final = "emporium; fwd=miss"
PASSED: Final = "emporium; fwd=bypass"
"""No copy was asked: there are none here, or the read level is another."""
NO_STORE: Final = {"Cache-Control": "no-store"}


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
    missed = MISS if read.key else PASSED
    headers = {"Server-Timing": timing, "Cache-Status": HIT if read.hit else missed, **NO_STORE}
    return web.raw_answer(read.page.body(form, encode), 200, headers)


def write_headers(parts: Parts, timings: dict[str, float], started: float) -> dict[str, str]:
    """The headers of an answer to a write."""
    return {"Server-Timing": server_timing(started, parts.clock.now_ms(), timings), **NO_STORE}
