"""The forms in which the bookstore shows its books, at every role that shows them."""

from __future__ import annotations

from collections.abc import Iterable

from emporium.catalog.requests import ItemView
from emporium.editions.money import cents_as_text


def full(view: ItemView) -> dict[str, object]:
    """A book as `lookup` shows it."""
    return {
        "cost": cents_as_text(view.price),
        "item_number": view.item,
        "stock": view.stock,
        "title": view.title,
        "type": view.topic,
    }


def short(views: Iterable[ItemView]) -> list[dict[str, object]]:
    """Books as `search` lists them."""
    return [{"item_number": view.item, "title": view.title} for view in views]
