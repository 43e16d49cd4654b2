"""`/v1/items`: what the shop has."""

from __future__ import annotations

from flask import Blueprint, Response, request

from emporium.catalog.requests import (
    ChangeItem,
    ItemChanged,
    ItemFound,
    ItemList,
    ItemMissing,
    ItemView,
    TakeConflict,
    TakeRefused,
)
from emporium.frontend import fields
from emporium.frontend.parts import Parts
from emporium.frontend.routes_answers import read_answer, write_headers
from emporium.runtime import errors, web

FORM = "v1"
KEY_HEADER = "Idempotency-Key"


def shown(view: ItemView) -> dict[str, object]:
    """An item as `/v1` shows it; price in cents."""
    return {
        "item": view.item,
        "title": view.title,
        "topic": view.topic,
        "price": view.price,
        "stock": view.stock,
        "commit_index": view.commit_index,
    }


def encoded(value: ItemFound | ItemList) -> bytes:
    """The value as `/v1` shows it."""
    return web.encode(_document(value))


def _document(value: ItemFound | ItemList) -> dict[str, object]:
    if isinstance(value, ItemFound):
        return shown(value.view)
    items = [shown(view) for view in value.items]
    return {"items": items, "topic": value.topic or None, "commit_index": value.commit_index}


def blueprint(parts: Parts) -> Blueprint:
    """The routes."""
    routes = Blueprint("items", __name__)
    clock = parts.clock

    @routes.get("/v1/items")
    def list_items() -> Response:
        started = clock.now_ms()
        query = web.parameters("topic", "read")
        topic = fields.topic(query["topic"]) if "topic" in query else ""
        level = fields.read_level(query.get("read"))
        read = parts.reading.topic(topic, level, web.trace())
        return read_answer(parts, read, encoded, FORM, started)

    @routes.get("/v1/items/<item>")
    def get_item(item: str) -> Response:
        started = clock.now_ms()
        level = fields.read_level(web.parameters("read").get("read"))
        wanted = fields.item(item)
        read = parts.reading.item(wanted, level, web.trace())
        if read.page is None:
            raise errors.NotFound(f"there is no item {wanted}")
        return read_answer(parts, read, encoded, FORM, started)

    @routes.patch("/v1/items/<item>")
    def change_item(item: str) -> Response:
        started = clock.now_ms()
        web.require_operator(parts.limits)
        change = _change(item)
        answer, timings = parts.writing.submit(
            "catalog", change, change.request_id, in_turn=False, trace=web.trace()
        )
        headers = write_headers(parts, timings, started)
        headers[KEY_HEADER] = change.request_id
        return web.answer(shown(_changed(answer, change)), 200, headers)

    return routes


def _change(item: str) -> ChangeItem:
    web.parameters()
    key = request.headers.get(KEY_HEADER)
    request_id = web.new_request_id() if key is None else web.request_id(KEY_HEADER, key)
    document = web.json_body("price", "restock")
    if not document:
        raise errors.BadRequest("price", "a change needs price, restock or both")
    price = restock = None
    if "price" in document:
        price = web.json_number("price", document["price"], 0, fields.HIGHEST_PRICE)
    if "restock" in document:
        most = fields.MOST_RESTOCK
        restock = web.json_number("restock", document["restock"], -most, most)
    return ChangeItem(fields.item(item), price, restock, request_id)


def _changed(answer: object, change: ChangeItem) -> ItemView:
    match answer:
        case ItemChanged(view=view):
            return view
        case ItemMissing():
            raise errors.NotFound(f"there is no item {change.item}")
        case TakeRefused():
            raise errors.OutOfStock("there are fewer pieces than are to be taken away")
        case TakeConflict():
            raise errors.Conflict
        case _:
            raise errors.OutcomeUnknown(change.request_id)
