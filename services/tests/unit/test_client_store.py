"""The client of the store: when a purchase is closed, and when it is only not known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from emporium.client.store import Answer, Bought, Refused, Store, Unknown

OPEN: dict[str, Any] = {"definite": False, "scope": "this request"}
SURE: dict[str, Any] = {"definite": True, "scope": "this request"}
KEY = "k" * 16
Buy = Callable[..., tuple[object, list[str]]]


@pytest.fixture
def buy(monkeypatch: pytest.MonkeyPatch) -> Buy:
    """Buy at a frontend that gives these answers, the last one for ever: the result, and the
    request ids of all tries."""

    def bought(*answers: tuple[int, dict[str, Any]], deadline_s: float = 5.0) -> Any:
        rest, ids = list(answers), []

        def call(_store: Store, _method: str, _url: str, headers: Any, _body: Any) -> Answer:
            ids.append(headers["Idempotency-Key"])
            return Answer(*(rest.pop(0) if len(rest) > 1 else rest[0]), {})

        monkeypatch.setattr(Store, "_call", call)
        store = Store(["http://frontend"])
        try:
            return store.buy("1", request_id=KEY, deadline_s=deadline_s), ids
        finally:
            store.close()

    return bought


def test_a_sure_503_does_not_close_an_open_id(buy: Buy) -> None:
    """It goes on under the same id, and hears that the first try bought."""
    result, ids = buy((503, OPEN), (503, SURE), (200, {"number": 1}))
    assert isinstance(result, Bought)
    assert (result.number, result.repeated) == (1, True)
    assert ids == [KEY] * 3


def test_what_stays_open_is_unknown_and_never_refused(buy: Buy) -> None:
    """Though the last word was a sure one."""
    result, ids = buy((503, OPEN), (503, SURE), deadline_s=0.1)
    assert isinstance(result, Unknown)
    assert set(ids) == {KEY}


@pytest.mark.parametrize("status", [404, 409, 422])
def test_an_answer_about_the_id_closes_it(buy: Buy, status: int) -> None:
    """Whatever came before."""
    result, _ = buy((503, OPEN), (status, SURE))
    assert isinstance(result, Refused)


def test_malformed_closes_only_what_is_not_open(buy: Buy) -> None:
    """It is told of the request, not of its id."""
    result, _ = buy((400, SURE))
    assert isinstance(result, Refused)
    result, _ = buy((503, OPEN), (400, SURE), deadline_s=0.1)
    assert isinstance(result, Unknown)
