"""What the routes of a frontend are made of, built by `wsgi.py` or by a test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from emporium.frontend.board import Board
from emporium.frontend.hits import Hits
from emporium.frontend.purchasing import Writing
from emporium.frontend.reading import Reading
from emporium.runtime import web
from emporium.runtime.clock import SYSTEM, Clock


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
