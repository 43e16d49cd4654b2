"""One node: its folder, its settings, its first process, its end."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from emporium_cluster import api, machine, network, processes
from emporium_cluster.cgroups import Cgroups
from emporium_cluster.control_plane import VOLUMES
from emporium_cluster.errors import ClusterError
from emporium_cluster.layout import DNS_ADDRESS, DOMAIN, PODS, Layout, Node
from emporium_cluster.processes import wait_for

INIT = Path(__file__).resolve().parent.parent / "node-init.sh"
PAUSE_IMAGE = "localhost/emporium-cluster/pause:1"
RUNTIME_S = 60
READY_S = 120
CONTAINERD = """\
version = 2
root = "{folder}/containerd"
state = "/run/containerd"
[grpc]
  address = "{folder}/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "{folder}/containerd-opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{folder}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{snapshotter}"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
"""


def start(layout: Layout, cgroups: Cgroups, node: Node) -> None:
    """Connect a node and start its first process; returns before it is ready."""
    _write_settings(layout, node)
    network.connect(layout, node)
    cgroups.create_everywhere(layout.group(node, "pods"))
    register = cgroups.create(layout.group(node, "daemons"))
    namespaces = ("unshare", "--mount", "--pid", "--fork", "--kill-child")
    processes.spawn(
        [*network.inside(layout.network(node)), *namespaces, "bash", layout.programs / INIT.name],
        register,
        layout.log(node.name),
        {
            "NODE": node.name,
            "NODE_ADDRESS": node.address,
            "NODE_FOLDER": str(node.folder),
            "NODE_VOLUMES": VOLUMES,
            "CLUSTER_STATE": str(layout.state),
        },
    )


def wait_for_runtime(layout: Layout, cgroups: Cgroups, node: Node) -> None:
    """Wait until images can be put into a node."""
    command = ["ctr", "--address", str(node.containerd), "version"]
    wait_for(
        f"the container runtime of {node.name}",
        RUNTIME_S,
        lambda: node.containerd.exists() and processes.succeeds(command),
        layout.log(f"{node.name}-containerd"),
        lambda: running(layout, cgroups, node),
    )


def wait_until_ready(layout: Layout, cgroups: Cgroups, node: Node, since: datetime) -> None:
    """Wait until a node has said after `since` that it is there, and is ready."""
    wait_for(
        f"{node.name} to be ready",
        READY_S,
        lambda: said_something(layout, node) > since and is_ready(layout, node),
        layout.log(f"{node.name}-kubelet"),
        lambda: running(layout, cgroups, node),
    )


def is_ready(layout: Layout, node: Node) -> bool:
    """Whether Kubernetes takes the node for ready (for up to 20 s after its crash, too)."""
    try:
        told = api.get(layout, f"/api/v1/nodes/{node.name}")
    except ClusterError:
        return False
    conditions = told.get("status", {}).get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def said_something(layout: Layout, node: Node) -> datetime:
    """When the node last renewed its lease; long ago if never."""
    path = f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{node.name}"
    try:
        told = api.get(layout, path)
        return datetime.fromisoformat(told["spec"]["renewTime"])
    except (ClusterError, KeyError, ValueError):
        return datetime.fromtimestamp(0, UTC)


def running(layout: Layout, cgroups: Cgroups, node: Node) -> bool:
    """Whether the node has processes."""
    return bool(cgroups.processes(layout.group(node)))


def crash(layout: Layout, cgroups: Cgroups, node: Node) -> None:
    """End a node as a power failure does: every process at once, and its network; disks stay."""
    for pid in cgroups.processes(layout.group(node, "daemons")):
        if process_ids(pid)[1:] == [1]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)  # the kernel ends the rest of its namespace
    cgroups.kill(layout.group(node))
    cgroups.remove(layout.group(node))
    network.disconnect(layout, node)


def process_ids(pid: int) -> list[int]:
    """The ids of a process, in our namespace and then in those within; none when it is gone."""
    try:
        text = Path(f"/proc/{pid}/status").read_text("utf-8", "replace")
    except OSError:
        return []
    line = next((line for line in text.splitlines() if line.startswith("NSpid:")), "NSpid:")
    return [int(word) for word in line.split()[1:]]


def _write_settings(layout: Layout, node: Node) -> None:
    """Write the settings of the node's daemons, anew at each start."""
    folder = node.folder
    for name in ("containerd", "kubelet", "cni", "volumes", "log"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    node.containerd.unlink(missing_ok=True)
    (folder / "resolv.conf").write_text("", "ascii")  # pods know the cluster's names only
    (folder / "containerd.toml").write_text(
        CONTAINERD.format(
            folder=folder,
            pause=PAUSE_IMAGE,
            plugins=machine.plugins(),
            snapshotter=_snapshotter(layout.state),
        ),
        "utf-8",
    )
    _write_json(folder / "cni" / "10-pods.conflist", _pod_network(node))
    _write_json(folder / "kubelet.json", _kubelet(layout, node))
    _write_json(folder / "kube-proxy.json", _kube_proxy(layout, node))


def _snapshotter(state: Path) -> str:
    """overlayfs, except where the disk is one itself (in a container): those don't stack."""
    kind = processes.run(["stat", "-f", "-c", "%T", state]).strip()
    return "native" if kind == "overlayfs" else "overlayfs"


def _pod_network(node: Node) -> dict[str, Any]:
    """Each pod has a cable of its own to the node, which routes: no bridge, so that packets
    between pods of one node pass its rules for Services, too."""
    addresses = {
        "type": "host-local",
        "ranges": [[{"subnet": node.pods}]],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dataDir": "/run/cni",  # a crashed node forgets, as its pods are gone
    }
    return {
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [
            {"type": "ptp", "ipMasq": False, "ipam": addresses},
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }


def _kubelet(layout: Layout, node: Node) -> dict[str, Any]:
    """The settings of kubelet."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "x509": {"clientCAFile": str(layout.keys / "ca.crt")},
            "webhook": {"enabled": True},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(layout.keys / f"{node.name}.crt"),
        "tlsPrivateKeyFile": str(layout.keys / f"{node.name}.key"),
        "containerRuntimeEndpoint": f"unix://{node.containerd}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{layout.group(node, 'pods')}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "clusterDNS": [DNS_ADDRESS],
        "clusterDomain": DOMAIN,
        "resolvConf": str(node.folder / "resolv.conf"),
        "volumePluginDir": str(node.folder / "kubelet" / "volume-plugins"),
        # It renews its lease every quarter of this, and says how it is every 4 s.
        "nodeLeaseDurationSeconds": 16,
        "nodeStatusUpdateFrequency": "4s",
        "evictionHard": {"memory.available": "50Mi"},
        "imageGCHighThresholdPercent": 100,  # never: images can't be pulled again
        "serializeImagePulls": False,
        # Drills kill the same container many times: it comes back within some 15 s (kubelet looks
        # every 10 to 15 s), not after up to 5 minutes. The first time it comes back at once.
        "crashLoopBackOff": {"maxContainerRestartPeriod": "5s"},
        "featureGates": {
            "KubeletCrashLoopBackOffMax": True,
            "KubeletInUserNamespace": True,  # it may lack CAP_SYS_RESOURCE
        },
    }


def _kube_proxy(layout: Layout, node: Node) -> dict[str, Any]:
    """The settings of kube-proxy."""
    keep = {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"}
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(layout.keys / "kube-proxy.kubeconfig")},
        "mode": "iptables",
        "iptables": {"minSyncPeriod": "0s"},  # a new address counts at once
        "clusterCIDR": PODS,
        "hostnameOverride": node.name,
        "conntrack": keep,  # those settings are the machine's
    }


def _write_json(file: Path, value: dict[str, Any]) -> None:
    """Write a settings file (JSON is YAML, too)."""
    file.write_text(json.dumps(value, indent=1), "utf-8")


def copy_programs(layout: Layout, built: dict[str, Path], names: tuple[str, ...]) -> None:
    """Put all that runs into the cluster's own folder: nodes hide most others, and a cache may
    be cleared meanwhile."""
    layout.programs.mkdir()
    for name, place in built.items():
        copy = layout.programs / name
        try:
            copy.hardlink_to(place)
        except OSError:  # another disk
            shutil.copy(place, copy)
    for name in names:
        (layout.programs / name).symlink_to("kube")
    shutil.copy(INIT, layout.programs / INIT.name)
