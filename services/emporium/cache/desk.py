"""The rule of the cache role: what frontends ask, answered from the copies, each with its line in
the operation log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from emporium.cache.requests import (
    CacheHit,
    CacheMiss,
    LookupCache,
    PutCache,
    SearchCache,
    Stored,
    item_key,
    topic_key,
)
from emporium.catalog.requests import ItemFound, ItemList
from emporium.replication.failures import Malformed
from emporium.replication.messages import Invalidate


class Copies(Protocol):
    """Where the copies are."""

    def get(self, key: str) -> object | None:
        """A copy."""

    def session(self) -> str:
        """The present session."""

    def put(self, key: str, value: object, index: int, session: str) -> bool:
        """A fill."""


class CacheDesk:
    """Answers `LookupCache`, `SearchCache` and `PutCache`."""

    def __init__(self, copies: Copies, operation: Callable[[str], None]) -> None:
        """`operation` takes a line of the operation log."""
        self._copies = copies
        self._operation = operation

    def answer(self, payload: object) -> object:
        """The answer; Malformed for anything else than the three requests."""
        match payload:
            case LookupCache(item=item):
                self._operation(f"lookup,{item}")
                return self._look(item_key(item))
            case SearchCache(topic=topic):
                self._operation(f"search,{topic}")
                return self._look(topic_key(topic))
            case PutCache():
                return self.put(payload)
            case _:
                return Malformed("payload", f"a cache knows no {type(payload).__name__}")

    def put(self, fill: PutCache) -> Stored | Malformed:
        """Keep a fill, when its key is that of its value and the holder takes it."""
        match fill.value:
            case ItemFound(view=view) if fill.key == item_key(view.item):
                self._operation(f"put_lookup_cache,{view.item}")
                index = view.commit_index
            case ItemList(topic=topic) if fill.key == topic_key(topic):
                self._operation(f"put_search_cache,{topic}")
                index = fill.value.commit_index
            case _:
                return Malformed("key", "the key and the value of the fill don't fit")
        return Stored(self._copies.put(fill.key, fill.value, index, fill.session))

    def invalidated(self, message: Invalidate) -> None:
        """The catalog has made copies old: one line for each item that it names."""
        for key in message.keys:
            kind, _, name = key.partition(":")
            if kind == "item":
                self._operation(f"invalidate_cache,{name}")

    def _look(self, key: str) -> CacheHit | CacheMiss:
        value = self._copies.get(key)
        if value is not None:
            return CacheHit(value)
        session = self._copies.session()
        return CacheMiss(session, bool(session))
