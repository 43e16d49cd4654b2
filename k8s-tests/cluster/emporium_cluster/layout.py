"""Where things are: names, folders and addresses of one cluster.

Addresses are of 198.18.0.0/15, the range that is reserved for benchmarks; they exist only inside
the cluster's own network namespaces.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from emporium_cluster.errors import ClusterError

MOST_NODES = 9
API_ADDRESS = "198.18.0.1"
API_PORT = 6443
SERVICES = "198.18.64.0/20"
FIRST_SERVICE = "198.18.64.1"
DNS_ADDRESS = "198.18.64.10"
PODS = "198.19.0.0/16"
EXPOSED_PORT = 16443  # on 127.0.0.1; another one when this is taken
DOMAIN = "cluster.local"
# The path of a Unix socket ends at 107 characters; the longest below a cluster's folder is
# node-9/kubelet/device-plugins/kubelet.sock.
STATE_PATH_LENGTH = 60
FOLDER = Path("/var/lib/emporium-cluster")


@dataclass(frozen=True, slots=True)
class Node:
    """One node of a cluster: its name, its addresses, its folder."""

    index: int
    folder: Path

    @property
    def name(self) -> str:
        """As Kubernetes knows it."""
        return f"node-{self.index}"

    @property
    def address(self) -> str:
        """In the fabric."""
        return f"198.18.0.{10 + self.index}"

    @property
    def pods(self) -> str:
        """The range of its pods."""
        return f"198.19.{self.index}.0/24"

    @property
    def cable(self) -> str:
        """Its end of the cable, at the fabric's bridge."""
        return f"veth-{self.name}"

    @property
    def containerd(self) -> Path:
        """The socket of its container runtime."""
        return self.folder / "containerd.sock"


@dataclass(frozen=True, slots=True)
class Layout:
    """One cluster: `name` for namespaces and cgroups, `state` for its files."""

    name: str
    state: Path

    @classmethod
    def chosen(cls, name: str = "") -> Layout:
        """The cluster called `name`, else by LOCAL_CLUSTER, else emporium."""
        name = name or os.environ.get("LOCAL_CLUSTER", "") or "emporium"
        if not re.fullmatch(r"[a-z][a-z0-9]{0,15}", name):
            raise ClusterError(
                f"a cluster can't be named {name!r}", "use up to 16 letters and digits"
            )
        folder = Path(os.environ.get("LOCAL_CLUSTER_FOLDER", "") or FOLDER)
        state = folder / name
        if not folder.is_absolute() or len(str(state)) > STATE_PATH_LENGTH:
            raise ClusterError(
                f"the cluster can't live in {state}: sockets have short paths",
                f"set LOCAL_CLUSTER_FOLDER to an absolute path below {STATE_PATH_LENGTH}"
                " characters, or leave it out",
            )
        return cls(name, state)

    @property
    def fabric(self) -> str:
        """The network namespace of the bridge and the control plane."""
        return f"{self.name}-fabric"

    def network(self, node: Node) -> str:
        """The network namespace of a node."""
        return f"{self.name}-{node.name}"

    def group(self, node: Node, part: str = "") -> str:
        """The cgroup of a node, or of its `daemons` or its `pods`."""
        return f"{self.name}/{node.name}/{part}".rstrip("/")

    @property
    def programs(self) -> Path:
        """The folder of Kubernetes' own programs."""
        return self.state / "bin"

    @property
    def keys(self) -> Path:
        """The folder of keys, certificates and the components' kubeconfigs."""
        return self.state / "pki"

    @property
    def kubeconfig(self) -> Path:
        """For kubectl and helm on the machine."""
        return self.state / "kubeconfig"

    def log(self, name: str) -> Path:
        """The log file of a component."""
        return self.state / "log" / f"{name}.log"

    def node(self, index: int) -> Node:
        """The node with this number, which may not exist."""
        return Node(index, self.state / f"node-{index}")

    def nodes(self) -> list[Node]:
        """The nodes that this cluster was made with; none when there is no cluster."""
        try:
            count = int((self.state / "nodes").read_text("ascii"))
        except (FileNotFoundError, ValueError):
            return []
        return [self.node(index) for index in range(1, count + 1)]

    def known(self, name: str) -> Node:
        """The node of this name. Raises ClusterError when there is none."""
        for node in self.nodes():
            if node.name == name:
                return node
        names = " ".join(node.name for node in self.nodes())
        raise ClusterError(
            f"there is no node {name!r}", f"there are: {names}" if names else "no cluster is up"
        )
