"""Ports of this machine: is one free, who has it, and where is a free block of them."""

from __future__ import annotations

import atexit
import shutil
import socket
import subprocess
import threading
from collections import deque
from collections.abc import Iterable
from pathlib import Path

from emporium.local.errors import LocalError
from emporium.local.processes import LINUX, command_of

LISTENING = "0A"  # the state of a listening socket in /proc/net/tcp
FIRST, LAST = 11_000, 29_000
"""Where the ports of temporary stores lie: above those of a store on the default ports, and below
those which systems give outgoing connections (from 32768 on Linux, 49152 on macOS)."""
USES = 3_000
"""Of so many ports the first thousand are public; the other two uses are a thousand above each."""
BLOCK, BLOCKS = 100, 5
"""A store takes a block; a process has so many in a range, with the last port of the first to
guard it."""
RANGES = [
    base + beginning
    for base in range(FIRST, LAST, USES)
    for beginning in range(0, USES // 3, BLOCK * BLOCKS)
]


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen there now. Old connections that fade away don't count."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


class Blocks:
    """Blocks of free ports, for one process.

    A port that is free may be taken before a server of ours listens there, which takes a second,
    or while it is down. So each process has ranges of its own, guarded as long as it lives by a
    port that it keeps, and gives a block of them again only after all others.
    """

    def __init__(self) -> None:
        """No range is ours yet."""
        self._guards: list[socket.socket] = []
        self._bases: deque[int] = deque()
        self._lock = threading.Lock()

    def free_base(self, host: str, offsets: Iterable[int]) -> int:
        """A number N for which every N + offset is free. Raises LocalError when there is none."""
        wanted = list(offsets)
        with self._lock:
            while True:
                for _ in range(len(self._bases)):
                    base = self._bases[0]
                    self._bases.rotate(-1)
                    if all(is_free(host, base + offset) for offset in wanted):
                        return base
                self._claim(host)

    def close(self) -> None:
        """Let go of the ranges."""
        for guard in self._guards:
            guard.close()

    def _claim(self, host: str) -> None:
        """Make another range ours. Raises LocalError when there is none."""
        for first in RANGES:
            guard = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            try:
                guard.bind((host, first + BLOCK - 1))
            except OSError:
                guard.close()
                continue
            self._guards.append(guard)
            self._bases.extendleft(first + BLOCK * number for number in reversed(range(BLOCKS)))
            return
        raise LocalError("no block of free ports was found on this machine")


_blocks = Blocks()
atexit.register(_blocks.close)


def free_base(host: str, offsets: Iterable[int]) -> int:
    """A number N for which every N + offset is free, and which no other process is given. Raises
    LocalError."""
    return _blocks.free_base(host, offsets)


def owner(port: int) -> str:
    """`pid 123 (command)` of the listener, empty when the system doesn't show it."""
    pid = _owner_pid_proc(port) if LINUX else _owner_pid_lsof(port)
    if pid is None:
        return ""
    command = " ".join(command_of(pid).split())
    return f"pid {pid} ({command[:80]})" if command else f"pid {pid}"


def _owner_pid_proc(port: int) -> int | None:
    """From /proc: the listening socket's inode, then the process that has it open."""
    inodes = _listening_inodes(port)
    if not inodes:
        return None
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and inodes & _open_sockets(folder / "fd"):
            return int(folder.name)
    return None


def _listening_inodes(port: int) -> set[str]:
    inodes = set()
    for table in ("tcp", "tcp6"):
        try:
            lines = Path(f"/proc/net/{table}").read_text("ascii").splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            if fields[3] == LISTENING and int(fields[1].rsplit(":", 1)[1], 16) == port:
                inodes.add(fields[9])
    return inodes


def _open_sockets(folder: Path) -> set[str]:
    """Inodes of the sockets that a process has open; none when it belongs to another user."""
    found = set()
    try:
        for item in folder.iterdir():
            target = str(item.readlink())
            if target.startswith("socket:["):
                found.add(target[8:-1])
    except OSError:
        pass
    return found


def _owner_pid_lsof(port: int) -> int | None:
    if shutil.which("lsof") is None:
        return None
    command = ["lsof", "-nP", f"-iTCP:{port}", "-sTCP:LISTEN", "-Fp"]
    output = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return next((int(line[1:]) for line in output.splitlines() if line.startswith("p")), None)
