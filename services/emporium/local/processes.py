"""Processes by identity: a pid is signalled only while it is the process that was started.

A pid is used again after its process has gone. So a process is known by its pid **and** the time
at which it started, and by the boot where the system tells; both are looked at before every
signal. Each role leads a process group of its own (the gunicorn master and its worker), so that a
kill takes all of it. As long as a group has members, the system gives its number to nobody else.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

LINUX = sys.platform.startswith("linux")
SETTLE_S = 0.02  # pause between two looks at a process that is expected to go


@dataclass(frozen=True, slots=True)
class ProcessKey:
    """A process that leads its group. `started` is opaque: equal or not."""

    pid: int
    started: str


@dataclass(frozen=True, slots=True)
class _Row:
    """One process as the system shows it."""

    pid: int
    group: int
    state: str  # one letter: T stopped, Z zombie
    started: str


@cache
def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""


def _proc_row(pid: int) -> _Row | None:
    """From /proc (see proc(5): state, group and start time are fields 3, 5 and 22)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return None
    # The name, field 2, is in brackets and may itself contain brackets and blanks.
    fields = text[text.rfind(")") + 2 :].split()
    return _Row(pid, int(fields[2]), fields[0], f"{_boot()}:{fields[19]}")


def _ps_rows(*selection: str) -> list[_Row]:
    """From ps, where there is no /proc."""
    command = ["ps", *selection, "-o", "pid=,pgid=,state=,lstart="]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    rows = []
    for line in result.stdout.splitlines():
        pid, group, state, started = line.split(None, 3)
        rows.append(_Row(int(pid), int(group), state[0], started.strip()))
    return rows


def _row(pid: int) -> _Row | None:
    if LINUX:
        return _proc_row(pid)
    return next(iter(_ps_rows("-p", str(pid))), None)


def _rows() -> list[_Row]:
    if not LINUX:
        return _ps_rows("-A")
    pids = [int(item.name) for item in Path("/proc").iterdir() if item.name.isdigit()]
    return [row for row in map(_proc_row, pids) if row is not None]


def key_of(pid: int) -> ProcessKey:
    """The identity of a process that runs now. Raises ProcessLookupError."""
    row = _row(pid)
    if row is None:
        raise ProcessLookupError(pid)
    return ProcessKey(pid, row.started)


def command_of(pid: int) -> str:
    """The command line of a process, for messages; empty when it can't be seen."""
    if LINUX:
        try:
            return Path(f"/proc/{pid}/cmdline").read_text("utf-8", "replace").replace("\0", " ")
        except OSError:
            return ""
    command = ["ps", "-p", str(pid), "-o", "command="]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def members(key: ProcessKey) -> list[int]:
    """The living processes of the group that `key` leads, also when the leader itself has gone.
    Empty when the pid belongs to somebody else by now."""
    leader = _row(key.pid)
    if leader is not None and leader.started != key.started:
        return []
    try:
        os.killpg(key.pid, 0)
    except ProcessLookupError:
        return []
    except PermissionError:  # macOS says so of a group of zombies
        pass
    return [row.pid for row in _rows() if row.group == key.pid and row.state != "Z"]


def alive(key: ProcessKey) -> bool:
    """Whether anything of the process group lives."""
    return runs(key) or bool(members(key))


def runs(key: ProcessKey) -> bool:
    """Whether this very process lives, whatever its group does."""
    row = _row(key.pid)
    return row is not None and row.started == key.started and row.state != "Z"


def paused(key: ProcessKey) -> bool:
    """Whether the leader of the group is stopped (SIGSTOP)."""
    row = _row(key.pid)
    return row is not None and row.started == key.started and row.state == "T"


def signal_group(key: ProcessKey, number: signal.Signals) -> bool:
    """Signal every process of the group. False when it isn't there any more."""
    if not members(key):
        return False
    try:
        os.killpg(key.pid, number)
    except ProcessLookupError:
        return False
    return True


def signal_leader(key: ProcessKey, number: signal.Signals) -> bool:
    """Signal the leader alone, which tells its worker. False when it isn't there any more."""
    if not runs(key):
        return False
    try:
        os.kill(key.pid, number)
    except ProcessLookupError:
        return False
    return True


def wait_gone(keys: list[ProcessKey], seconds: float) -> list[ProcessKey]:
    """Wait until none of the groups lives; those that are left when the time is over."""
    deadline = time.monotonic() + seconds
    left = [key for key in keys if alive(key)]
    while left and time.monotonic() < deadline:
        time.sleep(SETTLE_S)
        left = [key for key in left if alive(key)]
    return left
