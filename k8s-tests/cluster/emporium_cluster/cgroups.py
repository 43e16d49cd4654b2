"""Cgroups of version 1 and 2: the register of what runs, and the freezer.

A *group* is a path without a leading slash, like `emporium/node-1/daemons`. In version 1 each
controller has a tree of its own; the freezer's is the register, and a node's pods have a group in
every tree, because kubelet asks for it. In version 2 there is one tree, and a group hands its
controllers down.

    emporium/control/COMPONENT       a component of the control plane
    emporium/node-N/daemons          first process, containerd, kubelet, kube-proxy, shims
    emporium/node-N/pods/kubepods    made by kubelet: QUALITY/podUID/CONTAINER
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from emporium_cluster.errors import ClusterError

NEEDED = ("cpu", "cpuacct", "cpuset", "memory", "pids", "freezer")
NEEDED_V2 = ("cpu", "cpuset", "memory", "pids")
TREES = Path("/sys/fs/cgroup")
POLL_S = 0.05
KILL_S = 20.0
FREEZE_S = 10.0


@dataclass(frozen=True, slots=True)
class Cgroups:
    """The machine's cgroup trees. `trees` are all of version 1, or the one of version 2."""

    version: int
    register: Path
    trees: tuple[Path, ...]

    def create(self, group: str) -> Path:
        """Make a group for processes; the file by which a process joins it."""
        folder = self.register / group
        folder.mkdir(parents=True, exist_ok=True)
        return folder / "cgroup.procs"

    def create_everywhere(self, group: str) -> None:
        """Make a group with all controllers, for kubelet to make its own below."""
        for tree in self.trees:
            folder = tree
            for part in Path(group).parts:
                if self.version != 1:
                    _hand_down(folder)
                parent, folder = folder, folder / part
                folder.mkdir(exist_ok=True)
                if self.version == 1:
                    _fill_cpuset(parent, folder)
            if self.version != 1:
                _hand_down(folder)

    def processes(self, group: str) -> list[int]:
        """The processes of a group and of all groups below."""
        return [pid for folder in _walk(self.register / group) for pid in _pids(folder)]

    def exists(self, group: str) -> bool:
        """Whether any tree has the group."""
        return any((tree / group).is_dir() for tree in self.trees)

    def freeze(self, folder: Path, *, frozen: bool) -> None:
        """Stop everything in a group from running, or let it run again, and wait for it."""
        if self.version == 1:
            file, value = folder / "freezer.state", "FROZEN" if frozen else "THAWED"
        else:
            file, value = folder / "cgroup.freeze", "1" if frozen else "0"
        end = time.monotonic() + FREEZE_S
        file.write_text(value, "ascii")
        while self.frozen(folder) != frozen:
            if time.monotonic() > end:
                raise ClusterError(f"not within {FREEZE_S:g} s: {value} in {folder}")
            time.sleep(POLL_S)

    def frozen(self, folder: Path) -> bool:
        """Whether everything in the group stands still."""
        if self.version == 1:
            return (folder / "freezer.state").read_text("ascii").strip() == "FROZEN"
        return "frozen 1" in (folder / "cgroup.events").read_text("ascii").splitlines()

    def frozen_below(self, group: str) -> list[Path]:
        """The groups that were told to stand still, outermost first."""
        file, values = (
            ("freezer.self_freezing", {"1"}) if self.version == 1 else ("cgroup.freeze", {"1"})
        )
        found = []
        for folder in _walk(self.register / group):
            with contextlib.suppress(OSError):
                if (folder / file).read_text("ascii").strip() in values:
                    found.append(folder)
        return found

    def signal(self, group: str, number: int) -> int:
        """Send a signal to every process of a group; to how many."""
        count = 0
        for pid in self.processes(group):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
                count += 1
        return count

    def kill(self, group: str) -> None:
        """Thaw and kill everything in a group, until it is empty. Raises ClusterError."""
        end = time.monotonic() + KILL_S
        while pids := self.processes(group):
            for folder in self.frozen_below(group):
                with contextlib.suppress(OSError):  # a frozen process can't die; or it is gone
                    self.freeze(folder, frozen=False)
            self.signal(group, signal.SIGKILL)
            if time.monotonic() > end:
                raise ClusterError(f"not within {KILL_S:g} s: the end of processes {pids}")
            time.sleep(POLL_S)

    def remove(self, group: str) -> None:
        """Remove an emptied group and all below, from every tree. Raises ClusterError."""
        end = time.monotonic() + KILL_S
        while self.exists(group):
            self.signal(group, signal.SIGKILL)  # who was on its way in when the command was killed
            for tree in self.trees:
                for folder in reversed(list(_walk(tree / group))):
                    with contextlib.suppress(OSError):  # busy while a process is on its way out
                        folder.rmdir()
            if time.monotonic() > end:
                raise ClusterError(f"not within {KILL_S:g} s: the end of cgroup {group}")
            if self.exists(group):
                time.sleep(POLL_S)


