"""The bookstore's own routes on a frontend, in the form that the seeds' client logs show."""

from __future__ import annotations

import re

import pytest

from emporium.replication.failures import OutcomeUnknown
from tests.http.conftest import Frontend, in_vain
from tests.http.test_frontend_v1 import is_problem

KEY = "k" * 16


@pytest.mark.parametrize(
    "path",
    [
        "/search?topic=distributed%20systems",
        "/search?topic=distributed+systems",
        "/search/distributed%20systems",
        "/search/distributed+systems",
    ],
)
def test_search_lists_numbers_and_titles(shop: Frontend, path: str) -> None:
    """With + and with %20, as parameter and in the path."""
    assert shop.client.get(path).get_data(as_text=True) == (
        '{"result":[{"item_number":"1","title":"How to wait"},{"item_number":"2","title":"RPCs"}]}'
    )


def test_a_plus_sign_in_a_path_is_written_escaped(shop: Frontend) -> None:
    """%2B is a plus sign, as in a query."""
    shop.client.get("/search/c%2B%2B+for+all")
    assert "c++ for all" in str(shop.hub.calls[-1])


def test_a_topic_that_there_isnt_has_no_books(shop: Frontend) -> None:
    """An empty list, no error."""
    assert shop.client.get("/search?topic=cooking").get_json() == {"result": []}


@pytest.mark.parametrize("path", ["/lookup?item_number=2", "/lookup/2"])
def test_lookup_shows_the_book_as_the_seed_does(shop: Frontend, path: str) -> None:
    """item_number and cost are texts, stock is a number, in the seed's order."""
    assert shop.client.get(path).get_data(as_text=True) == (
        '{"result":{"cost":"20.50","item_number":"2","stock":2,"title":"RPCs",'
        '"type":"distributed systems"}}'
    )


def test_buying_until_it_is_sold_out(shop: Frontend) -> None:
    """Success, Success, Failed; each under a new request id, over the replicas in turn."""
    answers = [shop.client.get(path) for path in ("/buy?item_number=2", "/buy/2", "/buy/2")]
    told = [answer.get_json()["result"] for answer in answers]
    assert told == ["Success", "Success", "Failed"]
    assert len({answer.headers["Idempotency-Key"] for answer in answers}) == 3
    assert {answer.headers["Cache-Control"] for answer in answers} == {"no-store"}
    assert [replica for role, replica, _ in shop.hub.calls if role == "order"] == [0, 1, 2]


def test_an_unknown_book_isnt_sold(shop: Frontend) -> None:
    """Failed, as a refusal."""
    assert shop.client.get("/buy/99").get_json() == {"result": "Failed"}


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        (f"/buy?item_number=2&request_id={KEY}", {}),
        (f"/buy/2?request_id={KEY}", {}),
        ("/buy/2", {"Idempotency-Key": KEY}),
        (f"/buy/2?request_id={KEY}", {"Idempotency-Key": KEY}),
    ],
)
def test_a_given_request_id_buys_once(shop: Frontend, path: str, headers: dict[str, str]) -> None:
    """However often it is sent."""
    for _ in range(3):
        answer = shop.client.get(path, headers=headers)
        assert answer.get_json() == {"result": "Success"}
        assert answer.headers["Idempotency-Key"] == KEY
    assert [sale.request_id for sale in shop.store.sales] == [KEY]


@in_vain
def test_an_unknown_outcome_says_so_with_the_request_id(shop: Frontend) -> None:
    """503, never "Failed"."""
    shop.hub.rule = lambda _role, _replica, _payload: OutcomeUnknown("x")
    answer = shop.client.get("/buy/2")
    told = answer.get_json()
    assert answer.status_code == 503
    assert told["result"] == "Unknown"
    assert re.fullmatch("[0-9a-f]{32}", told["request_id"])
    assert answer.headers["Idempotency-Key"] == told["request_id"]
    assert answer.headers["Retry-After"] == "1"


def test_another_book_under_the_same_request_id_is_a_conflict(shop: Frontend) -> None:
    """422."""
    shop.client.get(f"/buy/2?request_id={KEY}")
    assert is_problem(shop.client.get(f"/buy/1?request_id={KEY}"), 422, "conflict")


@pytest.mark.parametrize(
    ("path", "status", "slug", "field"),
    [
        ("/search", 400, "bad-request", "topic"),
        ("/search?topic=", 400, "bad-request", "topic"),
        (f"/search?topic={'x' * 201}", 400, "bad-request", "topic"),
        ("/search?topic=a&sort=b", 400, "bad-request", "sort"),
        ("/search?topic=a&topic=b", 400, "bad-request", "topic"),
        ("/search/a?topic=b", 400, "bad-request", "topic"),
        (f"/search/{'x' * 201}", 400, "bad-request", "topic"),
        ("/search/a%0Ab", 400, "bad-request", "topic"),
        ("/lookup", 400, "bad-request", "item_number"),
        ("/lookup?item_number=", 400, "bad-request", "item_number"),
        ("/lookup?item_number=1;2", 400, "bad-request", "item_number"),
        ("/lookup?item_number=1&x=2", 400, "bad-request", "x"),
        ("/lookup/1?x=2", 400, "bad-request", "x"),
        ("/lookup/%20", 400, "bad-request", "item_number"),
        ("/lookup/99", 404, "not-found", ""),
        ("/buy", 400, "bad-request", "item_number"),
        ("/buy?item_number=", 400, "bad-request", "item_number"),
        ("/buy?item_number=1&quantity=2", 400, "bad-request", "quantity"),
        ("/buy?item_number=1&request_id=short", 400, "bad-request", "request_id"),
        ("/buy/1?request_id=", 400, "bad-request", "request_id"),
        ("/buy/1?item_number=1", 400, "bad-request", "item_number"),
        (f"/buy/1?request_id={'x' * 129}", 400, "bad-request", "request_id"),
    ],
)
def test_bad_input_names_the_field_and_buys_nothing(
    shop: Frontend, path: str, status: int, slug: str, field: str
) -> None:
    """Every route, every field."""
    assert is_problem(shop.client.get(path), status, slug, field)
    assert shop.store.sales == []


def test_two_different_request_ids_are_refused(shop: Frontend) -> None:
    """Which one is meant isn't guessed."""
    answer = shop.client.get(f"/buy/1?request_id={KEY}", headers={"Idempotency-Key": "o" * 16})
    assert is_problem(answer, 400, "bad-request", "request_id")
    answer = shop.client.get("/buy/1", headers={"Idempotency-Key": "short"})
    assert is_problem(answer, 400, "bad-request", "Idempotency-Key")
