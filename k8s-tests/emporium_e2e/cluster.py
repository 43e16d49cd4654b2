"""Which Kubernetes is used, how it comes up, and what can be done to it besides kubectl and helm.

Three kinds: `context`, a cluster that is there; `kind`, made with Docker; `own`, the project's
(`k8s-tests/cluster`), where neither is. Only `own` has every drill. What kind's nodes are, Docker
containers, lets processes be killed and nodes be cut there; a context has what the API offers.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from emporium.client import hands
from emporium_e2e.client import Kubectl, run, wait_until
from emporium_e2e.errors import E2eError
from emporium_e2e.settings import Settings
from emporium_e2e.steps import Steps

ROOT: Final = Path(__file__).resolve().parents[2]
OUTPUT: Final = ROOT / "output" / "e2e"
CLUSTER_PY: Final = ROOT / "k8s-tests" / "cluster" / "cluster.py"
BUILD_PY: Final = ROOT / "images" / "build.py"
IMAGES: Final = ROOT / "output" / "images" / "emporium.tar"
NEXT_IMAGES: Final = ROOT / "output" / "images" / "next.tar"
NEXT_TAG: Final = "next-message-version"
NODES: Final = 3
CONTEXT, KIND, OWN = "context", "kind", "own"
BUILD_S, UP_S, LOAD_S, DRILL_S, ASK_S = 3600.0, 600.0, 600.0, 300.0, 60.0

BY_API: Final = frozenset(
    {
        *(hands.LOSE_DISK, hands.DRAIN_NODE, hands.UNCORDON_NODE, hands.EVICT_POD),
        *(hands.UPGRADE, hands.ROLLBACK, hands.COLLECT),
    }
)
"""What kubectl and helm can do on any cluster."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What this machine has, as far as the choice depends on it."""

    system: str
    root: bool
    docker: bool  # a Docker engine answers
    kind: bool  # the program is there

    @classmethod
    def here(cls) -> Machine:
        """This one."""
        return cls(
            platform.system(), os.geteuid() == 0, _docker_answers(), bool(shutil.which("kind"))
        )


def _docker_answers() -> bool:
    if not shutil.which("docker"):
        return False
    try:
        run(["docker", "version", "--format={{.Server.Version}}"], ASK_S)
    except E2eError:
        return False
    return True


def choose(settings: Settings, machine: Machine) -> tuple[str, str]:
    """The kind of cluster and why. Raises E2eError when none is possible."""
    if settings.context:
        return CONTEXT, f"E2E_CONTEXT={settings.context}"
    if machine.docker and machine.kind:
        return KIND, "Docker answers and kind is there"
    lacks = "no Docker answers" if not machine.docker else "there is Docker, but no kind"
    others = "or install Docker and kind, or set E2E_CONTEXT to a cluster that is there"
    if machine.system != "Linux":
        raise E2eError(
            f"{lacks}, and the project's own cluster needs Linux; this is {machine.system}",
            f"use a Linux machine, {others}",
        )
    if not machine.root:
        raise E2eError(
            f"{lacks}, and the project's own cluster needs root",
            f"run it as root (sudo make e2e), {others}",
        )
    return OWN, lacks


class Cluster:
    """A cluster that is there: `context`. The other kinds can more."""

    kind = CONTEXT
    verbs = BY_API

    def __init__(self, settings: Settings, why: str) -> None:
        """`why` it was chosen."""
        self.settings = settings
        self.why = why

    def prepare(self, steps: Steps, *, next_images: bool) -> None:
        """Make what it needs, start it and give it the images. Raises E2eError."""
        del next_images
        with steps.step("kubectl and helm"):
            self._tools = _tools(prefer_own=False)
        with steps.step(f"the cluster of context {self.settings.context} answers"):
            self.kubectl("default").text("get", "nodes", "--output=name")

    def down(self) -> None:
        """Take away what `prepare` has started."""

    def kubectl(self, namespace: str) -> Kubectl:
        """For a namespace of it."""
        return Kubectl(
            self._tools["kubectl"],
            namespace,
            context=self.settings.context,
            cache=OUTPUT / "kubectl-cache",
        )

    @property
    def helm(self) -> Path:
        """The program."""
        return self._tools["helm"]

    def values(self) -> dict[str, Any]:
        """Of the chart: where the images are."""
        image = {"registry": self.settings.registry, "tag": self.settings.tag}
        return {"image": {name: value for name, value in image.items() if value}}

    # What only some kinds can; `verbs` says which.

    def kill_process(self, kubectl: Kubectl, pod: str) -> int:
        """SIGKILL to the main process of the pod's container; its id."""
        raise self._unable(f"kill the process of {kubectl.namespace}/{pod}")

    def freeze(self, kubectl: Kubectl, pod: str, *, frozen: bool) -> None:
        """Stop a pod's processes, or let them run again."""
        raise self._unable(f"{'freeze' if frozen else 'thaw'} {kubectl.namespace}/{pod}")

    def cut(self, node: str) -> None:
        """Nothing reaches the node, nothing leaves it."""
        raise self._unable(f"cut {node}")

    def heal(self, node: str) -> None:
        """End a cut."""
        raise self._unable(f"heal {node}")

    def crash(self, node: str) -> None:
        """End a node as a power failure does."""
        raise self._unable(f"crash {node}")

    def restart(self, node: str) -> None:
        """Start a crashed node, and wait until it is ready."""
        raise self._unable(f"restart {node}")

    def api_stop(self) -> None:
        """Stop the API server."""
        raise self._unable("stop the API server")

    def api_start(self) -> None:
        """Start it, and wait until it answers."""
        raise self._unable("start the API server")

    def _unable(self, what: str) -> E2eError:
        return E2eError(f"a cluster of kind {self.kind} offers no way to {what}")


