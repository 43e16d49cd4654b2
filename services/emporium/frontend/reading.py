"""How a frontend reads: from a copy where that is as good, else from a serving replica in turn.

A replica that can't answer, or doesn't within the failure timeout, is passed over for this read;
when all were, they are tried again, until the deadline. Reads change nothing, so that asking twice
is harmless.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from emporium.cache.requests import LookupCache, SearchCache, item_key, topic_key
from emporium.catalog.requests import ItemFound, ItemList, ItemMissing, QueryItem, QueryTopic
from emporium.frontend.board import Board
from emporium.frontend.copies import Copies, Page
from emporium.runtime import errors

LINEARIZABLE, PRIMARY, LOCAL = "linearizable", "primary", "local"
LEVELS = (LINEARIZABLE, PRIMARY, LOCAL)
FIRST_PAUSE_MS, LONGEST_PAUSE_MS = 5.0, 80.0
MOST_TRIES = 200
NOBODY = -1
CATALOG = "catalog"


@dataclass(slots=True)
class Read:
    """What was read: `page` is None when there is no such item. `timings` in ms by tier; `hit`
    says that a copy answered; `key` is that of the copy, empty where copies are passed by."""

    page: Page | None
    key: str = ""
    hit: bool = False
    timings: dict[str, float] = field(default_factory=dict)


class Reading:
    """Reads of one frontend."""

    def __init__(
        self,
        board: Board,
        copies: Copies,
        gate: AbstractContextManager[None],
        timeout_ms: float,
        failure_timeout_ms: float,
    ) -> None:
        """`timeout_ms` is the whole time of a read, `failure_timeout_ms` that of one replica; the
        gate bounds how many wait for replicas at the same time."""
        self._board = board
        self._copies = copies
        self._gate = gate
        self._timeout_ms = timeout_ms
        self._try_ms = failure_timeout_ms

    def item(self, item: str, level: str = LINEARIZABLE, trace: str = "") -> Read:
        """One item. Raises NotServing, Overloaded, BadRequest."""
        key = item_key(item)
        return self._read(key, LookupCache(item), QueryItem(item, level), level, trace)

    def topic(self, topic: str, level: str = LINEARIZABLE, trace: str = "") -> Read:
        """The items of a topic, all when it is empty. Raises as `item`."""
        key = topic_key(topic)
        return self._read(key, SearchCache(topic), QueryTopic(topic, level), level, trace)

    def _read(
        self,
        key: str,
        question: LookupCache | SearchCache,
        query: QueryItem | QueryTopic,
        level: str,
        trace: str,
    ) -> Read:
        read = Read(None)
        session = ""
        if level == LINEARIZABLE and self._copies.keeps:
            read.key = key
            session = self._from_copy(key, question, read, trace)
            if read.hit:
                return read
        started = self._board.now_ms()
        value = self.ask(CATALOG, query, level, trace)
        read.timings[CATALOG] = self._board.now_ms() - started
        if isinstance(value, ItemMissing):
            return read
        if not isinstance(value, ItemFound | ItemList):
            raise errors.NotServing(f"the catalog answered {type(value).__name__}")
        read.page = Page(value)
        if session:
            self._copies.fill(key, read.page, session, trace)
        return read

    def _from_copy(
        self, key: str, question: LookupCache | SearchCache, read: Read, trace: str
    ) -> str:
        """Put a copy into `read`; on a miss the session for the fill."""
        started = self._board.now_ms() if self._copies.tier else 0.0
        found = self._copies.find(key, question, trace)
        if self._copies.tier:
            read.timings[self._copies.tier] = self._board.now_ms() - started
        read.page, read.hit = found.page, found.page is not None
        return found.session

    def ask(self, role: str, query: object, level: str, trace: str = "") -> object:
        """The answer of a replica of the group. Raises NotServing, Overloaded, BadRequest."""
        with self._gate:
            return self._ask(role, query, level, trace)

    def _ask(self, role: str, query: object, level: str, trace: str) -> object:
        deadline = self._board.now_ms() + self._timeout_ms
        tried: frozenset[int] = frozenset()
        pause_ms = FIRST_PAUSE_MS
        reason = "no replica serves"
        for _ in range(MOST_TRIES):
            seen = self._board.last_change
            target = self._target(role, level, tried)
            if target != NOBODY:
                until = min(deadline, self._board.now_ms() + self._try_ms)
                try:
                    return self._board.call(role, target, query, until, trace=trace)[0]
                except (errors.ServiceError, errors.Misdirected) as error:
                    reason = error.detail
                    tried |= {target}
                if level != PRIMARY and self._target_left(role, tried):
                    continue
            left_ms = deadline - self._board.now_ms()
            if left_ms <= 0 or self._board.closed:
                break
            self._board.wait_for_change(seen, min(pause_ms, left_ms))
            pause_ms = min(2 * pause_ms, LONGEST_PAUSE_MS)
            tried = frozenset()
        raise errors.NotServing(f"no {role} replica could answer: {reason}")

    def _target(self, role: str, level: str, tried: frozenset[int]) -> int:
        if level == PRIMARY:
            reign = self._board.reign(role)
            return NOBODY if reign is None else reign.replica
        chosen = self._board.choose(role, tried)
        if chosen == NOBODY and level == LOCAL:  # old is good enough: ask who lost its majority
            left = (each for each in self._board.healthy(role) if each not in tried)
            return next(left, NOBODY)
        return chosen

    def _target_left(self, role: str, tried: frozenset[int]) -> bool:
        """Whether a serving replica wasn't tried yet."""
        return any(each not in tried for each in self._board.serving(role))
