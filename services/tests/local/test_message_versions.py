"""A store of real processes whose programs speak different message versions: a roll, and back."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from emporium.client.cluster import read_status
from emporium.client.store import Bought, Store
from emporium.local.cluster import LocalCluster
from emporium.local.launcher import SERVE
from tests.waiting import eventually

NEWER = (sys.executable, str(Path(__file__).parent / "other_version.py"), "2", "1")
ALIEN = (sys.executable, str(Path(__file__).parent / "other_version.py"), "3", "2")
BOOK, GROUP = "4", ("catalog-0", "catalog-1", "catalog-2")
SERVES_S = 30.0

pytestmark = pytest.mark.slow


def version_of(cluster: LocalCluster, name: str) -> Any:
    """The lowest message version that a replica speaks with somebody."""
    (place,) = [member for member in cluster.members() if member.name == name]
    return (read_status(place.health) or {}).get("message_version")


def replaced(cluster: LocalCluster, name: str, program: tuple[str, ...]) -> None:
    """Stop the process, and start it as this program."""
    cluster.kill(name)
    cluster.launcher.command = program
    cluster.start(name)


def whole(cluster: LocalCluster) -> bool:
    """Whether all catalog replicas are voters that serve."""
    return all(replica.healthy for replica in cluster.replicas("catalog"))


def rolled(cluster: LocalCluster, program: tuple[str, ...]) -> list[int]:
    """Replace the catalog's processes in turn, with a purchase at each; the orders' numbers."""
    numbers = []
    store = Store(cluster.frontends())
    for name in GROUP:
        replaced(cluster, name, program)
        bought = store.buy(BOOK)
        assert isinstance(bought, Bought), bought
        numbers.append(bought.number)
        cluster.wait_until(lambda: whole(cluster), SERVES_S, "the group is whole again")
    store.close()
    return numbers


def test_a_group_is_rolled_to_a_newer_message_version_and_back() -> None:
    """One process after the other: purchases go on, and two that speak 2 speak it together."""
    counts = {"frontend": 1, "catalog": 3, "order": 1}
    settings = (("LOG_LEVEL", "debug"),)
    with LocalCluster.fresh(counts, cache_mode="off", settings=settings) as cluster:
        assert rolled(cluster, NEWER) == [1, 2, 3]
        log, line = cluster.folder.log("catalog-2"), "a stream with catalog-1: message version 2"
        eventually(lambda: line in log.read_text(), line)
        # Frontend and order stay as they were, so that everybody speaks 1 with somebody.
        eventually(lambda: version_of(cluster, "catalog-2") == 1, "the frontend's stream, with 1")
        assert rolled(cluster, SERVE) == [4, 5, 6]


def test_a_program_without_a_common_version_is_kept_out() -> None:
    """It is a replica that nobody hears; the others sell, and it comes back as the old program."""
    with LocalCluster.fresh({"frontend": 1, "catalog": 3, "order": 1}, cache_mode="off") as cluster:
        replaced(cluster, "catalog-2", ALIEN)
        log = cluster.folder.log("catalog-2")
        line = "no message version in common: the other side speaks 1 to 1, this side 2 to 3"
        eventually(lambda: line in log.read_text(), line, timeout_s=SERVES_S)
        store = Store(cluster.frontends())
        assert isinstance(store.buy(BOOK), Bought)
        store.close()
        assert version_of(cluster, "catalog-2") == 3
        assert not cluster.replicas("catalog")[2].serving
        replaced(cluster, "catalog-2", SERVE)
        cluster.wait_until(lambda: whole(cluster), SERVES_S, "the group is whole again")
