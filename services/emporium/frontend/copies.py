"""Where a frontend looks for copies before it asks the catalog: nowhere (`off`), in its own memory
(`frontend`), or at a cache process (`server`)."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from emporium.cache.requests import (
    CacheHit,
    CacheMiss,
    LookupCache,
    PutCache,
    SearchCache,
)
from emporium.catalog.requests import ItemFound, ItemList
from emporium.frontend.board import Board
from emporium.runtime import errors

CACHE = "cache"
ASK_MS = 250.0
"""How long a cache may take; then the catalog is asked."""
AVOID_MS = 1_000.0
"""A cache that took longer, or can't be reached, isn't asked for so long."""


Encoder = Callable[[ItemFound | ItemList], bytes]
"""How a value is written in one form."""


@dataclass(slots=True)
class Page:
    """What a reader gets, with its encoded forms, which are made once. By name of the form."""

    value: ItemFound | ItemList
    bodies: dict[str, bytes] = field(default_factory=dict)

    def body(self, form: str, encode: Encoder) -> bytes:
        """The page as JSON in one form, encoded once."""
        encoded = self.bodies.get(form)
        if encoded is None:
            encoded = self.bodies[form] = encode(self.value)
        return encoded

    @property
    def index(self) -> int:
        """The commit index at which it was read."""
        value = self.value
        return value.view.commit_index if isinstance(value, ItemFound) else value.commit_index


@dataclass(frozen=True, slots=True)
class Found:
    """`page` is None on a miss, and then `session` what a fill must name (empty: don't fill)."""

    page: Page | None
    session: str = ""


class Copies(Protocol):
    """Where copies are."""

    tier: str  # the name of its part in Server-Timing; empty for none
    keeps: bool  # whether there can be copies at all

    def find(self, key: str, question: LookupCache | SearchCache, trace: str) -> Found:
        """A copy as good as a linearizable read."""

    def fill(self, key: str, page: Page, session: str, trace: str) -> None:
        """Keep what was read after `find` told the session."""


class NoCopies:
    """Cache mode `off`."""

    tier = ""
    keeps = False

    def find(self, key: str, question: LookupCache | SearchCache, trace: str) -> Found:
        """Nothing."""
        del key, question, trace
        return Found(None)

    def fill(self, key: str, page: Page, session: str, trace: str) -> None:
        """Nowhere to keep it."""


class Kept(Protocol):
    """What is wanted of the keeper of this process's holder."""

    def get(self, key: str) -> object | None:
        """A copy."""

    def session(self) -> str:
        """The present session."""

    def put(self, key: str, value: object, index: int, session: str) -> bool:
        """A fill."""


class OwnCopies:
    """Cache mode `frontend`: this process is a holder."""

    tier = ""
    keeps = True

    def __init__(self, keeper: Kept) -> None:
        """Over the keeper of this process."""
        self._keeper = keeper

    def find(self, key: str, question: LookupCache | SearchCache, trace: str) -> Found:
        """From memory."""
        del question, trace
        page = self._keeper.get(key)
        if isinstance(page, Page):
            return Found(page)
        return Found(None, self._keeper.session())

    def fill(self, key: str, page: Page, session: str, trace: str) -> None:
        """Into memory."""
        del trace
        self._keeper.put(key, page, page.index, session)


class CacheServer:
    """Cache mode `server`: one of the cache processes, by the key."""

    tier = CACHE
    keeps = True

    def __init__(self, board: Board, caches: int) -> None:
        """`caches` is their number."""
        self._board = board
        self._avoid_until = [0.0] * caches

    def find(self, key: str, question: LookupCache | SearchCache, trace: str) -> Found:
        """Ask it; whatever goes wrong is a miss without a session."""
        answer = self._ask(key, question, trace)
        if isinstance(answer, CacheHit) and isinstance(answer.value, ItemFound | ItemList):
            return Found(Page(answer.value))
        if isinstance(answer, CacheMiss) and answer.lease:
            return Found(None, answer.session)
        return Found(None)

    def fill(self, key: str, page: Page, session: str, trace: str) -> None:
        """Tell it; the answer is waited for, so that the next reader finds the copy."""
        self._ask(key, PutCache(key, page.value, session), trace)

    def _ask(self, key: str, question: object, trace: str) -> object:
        cache = zlib.crc32(key.encode()) % len(self._avoid_until)
        now = self._board.now_ms()
        if now < self._avoid_until[cache]:
            return None
        try:
            answer, _ = self._board.call(CACHE, cache, question, now + ASK_MS, trace=trace)
        except errors.Unreachable:
            return None  # the streams know when it is back; asking costs nothing
        except errors.EmporiumError:
            self._avoid_until[cache] = self._board.now_ms() + AVOID_MS
            return None
        return answer
