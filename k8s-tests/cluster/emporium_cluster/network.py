"""The fabric and the nodes' cables. All of it lives in the cluster's own network namespaces."""

from __future__ import annotations

import json
from pathlib import Path

from emporium_cluster.layout import API_ADDRESS, Layout, Node
from emporium_cluster.processes import run

NAMESPACES = Path("/run/netns")
BRIDGE = "br0"


def inside(namespace: str) -> list[str]:
    """The words before a command that run it in a network namespace.

    Not `ip netns exec`, which mounts a new /sys and so hides the cgroups.
    """
    return ["nsenter", f"--net={NAMESPACES / namespace}"]


def make_fabric(layout: Layout) -> None:
    """Make the namespace of the control plane, with the bridge for the nodes' cables."""
    fabric = layout.fabric
    run(["ip", "netns", "add", fabric])
    for words in (
        "link set lo up",
        f"link add {BRIDGE} type bridge",
        f"addr add {API_ADDRESS}/24 dev {BRIDGE}",
        f"link set {BRIDGE} up",
    ):
        run(["ip", "-n", fabric, *words.split()])
    run([*inside(fabric), "sysctl", "-qw", "net.ipv4.ip_forward=1"])


def connect(layout: Layout, node: Node) -> None:
    """Make a node's namespace, its cable to the bridge, and the ways to everybody's pods."""
    fabric, own = layout.fabric, layout.network(node)
    run(["ip", "netns", "add", own])
    run([*("ip", "link", "add", node.cable, "netns", fabric, "type", "veth"),
         *("peer", "name", "eth0", "netns", own)])  # fmt: skip
    run(["ip", "-n", fabric, "link", "set", node.cable, "master", BRIDGE, "up"])
    run(["ip", "-n", fabric, "route", "replace", node.pods, "via", node.address])
    for words in (
        "link set lo up",
        f"addr add {node.address}/24 dev eth0",
        "link set eth0 up",
        f"route add default via {API_ADDRESS}",
    ):
        run(["ip", "-n", own, *words.split()])
    for other in layout.nodes():
        if other != node:
            run(["ip", "-n", own, "route", "add", other.pods, "via", other.address])
    run([*inside(own), "sysctl", "-qw", "net.ipv4.ip_forward=1"])


def disconnect(layout: Layout, node: Node) -> None:
    """Remove a node's namespace, and its cable with it."""
    remove(layout.network(node))


def set_cable(layout: Layout, node: Node, *, up: bool) -> None:
    """Cut a node off from everybody, or heal it."""
    run(["ip", "-n", layout.fabric, "link", "set", node.cable, "up" if up else "down"])


def is_cut(layout: Layout, node: Node) -> bool:
    """Whether the node's cable is down. Raises ClusterError when there is no cable."""
    told = run(["ip", "-n", layout.fabric, "-j", "link", "show", node.cable])
    return "UP" not in json.loads(told)[0]["flags"]


def exists(namespace: str) -> bool:
    """Whether there is a network namespace of this name."""
    return (NAMESPACES / namespace).exists()


def of_cluster(layout: Layout) -> list[str]:
    """The network namespaces of a cluster, whether or not all of it is there."""
    if not NAMESPACES.is_dir():
        return []
    names = (place.name for place in NAMESPACES.iterdir())
    starts = (layout.fabric, f"{layout.name}-node-")
    return sorted(name for name in names if name.startswith(starts))


def remove(namespace: str) -> None:
    """Remove a network namespace, whatever state it is in."""
    if exists(namespace):
        run(["ip", "netns", "delete", namespace])
