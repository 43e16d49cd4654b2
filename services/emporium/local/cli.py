"""The `emporium` command: a store on this machine, from the first start to the verdict.

Exit code 0: done, and where there is a verdict it is good. 1: it didn't work, or the verdict is
bad. 2: the command line is wrong, or lacks a confirmation. 130: interrupted.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import sys
from collections.abc import Sequence

from emporium.local import (
    commands_data,
    commands_group,
    commands_pods,
    commands_proof,
    commands_replicas,
    commands_store,
)
from emporium.local.errors import LocalError
from emporium.local.screen import Screen

DESCRIPTION = """\
Emporium: an online store whose own services are replicated.

Run it on this machine, break it, watch it, verify it:

  emporium demo                 see it lose its primary and go on selling, with a verdict
  emporium up                   run the store in the foreground (then, in another terminal:)
  emporium status --watch       who is where, who reigns, who is behind
  emporium kill catalog-0       really: kill -9
  emporium start catalog-0      and bring it back
  emporium verify               every journal, and the replicas against each other
"""

MEASURES = {
    "bench": ("emporium.local.bench", "measure ratios side by side"),
    "evaluate": ("emporium.local.evaluate", "the seeds' tables, with plots"),
}
"""Commands whose modules are imported when they are wanted: they have `main(argv, screen)`."""


def build_parser() -> argparse.ArgumentParser:
    """All commands with their options."""
    parser = argparse.ArgumentParser(
        prog="emporium",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    commands_store.register(commands)
    commands_replicas.register(commands)
    commands_data.register(commands)
    commands_group.register(commands)
    commands_pods.register(commands)
    commands_proof.register(commands)
    for name, (module, summary) in MEASURES.items():
        if _exists(module):
            commands.add_parser(name, help=summary, add_help=False)
    return parser


def _exists(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; what to give to `sys.exit`."""
    given = list(sys.argv[1:] if argv is None else argv)
    screen = Screen()
    try:
        if given and given[0] in MEASURES and _exists(MEASURES[given[0]][0]):
            module = importlib.import_module(MEASURES[given[0]][0])
            return int(module.main(given[1:], screen))
        parser = build_parser()
        arguments = parser.parse_args(given)
        if arguments.command is None:
            parser.print_help()
            return 2
        return int(arguments.run(arguments, screen))
    except LocalError as error:
        _complain(error)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader has gone; the interpreter's own last flush must not complain about it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _complain(error: LocalError) -> None:
    screen = Screen(sys.stderr)
    screen.line(f"emporium: {error}", "red")
    if error.hint:
        screen.line(f"  {error.hint}")
