"""`verify`, `backup`, `restore`: the data of a store."""

from __future__ import annotations

from emporium.local.options import Commands


def register(commands: Commands) -> None:
    """Add the parsers."""
