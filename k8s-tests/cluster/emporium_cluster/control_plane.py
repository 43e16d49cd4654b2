"""The control plane: processes in the fabric, each in a cgroup of its own."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

from emporium_cluster import api, certificates, network, processes
from emporium_cluster.cgroups import Cgroups
from emporium_cluster.layout import API_ADDRESS, API_PORT, EXPOSED_PORT, PODS, SERVICES, Layout
from emporium_cluster.processes import wait_for

API_READY_S = 120
API_SERVER = "kube-apiserver"
EXPOSE = "expose"
PROVISIONER = "local-path-provisioner"
COMPONENTS = (
    "etcd",
    API_SERVER,
    EXPOSE,
    "kube-controller-manager",
    "kube-scheduler",
    PROVISIONER,
)
VOLUME_IMAGE = "localhost/emporium-cluster/volume:1"
VOLUMES = "/var/lib/volumes"  # as a node sees it; each has its own
# A node that says nothing for so long isn't ready any more. It says something every 4 s.
NODE_GRACE_S = 20


def group(layout: Layout, component: str) -> str:
    """The cgroup of a component."""
    return f"{layout.name}/control/{component}"


def start(layout: Layout, cgroups: Cgroups, component: str) -> None:
    """Start a component; returns before it is ready."""
    command = _command(layout, component)
    if component != EXPOSE:  # that one listens on the machine
        command = [*network.inside(layout.fabric), *command]
    register = cgroups.create(group(layout, component))
    processes.spawn(command, register, layout.log(component))


def start_api(layout: Layout, cgroups: Cgroups) -> None:
    """Start the API server and wait until it has made its own roles (controllers need them)."""
    start(layout, cgroups, API_SERVER)
    wait_for(
        "the API server",
        API_READY_S,
        lambda: api.ready(layout),
        layout.log(API_SERVER),
        lambda: running(layout, cgroups, API_SERVER),
    )


def running(layout: Layout, cgroups: Cgroups, component: str) -> bool:
    """Whether the component has a process."""
    return bool(cgroups.processes(group(layout, component)))


def prepare_expose(layout: Layout) -> None:
    """Choose the port on 127.0.0.1 and write what a user needs to come in by it."""
    port = _free_port()
    certificates.write_kubeconfig(layout, "admin", layout.kubeconfig, f"https://127.0.0.1:{port}")
    owner = os.environ.get("SUDO_UID", "")
    if owner.isdecimal():  # the one who said `sudo make cluster-up` may use kubectl without sudo
        os.chown(layout.kubeconfig, int(owner), -1)
    # socat splits its EXEC argument at colons and commas: hence a script.
    script = layout.state / "into-fabric"
    inside = " ".join(network.inside(layout.fabric))
    script.write_text(f"#!/bin/sh\nexec {inside} socat - TCP:127.0.0.1:{API_PORT}\n", "ascii")
    script.chmod(0o755)


def prepare_provisioner(layout: Layout) -> None:
    """Write the settings of local-path-provisioner: our own program makes a volume's folder."""
    folder = layout.state / "storage"
    folder.mkdir()
    paths = [{"node": "DEFAULT_PATH_FOR_NON_LISTED_NODES", "paths": [VOLUMES]}]
    config = {"nodePathMap": paths, "setupCommand": "/volume", "teardownCommand": "/volume"}
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    container = {"name": "volume", "image": VOLUME_IMAGE, "imagePullPolicy": "Never"}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "volume"},
        "spec": {"automountServiceAccountToken": False, "containers": [container]},
    }
    (folder / "pod.json").write_text(json.dumps(pod), "utf-8")


def _command(layout: Layout, component: str) -> list[str]:
    """The command line of a component."""
    program = str(layout.programs / component)
    match component:
        case "etcd":
            return [
                program,
                f"--data-dir={layout.state / 'etcd'}",
                *(f"--{name}=http://127.0.0.1:2379" for name in _ETCD_CLIENT),
                *(f"--{name}=http://127.0.0.1:2380" for name in _ETCD_PEER),
                "--initial-cluster=default=http://127.0.0.1:2380",
                "--unsafe-no-fsync",  # it goes with the cluster, and disks are slow
            ]
        case "kube-apiserver":
            return [program, *_api_flags(layout.keys)]
        case "kube-controller-manager":
            return [
                program,
                *_identity(layout.keys / "controller-manager.kubeconfig"),
                f"--service-account-private-key-file={layout.keys / 'service-accounts.key'}",
                f"--root-ca-file={layout.keys / 'ca.crt'}",
                "--use-service-account-credentials",
                f"--cluster-cidr={PODS}",
                "--allocate-node-cidrs=false",
                "--leader-elect=false",
                f"--node-monitor-grace-period={NODE_GRACE_S}s",
            ]
        case "kube-scheduler":
            identity = _identity(layout.keys / "scheduler.kubeconfig")
            return [program, *identity, "--leader-elect=false"]
        case "local-path-provisioner":
            folder = layout.state / "storage"
            return [
                *(program, "start", "--namespace=kube-system", "--service-account-name=default"),
                f"--kubeconfig={layout.keys / 'local-path-provisioner.kubeconfig'}",
                f"--config={folder / 'config.json'}",
                f"--helper-pod-file={folder / 'pod.json'}",
                f"--helper-image={VOLUME_IMAGE}",
            ]
        case "expose":
            _, port = api.exposed(layout)
            listen = f"TCP-LISTEN:{port},bind=127.0.0.1,fork,reuseaddr"
            return ["socat", listen, f"EXEC:{layout.state / 'into-fabric'}"]
    raise ValueError(component)


_ETCD_CLIENT = ("listen-client-urls", "advertise-client-urls")
_ETCD_PEER = ("listen-peer-urls", "initial-advertise-peer-urls")


def _identity(kubeconfig: Path) -> list[str]:
    """A component's kubeconfig, for its own calls and for judging those to it."""
    kinds = ("", "authentication-", "authorization-")
    return [f"--{kind}kubeconfig={kubeconfig}" for kind in kinds]


def _api_flags(keys: Path) -> list[str]:
    """The API server's flags."""
    return [
        "--etcd-servers=http://127.0.0.1:2379",
        f"--advertise-address={API_ADDRESS}",
        "--bind-address=0.0.0.0",
        f"--secure-port={API_PORT}",
        f"--service-cluster-ip-range={SERVICES}",
        f"--client-ca-file={keys / 'ca.crt'}",
        f"--tls-cert-file={keys / 'apiserver.crt'}",
        f"--tls-private-key-file={keys / 'apiserver.key'}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={keys / 'service-accounts.pub'}",
        f"--service-account-signing-key-file={keys / 'service-accounts.key'}",
        f"--kubelet-client-certificate={keys / 'kubelet-client.crt'}",
        f"--kubelet-client-key={keys / 'kubelet-client.key'}",
        f"--kubelet-certificate-authority={keys / 'ca.crt'}",
        # Else exec and logs look up a node's name in DNS, which doesn't know nodes.
        "--kubelet-preferred-address-types=InternalIP",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
    ]


def _free_port() -> int:
    """The usual port of 127.0.0.1, or any other that nobody listens on."""
    for port in (EXPOSED_PORT, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError("no port of 127.0.0.1 is free")
