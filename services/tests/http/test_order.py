"""The routes of an order replica."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from emporium.order.app import Parts, create_app
from emporium.order.digest import AskOrderDigest, OrderDigest
from emporium.replication.failures import Overloaded
from emporium.runtime import web
from tests.http.conftest import OPERATOR, TOKEN
from tests.http.fakes import FakeReplica, FakeStore
from tests.http.test_frontend_v1 import is_problem

KEY = "k" * 16


def make() -> tuple[FlaskClient, FakeReplica, FakeStore]:
    """An order replica's app."""
    store = FakeStore()

    def rule(role: str, replica: int, payload: object) -> object:
        if isinstance(payload, AskOrderDigest):
            return OrderDigest(9, "d", 1, "c", "{}")
        return store(role, replica, payload)

    replica = FakeReplica(rule, "order")
    return create_app(Parts(replica, web.Limits(1_024, TOKEN))).test_client(), replica, store


def test_buy_sells_until_nothing_is_left() -> None:
    """In the seed's words."""
    client, _, _ = make()
    told = [client.get("/buy?item_number=2").get_json()["result"] for _ in range(3)]
    assert told == ["Success", "Success", "Failed"]


def test_a_given_request_id_buys_once_and_comes_back() -> None:
    """As parameter or as header."""
    client, _, store = make()
    for _ in range(2):
        answer = client.get(f"/buy?item_number=1&request_id={KEY}")
        assert answer.headers["Idempotency-Key"] == KEY
        assert answer.headers["Cache-Control"] == "no-store"
    client.get("/buy?item_number=1", headers={"Idempotency-Key": KEY})
    assert [sale.request_id for sale in store.sales] == [KEY]
    answer = client.get(f"/buy?item_number=2&request_id={KEY}")
    assert is_problem(answer, 422, "conflict")


def test_an_unknown_outcome_says_so() -> None:
    """503 with the request id."""
    client, replica, _ = make()
    replica.rule = lambda _role, _replica, _payload: None
    answer = client.get("/buy?item_number=1")
    assert answer.status_code == 503
    assert answer.get_json()["result"] == "Unknown"
    assert answer.get_json()["request_id"] == answer.headers["Idempotency-Key"]


def test_an_overload_is_told_with_a_time() -> None:
    """Definitely not bought."""
    client, replica, _ = make()
    replica.rule = lambda _role, _replica, _payload: Overloaded(500)
    answer = client.get("/buy?item_number=1")
    assert is_problem(answer, 503, "overloaded")
    assert answer.headers["Retry-After"] == "1"


@pytest.mark.parametrize(
    ("path", "status", "slug", "field"),
    [
        ("/buy", 400, "bad-request", "item_number"),
        ("/buy?item_number=", 400, "bad-request", "item_number"),
        ("/buy?item_number=1&quantity=1", 400, "bad-request", "quantity"),
        ("/buy?item_number=1&request_id=x", 400, "bad-request", "request_id"),
        ("/buy?item_number=1&item_number=2", 400, "bad-request", "item_number"),
        ("/v1/status?x=1", 400, "bad-request", "x"),
        ("/v1/digest?x=1", 400, "bad-request", "x"),
        ("/buy_qty", 404, "not-found", ""),
        ("/shutdown", 404, "not-found", ""),
    ],
)
def test_bad_input_names_the_field(path: str, status: int, slug: str, field: str) -> None:
    """And buys nothing."""
    client, _, store = make()
    assert is_problem(client.get(path, headers=OPERATOR), status, slug, field)
    assert store.sales == []


def test_head_and_post_buy_nothing() -> None:
    """405."""
    client, _, store = make()
    assert client.head("/buy?item_number=1").status_code == 405
    assert client.post("/buy?item_number=1").status_code == 405
    assert store.sales == []


def test_status_is_public_and_the_digest_an_operators() -> None:
    """With its fields."""
    client, _, _ = make()
    assert client.get("/v1/status").get_json()["role"] == "order"
    assert is_problem(client.get("/v1/digest"), 401, "unauthorized")
    assert client.get("/v1/digest", headers=OPERATOR).get_json()["watermark"] == 1
