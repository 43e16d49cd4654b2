"""The faults that a drill brings about, each with its end."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from emporium_cluster import api, control_plane, machine, network, nodes
from emporium_cluster.cgroups import Cgroups, machine_cgroups
from emporium_cluster.errors import ClusterError
from emporium_cluster.layout import Layout, Node
from emporium_cluster.processes import wait_for

NODE_DRILLS = {
    "cut": "cut a node off: nothing reaches it, nothing leaves it",
    "heal": "end the cut of a node",
    "crash": "end a node as a power failure does; its disks stay",
    "restart": "start a crashed node again, and wait until it is ready",
}
POD_DRILLS = {
    "freeze": "stop all processes of a pod from running, without their knowledge",
    "thaw": "let a frozen pod run again",
    "kill": "SIGKILL the main process of a pod's container",
}
API_DRILLS = {
    "api-stop": "stop the API server at once (SIGKILL)",
    "api-start": "start the API server again, and wait until it is ready",
}
KILLED_S = 10
DIRECTORY_DEPTH = ("*", "*/*")  # kubepods/podUID, kubepods/QUALITY/podUID


@dataclass(frozen=True, slots=True)
class Pod:
    """A running pod: the cgroup of all of it, and that of the container that is meant."""

    name: str
    everything: Path
    container: Path


def on_node(layout: Layout, verb: str, name: str) -> None:
    """Do one of NODE_DRILLS. Raises ClusterError."""
    cgroups = _prepared()
    node = layout.known(name)
    if verb == "restart":
        _restart(layout, cgroups, node)
        return
    if not nodes.running(layout, cgroups, node):
        raise ClusterError(f"{name} doesn't run", f"cluster.py restart {name}")
    if verb == "crash":
        nodes.crash(layout, cgroups, node)
    else:
        network.set_cable(layout, node, up=verb == "heal")
    _tell(verb, node=name)


def on_pod(layout: Layout, verb: str, namespace: str, name: str, container: str) -> None:
    """Do one of POD_DRILLS. Raises ClusterError."""
    cgroups = _prepared()
    pod = find_pod(layout, cgroups, namespace, name, container)
    if verb == "kill":
        _tell(verb, pod=pod.name, pid=_kill(cgroups, pod))
    else:
        cgroups.freeze(pod.everything, frozen=verb == "freeze")
        _tell(verb, pod=pod.name)


def on_api(layout: Layout, verb: str) -> None:
    """Do one of API_DRILLS. Raises ClusterError."""
    cgroups = _prepared()
    api.exposed(layout)
    if verb == "api-start":
        if not control_plane.running(layout, cgroups, control_plane.API_SERVER):
            control_plane.start_api(layout, cgroups)
    else:
        cgroups.kill(control_plane.group(layout, control_plane.API_SERVER))
    _tell(verb)


def find_pod(layout: Layout, cgroups: Cgroups, namespace: str, name: str, container: str) -> Pod:
    """Where a pod's processes are. Raises ClusterError when it doesn't run, or not so."""
    told = api.get(layout, f"/api/v1/namespaces/{namespace}/pods/{name}")
    shown = f"{namespace}/{name}"
    node_name = told["spec"].get("nodeName", "")
    if not node_name:
        raise ClusterError(f"pod {shown} is on no node yet")
    uid, runtime_id = told["metadata"]["uid"], _container_id(told, container, shown)
    pods = cgroups.register / layout.group(layout.known(node_name), "pods") / "kubepods"
    for depth in DIRECTORY_DEPTH:
        for folder in pods.glob(f"{depth.removesuffix('*')}pod{uid}"):
            return Pod(shown, folder, folder / runtime_id)
    raise ClusterError(f"pod {shown} has no processes on {node_name}")


def _container_id(told: dict[str, Any], container: str, shown: str) -> str:
    """The runtime's id of a pod's container (empty name: the first that the pod lists)."""
    wanted = container or told["spec"]["containers"][0]["name"]
    states = told.get("status", {}).get("containerStatuses", [])
    for state in states:
        if state["name"] == wanted and state.get("containerID"):
            return str(state["containerID"]).rpartition("/")[2]
    names = " ".join(one["name"] for one in told["spec"]["containers"])
    raise ClusterError(f"pod {shown} runs no container {wanted!r}", f"it has: {names}")


def _kill(cgroups: Cgroups, pod: Pod) -> int:
    """Kill the first process of the container; its id, once it is gone. Raises ClusterError."""
    group = str(pod.container.relative_to(cgroups.register))
    first = [pid for pid in cgroups.processes(group) if nodes.process_ids(pid)[-1:] == [1]]
    if not first:
        raise ClusterError(f"pod {pod.name} has no running process", "is it between two starts?")
    pid = first[0]
    os.kill(pid, signal.SIGKILL)
    wait_for(f"the end of process {pid}", KILLED_S, lambda: is_gone(pid), Path(os.devnull))
    return pid


def is_gone(pid: int) -> bool:
    """Whether a process has ended, even if nobody has asked for its exit code yet."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return True
    return stat.rpartition(")")[2].split()[0] in {"Z", "X"}


def _restart(layout: Layout, cgroups: Cgroups, node: Node) -> None:
    """Start a crashed node. Raises ClusterError when it runs."""
    if nodes.running(layout, cgroups, node):
        raise ClusterError(f"{node.name} runs", f"cluster.py crash {node.name} first")
    since = datetime.now(UTC)
    network.disconnect(layout, node)
    nodes.start(layout, cgroups, node)
    nodes.wait_for_runtime(layout, cgroups, node)
    nodes.wait_until_ready(layout, cgroups, node, since)
    _tell("restart", node=node.name)


def _prepared() -> Cgroups:
    """Drills need root and cgroups."""
    machine.require_linux()
    machine.require_root()
    return machine_cgroups()


def _tell(verb: str, **about: object) -> None:
    """Print what was done, as one line of JSON: drills are driven by programs."""
    print(json.dumps({"done": verb, "at": datetime.now(UTC).isoformat(), **about}))
