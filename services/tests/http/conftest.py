"""Frontends over a store in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from flask.testing import FlaskClient

from emporium.frontend.app import create_app
from emporium.frontend.board import Board
from emporium.frontend.copies import Copies, NoCopies
from emporium.frontend.hits import Hits
from emporium.frontend.parts import Parts
from emporium.frontend.purchasing import Writing
from emporium.frontend.reading import Reading
from emporium.frontend.view import ClusterView
from emporium.runtime import web
from tests.http.fakes import FakeHub, FakeStore

TOKEN = "an-operators-token"
ADDRESSES = {
    "catalog": ("h:8001", "h:8002", "h:8003"),
    "order": ("h:8011", "h:8012", "h:8013"),
}
PATIENT_MS = 30_000.0  # no test that gets its answer waits so long
in_vain = pytest.mark.parametrize("shop", [500.0], indirect=True, ids=["in vain"])
"""For tests in which nothing comes before the deadline: a near one."""
OPERATOR = {"Authorization": f"Bearer {TOKEN}"}


@dataclass
class Frontend:
    """A frontend's app over a fake hub."""

    client: FlaskClient
    hub: FakeHub
    store: FakeStore
    board: Board


def make_frontend(
    copies: Copies | None = None,
    *,
    timeout_ms: float = PATIENT_MS,
    faults: bool = False,
    private: bool = False,
    waiters: int = 4,
    hits: Hits | None = None,
) -> Frontend:
    """A frontend that has heard everybody once."""
    store = FakeStore()
    hub = FakeHub(store)
    board = Board(ClusterView(ADDRESSES, 60_000.0), hub)
    gate = web.Gate(waiters)
    parts = Parts(
        limits=web.Limits(2_048, TOKEN, faults),
        edition="bookstore",
        board=board,
        reading=Reading(board, copies or NoCopies(), gate, timeout_ms, 100.0),
        writing=Writing(board, gate, timeout_ms),
        watchers=web.Gate(1),
        orders_private=private,
        about=lambda: {"role": "frontend", "id": 0},
        caches=("h:8031",),
        hits=hits or Hits(),
    )
    hub.beat_all()
    return Frontend(create_app(parts).test_client(), hub, store, board)


@pytest.fixture
def shop(request: pytest.FixtureRequest) -> Iterator[Frontend]:
    """A frontend without copies."""
    frontend = make_frontend(timeout_ms=getattr(request, "param", PATIENT_MS))
    yield frontend
    frontend.board.close()