class OwnCluster(Cluster):
    """The project's own, on this machine."""

    kind = OWN
    verbs = frozenset(hands.VERBS)

    def prepare(self, steps: Steps, *, next_images: bool) -> None:
        """Packages, Kubernetes and images are built once and kept in the user's cache."""
        _cluster("able")  # before anything is built: raises what this machine lacks
        with steps.step("Debian packages"):
            _cluster("packages", deadline_s=BUILD_S, show=True)
        with steps.step("Kubernetes, kubectl and helm (built once)"):
            _cluster("build", deadline_s=BUILD_S, show=True)
            self._tools = _tools(prefer_own=True)
        with steps.step("images"):
            archives = build_images(next_images=next_images)
        self._was_up = _is_up()
        with steps.step(f"a cluster of {NODES} nodes"):
            _cluster("up", str(NODES), deadline_s=UP_S, show=True)
        self._kubeconfig = Path(_cluster("kubeconfig").strip())
        with steps.step("images into the nodes"):
            _cluster("load", *map(str, archives), deadline_s=LOAD_S, show=True)

    def down(self) -> None:
        """Unless it was there before."""
        if not getattr(self, "_was_up", True):
            _cluster("down", deadline_s=UP_S, show=True)

    def kubectl(self, namespace: str) -> Kubectl:
        """As its administrator."""
        return Kubectl(
            self._tools["kubectl"], namespace, self._kubeconfig, cache=OUTPUT / "kubectl-cache"
        )

    def kill_process(self, kubectl: Kubectl, pod: str) -> int:
        """By the pod's cgroup."""
        return int(_told(_cluster("kill", pod, "-n", kubectl.namespace))["pid"])

    def freeze(self, kubectl: Kubectl, pod: str, *, frozen: bool) -> None:
        """By the pod's cgroup."""
        _cluster("freeze" if frozen else "thaw", pod, "-n", kubectl.namespace)

    def cut(self, node: str) -> None:
        """Its cable."""
        _cluster("cut", node)

    def heal(self, node: str) -> None:
        """Its cable."""
        _cluster("heal", node)

    def crash(self, node: str) -> None:
        """The first process of its namespaces."""
        _cluster("crash", node)

    def restart(self, node: str) -> None:
        """Its namespaces anew, on the same disk."""
        _cluster("restart", node, deadline_s=DRILL_S)

    def api_stop(self) -> None:
        """SIGKILL."""
        _cluster("api-stop")

    def api_start(self) -> None:
        """Does nothing when it runs."""
        _cluster("api-start", deadline_s=DRILL_S)


