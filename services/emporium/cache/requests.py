"""What a cache is asked by a frontend, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass

from emporium.replication import wire

LISTS = "lists"  # the key of the list of all items


def item_key(item: str) -> str:
    """The key of one item's copy."""
    return f"item:{item}"


def topic_key(topic: str) -> str:
    """The key of the list of one topic; of all items when `topic` is empty."""
    return f"topic:{topic}" if topic else LISTS


@dataclass(frozen=True, slots=True)
class LookupCache:
    """Is there a copy of this item? Answers: CacheHit with an ItemFound, CacheMiss."""

    item: str


@dataclass(frozen=True, slots=True)
class SearchCache:
    """Is there a copy of this topic's list (empty: of all items)? Answers: CacheHit with an
    ItemList, CacheMiss."""

    topic: str


@dataclass(frozen=True, slots=True)
class CacheHit:
    """The copy, as the catalog gave it; as good as a linearizable read."""

    value: object


@dataclass(frozen=True, slots=True)
class CacheMiss:
    """No copy. `session` belongs into the fill; without a `lease` there is none to fill."""

    session: str
    lease: bool


@dataclass(frozen=True, slots=True)
class PutCache:
    """A fill: what a linearizable read under `session`, begun after that was told, has given (an
    ItemFound or ItemList, with its commit_index). Answer: Stored."""

    key: str
    value: object
    session: str


@dataclass(frozen=True, slots=True)
class Stored:
    """Whether the fill was kept: not when it is too old, or of another session."""

    stored: bool


wire.register_module(__name__)
