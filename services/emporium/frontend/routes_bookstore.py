"""The bookstore's own routes: search, lookup, buy (the course designs 000 and 001).

Answers have the form that those designs' client logs show: item_number and cost are texts, stock
is a number; a purchase is "Success" or "Failed". What they don't show is answered as in `/v1`: a
problem document for a malformed request and for a book that there isn't. A purchase whose outcome
isn't known is a 503 with "Unknown" and the request id to ask with.
"""

from __future__ import annotations

from flask import Blueprint, Response

from emporium.catalog.requests import ItemFound, ItemList
from emporium.editions import book_form
from emporium.editions import routes_buying as buying
from emporium.frontend import fields
from emporium.frontend.parts import Parts
from emporium.frontend.routes_answers import read_answer, write_headers
from emporium.order.requests import OrderRecorded, PurchaseConflict
from emporium.runtime import errors, web

FORM = "bookstore"


def encoded(value: ItemFound | ItemList) -> bytes:
    """The answer of `lookup`, or of `search`."""
    if isinstance(value, ItemFound):
        return web.encode({"result": book_form.full(value.view)})
    return web.encode({"result": book_form.short(value.items)})


def blueprint(parts: Parts) -> Blueprint:
    """The routes."""
    routes = Blueprint(FORM, __name__)

    @routes.get("/search")
    def search_by_parameter() -> Response:
        return search(_wanted("topic", "topic")[0])

    @routes.get("/search/<topic>")
    def search_by_path(topic: str) -> Response:
        # The designs write `distributed+systems` in the path too; there %2B is a plus sign.
        web.parameters()
        return search(web.path_after("/search/", topic))

    def search(topic: str) -> Response:
        started = parts.clock.now_ms()
        wanted = fields.topic(topic)
        read = parts.reading.topic(wanted, trace=web.trace())
        return read_answer(parts, read, encoded, FORM, started)

    @routes.get("/lookup")
    def look_up_by_parameter() -> Response:
        return look_up(_wanted("item_number", "item_number")[0])

    @routes.get("/lookup/<number>")
    def look_up_by_path(number: str) -> Response:
        web.parameters()
        return look_up(number)

    def look_up(number: str) -> Response:
        started = parts.clock.now_ms()
        wanted = fields.item(number, "item_number")
        read = parts.reading.item(wanted, trace=web.trace())
        if read.page is None:
            raise errors.NotFound(f"there is no book {wanted}")
        return read_answer(parts, read, encoded, FORM, started)

    _add_buy(routes, parts)
    return routes


def _add_buy(routes: Blueprint, parts: Parts) -> None:
    @routes.get("/buy")
    def buy_by_parameter() -> Response:
        number, rest = _wanted("item_number", "item_number", "request_id")
        return buy(number, rest)

    @routes.get("/buy/<number>")
    def buy_by_path(number: str) -> Response:
        return buy(number, web.parameters("request_id"))

    def buy(number: str, query: dict[str, str]) -> Response:
        web.refuse_head()
        started = parts.clock.now_ms()
        purchase = buying.purchase_of(number, query)
        try:
            outcome, timings = parts.writing.purchase(purchase, in_turn=True, trace=web.trace())
        except errors.OutcomeUnknown:
            return buying.unknown(purchase.request_id)
        if isinstance(outcome, PurchaseConflict):
            raise errors.Conflict
        headers = write_headers(parts, timings, started)
        headers[buying.KEY_HEADER] = purchase.request_id
        bought = isinstance(outcome, OrderRecorded)
        return web.answer({"result": buying.SUCCESS if bought else buying.FAILED}, 200, headers)


def _wanted(name: str, *known: str) -> tuple[str, dict[str, str]]:
    """The parameter that a route can't do without, and all of them. Raises BadRequest."""
    query = web.parameters(*known)
    if name not in query:
        raise errors.BadRequest(name, f"{name} is missing")
    return query[name], query