class KindCluster(Cluster):
    """kind: nodes are Docker containers, with containerd, crictl and iptables in them."""

    kind = KIND
    name: Final = "emporium-e2e"
    verbs = BY_API | {
        *(hands.KILL_PROCESS, hands.FREEZE, hands.THAW),
        *(hands.CUT_NODE, hands.HEAL_NODE, hands.API_OUTAGE),
    }
    MANIFEST: Final = "/etc/kubernetes/manifests/kube-apiserver.yaml"
    ASIDE: Final = "/etc/kubernetes/kube-apiserver.yaml"
    CHAINS: Final = (("INPUT", "-i"), ("OUTPUT", "-o"), ("FORWARD", "-i"), ("FORWARD", "-o"))

    def prepare(self, steps: Steps, *, next_images: bool) -> None:
        """One node for the control plane, three for pods."""
        with steps.step("kubectl and helm"):
            self._tools = _tools(prefer_own=False)
        with steps.step("images"):
            archives = build_images(next_images=next_images)
        self._kubeconfig = OUTPUT / "kind-kubeconfig"
        self._was_up = self.name in run(["kind", "get", "clusters"], ASK_S).decode().split()
        with steps.step(f"a kind cluster of {NODES} nodes"):
            self._up()
        with steps.step("images into the nodes"):
            for archive in archives:
                run(["kind", "load", "image-archive", archive, "--name", self.name], LOAD_S)

    def _up(self) -> None:
        target = ["--name", self.name, "--kubeconfig", str(self._kubeconfig)]
        if self._was_up:
            run(["kind", "export", "kubeconfig", *target], ASK_S)
            return
        roles = ["control-plane", *["worker"] * NODES]
        config = {
            "kind": "Cluster",
            "apiVersion": "kind.x-k8s.io/v1alpha4",
            "nodes": [{"role": role} for role in roles],
        }
        command = ["kind", "create", "cluster", *target, "--config=-", "--wait=180s"]
        run(command, UP_S, stdin=json.dumps(config).encode())

    def down(self) -> None:
        """Unless it was there before."""
        if not getattr(self, "_was_up", True):
            run(["kind", "delete", "cluster", "--name", self.name], UP_S)

    def kubectl(self, namespace: str) -> Kubectl:
        """As its administrator."""
        return Kubectl(
            self._tools["kubectl"], namespace, self._kubeconfig, cache=OUTPUT / "kubectl-cache"
        )

    def kill_process(self, kubectl: Kubectl, pod: str) -> int:
        """On the pod's node."""
        node, container = self._container(kubectl, pod)
        template = "--template={{.info.pid}}"
        pid = self._on(node, "crictl", "inspect", "--output=go-template", template, container)
        self._on(node, "kill", "-9", pid)
        return int(pid)

    def freeze(self, kubectl: Kubectl, pod: str, *, frozen: bool) -> None:
        """The container's cgroup, by containerd."""
        node, container = self._container(kubectl, pod)
        verb = "pause" if frozen else "resume"
        self._on(node, "ctr", "--namespace=k8s.io", "tasks", verb, container)

    def cut(self, node: str) -> None:
        """Drop all packets but those of the node to itself."""
        for chain, side in self.CHAINS:
            self._on(node, "iptables", "-I", chain, side, "eth0", "-j", "DROP")

    def heal(self, node: str) -> None:
        """Remove the rules; those that were never made don't matter."""
        for chain, side in self.CHAINS:
            rule = f"iptables -D {chain} {side} eth0 -j DROP || true"
            self._on(node, "sh", "-c", rule)

    def api_stop(self) -> None:
        """The kubelet ends a static pod whose manifest is gone."""
        self._on(f"{self.name}-control-plane", "mv", self.MANIFEST, self.ASIDE)
        wait_until("the API server is silent", DRILL_S, lambda: not self._answers())

    def api_start(self) -> None:
        """Put the manifest back."""
        put_back = f"test ! -e {self.ASIDE} || mv {self.ASIDE} {self.MANIFEST}"
        self._on(f"{self.name}-control-plane", "sh", "-c", put_back)
        wait_until("the API server answers", DRILL_S, self._answers)

    def _answers(self) -> bool:
        try:
            return self.kubectl("default").text("get", "--raw=/readyz") == "ok"
        except E2eError:
            return False

    def _container(self, kubectl: Kubectl, pod: str) -> tuple[str, str]:
        """The node of a pod, and the runtime's id of its first container."""
        told = kubectl.get("pod", pod)
        states = told.get("status", {}).get("containerStatuses") or [{}]
        container = str(states[0].get("containerID", "")).rpartition("/")[2]
        if not container:
            raise E2eError(f"{pod} has no running container")
        return told["spec"]["nodeName"], container

    @staticmethod
    def _on(node: str, *words: str) -> str:
        return run(["docker", "exec", node, *words], DRILL_S).decode().strip()


KINDS: Final[Mapping[str, type[Cluster]]] = {
    CONTEXT: Cluster,
    KIND: KindCluster,
    OWN: OwnCluster,
}


def build_images(*, next_images: bool) -> list[Path]:
    """Build this checkout's images, and those of a newer message version if they are needed; the
    archives."""
    print(run([sys.executable, BUILD_PY, "build"], BUILD_S, show=True).decode(), end="")
    if not next_images:
        return [IMAGES]
    options = ["--next-message-version", "--tag", NEXT_TAG, "--output", str(NEXT_IMAGES)]
    run([sys.executable, BUILD_PY, "build", *options], BUILD_S, show=True)
    return [IMAGES, NEXT_IMAGES]


def _tools(*, prefer_own: bool) -> dict[str, Path]:
    """kubectl and helm: those on PATH, or those that the project builds."""
    found = {name: shutil.which(name) for name in ("kubectl", "helm")}
    if all(found.values()) and not prefer_own:
        return {name: Path(path) for name, path in found.items() if path}
    printed = _cluster("tool", "kubectl", "helm", deadline_s=BUILD_S, show=True)
    return dict(zip(("kubectl", "helm"), map(Path, printed.split()), strict=True))


def _cluster(*words: str, deadline_s: float = ASK_S, show: bool = False) -> str:
    """Run cluster.py; what it prints."""
    return run([sys.executable, CLUSTER_PY, *words], deadline_s, show=show).decode()


def _is_up() -> bool:
    """Whether there is a whole one already; `up` clears away what isn't whole, and makes ours."""
    try:
        _cluster("status")
    except E2eError:
        return False
    return True


def _told(printed: str) -> dict[str, Any]:
    """The line of JSON that a drill prints."""
    return dict(json.loads(printed))
