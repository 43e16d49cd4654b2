"""What the shops sell, and which public routes they have besides `/v1`.

An edition is data and routes: a module here with `NAME`, `items(like)`, `processes(like)`, and a
module of the same name in `frontend/` with its routes. The registry below names all editions; one
that isn't built yet is refused by name.
"""

from __future__ import annotations

from typing import Protocol

from emporium.editions import bookstore
from emporium.editions.files import (
    FileError,
    Item,
    Process,
    items_as_data,
    items_as_lines,
    parse_config,
    parse_items,
    read_config,
    read_items,
)

__all__ = [
    "EDITIONS",
    "LATER",
    "Edition",
    "EditionError",
    "FileError",
    "Item",
    "Process",
    "edition",
    "first_items",
    "items_as_data",
    "items_as_lines",
    "parse_config",
    "parse_items",
    "read_config",
    "read_items",
]


class EditionError(ValueError):
    """An edition that there isn't; the text names those that there are."""


class Edition(Protocol):
    """What a module of an edition has."""

    NAME: str

    def items(self, like: str = "000") -> tuple[Item, ...]:
        """The items of the design `like`."""

    def processes(self, like: str = "000") -> tuple[Process, ...]:
        """The processes of the design `like`."""


EDITIONS: dict[str, Edition] = {bookstore.NAME: bookstore}
LATER = ("stocks", "toys")


def edition(name: str) -> Edition:
    """The edition of that name. Raises EditionError."""
    if name in EDITIONS:
        return EDITIONS[name]
    known = ", ".join(EDITIONS)
    if name in LATER:
        raise EditionError(f"edition {name} is not in this version; there is: {known}")
    raise EditionError(f"there is no edition {name[:40]!r}; there is: {known}")


def first_items(name: str, items_file: str = "") -> tuple[Item, ...]:
    """The items that a new store of edition `name` starts with: those of `items_file`, or where
    that is empty the edition's own. Raises EditionError, FileError."""
    shop = edition(name)
    return read_items(items_file) if items_file else shop.items()