def machine_cgroups(mounts: str | None = None) -> Cgroups:
    """What this machine has. `mounts`: a text as /proc/self/mountinfo. Raises ClusterError."""
    text = Path("/proc/self/mountinfo").read_text("utf-8") if mounts is None else mounts
    trees: dict[Path, set[str]] = {}
    unified = None
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split()[:3]
        place = Path(before.split()[4])
        if kind == "cgroup2" and place == TREES:
            unified = place
        elif kind in {"cgroup", "cgroup2"} and place.parent == TREES:
            # A tree of version 2 beside those of version 1 has no controllers, but runc uses it.
            trees[place] = set(options.split(","))
    if unified is not None:
        return _unified(unified)
    controllers = set().union(*trees.values()) if trees else set()
    missing = [name for name in NEEDED if name not in controllers]
    if missing:
        raise ClusterError(
            f"this machine has no cgroup controllers {' '.join(missing)} below {TREES}",
            "a node needs all of them: mount cgroups (version 1 or 2) there, as systemd does;"
            " in a container, use the machine itself",
        )
    register = next(place for place, names in trees.items() if "freezer" in names)
    return Cgroups(1, register, tuple(trees))


def _unified(tree: Path) -> Cgroups:
    """The one tree of version 2, if it can serve nodes."""
    controllers = _words(tree / "cgroup.controllers")
    missing = [name for name in NEEDED_V2 if name not in controllers]
    if missing:
        raise ClusterError(
            f"cgroup version 2 here lacks the controllers {' '.join(missing)}",
            "start the kernel with them; in a container, use the machine itself",
        )
    if not (tree / "cgroup.subtree_control").exists() or _pids_of_container(tree):
        raise ClusterError(
            "the cgroup tree of this container can't be divided: its root has processes",
            "use the machine itself, or a container with its processes in a cgroup below",
        )
    return Cgroups(2, tree, (tree,))


def _pids_of_container(tree: Path) -> bool:
    """Whether `tree` is a container's own root, which can't hold processes and hand down both."""
    return (tree / "cgroup.type").exists() and bool(_pids(tree))


def _hand_down(folder: Path) -> None:
    """Let the groups below use every controller that this one has (version 2)."""
    control = folder / "cgroup.subtree_control"
    missing = _words(folder / "cgroup.controllers") - _words(control)
    for name in sorted(missing):
        try:
            control.write_text(f"+{name}", "ascii")
        except OSError as trouble:
            if name in NEEDED_V2:
                raise ClusterError(
                    f"{folder} can't hand down the cgroup controller {name}: {trouble}"
                ) from None


def _fill_cpuset(parent: Path, folder: Path) -> None:
    """A new group of version 1 has no processors and no memory until it is told."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        file = folder / name
        with contextlib.suppress(FileNotFoundError):  # not the tree of cpuset
            if not file.read_text("ascii").strip():
                file.write_text((parent / name).read_text("ascii"), "ascii")


def _walk(folder: Path) -> Iterator[Path]:
    """A group's folder and all below, parents first; nothing when there is none."""
    if not folder.is_dir():
        return
    yield folder
    for place, names, _ in os.walk(folder):
        for name in names:
            yield Path(place) / name


def _pids(folder: Path) -> list[int]:
    """The processes of one group."""
    try:
        return [int(word) for word in (folder / "cgroup.procs").read_text("ascii").split()]
    except OSError:  # gone meanwhile
        return []


def _words(file: Path) -> set[str]:
    """The words of a file; none when there is no file."""
    try:
        return set(file.read_text("ascii").split())
    except FileNotFoundError:
        return set()
