"""The fields of the public API, each with its rule; the OpenAPI document shows the same rules."""

from __future__ import annotations

from typing import Final

from emporium.catalog.requests import BUY, SELL
from emporium.editions.files import ITEM_FORM, LONGEST_TOPIC
from emporium.frontend.reading import LEVELS, LINEARIZABLE
from emporium.runtime import web

SIDES: Final = (BUY, SELL)
MOST_PIECES: Final = 1_000
MOST_RESTOCK: Final = 1_000_000
HIGHEST_PRICE: Final = 100_000_000  # cents
LAST_NUMBER: Final = 9_007_199_254_740_991  # JSON readers keep whole numbers exactly up to it
ITEM_PATTERN: Final = f"^{ITEM_FORM.pattern}$"
REQUEST_ID_PATTERN: Final = "^[A-Za-z0-9._:-]{16,128}$"
_ITEM_RULE: Final = "needs 1 to 64 characters out of A-Z a-z 0-9 . _ -, a letter or digit first"


def item(value: object, field: str = "item") -> str:
    """An item's id. Raises BadRequest."""
    return web.formed(field, value, ITEM_FORM, _ITEM_RULE)


def topic(value: object) -> str:
    """A topic's name. Raises BadRequest."""
    return web.words("topic", value, LONGEST_TOPIC)


def read_level(value: object) -> str:
    """How old a read may be; linearizable where it isn't said. Raises BadRequest."""
    return LINEARIZABLE if value is None else web.choice("read", value, LEVELS)


def order_number(text: str) -> int:
    """An order's number. Raises BadRequest."""
    return web.whole_number("number", text, 1, LAST_NUMBER)
