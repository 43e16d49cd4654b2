"""The drills, against a real cluster of two nodes and its DNS.

They need root, and everything built (make cluster-build); about two minutes.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from emporium_cluster import (
    api,
    build,
    cgroups,
    cluster,
    drills,
    network,
    nodes,
    processes,
    remains,
)
from emporium_cluster.errors import ClusterError
from emporium_cluster.layout import Layout

READY = (
    sys.platform == "linux"
    and os.geteuid() == 0
    and all(build.place_of(build.PROGRAMS[name]).exists() for name in build.CLUSTER)
)
pytestmark = [
    pytest.mark.skipif(not READY, reason="needs root and a built cluster (make cluster-build)"),
    pytest.mark.serial,
    pytest.mark.slow,
]
PODS = "/api/v1/namespaces/kube-system/pods"
BACK_S = 60.0


@pytest.fixture(scope="module")
def store() -> Iterator[Layout]:
    """A cluster of two nodes, of its own name; gone afterwards."""
    layout = Layout.chosen("drills")
    found = cgroups.machine_cgroups()
    remains.clear(layout, found)
    cluster.up(layout, 2)
    yield layout
    cluster.down(layout)
    assert remains.found(layout, found) == []


def dns_pod(layout: Layout, node: str) -> dict[str, Any]:
    """The pod of DNS on a node."""
    items = api.get(layout, PODS)["items"]
    return next(pod for pod in items if pod["spec"].get("nodeName") == node)


def restarts(layout: Layout, node: str) -> int:
    """How often that pod's container was started again, and runs; -1 while it doesn't."""
    state = dns_pod(layout, node)["status"]["containerStatuses"][0]
    return int(state["restartCount"]) if state["ready"] else -1


def eventually(what: str, condition: Callable[[], object]) -> None:
    """Wait for a condition; an API server that doesn't answer yet makes it false."""

    def holds() -> bool:
        with contextlib.suppress(ClusterError):
            return bool(condition())
        return False

    processes.wait_for(what, BACK_S, holds, Path(os.devnull))


def restarts_so_far(layout: Layout, node: str) -> int:
    """The same, once it runs: after the drill before, it may not be ready again yet."""
    seen: list[int] = []

    def runs() -> bool:
        seen.append(restarts(layout, node))
        return seen[-1] >= 0

    eventually(f"DNS runs on {node}", runs)
    return seen[-1]


def test_a_whole_cluster_is_all_right(store: Layout) -> None:
    """Everything runs, and starting it again changes nothing."""
    assert cluster.status(store) == 0
    before = cgroups.machine_cgroups().processes(store.name)
    cluster.up(store, 2)
    assert set(before) & set(cgroups.machine_cgroups().processes(store.name))


def test_a_cut_node_is_cut_until_it_is_healed(store: Layout) -> None:
    """Its address doesn't answer from the fabric; after the heal it does."""
    node = store.node(2)
    # 10250 is kubelet's port.
    probe = [*network.inside(store.fabric), "socat", "-u", "OPEN:/dev/null"]
    probe.append(f"TCP:{node.address}:10250,connect-timeout=1")
    assert processes.succeeds(probe)
    drills.on_node(store, "cut", node.name)
    assert network.is_cut(store, node)
    assert not processes.succeeds(probe)
    assert cluster.status(store) == 1
    drills.on_node(store, "heal", node.name)
    assert not network.is_cut(store, node)
    eventually("the node answers", lambda: processes.succeeds(probe))


def test_a_crashed_node_has_no_process_and_comes_back(store: Layout) -> None:
    """A crash ends everything at once; after a restart the node's pods run again."""
    node, found = store.node(2), cgroups.machine_cgroups()
    before = restarts_so_far(store, node.name)
    drills.on_node(store, "crash", node.name)
    assert found.processes(store.group(node)) == []
    assert not network.exists(store.network(node))
    with pytest.raises(ClusterError, match="doesn't run"):
        drills.on_node(store, "cut", node.name)
    drills.on_node(store, "restart", node.name)
    assert nodes.is_ready(store, node)
    eventually("DNS is back", lambda: restarts(store, node.name) > before)
    with pytest.raises(ClusterError, match="node-2 runs"):
        drills.on_node(store, "restart", node.name)


def test_a_frozen_pod_stands_still_and_is_thawed(store: Layout) -> None:
    """Every process of a frozen pod stands still, and the cluster's status says so."""
    found = cgroups.machine_cgroups()
    name = dns_pod(store, "node-1")["metadata"]["name"]
    drills.on_pod(store, "freeze", "kube-system", name, "")
    assert len(found.frozen_below(store.name)) == 1
    assert cluster.status(store) == 1
    drills.on_pod(store, "thaw", "kube-system", name, "")
    assert found.frozen_below(store.name) == []


def test_a_killed_process_is_gone_and_its_container_comes_back(
    store: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    """The drill tells the process that it killed; the pod stays the same one."""
    pod = dns_pod(store, "node-1")
    before = restarts_so_far(store, "node-1")
    drills.on_pod(store, "kill", "kube-system", pod["metadata"]["name"], "coredns")
    told = json.loads(capsys.readouterr().out)
    assert drills.is_gone(told["pid"])
    eventually("the container is back", lambda: restarts(store, "node-1") > before)
    assert dns_pod(store, "node-1")["metadata"]["uid"] == pod["metadata"]["uid"]


def test_the_api_server_stops_and_starts(store: Layout) -> None:
    """While it is stopped nothing answers; nodes and pods run on, and are there afterwards."""
    found = cgroups.machine_cgroups()
    running = found.processes(store.group(store.node(1), "pods"))
    drills.on_api(store, "api-stop")
    with pytest.raises(ClusterError, match="doesn't answer"):
        api.get(store, "/api")
    assert found.processes(store.group(store.node(1), "pods")) == running
    drills.on_api(store, "api-start")
    assert api.ready(store)


def test_a_frozen_pod_does_not_keep_a_cluster(store: Layout) -> None:
    """What stands still can't die: `down` thaws first (the fixture, after this last test)."""
    name = dns_pod(store, "node-1")["metadata"]["name"]
    drills.on_pod(store, "freeze", "kube-system", name, "")
