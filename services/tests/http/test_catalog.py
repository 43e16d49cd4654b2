"""The routes of a catalog replica."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from emporium.catalog.app import Parts, create_app
from emporium.catalog.requests import AskDigest, StateDigest
from emporium.replication.failures import NotReigning, Unavailable
from emporium.runtime import web
from tests.http.conftest import OPERATOR, TOKEN
from tests.http.fakes import FakeReplica, FakeStore
from tests.http.test_frontend_v1 import is_problem


def make(*, faults: bool = False) -> tuple[FlaskClient, FakeReplica, FakeStore]:
    """A catalog replica's app."""
    store = FakeStore()

    def rule(role: str, replica: int, payload: object) -> object:
        if isinstance(payload, AskDigest):
            return StateDigest(9, "d", 1, "c", "{}")
        return store(role, replica, payload)

    replica = FakeReplica(rule)
    app = create_app(Parts(replica, web.Limits(1_024, TOKEN, faults)))
    return app.test_client(), replica, store


def test_queries_answer_as_the_seed_does() -> None:
    """By topic and by item."""
    client, _, _ = make()
    assert client.get("/query_by_topic?topic=travel").get_json() == {
        "result": [{"item_number": "7", "title": "Spring"}]
    }
    answer = client.get("/query_by_item?item_number=1")
    assert answer.get_data(as_text=True) == (
        '{"result":{"cost":"10","item_number":"1","stock":3,"title":"How to wait",'
        '"type":"distributed systems"}}'
    )
    assert answer.headers["Server-Timing"] == "catalog;dur=0.500"


@pytest.mark.parametrize(
    ("query", "price", "stock"),
    [
        ("item_number=1&cost=na&stock=5", 1000, 8),
        ("item_number=1&cost=na&stock=-2", 1000, 1),
        ("item_number=1&cost=12.50&stock=na", 1250, 3),
        ("item_number=1&cost=12&stock=%2B1", 1200, 4),
        ("item_number=1&stock=1", 1000, 4),
    ],
)
def test_an_operator_updates_cost_and_stock(query: str, price: int, stock: int) -> None:
    """`na` leaves a field as it is."""
    client, _, store = make()
    answer = client.get(f"/update?{query}", headers=OPERATOR)
    assert answer.get_json() == {"result": "Success"}
    assert (store.items["1"].price, store.items["1"].stock) == (price, stock)


def test_an_update_may_be_posted_and_has_a_request_id() -> None:
    """The operator's own, or a new one that is told."""
    client, _, _ = make()
    body = {"item_number": "1", "stock": "1", "request_id": "r" * 16}
    answer = client.post("/update", json=body, headers=OPERATOR)
    assert answer.headers["Idempotency-Key"] == "r" * 16
    headers = {**OPERATOR, "Idempotency-Key": "k" * 16}
    answer = client.get("/update?item_number=1&stock=1", headers=headers)
    assert answer.headers["Idempotency-Key"] == "k" * 16


def test_an_update_below_zero_fails() -> None:
    """As a refusal."""
    client, _, _ = make()
    answer = client.get("/update?item_number=1&stock=-9", headers=OPERATOR)
    assert answer.get_json() == {"result": "Failed"}


@pytest.mark.parametrize(
    ("path", "status", "slug", "field"),
    [
        ("/query_by_topic", 400, "bad-request", "topic"),
        ("/query_by_topic?topic=", 400, "bad-request", "topic"),
        (f"/query_by_topic?topic={'x' * 201}", 400, "bad-request", "topic"),
        ("/query_by_topic?topic=a&x=1", 400, "bad-request", "x"),
        ("/query_by_item", 400, "bad-request", "item_number"),
        ("/query_by_item?item_number=a/b", 400, "bad-request", "item_number"),
        ("/query_by_item?item_number=1&x=1", 400, "bad-request", "x"),
        ("/query_by_item?item_number=99", 404, "not-found", ""),
        ("/update", 400, "bad-request", "item_number"),
        ("/update?item_number=1", 400, "bad-request", "cost"),
        ("/update?item_number=1&cost=na&stock=na", 400, "bad-request", "cost"),
        ("/update?item_number=1&cost=-1", 400, "bad-request", "cost"),
        ("/update?item_number=1&cost=1.234", 400, "bad-request", "cost"),
        ("/update?item_number=1&stock=1.5", 400, "bad-request", "stock"),
        ("/update?item_number=1&stock=1000001", 400, "bad-request", "stock"),
        ("/update?item_number=1&stock=x", 400, "bad-request", "stock"),
        ("/update?item_number=&stock=1", 400, "bad-request", "item_number"),
        ("/update?item_number=1&stock=1&price=1", 400, "bad-request", "price"),
        ("/update?item_number=1&stock=1&request_id=x", 400, "bad-request", "request_id"),
        ("/update?item_number=99&stock=1", 404, "not-found", ""),
        ("/shutdown?now=1", 400, "bad-request", "now"),
        ("/recover?now=1", 400, "bad-request", "now"),
        ("/v1/status?x=1", 400, "bad-request", "x"),
        ("/v1/digest?x=1", 400, "bad-request", "x"),
        ("/v1/faults?x=1", 400, "bad-request", "x"),
        ("/internal_update", 404, "not-found", ""),
        ("/resync", 404, "not-found", ""),
        ("/heart_beat", 404, "not-found", ""),
    ],
)
def test_bad_input_names_the_field(path: str, status: int, slug: str, field: str) -> None:
    """Every route, every field; internal messages are no routes."""
    client, replica, _ = make()
    assert is_problem(client.get(path, headers=OPERATOR), status, slug, field)
    assert replica.up


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/update?item_number=1&stock=1"),
        ("GET", "/shutdown"),
        ("POST", "/recover"),
        ("GET", "/v1/digest"),
        ("GET", "/v1/faults"),
        ("POST", "/v1/faults"),
        ("DELETE", "/v1/faults"),
    ],
)
def test_operators_routes_need_the_token_unless_faults_are_on(method: str, path: str) -> None:
    """401 without it."""
    client, replica, store = make()
    assert is_problem(client.open(path, method=method), 401, "unauthorized")
    assert replica.up
    assert store.items["1"].stock == 3
    open_client, _, _ = make(faults=True)
    assert open_client.open(path, method=method).status_code != 401


