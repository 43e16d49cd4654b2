"""Builds programs from pinned Go modules, once, into the user's cache folder.

Each program has a module of its own in `go/`, whose go.mod and go.sum pin it and everything below
it with checksums. It is kept as `NAME-HASH/NAME`, where the hash is of all that goes into it: a
changed pin, source or flag makes a new one, and what is there is used without Go.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from emporium_cluster import machine, processes
from emporium_cluster.errors import ClusterError

MODULES = Path(__file__).resolve().parent.parent / "go"
BUILD_S = 3600
DOWNLOAD_S = 900
JOBS = "LOCAL_CLUSTER_BUILD_JOBS"
KUBERNETES = "k8s.io/kubernetes"
HELM = "helm.sh/helm/v3"
UNITTEST = "github.com/helm-unittest/helm-unittest"
OPENAPI = "kubernetes-openapi"


@dataclass(frozen=True, slots=True)
class Program:
    """A program: the folder of its module has its name; `package` is what is built there.

    `stamp` is the variable that tells its version, that of the pinned module `module`.
    """

    name: str
    package: str = "."
    module: str = ""
    stamp: str = ""

    @property
    def folder(self) -> Path:
        """Of its module."""
        return MODULES / self.name


def _tool(name: str, module: str, stamp: str) -> Program:
    """A program that has the usual place in its module."""
    return Program(name, f"{module}/cmd/{name}", module, stamp)


PROGRAMS = {
    program.name: program
    for program in (
        Program("kube"),
        Program("helpers"),
        Program("coredns", "github.com/coredns/coredns"),
        Program("local-path-provisioner", "github.com/rancher/local-path-provisioner"),
        Program("helm", f"{HELM}/cmd/helm", HELM, f"{HELM}/internal/version.version"),
        _tool("kubeconform", "github.com/yannh/kubeconform", "main.version"),
        _tool("helm-docs", "github.com/norwoodj/helm-docs", "main.version"),
        _tool("kube-score", "github.com/zegl/kube-score", "main.version"),
        _tool("helm-unittest", UNITTEST, f"{UNITTEST}/internal/build.version"),
        Program("terraform-docs", "github.com/terraform-docs/terraform-docs"),
    )
}
CLUSTER = ("helpers", "kube", "coredns", "local-path-provisioner")
# One binary: `kube` is called by these names. kubectl is a tool for people, too.
COMPONENTS = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubectl",
    "kubelet",
)
TOOLS = (*PROGRAMS, "kubectl", OPENAPI)


def cache_folder() -> Path:
    """Where built programs are kept: $XDG_CACHE_HOME/emporium/k8s, or below ~/.cache."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(home) if home else Path.home() / ".cache") / "emporium" / "k8s"


def pinned(program: str, module: str) -> str:
    """The version of a module in the go.mod of a program, like v1.34.4."""
    text = (MODULES / program / "go.mod").read_text("utf-8")
    found = re.search(rf"^(?:require)?\s+{re.escape(module)} (v\S+)", text, re.MULTILINE)
    if found is None:
        raise ClusterError(f"go/{program}/go.mod doesn't pin {module}")
    return found[1]


def link_flags(program: Program) -> str:
    """The linker's flags: no debugging tables, and the versions that a program tells of itself."""
    kubernetes = pinned("kube", KUBERNETES)
    major, minor = kubernetes.removeprefix("v").split(".")[:2]
    stamps: dict[str, str] = {}
    if program.name == "kube":
        for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version"):
            stamps[f"{package}.gitVersion"] = kubernetes
            stamps[f"{package}.gitMajor"] = major
            stamps[f"{package}.gitMinor"] = minor
            stamps[f"{package}.gitTreeState"] = "clean"
    if program.stamp:
        stamps[program.stamp] = pinned(program.name, program.module)
    if program.name == "helm":  # without these it takes charts for Kubernetes v1.20
        for package in (f"{HELM}/pkg/chartutil", f"{HELM}/pkg/lint/rules"):
            stamps[f"{package}.k8sVersionMajor"] = major
            stamps[f"{package}.k8sVersionMinor"] = minor
    return " ".join(["-s -w", *(f"-X {name}={value}" for name, value in sorted(stamps.items()))])


