"""A cluster as a whole: up, down, how it is, images into it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

from emporium_cluster import (
    api,
    build,
    certificates,
    control_plane,
    images,
    machine,
    network,
    nodes,
    remains,
)
from emporium_cluster.cgroups import Cgroups, machine_cgroups
from emporium_cluster.errors import ClusterError
from emporium_cluster.layout import MOST_NODES, Layout
from emporium_cluster.processes import run, wait_for

MANIFESTS = Path(__file__).resolve().parent.parent / "manifests"
APPLY_S = 60
DNS_READY_S = 120
DNS_PATH = "/apis/apps/v1/namespaces/kube-system/daemonsets/coredns"
# What may not interrupt a removal: it can be repeated, but then somebody has to.
INTERRUPTIONS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def up(layout: Layout, count: int, *, keep: bool = False) -> None:
    """Start a cluster of `count` nodes; nothing to do when it is up. Raises ClusterError.

    When it can't be finished, or is interrupted, nothing of it stays, unless `keep`.
    """
    if not 1 <= count <= MOST_NODES:
        raise ClusterError(f"a cluster of {count} nodes?", f"1 to {MOST_NODES} are possible")
    cgroups = machine.require_cluster()
    built = build.provide_cluster()
    with _alone(layout):
        if remains.found(layout, cgroups):
            if not _troubles(layout, cgroups):
                _already_up(layout, count)
                return
            _say("clearing away a cluster that isn't whole")
            _clear(layout, cgroups)
        try:
            _make(layout, cgroups, built, count)
        except BaseException:
            if not keep:
                _say("not up: clearing away what was made")
                _clear(layout, cgroups)
            raise


def down(layout: Layout) -> None:
    """Remove everything of the cluster; fine when there is nothing. Raises ClusterError."""
    cgroups = _cgroups()
    if not remains.found(layout, cgroups):
        _say(f"there is no cluster {layout.name}")
        return
    machine.require_root()
    with _alone(layout):
        _clear(layout, cgroups)
    _say(f"cluster {layout.name} is gone")


def status(layout: Layout) -> int:
    """Print what runs; 0 if everything does, 1 if something doesn't, 3 if there is nothing."""
    cgroups = _cgroups()
    if not remains.found(layout, cgroups):
        print(f"cluster {layout.name}: not up")
        return 3
    machine.require_root()
    for component in control_plane.COMPONENTS:
        runs = control_plane.running(layout, cgroups, component)
        print(f"{component:<24} {'runs' if runs else 'DOES NOT RUN'}")
    for node in layout.nodes():
        print(f"{node.name:<24} {_condition(layout, cgroups, node.index)}")
    frozen = cgroups.frozen_below(layout.name)
    for folder in frozen:
        print(f"{'frozen':<24} {folder.name}")
    print(f"{'kubeconfig':<24} {layout.kubeconfig}")
    return 1 if frozen or _troubles(layout, cgroups) else 0


def kubeconfig(layout: Layout) -> Path:
    """The kubeconfig of a cluster that is up. Raises ClusterError."""
    api.exposed(layout)
    return layout.kubeconfig


def load(layout: Layout, archives: Sequence[str]) -> None:
    """Put image archives into every node that runs. Raises ClusterError."""
    cgroups = _cgroups()
    machine.require_root()
    files = [Path(name).resolve() for name in archives]
    for file in files:
        if not file.is_file():
            raise ClusterError(f"there is no image archive {file}")
    every = layout.nodes()
    running = [node for node in every if nodes.running(layout, cgroups, node)]
    if not every or running != every:
        names = " ".join(node.name for node in every if node not in running)
        what = f"these nodes don't run: {names}" if every else f"cluster {layout.name} is not up"
        raise ClusterError(what, "make cluster-up, or start the node again")
    images.load(running, files)
    _say(f"{len(files)} images are in {len(running)} nodes")


def copy_logs(layout: Layout, folder: str) -> None:
    """Copy the logs of components and pods into a folder. Raises ClusterError."""
    if not layout.state.is_dir():
        raise ClusterError(f"cluster {layout.name} is not up", "its logs went with it")
    target = Path(folder)
    shutil.copytree(layout.state / "log", target / "components", dirs_exist_ok=True)
    for node in layout.nodes():
        pods = node.folder / "log" / "pods"
        if pods.is_dir():
            shutil.copytree(pods, target / node.name, dirs_exist_ok=True)
    print(target)


def become_kubectl(layout: Layout, words: Sequence[str]) -> NoReturn:
    """Become the cluster's own kubectl. Raises ClusterError when no cluster is up."""
    config = kubeconfig(layout)
    program = layout.programs / "kubectl"
    os.execve(program, ["kubectl", *words], {**os.environ, "KUBECONFIG": str(config)})  # noqa: S606


