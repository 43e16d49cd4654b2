"""`pods pull` and `pods place`: the data of a store on Kubernetes."""

from __future__ import annotations

import argparse

from emporium.local import pods
from emporium.local.errors import LocalError
from emporium.local.options import Commands, folder_of
from emporium.local.screen import Screen

ACCEPT = "--i-accept-that-the-store-stops"
NOT_CONFIRMED = 2


def register(commands: Commands) -> None:
    """Add the parsers."""
    group = commands.add_parser("pods", help="the data of a store on Kubernetes, by kubectl")
    actions = group.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    pull = actions.add_parser("pull", help="copy the journals of all replicas into a fresh folder")
    pull.set_defaults(run=run_pull)
    place = actions.add_parser(
        "place", help="give volumes what `restore` or `group force-new` left in a folder"
    )
    place.add_argument(ACCEPT, dest="accepted", action="store_true", help="really do it")
    place.set_defaults(run=run_place)
    for parser in (pull, place):
        parser.add_argument("--data", metavar="DIR", required=True, help="the data folder")
        parser.add_argument("-n", "--namespace", required=True, help="where the store is")
        parser.add_argument(
            "--store", metavar="NAME", required=True, help="its StatefulSets are NAME-catalog …"
        )


def _pods(arguments: argparse.Namespace) -> pods.Pods:
    return pods.Pods(arguments.namespace, arguments.store)


def run_pull(arguments: argparse.Namespace, screen: Screen) -> int:
    """Copy, and say what came. Exit code 1 when not every journal came whole."""
    folder = folder_of(arguments)
    lines = []
    for line in pods.pull(_pods(arguments), folder):
        screen.line(f"  {line}")
        lines.append(line)
    screen.line(f"Now {folder.command('verify')}, or {folder.command('backup FILE')}.")
    return 0 if all(": whole, up to entry " in line for line in lines) else 1


def run_place(arguments: argparse.Namespace, screen: Screen) -> int:
    """Explain; with the confirmation, do it."""
    folder = folder_of(arguments)
    roles = pods.beginnings(folder)
    if not arguments.accepted:
        screen.line(
            f"{' and '.join(roles)} of {arguments.namespace}/{arguments.store} would be stopped,"
            " begin anew from this folder and be started. The old journals are set aside in"
            " their volumes, not deleted."
        )
        screen.line(f"Nothing is done yet. To do it, add {ACCEPT}.", "bold")
        return NOT_CONFIRMED
    try:
        for line in pods.place(_pods(arguments), folder):
            screen.line(f"  {line}")
    except LocalError as error:
        raise LocalError(f"not finished: {error}", "give it again; nothing is lost") from None
    screen.line("They form their groups now; `helm test` says when all is well.")
    return 0
