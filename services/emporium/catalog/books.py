"""The books of the catalog: what every item has had, and what is left of it.

Invariant, checked at every change of an item (PROTOCOL 3.6):
stock = initial + restocked + sold_back - bought, and stock is never below zero.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from emporium.catalog.requests import ItemView

_DIGEST_BYTES = 16
_MODULUS = 1 << (8 * _DIGEST_BYTES)
_dump = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


class BrokenBooks(RuntimeError):
    """The books contradict themselves: this replica must not go on."""


def text_hash(text: str) -> int:
    """A 128 bit number for `text`; sums of such numbers are digests of sets."""
    data = text.encode("utf-8", "surrogatepass")  # a lone surrogate must not raise in `apply`
    return int.from_bytes(hashlib.blake2b(data, digest_size=_DIGEST_BYTES).digest(), "big")


def add_hash(total: int, number: int) -> int:
    """The digest `total` with one more (or, negative, one less) member."""
    return (total + number) % _MODULUS


def cost_text(cents: int) -> str:
    """Cents as the bookstore prints a cost: "10", or "10.50" where there are cents."""
    whole, rest = divmod(cents, 100)
    return f"{whole}.{rest:02d}" if rest else str(whole)


@dataclass(slots=True)
class Book:
    """One item and its history in pieces; `price` in cents."""

    item: str
    title: str
    topic: str
    price: int
    initial: int
    restocked: int
    sold_back: int
    bought: int
    stock: int
    hash: int = 0

    def row(self) -> list[Any]:
        """The item for a snapshot."""
        return [
            self.item,
            self.title,
            self.topic,
            self.price,
            self.initial,
            self.restocked,
            self.sold_back,
            self.bought,
            self.stock,
        ]


class Books:
    """All items, in the data set's order. `digest` is equal for equal books."""

    def __init__(self) -> None:
        self.digest = 0
        self._books: dict[str, Book] = {}
        self._topics: dict[str, list[Book]] = {}

    def __len__(self) -> int:
        """The number of items."""
        return len(self._books)

    def load(self, rows: Iterable[list[Any]]) -> None:
        """Take over snapshot rows. Raises BrokenBooks for an impossible or repeated item."""
        for row in rows:
            book = Book(*row)
            if book.item in self._books:
                raise BrokenBooks(f"item {book.item} is there twice")
            self._books[book.item] = book
            self._topics.setdefault(book.topic, []).append(book)
            self._changed(book)

    def get(self, item: str) -> Book | None:
        """The item, or None."""
        return self._books.get(item)

    def all(self) -> Iterable[Book]:
        """Every item in the data set's order."""
        return self._books.values()

    def topic(self, topic: str) -> Iterable[Book]:
        """The items of exactly this topic; every item when `topic` is empty."""
        return self._topics.get(topic, ()) if topic else self._books.values()

    def buy(self, book: Book, quantity: int) -> None:
        """Take `quantity` pieces. Raises BrokenBooks when there are fewer."""
        book.bought += quantity
        book.stock -= quantity
        self._changed(book)

    def sell_back(self, book: Book, quantity: int) -> None:
        """Put back `quantity` pieces that a client sells."""
        book.sold_back += quantity
        book.stock += quantity
        self._changed(book)

    def change(self, book: Book, price: int | None, restock: int | None) -> None:
        """The operator's change: a new price, and pieces added or (negative) taken away."""
        if price is not None:
            book.price = price
        if restock is not None:
            book.restocked += restock
            book.stock += restock
        self._changed(book)

    def rows(self) -> list[list[Any]]:
        """All items for a snapshot."""
        return [book.row() for book in self._books.values()]

    def text(self) -> str:
        """The books by item as JSON text, for `StateDigest`."""
        names = ("initial", "restocked", "sold_back", "bought", "stock", "price")
        return _dump({b.item: {n: getattr(b, n) for n in names} for b in self.all()})

    def _changed(self, book: Book) -> None:
        expected = book.initial + book.restocked + book.sold_back - book.bought
        if book.stock != expected or book.stock < 0:
            raise BrokenBooks(f"item {book.item}: stock {book.stock}, by its books {expected}")
        new = text_hash(_dump(book.row()))
        self.digest = add_hash(self.digest, new - book.hash)
        book.hash = new


def view_of(book: Book, commit_index: int) -> ItemView:
    """The item as a reader sees it at `commit_index`."""
    return ItemView(book.item, book.title, book.topic, book.price, book.stock, commit_index)