def _make(layout: Layout, cgroups: Cgroups, built: dict[str, Path], count: int) -> None:
    """Make a cluster where there is none."""
    began = datetime.now(UTC)
    layout.log("x").parent.mkdir(parents=True)
    (layout.state / "etcd").mkdir(mode=0o700)
    (layout.state / "nodes").write_text(str(count), "ascii")
    nodes.copy_programs(layout, built, build.COMPONENTS)
    archives = images.write_own(layout)
    certificates.make_all(layout, count)
    network.make_fabric(layout)
    control_plane.prepare_expose(layout)
    control_plane.prepare_provisioner(layout)
    control_plane.start(layout, cgroups, "etcd")
    control_plane.start(layout, cgroups, control_plane.EXPOSE)
    control_plane.start_api(layout, cgroups)
    _say("the API server is ready", began)
    control_plane.start(layout, cgroups, "kube-controller-manager")
    control_plane.start(layout, cgroups, "kube-scheduler")
    every = layout.nodes()
    with ThreadPoolExecutor(count) as pool:  # list() raises what a worker raised
        list(pool.map(lambda node: nodes.start(layout, cgroups, node), every))
        list(pool.map(lambda node: nodes.wait_for_runtime(layout, cgroups, node), every))
    images.load(every, archives)
    shutil.rmtree(layout.state / "images")
    for node in every:
        nodes.wait_until_ready(layout, cgroups, node, began)
    _say(f"{count} nodes are ready", began)
    _apply(layout)
    control_plane.start(layout, cgroups, control_plane.PROVISIONER)
    wait_for("CoreDNS", DNS_READY_S, lambda: _dns_is_ready(layout), layout.log("node-1-kubelet"))
    _say("names are answered, volumes are made", began)
    print(f"cluster {layout.name} is up: export KUBECONFIG={layout.kubeconfig}")


def _apply(layout: Layout) -> None:
    """Apply the manifests: CoreDNS and the storage class."""
    command = [str(layout.programs / "kubectl"), "apply", "--filename=-"]
    env = {"KUBECONFIG": str(layout.kubeconfig), "HOME": str(layout.state)}
    for file in sorted(MANIFESTS.glob("*.yaml")):
        run(command, APPLY_S, env=env, stdin=file.read_text("utf-8"))


def _dns_is_ready(layout: Layout) -> bool:
    """Whether CoreDNS is ready on every node."""
    try:
        told = api.get(layout, DNS_PATH)["status"]
    except (ClusterError, KeyError):
        return False
    return bool(told.get("numberReady") == len(layout.nodes()))


def _already_up(layout: Layout, count: int) -> None:
    """A whole cluster is there: say so, unless another size was asked for."""
    there = len(layout.nodes())
    if there != count:
        raise ClusterError(
            f"cluster {layout.name} is up with {there} nodes, not {count}",
            "make cluster-down first: a cluster keeps its size",
        )
    print(f"cluster {layout.name} is up: export KUBECONFIG={layout.kubeconfig}")


def _troubles(layout: Layout, cgroups: Cgroups) -> list[str]:
    """What isn't as it should be; nothing when the cluster is whole and answers."""
    if not layout.nodes():
        return ["it was never finished"]
    stopped = [
        component
        for component in control_plane.COMPONENTS
        if not control_plane.running(layout, cgroups, component)
    ]
    if stopped:
        return stopped
    return [
        node.name for node in layout.nodes() if _condition(layout, cgroups, node.index) != "ready"
    ]


def _condition(layout: Layout, cgroups: Cgroups, index: int) -> str:
    """How a node is, in a word or two."""
    node = layout.node(index)
    if not nodes.running(layout, cgroups, node):
        return "crashed"
    if network.is_cut(layout, node):
        return "cut off"
    return "ready" if nodes.is_ready(layout, node) else "not ready"


def _clear(layout: Layout, cgroups: Cgroups) -> None:
    """Remove all of it, uninterrupted."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in INTERRUPTIONS}
    try:
        remains.clear(layout, cgroups)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _cgroups() -> Cgroups:
    """The machine's cgroups, where there can be some. Raises ClusterError."""
    machine.require_linux()
    return machine_cgroups()


@contextlib.contextmanager
def _alone(layout: Layout) -> Iterator[None]:
    """One change at a time: an abstract socket, which ends with its holder, whatever happens."""
    with socket.socket(socket.AF_UNIX) as lock:
        try:
            lock.bind(f"\0emporium-cluster-{layout.name}")
        except OSError:
            raise ClusterError(
                f"another command is changing cluster {layout.name}", "wait for its end"
            ) from None
        yield


def _say(text: str, began: datetime | None = None) -> None:
    """Tell the progress, with the time since the beginning of the work where it tells something."""
    spent = f" ({(datetime.now(UTC) - began).total_seconds():.1f} s)" if began else ""
    print(f"cluster: {text}{spent}", file=sys.stderr)