def place_of(program: Program) -> Path:
    """Where the program is, or will be, in the cache."""
    digest = hashlib.sha256(f"{platform.machine()}\n{link_flags(program)}\n".encode())
    for file in sorted(program.folder.rglob("*")):
        if file.is_file():
            digest.update(f"{file.relative_to(program.folder)}\n".encode())
            digest.update(file.read_bytes())
    return cache_folder() / f"{program.name}-{digest.hexdigest()[:12]}" / program.name


def provide(name: str) -> Path:
    """The path of a built program, building it if it has to be. Raises ClusterError."""
    if name == "kubectl":
        return _linked(provide("kube"), name)
    if name == OPENAPI:
        return _openapi()
    if name not in PROGRAMS:
        raise ClusterError(f"there is no tool {name!r}", f"there are: {' '.join(sorted(TOOLS))}")
    program = PROGRAMS[name]
    place = place_of(program)
    if not place.exists():
        with _only_one(name):
            if not place.exists():
                _build(program, place)
    return place


def provide_cluster() -> dict[str, Path]:
    """All that a cluster runs, by name; Go is asked for only when something is missing."""
    return {name: provide(name) for name in CLUSTER}


def _build(program: Program, place: Path) -> None:
    """Build a program beside its place, then move it there in one step."""
    go = machine.require_go()
    print(f"Building {program.name} (once; it is kept in {place.parent}) ...", file=sys.stderr)
    began = time.monotonic()
    with _fresh_folder(place) as folder:
        processes.run(
            [
                *("nice", "-n", "19", go, "build", "-p", os.environ.get(JOBS, "") or "2"),
                *("-mod=readonly", "-trimpath", "-buildvcs=false"),
                *("-ldflags", link_flags(program), "-o", folder / program.name, program.package),
            ],
            BUILD_S,
            cwd=program.folder,
            env={**os.environ, "CGO_ENABLED": "0"},
        )
    print(f"Built {program.name} in {time.monotonic() - began:.0f} s.", file=sys.stderr)


def _linked(binary: Path, name: str) -> Path:
    """The binary under another name, beside it."""
    link = binary.with_name(name)
    if not link.is_symlink():
        link.unlink(missing_ok=True)
        link.symlink_to(binary.name)
    return link


def _openapi() -> Path:
    """Kubernetes' own description of its API (OpenAPI version 2), of the pinned version."""
    version = pinned("kube", KUBERNETES)
    place = cache_folder() / f"{OPENAPI}-{version}" / "swagger.json"
    if not place.exists():
        command = [machine.require_go(), "mod", "download", "-json", KUBERNETES]
        told = processes.run(command, DOWNLOAD_S, cwd=PROGRAMS["kube"].folder, env=os.environ)
        found = re.search(r'"Dir": "([^"]+)"', told)
        if found is None:
            raise ClusterError(f"`go mod download` doesn't say where {KUBERNETES} is")
        with _fresh_folder(place) as folder:
            shutil.copy(Path(found[1]) / "api/openapi-spec/swagger.json", folder / place.name)
    return place


@contextmanager
def _fresh_folder(place: Path) -> Iterator[Path]:
    """A folder to make `place` in; it takes the place of the parent of `place` when all is well."""
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="unfinished-", dir=cache) as name:
        folder = Path(name) / "made"
        folder.mkdir()
        yield folder
        shutil.rmtree(place.parent, ignore_errors=True)
        folder.rename(place.parent)


@contextmanager
def _only_one(name: str) -> Iterator[None]:
    """Hold the lock of a program; a second build of it waits, and then finds it built."""
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"Waiting for another build of {name} ...", file=sys.stderr)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
