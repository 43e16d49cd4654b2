"""A catalog replica's HTTP adapter: the bookstore's own routes on it.

`query_by_topic` and `query_by_item` are public and linearizable at whichever replica is asked;
`update` is the operator's, and a backup passes it on to the primary; `shutdown` and `recover` are
fault hooks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from flask import Blueprint, Flask, Response, request

from emporium.catalog.requests import (
    AskDigest,
    ChangeItem,
    ItemChanged,
    ItemFound,
    ItemList,
    ItemMissing,
    QueryItem,
    QueryTopic,
    TakeConflict,
    TakeRefused,
)
from emporium.editions import book_form
from emporium.editions.files import ITEM_FORM, LONGEST_TOPIC
from emporium.editions.money import text_as_cents
from emporium.runtime import errors, replica_routes, web
from emporium.runtime.replica_routes import Replica

RECOVER_MS: Final = 10_000.0
LEAVE_AS_IS: Final = "na"
MOST_RESTOCK: Final = 1_000_000
KEY_HEADER: Final = "Idempotency-Key"
_ITEM_RULE: Final = "must be a book's number"
_STOCK: Final = re.compile(r"[+-]?[0-9]{1,7}")


@dataclass(frozen=True, slots=True)
class Parts:
    """What the routes are made of."""

    replica: Replica
    limits: web.Limits
    timeout_ms: float = 5_000.0
    recover_ms: float = RECOVER_MS
    metrics: web.Counted | None = None


def create_app(parts: Parts) -> Flask:
    """The app over built parts."""
    app = web.make_app(__name__, parts.limits, parts.metrics)
    app.register_blueprint(
        replica_routes.blueprint(parts.replica, parts.limits, AskDigest(), parts.timeout_ms)
    )
    app.register_blueprint(
        replica_routes.fault_hooks(parts.replica, parts.limits, parts.recover_ms)
    )
    app.register_blueprint(_queries(parts))
    app.register_blueprint(_update(parts))
    return app


def _queries(parts: Parts) -> Blueprint:
    routes = Blueprint("queries", __name__)

    @routes.get("/query_by_topic")
    def query_by_topic() -> Response:
        query = web.parameters("topic")
        topic = web.words("topic", query.get("topic"), LONGEST_TOPIC)
        found, timings = parts.replica.ask(QueryTopic(topic, "linearizable"), parts.timeout_ms)
        if not isinstance(found, ItemList):
            raise errors.NotServing("the replica gave no list")
        headers = replica_routes.timing_headers(timings)
        return web.answer({"result": book_form.short(found.items)}, 200, headers)

    @routes.get("/query_by_item")
    def query_by_item() -> Response:
        query = web.parameters("item_number")
        item = web.formed("item_number", query.get("item_number"), ITEM_FORM, _ITEM_RULE)
        found, timings = parts.replica.ask(QueryItem(item, "linearizable"), parts.timeout_ms)
        if isinstance(found, ItemMissing):
            raise errors.NotFound(f"there is no book {item}")
        if not isinstance(found, ItemFound):
            raise errors.NotServing("the replica gave no book")
        headers = replica_routes.timing_headers(timings)
        return web.answer({"result": book_form.full(found.view)}, 200, headers)

    return routes


def _update(parts: Parts) -> Blueprint:
    routes = Blueprint("update", __name__)

    @routes.route("/update", methods=["GET", "POST"])
    def update() -> Response:
        web.refuse_head()
        web.require_operator(parts.limits)
        change = _change(_update_fields())
        answer, timings = parts.replica.ask(change, parts.timeout_ms, change.request_id)
        headers = {**replica_routes.timing_headers(timings), KEY_HEADER: change.request_id}
        match answer:
            case ItemChanged():
                return web.answer({"result": "Success"}, 200, headers)
            case ItemMissing():
                raise errors.NotFound(f"there is no book {change.item}")
            case TakeRefused():
                return web.answer({"result": "Failed"}, 200, headers)
            case TakeConflict():
                raise errors.Conflict
            case _:
                raise errors.OutcomeUnknown(change.request_id)

    return routes


def _update_fields() -> dict[str, object]:
    """The fields, from the query or from a JSON body."""
    names = ("item_number", "cost", "stock", "request_id")
    if request.method == "GET" or not request.content_length:
        return dict(web.parameters(*names))
    web.parameters()
    return web.json_body(*names)


def _change(given: dict[str, object]) -> ChangeItem:
    """The change that the fields say. Raises BadRequest."""
    item = web.formed("item_number", given.get("item_number"), ITEM_FORM, _ITEM_RULE)
    cost, stock = (str(given.get(name, LEAVE_AS_IS)) for name in ("cost", "stock"))
    price = restock = None
    if cost != LEAVE_AS_IS:
        try:
            price = text_as_cents(cost)
        except ValueError as error:
            raise errors.BadRequest("cost", f"cost must be na or an amount: {error}") from None
    if stock != LEAVE_AS_IS:
        if not _STOCK.fullmatch(stock) or abs(int(stock)) > MOST_RESTOCK:
            raise errors.BadRequest(
                "stock",
                f"stock must be na, or pieces to add (or, negative, take away), at"
                f" most {MOST_RESTOCK}",
            )
        restock = int(stock)
    if price is None and restock is None:
        raise errors.BadRequest("cost", "an update needs a cost, a stock or both")
    return ChangeItem(item, price, restock, _request_id(given))


def _request_id(given: dict[str, object]) -> str:
    key = request.headers.get(KEY_HEADER)
    if key is not None:
        return web.request_id(KEY_HEADER, key)
    if "request_id" in given:
        return web.request_id("request_id", given["request_id"])
    return web.new_request_id()
