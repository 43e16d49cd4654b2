"""Plain text for people: lines, tables, and colour where a terminal wants it.

Colour is used only on a terminal and never when `NO_COLOR` is set (https://no-color.org) or the
terminal is called dumb. Nothing here depends on colour for its meaning.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TextIO

STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "36"}

WORD_STYLES = {
    "up": "green",
    "reigns": "bold",
    "dead": "red",
    "paused": "yellow",
    "starting": "yellow",
    "silent": "yellow",
}
"""Whole cells of a table that get a colour of their own."""


def wants_colour(stream: TextIO) -> bool:
    """Whether to colour what goes to `stream`."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return stream.isatty()


class Screen:
    """Where a command writes. Each line is flushed, so that a pipe sees it at once."""

    def __init__(self, stream: TextIO | None = None, *, colour: bool | None = None) -> None:
        """Write to `stream` (standard output unless given)."""
        self.stream = sys.stdout if stream is None else stream
        self.colour = wants_colour(self.stream) if colour is None else colour

    def paint(self, text: str, style: str) -> str:
        """`text` in a style of `STYLES`, or as it is where colour isn't wanted."""
        if not self.colour or not text:
            return text
        return f"\x1b[{STYLES[style]}m{text}\x1b[0m"

    def line(self, text: str = "", style: str = "") -> None:
        """Write one line. A reader that has gone (`| head`) isn't an error of ours."""
        self.stream.write((self.paint(text, style) if style else text) + "\n")
        self.stream.flush()

    def title(self, text: str) -> None:
        """An empty line and a heading."""
        self.line()
        self.line(text, "bold")

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]], indent: str = "  ") -> None:
        """Columns as wide as their widest cell; columns of numbers are set to the right."""
        for text in table_lines(self, head, rows):
            self.line(indent + text)

    def clear(self) -> None:
        """Empty the terminal, for a display that refreshes. Elsewhere: an empty line."""
        self.stream.write("\x1b[H\x1b[2J" if self.stream.isatty() else "\n")


def table_lines(screen: Screen, head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table, the head first."""
    columns = range(len(head))
    widths = [max(len(row[column]) for row in [head, *rows]) for column in columns]
    right = [bool(rows) and all(_is_number(row[column]) for row in rows) for column in columns]

    def cell(text: str, column: int, style: str) -> str:
        padding = " " * (widths[column] - len(text))
        painted = screen.paint(text, style) if style else text
        return padding + painted if right[column] else painted + padding

    lines = ["  ".join(cell(text, column, "dim") for column, text in enumerate(head)).rstrip()]
    for row in rows:
        cells = [cell(text, column, WORD_STYLES.get(text, "")) for column, text in enumerate(row)]
        lines.append("  ".join(cells).rstrip())
    return lines


def _is_number(text: str) -> bool:
    return text in ("", "-") or text.replace(".", "", 1).isdigit()


def plural(count: int, noun: str) -> str:
    """`1 order`, `2 orders`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