def test_shut_down_nothing_public_answers_until_it_has_recovered() -> None:
    """And both hooks say Succeed."""
    client, replica, _ = make(faults=True)
    assert client.get("/shutdown").get_json() == {"result": "Succeed"}
    for path in ("/query_by_item?item_number=1", "/query_by_topic?topic=travel", "/v1/status"):
        assert is_problem(client.get(path), 503, "not-serving")
    assert is_problem(client.get("/update?item_number=1&stock=1"), 503, "not-serving")
    assert client.get("/recover").get_json() == {"result": "Succeed"}
    assert client.get("/query_by_item?item_number=1").status_code == 200
    assert client.get("/v1/status").get_json()["up"] is True
    assert replica.operations == ["shutdown", "recover"]


def test_a_replica_that_doesnt_recover_in_time_says_so() -> None:
    """503."""
    client, replica, _ = make(faults=True)
    client.get("/shutdown")
    replica.recovers = False
    assert is_problem(client.get("/recover"), 503, "not-serving")


@pytest.mark.parametrize("path", ["/shutdown", "/recover", "/update?item_number=1&stock=1"])
def test_head_does_nothing(path: str) -> None:
    """405."""
    client, replica, store = make(faults=True)
    assert client.head(path).status_code == 405
    assert replica.up
    assert store.items["1"].stock == 3


def test_an_update_elsewhere_gets_a_hint() -> None:
    """421, and nothing was done."""
    client, replica, _ = make(faults=True)
    replica.rule = lambda _role, _replica, _payload: NotReigning(2, 4)
    answer = client.get("/update?item_number=1&stock=1")
    assert is_problem(answer, 421, "misdirected")
    assert (answer.get_json()["hint"], answer.get_json()["definite"]) == (2, True)


def test_what_cant_be_answered_is_a_503() -> None:
    """A read definitely, an update with its request id."""
    client, replica, _ = make(faults=True)
    replica.rule = lambda _role, _replica, _payload: Unavailable("no majority")
    assert is_problem(client.get("/query_by_item?item_number=1"), 503, "not-serving")
    replica.rule = lambda _role, _replica, _payload: None
    answer = client.get("/update?item_number=1&stock=1")
    assert is_problem(answer, 503, "outcome-unknown")
    assert len(answer.get_json()["request_id"]) == 32


def test_the_digest_has_its_fields() -> None:
    """For `verify`."""
    client, _, _ = make(faults=True)
    told = client.get("/v1/digest").get_json()
    assert told == {"applied": 9, "digest": "d", "length": 1, "chain": "c", "books": "{}"}


def test_faults_are_set_shown_and_cleared() -> None:
    """One rule, or a list of cuts."""
    client, replica, _ = make(faults=True)
    assert client.post("/v1/faults", json={"to": "catalog-1", "loss": 0.5}).status_code == 200
    told = client.post("/v1/faults", json={"cut": ["order-0", "*"]}).get_json()
    assert [rule["to"] for rule in told["faults"]] == ["catalog-1", "order-0", "*"]
    assert client.get("/v1/faults").get_json() == told
    assert client.delete("/v1/faults").get_json() == {"faults": []}
    assert replica.faults.rules == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "to"),
        ({"to": "nobody"}, "to"),
        ({"to": 1}, "to"),
        ({"to": "catalog-1", "loss": 2}, "loss"),
        ({"to": "catalog-1", "jitter": 1}, "jitter"),
        ({"cut": []}, "cut"),
        ({"cut": ["x"]}, "cut"),
        ({"cut": ["catalog-1"] * 17}, "cut"),
        ({"cut": ["catalog-1"], "to": "catalog-1"}, "cut"),
        ([], "body"),
    ],
)
def test_a_bad_fault_names_the_field(body: Any, field: str) -> None:
    """Every field."""
    client, replica, _ = make(faults=True)
    assert is_problem(client.post("/v1/faults", json=body), 400, "bad-request", field)
    assert replica.faults.rules == []


def test_bodies_where_none_belongs_are_refused() -> None:
    """Instead of being ignored."""
    client, replica, _ = make(faults=True)
    assert is_problem(client.post("/shutdown", json={}), 400, "bad-request", "body")
    assert is_problem(client.delete("/v1/faults", json={}), 400, "bad-request", "body")
    assert replica.up
