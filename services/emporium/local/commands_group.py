"""`group force-new`: what an operator does to a group as a whole."""

from __future__ import annotations

import argparse

from emporium.local import force_new
from emporium.local.errors import LocalError
from emporium.local.inputs import old_store
from emporium.local.layout import GROUPS
from emporium.local.options import Commands, add_data, folder_of
from emporium.local.screen import Screen

ACCEPT = "--i-accept-losing-acknowledged-purchases"
NOT_CONFIRMED = 2


def register(commands: Commands) -> None:
    """Add the parsers."""
    group = commands.add_parser("group", help="force a new group after the loss of a majority")
    actions = group.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    force = actions.add_parser(
        "force-new",
        help="begin a new group from the best journal that is left",
        description="After the loss of a majority's disks: begin a new group from the most"
        " up-to-date journal that is left. Without the confirmation it only explains what it"
        " would do, and leaves with exit code 2.",
    )
    add_data(force)
    force.add_argument("role", choices=sorted(GROUPS), help="the group that lost its majority")
    force.add_argument(ACCEPT, dest="accepted", action="store_true", help="really do it")
    force.set_defaults(run=run_force_new)


def run_force_new(arguments: argparse.Namespace, screen: Screen) -> int:
    """Explain; with the confirmation, do it."""
    folder = folder_of(arguments)
    old = old_store(folder)
    if old is None:
        raise LocalError(
            f"there is no store in {folder.root}",
            f"{folder.command('up')} makes one; or give --data DIR",
        )
    plan = force_new.make_plan(folder, arguments.role, old)
    for line in force_new.explain(plan):
        screen.line(line, "red" if line.startswith("WARNING") else "")
    screen.line()
    if not arguments.accepted:
        again = folder.command(f"group force-new {arguments.role} {ACCEPT}")
        screen.line("Nothing is done yet. To do it:", "bold")
        screen.line(f"  {again.strip('`')}")
        return NOT_CONFIRMED
    for line in force_new.force_new(plan):
        screen.line(f"  {line}")
    screen.line(f"{folder.command('up')} forms the new group; then {folder.command('verify')}.")
    return 0
