"""Metrics and the health port."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests

from emporium.runtime import metrics
from emporium.runtime.errors import FatalError
from emporium.runtime.metrics import Health, HealthServer, Metrics
from tests.waiting import eventually


@dataclass
class Process:
    """A process whose health a test decides."""

    status: dict[str, Any] = field(default_factory=lambda: {"epoch": 3, "reigning": True})
    reason: str = ""
    age_ms: float = 1.0

    def health(self) -> Health:
        """What the health port asks."""
        return Health(lambda: self.status, lambda: self.reason, lambda: self.age_ms)


@pytest.fixture
def process() -> Process:
    """A healthy process."""
    return Process()


@pytest.fixture
def counted() -> Metrics:
    """Its metrics."""
    return Metrics("catalog", 1)


@pytest.fixture
def server(process: Process, counted: Metrics) -> Iterator[HealthServer]:
    """Its health port, on a free port of loopback."""
    made = HealthServer("127.0.0.1", 0, process.health(), counted)
    made.start()
    yield made
    made.stop()


def get(server: HealthServer, path: str) -> requests.Response:
    """Ask the health port."""
    return requests.get(f"http://127.0.0.1:{server.port}{path}", timeout=5)


def test_alive_is_a_driver_that_steps(server: HealthServer, process: Process) -> None:
    """A step that is too long ago is a dead process, ready or not."""
    process.reason = "learner"
    assert get(server, "/healthz").status_code == 200
    process.age_ms = 10_000.0
    answer = get(server, "/healthz")
    assert answer.status_code == 503
    assert answer.text == "last step 10000 ms ago\n"


def test_unready_says_why(server: HealthServer, process: Process) -> None:
    """The reason is what `kubectl describe` shows."""
    assert get(server, "/readyz").text == "ready\n"
    process.reason = "catching up"
    answer = get(server, "/readyz")
    assert (answer.status_code, answer.text) == (503, "catching up\n")


def test_an_event_that_an_alert_asks_for_is_counted_from_zero() -> None:
    """Else its first time would be no increase."""
    text = Metrics("order", 2, metrics.ALERTED_EVENTS).text().decode()
    for event in metrics.ALERTED_EVENTS:
        line = f'emporium_events_total{{event="{event}",id="2",role="order"}} 0.0'
        assert line in text.splitlines()


def test_the_status_is_json(server: HealthServer, process: Process) -> None:
    """As the process gives it."""
    assert get(server, "/status").json() == process.status


def test_metrics_are_labelled_by_role_and_id(server: HealthServer, counted: Metrics) -> None:
    """Counters, histograms, and the numbers of the status."""
    counted.request("/v1/items/<item>", 200, 0.003)
    counted.note("reign_began")
    counted.note("refused_old_epoch", 2)
    counted.step(0.001, 5)
    counted.sync(0.0002)
    answer = get(server, "/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain")
    own = 'id="1",role="catalog"'
    for line in (
        f'emporium_requests_total{{{own},route="/v1/items/<item>",status="200"}} 1.0',
        f'emporium_request_seconds_count{{{own},route="/v1/items/<item>"}} 1.0',
        f'emporium_events_total{{event="refused_old_epoch",{own}}} 2.0',
        f"emporium_step_events_sum{{{own}}} 5.0",
        f"emporium_sync_seconds_count{{{own}}} 1.0",
    ):
        assert line in answer.text


def test_numbers_of_the_status_are_metrics(counted: Metrics, process: Process) -> None:
    """Flags count as 0 and 1, texts don't count, and each scrape sees the present."""
    counted.show(lambda: process.status)
    process.status = {"epoch": 9, "reigning": False, "role": "catalog", "lag ms": 1.5}
    text = counted.text().decode()
    assert 'emporium_epoch{id="1",role="catalog"} 9.0' in text
    assert 'emporium_reigning{id="1",role="catalog"} 0.0' in text
    assert 'emporium_lag_ms{id="1",role="catalog"} 1.5' in text
    assert "emporium_role" not in text


def test_two_processes_have_registries_of_their_own() -> None:
    """Tests and `emporium` run several in one interpreter."""
    Metrics("order", 0).note("x")
    assert 'event="x"' not in Metrics("order", 0).text().decode()


def test_other_paths_are_not_found(server: HealthServer) -> None:
    """The answer lists what there is."""
    answer = get(server, "/favicon.ico")
    assert answer.status_code == 404
    assert "/readyz" in answer.text


def test_an_error_inside_is_an_answer_too(server: HealthServer, process: Process) -> None:
    """A probe never hangs on our mistake."""
    process.status = {"bad": 1}
    del process.status
    assert get(server, "/status?x=1").status_code == 500


def test_a_taken_port_is_fatal_and_named(server: HealthServer, process: Process) -> None:
    """The line says which port."""
    with pytest.raises(FatalError, match=f"health port 127.0.0.1:{server.port}: Address"):
        HealthServer("127.0.0.1", server.port, process.health(), Metrics("order", 0))


def test_too_many_connections_are_closed(server: HealthServer) -> None:
    """Slow probers can't take all threads; when they go, the next one is answered."""
    with ExitStack() as stack:
        for _ in range(metrics.ANSWERS_AT_ONCE):
            idle = socket.create_connection(("127.0.0.1", server.port), timeout=5)
            stack.enter_context(idle)
        late = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=5))
        assert late.recv(1) == b""
    eventually(lambda: answers(server), "an answer after the idle connections are gone")


def answers(server: HealthServer) -> bool:
    """Is there an answer? The threads see the end of their connections one by one."""
    try:
        return get(server, "/readyz").status_code == 200
    except requests.ConnectionError:
        return False
