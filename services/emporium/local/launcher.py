"""Starts, signals and stops the processes of one store, and keeps the run file about them.

Each role runs as a process of its own, in a session and process group of its own, so that a
Ctrl-C reaches `up` alone and a kill takes a gunicorn master together with its worker. What it
writes goes to its log file. Whoever comes later (`status`, `kill`, `start`, `down`) finds all of
it in the run file. A process that was started by `start` isn't `up`'s child; so nobody here asks
"is it my child": the run file's pid **and** start time say who it is (see `processes`).
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import emporium
from emporium.local import ports, processes
from emporium.local.errors import LocalError
from emporium.local.folder import DataFolder, read_json, write_json
from emporium.local.interrupts import shielded
from emporium.local.layout import (
    GROUPS,
    HEALTH_OFFSET,
    INTERNAL_OFFSET,
    ROLES,
    Place,
    Plan,
)
from emporium.local.processes import ProcessKey

SERVE = (sys.executable, "-m", "emporium.runtime.serve")
GRACE_S = 10.0  # for a graceful stop: 3 s of an open frontend, 2 s of a hand-over, and room
KILL_WAIT_S = 5.0  # for a killed process to be gone
TAIL_LINES = 12  # of a log, when a process dies at its start


class Launcher:
    """The processes of the store in `folder`."""

    def __init__(self, folder: DataFolder, plan: Plan, command: Sequence[str] = ()) -> None:
        """`command` gets the role as its last argument (none: SERVE; a stand-in in tests)."""
        self.folder = folder
        self.plan = plan
        self.command = tuple(command or SERVE)
        self.children: dict[str, subprocess.Popen[bytes]] = {}

    @classmethod
    def running(cls, folder: DataFolder) -> Launcher:
        """The store that runs in `folder`. Raises LocalError when none does."""
        launcher = cls.recorded(folder)
        if launcher is None or not _occupants(read_json(folder.run_file)):
            raise LocalError(
                f"no store runs in {folder.root}",
                f"{folder.command('up')} starts one; or give --data DIR",
            )
        return launcher

    @classmethod
    def recorded(cls, folder: DataFolder) -> Launcher | None:
        """The store of the run file, dead or alive; None without a run file."""
        content = read_json(folder.run_file)
        if content is None:
            return None
        return cls(folder, Plan.from_json(content["plan"]), content["command"])

    def occupants(self) -> list[str]:
        """What of the store lives, by name."""
        return _occupants(read_json(self.folder.run_file))

    # --- the run file ---

    def begin(self) -> None:
        """Take the folder for this process: make it, its secrets, and an empty run file.
        Raises LocalError when a store runs here or a port is taken."""
        self.folder.make()
        with self.folder.locked():
            left = _occupants(read_json(self.folder.run_file))
            if left:
                raise LocalError(
                    f"a store runs in {self.folder.root} already ({', '.join(left)})",
                    f"{self.folder.command('down')} stops it",
                )
            self.check_ports(self.plan.places)
            self.folder.make_secrets()
            me = processes.key_of(os.getpid())
            self._write({"supervisor": _plain(me), "processes": {}})

    def _write(self, changes: dict[str, Any]) -> None:
        content = read_json(self.folder.run_file) or {}
        content |= {"plan": self.plan.to_json(), "command": list(self.command)} | changes
        write_json(self.folder.run_file, content)

    def keys(self) -> dict[str, ProcessKey]:
        """The newest process of each place by name, dead or alive."""
        content = read_json(self.folder.run_file) or {}
        return {name: _key(each) for name, each in content.get("processes", {}).items()}

    def supervisor(self) -> ProcessKey | None:
        """The process of `up`, while it lives."""
        content = read_json(self.folder.run_file) or {}
        key = _key(content["supervisor"]) if content.get("supervisor") else None
        return key if key is not None and processes.runs(key) else None

    def key(self, name: str) -> ProcessKey:
        """The living process called `name`. Raises LocalError when it is dead or unknown."""
        self.plan.place(name)
        self.reap()
        key = self.keys().get(name)
        if key is None or not processes.alive(key):
            hint = f"{self.folder.command(f'start {name}')} starts it"
            raise LocalError(f"{name} doesn't run", hint)
        return key

    # --- starting ---

    def check_ports(self, places: Iterable[Place]) -> None:
        """Raise LocalError, naming the port and who has it, when one is taken."""
        for place in places:
            for port in place.ports:
                if not ports.is_free(place.host, port):
                    who = ports.owner(port) or "another program"
                    raise LocalError(
                        f"port {port} ({_use(place, port)}) is taken by {who}",
                        "stop it, or give other ports in a config file (--config)",
                    )

    def environment(self, place: Place) -> dict[str, str]:
        """The environment of one process: ours without its EMPORIUM_ settings, and the plan's."""
        ours = {k: v for k, v in os.environ.items() if not k.startswith("EMPORIUM_")}
        package = str(Path(emporium.__file__).resolve().parent.parent)
        paths = [package, *filter(None, ours.get("PYTHONPATH", "").split(os.pathsep))]
        ours["PYTHONPATH"] = os.pathsep.join(str(Path(path).resolve()) for path in paths)
        ours["PYTHONUNBUFFERED"] = "1"
        settings = {
            "ROLE": place.role,
            "ID": str(place.replica),
            "HOST": place.host,
            "PORT": str(place.port),
            "INTERNAL_OFFSET": str(INTERNAL_OFFSET),
            "HEALTH_OFFSET": str(HEALTH_OFFSET),
            "OUTPUT_DIR": str(self.folder.output),
            "EDITION": self.plan.edition,
            "CACHE_MODE": self.plan.cache_mode,
            "ITEMS_FILE": self.plan.items_file,
            "FAULTS": "true" if self.plan.faults else "false",
            "SECRET_FILE": str(self.folder.secret_file),
            "OPERATOR_TOKEN_FILE": str(self.folder.token_file),
            "LOCK_WAIT_MS": "0",  # nobody but a running replica can hold the lock here
            **{role.upper(): _addresses(self.plan.of(role)) for role in ROLES},
            **dict(self.plan.settings),
        }
        if place.role in GROUPS:
            settings["DATA_DIR"] = str(self.folder.replica(place.name))
        return ours | {f"EMPORIUM_{name}": value for name, value in settings.items()}

    def start(self, name: str) -> ProcessKey:
        """Start one process. Raises LocalError when it runs already or a port of it is taken."""
        place = self.plan.place(name)
        with self.folder.locked(), shielded():
            self.reap()
            key = self.keys().get(name)
            if key is not None and processes.alive(key):
                raise LocalError(f"{name} runs already (pid {key.pid})")
            self.check_ports([place])
            key = self._spawn(place)
            self._write({"processes": _all_plain(self.keys() | {name: key})})
        return key

    def start_all(self) -> None:
        """Start every process of the plan, after `begin`."""
        for place in self.plan.places:
            self.start(place.name)

    def _spawn(self, place: Place) -> ProcessKey:
        if place.role in GROUPS:
            self.folder.replica(place.name).mkdir(parents=True, exist_ok=True)
        with self.folder.log(place.name).open("ab") as log:
            child = subprocess.Popen(
                [*self.command, place.role],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.environment(place),
                cwd=self.folder.root,
                start_new_session=True,
            )
        self.children[place.name] = child
        return processes.key_of(child.pid)

    # --- looking ---

    def reap(self) -> None:
        """Collect the exit codes of our own children, so that none stays as a zombie."""
        for child in self.children.values():
            child.poll()

    def state(self, name: str) -> str:
        """`up`, `paused` or `dead`."""
        self.reap()
        key = self.keys().get(name)
        if key is None or not processes.alive(key):
            return "dead"
        return "paused" if processes.paused(key) else "up"

    def obituary(self, name: str) -> str:
        """How a process ended, as far as it can be known: only a parent is told the exit code."""
        child = self.children.get(name)
        key = self.keys().get(name)
        if child is None or child.returncode is None or (key and key.pid != child.pid):
            return "ended"
        if child.returncode >= 0:
            return f"ended with exit code {child.returncode}"
        with contextlib.suppress(ValueError):
            return f"was killed by {signal.Signals(-child.returncode).name}"
        return f"was killed by signal {-child.returncode}"

    def tail(self, name: str, lines: int = TAIL_LINES) -> str:
        """The end of a process's log."""
        return "\n".join(last_lines(self.folder.log(name), lines))

    # --- signalling ---

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> ProcessKey:
        """Signal the process called `name`. SIGKILL goes to the whole group, and this waits until
        nothing of it lives; other signals go to its leader, as an operator's kill would."""
        key = self.key(name)
        if number is not signal.SIGKILL:
            processes.signal_leader(key, number)
            return key
        processes.signal_group(key, number)
        if processes.wait_gone([key], KILL_WAIT_S):
            raise LocalError(f"{name} (pid {key.pid}) is still there {KILL_WAIT_S:g} s after -9")
        self.reap()
        return key

    def pause(self, name: str) -> ProcessKey:
        """SIGSTOP to the whole group: the process stands still and knows nothing of it."""
        key = self.key(name)
        processes.signal_group(key, signal.SIGSTOP)
        return key

    def resume(self, name: str) -> ProcessKey:
        """SIGCONT to the whole group."""
        key = self.key(name)
        processes.signal_group(key, signal.SIGCONT)
        return key

    def stop(self, grace_s: float = GRACE_S) -> list[str]:
        """Stop everything and remove the run file. Gives the names of those that had to be
        killed because they were still there after `grace_s` seconds (0: kill at once)."""
        with self.folder.locked():
            keys = {name: key for name, key in self.keys().items() if processes.alive(key)}
            left = list(keys.values())
            if grace_s > 0:
                with contextlib.suppress(KeyboardInterrupt):  # a second Ctrl-C: no more patience
                    for key in left:
                        processes.signal_leader(key, signal.SIGTERM)
                        processes.signal_group(key, signal.SIGCONT)
                    left = processes.wait_gone(left, grace_s)
            with shielded():
                self._kill_all(left)
                self.folder.run_file.unlink(missing_ok=True)
        return [name for name, key in keys.items() if key in left]

    def _kill_all(self, keys: list[ProcessKey]) -> None:
        for key in keys:
            processes.signal_group(key, signal.SIGKILL)
        survivors = processes.wait_gone(keys, KILL_WAIT_S)
        self.reap()
        if survivors:
            pids = ", ".join(str(key.pid) for key in survivors)
            raise LocalError(f"still there {KILL_WAIT_S:g} s after -9: pid {pids}")


