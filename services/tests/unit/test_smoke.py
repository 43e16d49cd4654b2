"""The smoke test of an installed store, against documents as a frontend gives them."""

from __future__ import annotations

from typing import Any

import pytest

from emporium.client import smoke


def cluster(**changes: Any) -> dict[str, Any]:
    """A whole store of three and three, with changes at catalog-1."""
    replicas = [
        {"role": role, "id": number, "healthy": True, "voter": True, "caught_up": True}
        for role in ("catalog", "order")
        for number in range(3)
    ]
    replicas[1].update(changes)
    replicas.append({"role": "cache", "id": 0, "healthy": True})
    return {"replicas": replicas, "reigns": {"catalog": {"id": 0}, "order": {"id": 0}}}


def answers(document: dict[str, Any], items: list[dict[str, Any]]) -> smoke.Get:
    """A frontend."""

    def get(path: str) -> Any:
        if path == "/v1/cluster":
            return document
        if path == "/v1/items":
            return {"items": items}
        assert path == "/v1/items/7?read=linearizable"
        return items[0]

    return get


def test_a_whole_store_lacks_nothing() -> None:
    """Voters, caught up, heard, and an item is read; a cache doesn't vote."""
    assert smoke.missing(answers(cluster(), [{"item": "7"}])) == []


@pytest.mark.parametrize(
    ("changes", "lack"),
    [
        ({"healthy": False}, "catalog-1 isn't heard"),
        ({"voter": False}, "catalog-1 isn't a voter"),
        ({"caught_up": False}, "catalog-1 isn't caught up"),
    ],
)
def test_a_replica_that_lacks_something_is_named(changes: dict[str, Any], lack: str) -> None:
    """One sentence for each."""
    assert smoke.missing(answers(cluster(**changes), [{"item": "7"}])) == [lack]


def test_a_group_without_a_reign_is_named() -> None:
    """Nobody reigns in order."""
    document = cluster()
    document["reigns"]["order"] = None
    assert smoke.missing(answers(document, [{"item": "7"}])) == ["nobody reigns in order"]


def test_an_empty_shop_isnt_whole() -> None:
    """There must be something to sell."""
    assert smoke.missing(answers(cluster(), [])) == ["nothing is sold"]


def test_a_frontend_that_fails_is_a_lack_too() -> None:
    """Refused connections and odd answers end in a sentence, not in a traceback."""

    def get(path: str) -> Any:
        raise ConnectionRefusedError(path)

    assert smoke.wait_until_whole(get, 0.0) == [
        "a frontend doesn't answer as it should: /v1/cluster"
    ]
