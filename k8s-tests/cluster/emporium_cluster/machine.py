"""What the machine must have. Everything is looked at before anything is touched."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from emporium_cluster import cgroups, processes
from emporium_cluster.errors import ClusterError

PLUGINS = Path("/usr/lib/cni")  # where Debian has them; upstream's place is /opt/cni/bin
PLUGIN_PLACES = (PLUGINS, Path("/opt/cni/bin"))
PLUGIN_NAMES = ("ptp", "host-local", "portmap", "loopback")
# What is run -> Debian's package of it.
CLUSTER_PROGRAMS = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "ipset": "ipset",
    "conntrack": "conntrack",
    "socat": "socat",
    "openssl": "openssl",
    "ip": "iproute2",
    "sysctl": "procps",
    "mount": "mount",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "setsid": "util-linux",
    "bash": "bash",
}
IMAGE_PROGRAMS = {"buildah": "buildah", "mmdebstrap": "mmdebstrap", "curl": "curl"}
INSTALL_S = 900
GO_VERSION = (1, 21)  # the first that fetches the toolchain that a go.mod asks for


def missing_packages(*, images: bool = False) -> list[str]:
    """Debian's packages of what isn't there, sorted; with what builds images, or without."""
    programs = CLUSTER_PROGRAMS | (IMAGE_PROGRAMS if images else {})
    path = processes.PLAIN_ENVIRONMENT["PATH"]  # a node's daemons look nowhere else
    missing = {
        package for name, package in programs.items() if shutil.which(name, path=path) is None
    }
    if plugins() is None:
        missing.add("containernetworking-plugins")
    return sorted(missing)


def plugins() -> Path | None:
    """The folder of the CNI plugins, or None."""
    for place in PLUGIN_PLACES:
        if all((place / name).exists() for name in PLUGIN_NAMES):
            return place
    return None


def install_packages(*, images: bool) -> None:
    """Install what is missing, as root on Debian and its kin; else say what to install."""
    missing = missing_packages(images=images)
    if not missing:
        return
    install = ["apt-get", "install", "-y", "--no-install-recommends", *missing]
    remedy = f"install them; on Debian and Ubuntu:\n    {' '.join(install)}"
    what = f"these Debian packages, or what they hold, are missing: {' '.join(missing)}"
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise ClusterError(what, remedy)
    print(f"Installing {' '.join(missing)} ...", file=sys.stderr)
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    options = ("-o", "DPkg::Lock::Timeout=300", "-q")
    try:
        processes.run(["apt-get", *options, "update"], INSTALL_S, env=env)
        processes.run([install[0], *options, *install[1:]], INSTALL_S, env=env)
    except ClusterError as trouble:
        raise ClusterError(f"{what}; {trouble.what}", remedy) from None
    still = missing_packages(images=images)
    if still:
        raise ClusterError(f"still missing after an install: {' '.join(still)}", remedy)


def require_linux() -> None:
    """Raises ClusterError anywhere else."""
    if platform.system() != "Linux":
        raise ClusterError(
            f"a cluster of namespaces needs Linux, this is {platform.system()}",
            "use kind with Docker, or any cluster by its kubeconfig context",
        )


def require_root() -> None:
    """Raises ClusterError when the program may not make namespaces."""
    if os.geteuid() != 0:
        raise ClusterError(
            "namespaces, mounts and cgroups need root",
            "run it as root (sudo make ...), or use kind or a cluster that is there",
        )


def require_kernel() -> cgroups.Cgroups:
    """What no package can bring: Linux, root, cgroups, namespaces. Raises ClusterError."""
    require_linux()
    require_root()
    found = cgroups.machine_cgroups()
    try:
        processes.run(["unshare", "--net", "--mount", "--pid", "--fork", "true"])
    except ClusterError as trouble:
        raise ClusterError(
            f"this machine lets nobody make namespaces: {trouble.what}",
            "use another machine, or kind, or a cluster that is there",
        ) from None
    return found


def require_cluster() -> cgroups.Cgroups:
    """Everything that a cluster needs of the machine; its cgroups. Raises ClusterError."""
    found = require_kernel()
    install_packages(images=False)
    return found


def require_go() -> str:
    """The `go` command. Raises ClusterError when there is none, or too old a one."""
    go = shutil.which("go")
    remedy = (
        f"install Go {_dotted(GO_VERSION)} or newer and put its bin folder into PATH;"
        " it is needed once: what it builds is kept"
    )
    if go is None:
        raise ClusterError("the program `go` is missing", remedy)
    told = processes.run([go, "version"], env=os.environ)
    found = re.search(r"go(\d+)\.(\d+)", told)
    if found is None or (int(found[1]), int(found[2])) < GO_VERSION:
        raise ClusterError(f"{told.strip()} is too old", remedy)
    return go


def _dotted(version: Sequence[int]) -> str:
    """A version as people write it."""
    return ".".join(str(part) for part in version)