def _occupants(content: dict[str, Any] | None) -> list[str]:
    """What of the run file lives: its processes by name, and the `up` that watches them."""
    content = content or {}
    entries = content.get("processes", {})
    names = [name for name, each in entries.items() if processes.alive(_key(each))]
    supervisor = content.get("supervisor")
    if supervisor and processes.runs(_key(supervisor)):
        names.insert(0, f"emporium up, pid {supervisor['pid']}")
    return names


def _plain(key: ProcessKey) -> dict[str, Any]:
    return {"pid": key.pid, "started": key.started}


def _all_plain(keys: dict[str, ProcessKey]) -> dict[str, Any]:
    return {name: _plain(key) for name, key in keys.items()}


def _key(content: dict[str, Any]) -> ProcessKey:
    try:
        return ProcessKey(int(content["pid"]), str(content["started"]))
    except (KeyError, TypeError, ValueError) as error:
        raise LocalError(f"the run file has an invalid process: {error}") from None


def _addresses(places: Iterable[Place]) -> str:
    return ",".join(place.address for place in places)


def _use(place: Place, port: int) -> str:
    kinds = dict(zip(place.ports, ("", " internal", " health"), strict=True))
    return f"{place.name}{kinds[port]}"


def last_lines(path: Path, count: int) -> list[str]:
    """The last lines of a text file, none when it isn't there. Reads at most 256 kB of it."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 256 * 1024))
            return file.read().decode("utf-8", "replace").splitlines()[-count:]
    except OSError:
        return []
