"""`python -m emporium.client.smoke`: is this store whole? It reads, and buys nothing.

Waits until a frontend tells of a reign in both groups, every replica that it knows of is a voter
and caught up, and an item can be read. Settings come from the environment; exit code 0 says yes, 1
no, with what is still missing.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import requests

from emporium.runtime import settings
from emporium.runtime.errors import SettingsError

DEADLINE_S: Final = 120.0
ANSWER_S: Final = 6.0
POLL_S: Final = 0.5

Get = Callable[[str], Any]
"""The JSON at a path of a frontend. Raises OSError or ValueError."""


def missing(get: Get) -> list[str]:
    """What the store lacks to be whole; empty when it is."""
    try:
        lacks = missing_in(get("/v1/cluster"))
        items = get("/v1/items")["items"]
        if not items:
            return [*lacks, "nothing is sold"]
        get(f"/v1/items/{items[0]['item']}?read=linearizable")
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [f"a frontend doesn't answer as it should: {error}"]
    return lacks


def missing_in(cluster: Mapping[str, Any]) -> list[str]:
    """What a cluster document says is missing."""
    lacks = [f"nobody reigns in {role}" for role, reign in cluster["reigns"].items() if not reign]
    for replica in cluster["replicas"]:
        name = f"{replica['role']}-{replica['id']}"
        if not replica["healthy"]:
            lacks.append(f"{name} isn't heard")
        elif replica["role"] in cluster["reigns"]:
            lacks += [
                f"{name} isn't {what}"
                for field, what in (("voter", "a voter"), ("caught_up", "caught up"))
                if not replica.get(field)
            ]
    return lacks


def wait_until_whole(get: Get, seconds: float) -> list[str]:
    """Ask until nothing is missing, or the time is over; what is missing then."""
    until = time.monotonic() + seconds
    while (lacks := missing(get)) and time.monotonic() < until:
        time.sleep(POLL_S)
    return lacks


def main(arguments: Sequence[str]) -> int:
    """Ask the frontends of the settings, each by itself."""
    parser = argparse.ArgumentParser(prog="emporium.client.smoke", description=__doc__)
    parser.add_argument("--seconds", type=float, default=DEADLINE_S, help="how long to wait")
    seconds = parser.parse_args(arguments).seconds
    try:
        found = settings.read(os.environ, "client")
    except SettingsError as error:
        print(error.detail, file=sys.stderr)
        return 1
    until = time.monotonic() + seconds
    whole = True
    for address in found.frontend:
        lacks = wait_until_whole(getter(f"http://{address}"), max(0.0, until - time.monotonic()))
        print(f"{address}: {'; '.join(lacks) or 'the store is whole'}")
        whole = whole and not lacks
    return 0 if whole else 1


def getter(base: str) -> Get:
    """GET at one frontend, by its base URL."""
    session = requests.Session()

    def get(path: str) -> Any:
        answer = session.get(f"{base}{path}", timeout=ANSWER_S)
        answer.raise_for_status()
        return answer.json()

    return get


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
