"""When does a store really answer? Asked of its processes, and as a client would ask.

Ready means all of: every process runs and says at its health port that it is ready; each group
has one that reigns and all its replicas are voters that serve; and every frontend answers a lookup
and shows the same reigns in `/v1/cluster`.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from emporium.client.cluster import read_status
from emporium.local.errors import LocalError
from emporium.local.launcher import Launcher
from emporium.local.layout import GROUPS, Place

POLL_S = 0.1
ASK_TIMEOUT_S = 2.0


def get(host: str, port: int, path: str, token: str = "") -> tuple[int, Any]:
    """Status and decoded JSON of one GET; (0, None) when nobody answers, (status, None) when the
    answer is no JSON."""
    connection = http.client.HTTPConnection(host, port, timeout=ASK_TIMEOUT_S)
    try:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException):
        return 0, None
    finally:
        connection.close()
    try:
        return answer.status, json.loads(body)
    except ValueError:
        return answer.status, None


def status_of(place: Place) -> dict[str, Any] | None:
    """What the process says of itself, None when it says nothing."""
    return read_status(f"{place.host}:{place.health_port}", ASK_TIMEOUT_S)


def missing(launcher: Launcher) -> str:
    """What the store still lacks, in a few words; empty when it answers."""
    # Replicas first: without them no frontend is ready, and they are the reason to be told.
    for place in sorted(launcher.plan.places, key=lambda place: place.role not in GROUPS):
        if get(place.host, place.health_port, "/readyz")[0] != HTTPStatus.OK:
            return f"{place.name} isn't ready"
    for role in GROUPS:
        lack = _group_lacks(launcher.plan.of(role))
        if lack:
            return lack
    for place in launcher.plan.of("frontend"):
        lack = _frontend_lacks(place)
        if lack:
            return lack
    return ""


def _group_lacks(places: tuple[Place, ...]) -> str:
    told = [(place, status_of(place)) for place in places]
    for place, status in told:
        if not status or not status.get("voter"):
            return f"{place.name} isn't a voter"
        if not status.get("serving"):
            return f"{place.name} doesn't serve"
    if sum(bool(status and status.get("reigning")) for _, status in told) != 1:
        return f"no {places[0].role} replica reigns"
    return ""


def _frontend_lacks(place: Place) -> str:
    code, cluster = get(place.host, place.port, "/v1/cluster")
    reigns = {str(each.get("role")) for each in _records(cluster) if each.get("reigning")}
    if code != HTTPStatus.OK or not reigns.issuperset(GROUPS):
        return f"{place.name} doesn't see who reigns"
    items = _records(get(place.host, place.port, "/v1/items")[1])
    if not items:
        return f"{place.name} lists no item"
    first = items[0].get("item")
    if get(place.host, place.port, f"/v1/items/{first}")[0] != HTTPStatus.OK:
        return f"{place.name} answers no lookup"
    return ""


def _records(content: Any) -> list[dict[str, Any]]:
    """The records of a JSON answer: itself a list, or the first list in it."""
    if isinstance(content, dict):
        content = next((value for value in content.values() if isinstance(value, list)), [])
    return [each for each in content or [] if isinstance(each, dict)]


def wait_until_answers(
    launcher: Launcher, seconds: float, waiting: Callable[[str], None] = lambda _: None
) -> None:
    """Wait until nothing is `missing`. `waiting` is told what is, each time it changes. Raises
    LocalError when a process dies meanwhile (with the end of its log) or the time is over."""
    deadline = time.monotonic() + seconds
    last = ""
    while True:
        for place in launcher.plan.places:
            if launcher.state(place.name) == "dead":
                raise LocalError(death(launcher, place.name))
        lack = missing(launcher)
        if not lack:
            return
        if lack != last:
            waiting(lack)
            last = lack
        if time.monotonic() > deadline:
            raise LocalError(
                f"the store doesn't answer after {seconds:g} s: {lack}",
                f"the logs are in {launcher.folder.root / 'logs'}",
            )
        time.sleep(POLL_S)


def wait_until_serves(launcher: Launcher, name: str, seconds: float) -> None:
    """Wait until one process is ready. Raises LocalError as `wait_until_answers` does."""
    place = launcher.plan.place(name)
    deadline = time.monotonic() + seconds
    while get(place.host, place.health_port, "/readyz")[0] != HTTPStatus.OK:
        if launcher.state(name) == "dead":
            raise LocalError(death(launcher, name))
        if time.monotonic() > deadline:
            raise LocalError(
                f"{name} runs and isn't ready after {seconds:g} s",
                f"see {launcher.folder.command(f'logs {name}')}",
            )
        time.sleep(POLL_S)


def death(launcher: Launcher, name: str) -> str:
    """How a process ended, with the end of its log."""
    text = f"{name} {launcher.obituary(name)}"
    tail = launcher.tail(name)
    return f"{text}; the end of its log:\n{tail}" if tail else f"{text} and wrote no log"
