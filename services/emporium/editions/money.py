"""Money: whole cents inside, text at the edge."""

from __future__ import annotations

import re

LARGEST_CENTS = 100_000_000  # a million of the currency's unit
_AMOUNT = re.compile(r"([0-9]{1,7})(?:\.([0-9]{1,2}))?")


def cents_as_text(cents: int) -> str:
    """The amount as the bookstore prints it: "10", or "10.50" where there are cents."""
    whole, rest = divmod(cents, 100)
    return f"{whole}.{rest:02d}" if rest else str(whole)


def text_as_cents(text: str) -> int:
    """The cents of "10", "10.5" or "10.50". Raises ValueError for any other text, and for more
    than LARGEST_CENTS."""
    match = _AMOUNT.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:20]!r} is no amount such as 10 or 10.50")
    cents = int(match.group(1)) * 100 + int((match.group(2) or "").ljust(2, "0"))
    if cents > LARGEST_CENTS:
        raise ValueError(f"{text} is more than {cents_as_text(LARGEST_CENTS)}")
    return cents
