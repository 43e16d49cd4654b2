"""The frontend's HTTP adapter: `/v1`, the routes of the edition, and the page."""

from __future__ import annotations

from collections.abc import Callable

from flask import Blueprint, Flask, Response

from emporium.editions import edition
from emporium.frontend import (
    openapi,
    page,
    routes_bookstore,
    routes_cluster,
    routes_items,
    routes_orders,
)
from emporium.frontend.parts import Parts
from emporium.runtime import web

ROUTES: dict[str, Callable[[Parts], Blueprint]] = {
    routes_bookstore.FORM: routes_bookstore.blueprint
}
"""The routes of each edition, besides `/v1`."""


def create_app(parts: Parts) -> Flask:
    """The app over built parts. Raises EditionError for an edition that there isn't."""
    shop = edition(parts.edition)
    app = web.make_app(__name__, parts.limits, parts.metrics, parts.hits)
    for part in (routes_items, routes_orders, routes_cluster):
        app.register_blueprint(part.blueprint(parts))
    app.register_blueprint(ROUTES[shop.NAME](parts))
    document = web.encode(openapi.document(shop.NAME))

    @app.get("/v1/openapi.json")
    def show_document() -> Response:
        web.parameters()
        return web.raw_answer(document)

    @app.get("/")
    def show_page() -> Response:
        web.parameters()
        return Response(page.HTML, 200, page.HEADERS, content_type="text/html; charset=utf-8")

    return app
