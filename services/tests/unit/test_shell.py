"""The process around a cache or a frontend: it answers, shows itself and says good-bye."""

from __future__ import annotations

import json
import socket
import urllib.request
from contextlib import ExitStack
from pathlib import Path

import pytest

from emporium.catalog.requests import QueryItem
from emporium.runtime.lifecycle import Lifecycle
from emporium.runtime.settings import read
from emporium.runtime.shell import Shell
from emporium.runtime.streams import probe
from tests.waiting import eventually

QUERY = QueryItem("1", "local")


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago."""
    with ExitStack() as stack:
        servers = [
            stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)
        ]
        return [int(server.getsockname()[1]) for server in servers]


def shell(folder: Path, role: str, ports: list[int], life: Lifecycle) -> Shell:
    """A shell with the given public ports of frontend and cache, which serve nothing here."""
    environ = {
        "EMPORIUM_OUTPUT_DIR": str(folder),
        "EMPORIUM_FRONTEND": f"127.0.0.1:{ports[0] - 3000}",
        "EMPORIUM_CACHE": f"127.0.0.1:{ports[1] - 3000}",
        "EMPORIUM_INTERNAL_OFFSET": "3000",
        "EMPORIUM_HEALTH_OFFSET": "3001",
    }
    return Shell(read(environ, role), lifecycle=life)


def test_a_cache_answers_a_frontend_and_both_show_what_they_are(tmp_path: Path) -> None:
    """Asked over a stream, the rule's answer comes back; the health port says the rest."""
    ports = free_ports(2)
    lives = Lifecycle(), Lifecycle()
    cache = shell(tmp_path, "cache", ports, lives[0])
    frontend = shell(tmp_path, "frontend", ports, lives[1])
    cache.start(answer=lambda payload: payload)
    frontend.start(status=lambda: {"healthy": 3}, unready=lambda: "nobody reigns")
    try:
        eventually(lambda: frontend.hub.connected("cache", 0), "a stream")
        payload, timings = frontend.hub.call("cache", 0, QUERY, 1000).wait(5000)
        assert payload == QUERY
        assert timings.keys() == {"cache"}
        health = f"http://127.0.0.1:{frontend.settings.health_port}"
        with urllib.request.urlopen(f"{health}/status", timeout=5) as page:
            status = json.load(page)
        assert (status["role"], status["healthy"], status["leaving"]) == ("frontend", 3, False)
        with pytest.raises(OSError, match="503"):
            urllib.request.urlopen(f"{health}/readyz", timeout=5)
    finally:
        for life in lives:
            life.stop()
    assert probe(("127.0.0.1", ports[1]), 1.0)
    assert (tmp_path / "cache_log").exists()
