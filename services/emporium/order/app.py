"""An order replica's HTTP adapter: the bookstore's `buy`, at whichever replica is asked."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Blueprint, Flask, Response

from emporium.editions import routes_buying as buying
from emporium.order.digest import AskOrderDigest
from emporium.order.requests import (
    OrderRecorded,
    PurchaseConflict,
    PurchaseRefused,
)
from emporium.runtime import errors, replica_routes, web
from emporium.runtime.replica_routes import Replica


@dataclass(frozen=True, slots=True)
class Parts:
    """What the routes are made of."""

    replica: Replica
    limits: web.Limits
    timeout_ms: float = 5_000.0
    metrics: web.Counted | None = None


def create_app(parts: Parts) -> Flask:
    """The app over built parts."""
    app = web.make_app(__name__, parts.limits, parts.metrics)
    app.register_blueprint(
        replica_routes.blueprint(parts.replica, parts.limits, AskOrderDigest(), parts.timeout_ms)
    )
    app.register_blueprint(_buy(parts))
    return app


def _buy(parts: Parts) -> Blueprint:
    routes = Blueprint("buy", __name__)

    @routes.get("/buy")
    def buy() -> Response:
        web.refuse_head()
        query = web.parameters("item_number", "request_id")
        purchase = buying.purchase_of(query.get("item_number"), query)
        try:
            answer, timings = parts.replica.ask(purchase, parts.timeout_ms, purchase.request_id)
        except errors.OutcomeUnknown:
            return buying.unknown(purchase.request_id)
        headers = replica_routes.timing_headers(timings)
        headers[buying.KEY_HEADER] = purchase.request_id
        match answer:
            case OrderRecorded():
                return web.answer({"result": buying.SUCCESS}, 200, headers)
            case PurchaseRefused():
                return web.answer({"result": buying.FAILED}, 200, headers)
            case PurchaseConflict():
                raise errors.Conflict
            case _:
                return buying.unknown(purchase.request_id)

    return routes
