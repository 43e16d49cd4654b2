"""`up`, `status`, `down`: the store as a whole."""

from __future__ import annotations

import argparse
import json
import signal
import time

from emporium.local import processes, status
from emporium.local.errors import LocalError
from emporium.local.inputs import claim, wanted_by
from emporium.local.interrupts import stop_signals_interrupt
from emporium.local.launcher import GRACE_S, KILL_WAIT_S, Launcher
from emporium.local.layout import CACHE_MODES
from emporium.local.options import Commands, add_data, folder_of, whole
from emporium.local.readiness import wait_until_answers
from emporium.local.screen import Screen, plural
from emporium.local.supervisor import Supervisor

READY_S = 60.0
REFRESH_S = 1.0


def register(commands: Commands) -> None:
    """Add the parsers."""
    _register_up(commands.add_parser("up", help="start the store, stay in the foreground"))
    look = commands.add_parser("status", help="every process: who reigns, who is behind")
    add_data(look)
    look.add_argument("--watch", action="store_true", help="refresh each second")
    look.add_argument("--json", action="store_true", help="for programs: one JSON array a look")
    look.set_defaults(run=show_status)
    down = commands.add_parser("down", help="stop the store")
    add_data(down)
    down.set_defaults(run=down_store)


def _register_up(parser: argparse.ArgumentParser) -> None:
    add_data(parser)
    parser.add_argument("--edition", help="what the shop sells (default: bookstore)")
    parser.add_argument(
        "--like",
        choices=("000", "001"),
        help="the processes and items of a seed: 000 is replicated, 001 has one of each role",
    )
    for role, most, default in (("catalog", 5, 3), ("order", 5, 3), ("frontend", 9, 2)):
        parser.add_argument(
            f"--{role}", type=whole(1, most), metavar="N", help=f"how many (default: {default})"
        )
    parser.add_argument(
        "--cache",
        choices=CACHE_MODES,
        help="where copies of items are kept (default: server, a process of its own)",
    )
    parser.add_argument("--config", metavar="FILE", help="lines `type,ip:port`; wins over counts")
    parser.add_argument("--items", metavar="FILE", help="first stock: `init,…` lines of the seeds")
    parser.add_argument(
        "--faults",
        action="store_true",
        help="open the operator and fault routes without a token, for the seeds' own programs",
    )
    parser.add_argument(
        "--heartbeat-ms", type=whole(10, 60_000), metavar="N", help="period (default: 250)"
    )
    parser.set_defaults(run=up)


def up(arguments: argparse.Namespace, screen: Screen) -> int:
    """Start, wait until it answers, stay, stop."""
    folder = folder_of(arguments)
    wanted = wanted_by(arguments, folder)
    launcher = Launcher(folder, wanted.plan)
    with stop_signals_interrupt():
        launcher.begin()
        try:
            for line in claim(folder, wanted):
                screen.line(line)
            _start(launcher, screen)
            Supervisor(launcher, screen).watch()
        except KeyboardInterrupt:
            screen.line()
            screen.line("Stopping …")
        finally:
            _stop(launcher, screen)
    return 0


def _start(launcher: Launcher, screen: Screen) -> None:
    started = time.monotonic()
    count = plural(len(launcher.plan.places), "process").replace("processs", "processes")
    screen.line(f"Starting {count}; data in {launcher.folder.root}")
    launcher.start_all()
    wait_until_answers(launcher, READY_S, lambda lack: screen.line(f"  waiting: {lack}", "dim"))
    screen.line(f"The store answers after {time.monotonic() - started:.1f} s.", "green")
    screen.line()
    status.show_short(screen, status.reports(launcher))
    screen.line()
    for place in launcher.plan.of("frontend")[:1]:
        screen.line(f"  shop            {place.url}/")
    screen.line(f"  operator token  {launcher.folder.token_file}")
    screen.line(f"  logs            {launcher.folder.root / 'logs'}")
    screen.line(f"  operation logs  {launcher.folder.output}")
    if launcher.plan.faults:
        screen.line(
            "  faults          operator and fault routes are open without a token", "yellow"
        )
    screen.line()
    screen.line(f"Ctrl-C or {launcher.folder.command('down')} stops it.")


def _stop(launcher: Launcher, screen: Screen) -> None:
    killed = launcher.stop()
    if killed:
        screen.line(f"Killed after {GRACE_S:g} s: {', '.join(killed)}", "yellow")
    screen.line("All processes have stopped; the data stays.")


def show_status(arguments: argparse.Namespace, screen: Screen) -> int:
    """Once, or each second until an interrupt. Exit code 1 when a process is dead or silent."""
    launcher = Launcher.running(folder_of(arguments))
    while True:
        found = status.reports(launcher)
        if arguments.watch and not arguments.json:
            screen.clear()
            screen.line(f"{launcher.folder.root}  {time.strftime('%H:%M:%S')}", "dim")
        if arguments.json:
            screen.line(json.dumps(status.as_json(found), indent=None if arguments.watch else 1))
        else:
            status.show(screen, found)
        if not arguments.watch:
            return 0 if all(report.state == "up" for report in found) else 1
        time.sleep(REFRESH_S)
        launcher = Launcher.running(launcher.folder)


def down_store(arguments: argparse.Namespace, screen: Screen) -> int:
    """Ask `up` to stop, or stop what it left behind when it is gone itself."""
    folder = folder_of(arguments)
    launcher = Launcher.running(folder)
    supervisor = launcher.supervisor()
    if supervisor is None:
        _stop(launcher, screen)
        return 0
    processes.signal_leader(supervisor, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_S + 2 * KILL_WAIT_S
    while processes.runs(supervisor) and time.monotonic() < deadline:
        time.sleep(processes.SETTLE_S)
    if processes.runs(supervisor):
        raise LocalError(f"`emporium up` (pid {supervisor.pid}) doesn't stop")
    if folder.run_file.exists():  # it was killed while it stopped the others
        launcher.stop()
    screen.line("The store has stopped; the data stays.")
    return 0
