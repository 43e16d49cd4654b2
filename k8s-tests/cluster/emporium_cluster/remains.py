"""What there is of a cluster, asked of the kernel and the disk; and its removal."""

from __future__ import annotations

import contextlib
import shutil
import time
from pathlib import Path

from emporium_cluster import network
from emporium_cluster.cgroups import Cgroups
from emporium_cluster.errors import ClusterError
from emporium_cluster.layout import Layout

REMOVE_S = 20.0
POLL_S = 0.1


def found(layout: Layout, cgroups: Cgroups) -> list[str]:
    """Everything of the cluster that is there, a line each."""
    lines = [f"process {pid} {_command(pid)}" for pid in cgroups.processes(layout.name)]
    if cgroups.exists(layout.name):
        lines.append(f"cgroup {layout.name}")
    lines += [f"network namespace {name}" for name in network.of_cluster(layout)]
    lines += [f"mount {place}" for place in _mounts(layout)]
    if layout.state.exists():
        lines.append(f"folder {layout.state}")
    return lines


def clear(layout: Layout, cgroups: Cgroups) -> None:
    """Remove all of it, in an order that works from every state. Raises ClusterError."""
    cgroups.kill(layout.name)
    for name in network.of_cluster(layout):
        network.remove(name)
    _remove_folder(layout.state)
    with contextlib.suppress(OSError):  # the folder of all clusters goes with the last one
        layout.state.parent.rmdir()
    cgroups.remove(layout.name)
    left = found(layout, cgroups)
    if left:
        raise ClusterError("\n  ".join(["something of the cluster is left:", *left]))


def _remove_folder(folder: Path) -> None:
    """Delete a folder; mounts in it end a moment after the processes of their namespace."""
    end = time.monotonic() + REMOVE_S
    while folder.exists():
        try:
            shutil.rmtree(folder)
        except FileNotFoundError:
            continue
        except OSError as trouble:
            if time.monotonic() > end:
                raise ClusterError(
                    f"can't delete {folder} within {REMOVE_S:g} s: {trouble}"
                ) from None
            time.sleep(POLL_S)


def _mounts(layout: Layout) -> list[str]:
    """Mounts of this machine that are the cluster's."""
    lines = Path("/proc/self/mountinfo").read_text("utf-8").splitlines()
    places = {Path(line.split()[4]) for line in lines}
    names = {network.NAMESPACES / name for name in network.of_cluster(layout)}
    own = {place for place in places if place.is_relative_to(layout.state) or place in names}
    return sorted(str(place) for place in own)


def _command(pid: int) -> str:
    """A process's command line, shortened."""
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
        return words.decode("utf-8", "replace")[:80].strip()
    return ""
