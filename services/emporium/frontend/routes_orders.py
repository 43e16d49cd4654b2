"""`/v1/orders` and `/v1/purchases`: buying, and what became of it."""

from __future__ import annotations

import hmac
from datetime import UTC, datetime

from flask import Blueprint, Response, request

from emporium.catalog.requests import BUY, Sale
from emporium.frontend import fields
from emporium.frontend.parts import Parts
from emporium.frontend.purchasing import Outcome
from emporium.frontend.reading import LINEARIZABLE
from emporium.frontend.routes_answers import NO_STORE, write_headers
from emporium.frontend.routes_items import KEY_HEADER
from emporium.order.requests import (
    FindPurchase,
    OrderFound,
    OrderMissing,
    OrderPage,
    OrderRecorded,
    OrdersSince,
    Purchase,
    PurchaseConflict,
    PurchaseFound,
    PurchaseRefused,
    ReadOrder,
)
from emporium.runtime import errors, web

UNKNOWN_ITEM = "unknown_item"
ORDER = "order"


def shown(sale: Sale) -> dict[str, object]:
    """An order as `/v1` shows it; price of one piece in cents."""
    committed = datetime.fromtimestamp(sale.stamp / 1000, UTC)
    return {
        "number": sale.number,
        "item": sale.item,
        "quantity": sale.quantity,
        "side": sale.side,
        "price": sale.price,
        "request_id": sale.request_id,
        "committed_at": committed.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }


def recorded(outcome: Outcome, purchase: Purchase) -> OrderRecorded:
    """The order, when there is one. Raises NotFound, OutOfStock, Conflict."""
    match outcome:
        case OrderRecorded():
            return outcome
        case PurchaseConflict():
            raise errors.Conflict
        case PurchaseRefused(reason=reason) if reason == UNKNOWN_ITEM:
            raise errors.NotFound(f"there is no item {purchase.item}")
        case PurchaseRefused(reason=reason):
            raise errors.OutOfStock(f"item {purchase.item}: {reason.replace('_', ' ')}")


def blueprint(parts: Parts) -> Blueprint:
    """The routes."""
    routes = Blueprint("orders", __name__)

    @routes.post("/v1/orders")
    def place_order() -> Response:
        started = parts.clock.now_ms()
        purchase = _purchase()
        outcome, timings = parts.writing.purchase(purchase, trace=web.trace())
        order = recorded(outcome, purchase)
        headers = write_headers(parts, timings, started)
        headers["Location"] = f"/v1/orders/{order.sale.number}"
        return web.answer(shown(order.sale), 200 if order.repeated else 201, headers)

    @routes.get("/v1/orders/<number>")
    def get_order(number: str) -> Response:
        query = web.parameters("request_id", "read")
        wanted = fields.order_number(number)
        level = fields.read_level(query.get("read"))
        shown_id = _shown_request_id(query)
        answer = parts.reading.ask(ORDER, ReadOrder(wanted, level), level, web.trace())
        if isinstance(answer, OrderFound) and _may_read(parts, answer.sale, shown_id):
            return web.answer(shown(answer.sale), 200, NO_STORE)
        if isinstance(answer, OrderFound | OrderMissing):
            raise errors.NotFound(f"there is no order {wanted}, or it isn't yours")
        raise errors.NotServing("the order replica gave no answer")

    @routes.get("/v1/orders")
    def list_orders() -> Response:
        web.require_operator(parts.limits)
        query = web.parameters("after", "read")
        after = web.whole_number("after", query.get("after", "0"), 0, fields.LAST_NUMBER)
        level = fields.read_level(query.get("read"))
        page = parts.reading.ask(ORDER, OrdersSince(after, level), level, web.trace())
        if not isinstance(page, OrderPage):
            raise errors.NotServing("the order replica gave no answer")
        orders = [shown(sale) for sale in page.orders]
        return web.answer({"orders": orders, "watermark": page.watermark}, 200, NO_STORE)

    @routes.get("/v1/purchases/<request_id>")
    def find_purchase(request_id: str) -> Response:
        web.parameters()
        wanted = web.request_id("request_id", request_id)
        found = parts.reading.ask(ORDER, FindPurchase(wanted), LINEARIZABLE, web.trace())
        if not isinstance(found, PurchaseFound):
            raise errors.NotServing("the order replica gave no answer")
        return web.answer(_found(found, wanted), 200, NO_STORE)

    return routes


def _purchase() -> Purchase:
    web.parameters()
    key = request.headers.get(KEY_HEADER)
    if key is None:
        raise errors.BadRequest(KEY_HEADER, f"{KEY_HEADER} is missing; it {web.ID_RULE}")
    request_id = web.request_id(KEY_HEADER, key)
    document = web.json_body("item", "quantity", "side")
    for name in ("item", "quantity"):
        if name not in document:
            raise errors.BadRequest(name, f"{name} is missing")
    item = fields.item(document["item"])
    quantity = web.json_number("quantity", document["quantity"], 1, fields.MOST_PIECES)
    side = web.choice("side", document.get("side", BUY), fields.SIDES)
    return Purchase(item, quantity, side, request_id, forwarded=False)


def _shown_request_id(query: dict[str, str]) -> str:
    """The request id by which the caller says that the order is his own; empty for none."""
    if "request_id" in query:
        return web.request_id("request_id", query["request_id"])
    key = request.headers.get(KEY_HEADER)
    return "" if key is None else web.request_id(KEY_HEADER, key)


def _may_read(parts: Parts, sale: Sale, request_id: str) -> bool:
    """By number alone, unless orders are private: then with the request id, or as operator."""
    if request_id:
        return hmac.compare_digest(request_id.encode(), sale.request_id.encode())
    return not parts.orders_private or web.is_operator(parts.limits)


def _found(found: PurchaseFound, request_id: str) -> dict[str, object]:
    document: dict[str, object] = {"request_id": request_id, "state": found.state}
    if found.number:
        document["number"] = found.number
    if found.reason:
        document["reason"] = found.reason
    return document
