"""`kill`, `start`, `pause`, `resume`, `logs`: one process of a running store."""

from __future__ import annotations

import argparse
import signal
import time
from pathlib import Path

from emporium.local.errors import LocalError
from emporium.local.launcher import Launcher, last_lines
from emporium.local.options import Commands, add_data, add_names, folder_of, whole
from emporium.local.readiness import wait_until_serves
from emporium.local.screen import Screen

SERVES_S = 60.0
FOLLOW_S = 0.2


def register(commands: Commands) -> None:
    """Add the parsers."""
    kill = commands.add_parser("kill", help="kill -9 a process, with all that belongs to it")
    add_data(kill)
    add_names(kill)
    kill.add_argument("--signal", default="KILL", metavar="NAME", help="another one: TERM, INT …")
    kill.set_defaults(run=kill_names)
    for name, summary, run in (
        ("start", "start a dead process again, wait until it serves", start_names),
        ("pause", "stop a process without its knowledge (SIGSTOP)", pause_names),
        ("resume", "let a paused process run again (SIGCONT)", resume_names),
    ):
        parser = commands.add_parser(name, help=summary)
        add_data(parser)
        add_names(parser)
        parser.set_defaults(run=run)
    logs = commands.add_parser("logs", help="what the processes write")
    add_data(logs)
    logs.add_argument("names", metavar="ROLE-ID", nargs="*", help="none: all of them")
    logs.add_argument("--follow", "-f", action="store_true", help="go on as they write")
    logs.add_argument(
        "--lines", "-n", type=whole(0, 100_000), default=20, metavar="N", help="of each, at first"
    )
    logs.set_defaults(run=show_logs)


def signal_named(text: str) -> signal.Signals:
    """`KILL`, `SIGKILL` or `9`. Raises LocalError."""
    try:
        if text.isdigit():
            return signal.Signals(int(text))
        name = text.upper()
        return signal.Signals[name if name.startswith("SIG") else f"SIG{name}"]
    except (KeyError, ValueError):
        raise LocalError(f"there is no signal {text!r}", "for example: KILL, TERM, INT") from None


def kill_names(arguments: argparse.Namespace, screen: Screen) -> int:
    """Signal each; with KILL each is gone when this returns."""
    number = signal_named(arguments.signal)
    launcher = Launcher.running(folder_of(arguments))
    for name in arguments.names:
        key = launcher.kill(name, number)
        done = "is dead" if number is signal.SIGKILL else f"got {number.name}"
        screen.line(f"{name} (pid {key.pid}) {done}")
    return 0


def start_names(arguments: argparse.Namespace, screen: Screen) -> int:
    """Start each with the settings of `up`, then wait for each."""
    launcher = Launcher.running(folder_of(arguments))
    keys = {name: launcher.start(name) for name in arguments.names}
    for name, key in keys.items():
        wait_until_serves(launcher, name, SERVES_S)
        screen.line(f"{name} (pid {key.pid}) serves")
    return 0


def pause_names(arguments: argparse.Namespace, screen: Screen) -> int:
    """SIGSTOP each."""
    launcher = Launcher.running(folder_of(arguments))
    for name in arguments.names:
        screen.line(f"{name} (pid {launcher.pause(name).pid}) is paused")
    return 0


def resume_names(arguments: argparse.Namespace, screen: Screen) -> int:
    """SIGCONT each."""
    launcher = Launcher.running(folder_of(arguments))
    for name in arguments.names:
        screen.line(f"{name} (pid {launcher.resume(name).pid}) goes on")
    return 0


def show_logs(arguments: argparse.Namespace, screen: Screen) -> int:
    """The end of each log, also of a store that has stopped; then what is added."""
    paths = _log_files(folder_of(arguments).root / "logs", arguments.names)
    width = max(len(path.stem) for path in paths)
    positions = {path: path.stat().st_size for path in paths}
    for path in paths:
        for line in last_lines(path, arguments.lines):
            _show(screen, path, line, width, len(paths))
    while arguments.follow:
        for path in paths:
            positions[path], added = read_added(path, positions[path])
            for line in added:
                _show(screen, path, line, width, len(paths))
        time.sleep(FOLLOW_S)
    return 0


def _show(screen: Screen, path: Path, line: str, width: int, count: int) -> None:
    prefix = screen.paint(f"{path.stem:<{width}}", "blue") + "  " if count > 1 else ""
    screen.line(prefix + line)


def _log_files(folder: Path, names: list[str]) -> list[Path]:
    present = sorted(folder.glob("*.log")) if folder.is_dir() else []
    if not names:
        if not present:
            raise LocalError(f"there are no logs in {folder}", "has a store run here? (--data DIR)")
        return present
    for name in names:
        if folder / f"{name}.log" not in present:
            known = ", ".join(path.stem for path in present) or "none"
            raise LocalError(f"there is no log of {name!r} in {folder}", f"there are: {known}")
    return [folder / f"{name}.log" for name in names]


def read_added(path: Path, position: int) -> tuple[int, list[str]]:
    """The whole lines that were added after `position`, and the new position. A file that became
    shorter is read from its start."""
    with path.open("rb") as file:
        if path.stat().st_size < position:
            position = 0
        file.seek(position)
        data = file.read()
    end = data.rfind(b"\n") + 1
    return position + end, data[:end].decode("utf-8", "replace").splitlines()
