"""The two kinds of files that the shops are described by, read as the bookstores wrote them.

    init,number,stock,cost,topic,title      one item; the title may have commas
    type,ip:port                            one process of a store

Blank lines are allowed, and spaces around a field. Whatever is wrong is a `FileError` that says
the file, the line's number and the field.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from emporium.editions.money import cents_as_text, text_as_cents

LARGEST_STOCK = 1_000_000_000
LONGEST_TOPIC, LONGEST_TITLE = 200, 500
ITEM_FORM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
MOST_ITEMS = 100_000
ROLES = ("frontend", "cache", "catalog", "order")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_LAST_PORT = 65_535


class FileError(ValueError):
    """A file of items or a config file that can't be used: file, line and field in one text."""


@dataclass(frozen=True, slots=True)
class Item:
    """What the shop starts with. `price` in cents."""

    item: str
    stock: int
    price: int
    topic: str
    title: str

    def line(self) -> str:
        """The item as an `init` line."""
        cost = cents_as_text(self.price)
        return f"init,{self.item},{self.stock},{cost},{self.topic},{self.title}"


@dataclass(frozen=True, slots=True)
class Process:
    """One line of a config file; `where` is its file and line, for errors."""

    role: str
    host: str
    port: int
    where: str


# --- items ---


def read_items(path: str | Path) -> tuple[Item, ...]:
    """The items of an init file, in its order. Raises FileError."""
    return parse_items(_text(path), str(path))


def parse_items(text: str, name: str = "items") -> tuple[Item, ...]:
    """The items in `text`; errors call it `name`. Raises FileError."""
    items: dict[str, Item] = {}
    for where, line in _lines(text, name):
        item = _item(line, where)
        if item.item in items:
            raise FileError(f"{where}: number: {item.item} is there twice")
        items[item.item] = item
        if len(items) > MOST_ITEMS:
            raise FileError(f"{where}: more than {MOST_ITEMS} items")
    if not items:
        raise FileError(f"{name}: no init line in it")
    return tuple(items.values())


def items_as_lines(items: Iterable[Item]) -> str:
    """The items as an init file, which `parse_items` reads."""
    return "".join([f"{item.line()}\n" for item in items])


def items_as_data(items: Sequence[Item]) -> str:
    """The data set that the catalog's genesis carries, as JSON text: the same for the same
    items."""
    plain = [
        {
            "item": item.item,
            "title": item.title,
            "topic": item.topic,
            "price": item.price,
            "stock": item.stock,
        }
        for item in items
    ]
    return json.dumps({"items": plain}, separators=(",", ":"), ensure_ascii=False)


def _item(line: str, where: str) -> Item:
    parts = [part.strip() for part in line.split(",", 5)]
    if parts[0] != "init":
        raise FileError(f"{where}: operation: expected init, got {parts[0][:40]!r}")
    if len(parts) != 6:  # noqa: PLR2004 the fields of the form above
        raise FileError(f"{where}: expected init,number,stock,cost,topic,title")
    _, number, stock, cost, topic, title = parts
    if not ITEM_FORM.fullmatch(number):
        raise FileError(f"{where}: number: {number[:40]!r} is no item number")
    if not re.fullmatch(r"[0-9]{1,10}", stock) or int(stock) > LARGEST_STOCK:
        raise FileError(f"{where}: stock: {stock[:40]!r} is no number from 0 to {LARGEST_STOCK}")
    try:
        price = text_as_cents(cost)
    except ValueError as error:
        raise FileError(f"{where}: cost: {error}") from None
    _check_words("topic", topic, LONGEST_TOPIC, where)
    _check_words("title", title, LONGEST_TITLE, where)
    return Item(number, int(stock), price, topic, title)


def _check_words(field: str, value: str, longest: int, where: str) -> None:
    if not value or len(value) > longest or not value.isprintable():
        raise FileError(f"{where}: {field}: needs 1 to {longest} printable characters")


# --- processes ---


def read_config(path: str | Path) -> tuple[Process, ...]:
    """The processes of a config file, in its order. Raises FileError."""
    return parse_config(_text(path), str(path))


def parse_config(text: str, name: str = "config") -> tuple[Process, ...]:
    """The processes in `text`; errors call it `name`. Raises FileError."""
    processes: list[Process] = []
    for where, line in _lines(text, name):
        process = _process(line, where)
        if any((each.host, each.port) == (process.host, process.port) for each in processes):
            raise FileError(f"{where}: address: {process.host}:{process.port} is there twice")
        processes.append(process)
    if not processes:
        raise FileError(f"{name}: no type,ip:port line in it")
    return tuple(processes)


def _process(line: str, where: str) -> Process:
    role, _, address = (part.strip() for part in line.partition(","))
    if role not in ROLES:
        raise FileError(f"{where}: type: {role[:40]!r} is none of {', '.join(ROLES)}")
    host, colon, port = address.rpartition(":")
    if not colon or not _is_host(host):
        raise FileError(f"{where}: address: {address[:60]!r} is no ip:port")
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 1 <= int(port) <= _LAST_PORT:
        raise FileError(f"{where}: port: {port[:20]!r} is no number from 1 to {_LAST_PORT}")
    return Process(role, host.strip("[]"), int(port), where)


def _is_host(text: str) -> bool:
    if text.startswith("[") and text.endswith("]"):
        try:
            ipaddress.IPv6Address(text[1:-1])
        except ValueError:
            return False
        return True
    if re.fullmatch(r"[0-9.]+", text):
        try:
            ipaddress.IPv4Address(text)
        except ValueError:
            return False
        return True
    return _HOST.fullmatch(text) is not None


# --- both ---


def _text(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileError(f"{path}: no UTF-8 text: {error.reason}") from None
    except OSError as error:
        raise FileError(f"{path}: {error.strerror or error}") from None


def _lines(text: str, name: str) -> Iterator[tuple[str, str]]:
    """(file:line, text) of every line that isn't blank."""
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield f"{name}:{number}", line.strip()
