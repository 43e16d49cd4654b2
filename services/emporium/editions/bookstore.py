"""The bookstore: data and routes of the two course designs 000 and 001.

`data/init_bookstore` and `data/config_bookstore` are the first design's own files: seven books in
three topics, two replicas each of catalog and order. `data/init_bookstore_001` is worked out from
the second design's output, which shows no file of its own: the four books that its search and
lookup logs print, with the stock of 1000 that they print (its tests 3 and 4 sell books of which it
says that there are 3, as in the first design's file). `data/config_bookstore_001` has the one
process per role and the ports 8000 to 8002 that it speaks of.

`data/init_load` isn't any design's: the topic `load`, for programs that buy without a pause. Eight
items have a million copies each, item 109 is scarce.
"""

from __future__ import annotations

from importlib import resources

from emporium.editions.files import Item, Process, parse_config, parse_items

NAME = "bookstore"
LIKE = {"000": "", "001": "_001"}
"""The designs whose data there is, and the ending of their files' names."""


def _data(name: str) -> str:
    return (resources.files(__package__) / "data" / name).read_text(encoding="utf-8")


def _ending(like: str) -> str:
    if like not in LIKE:
        raise ValueError(f"the bookstore has the data of {' and '.join(LIKE)}, not {like[:20]!r}")
    return LIKE[like]


def items(like: str = "000") -> tuple[Item, ...]:
    """The books of a design. Raises ValueError for an unknown one."""
    name = f"init_bookstore{_ending(like)}"
    return parse_items(_data(name), name)


def processes(like: str = "000") -> tuple[Process, ...]:
    """The processes of a design. Raises ValueError for an unknown one."""
    name = f"config_bookstore{_ending(like)}"
    return parse_config(_data(name), name)


def load_items() -> tuple[Item, ...]:
    """The items of the topic `load`, which follow a shop's own."""
    return parse_items(_data("init_load"), "init_load")
