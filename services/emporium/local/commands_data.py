"""`verify`, `backup`, `restore`: the data of a store."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from emporium.client.conservation import Finding
from emporium.local import store_backup
from emporium.local.errors import LocalError
from emporium.local.folder import DataFolder
from emporium.local.inputs import old_store
from emporium.local.layout import GROUPS
from emporium.local.options import Commands, add_data, folder_of
from emporium.local.screen import Screen, plural
from emporium.local.verify import (
    check_journals,
    compare_groups,
    compare_journals,
    compare_running,
    members_of,
    read_logs,
)


def register(commands: Commands) -> None:
    """Add the parsers."""
    verify = commands.add_parser("verify", help="check every journal, compare the replicas")
    add_data(verify)
    verify.set_defaults(run=verify_store)
    backup = commands.add_parser("backup", help="write both groups into one file")
    add_data(backup)
    backup.add_argument("file", metavar="FILE", help="is made, or replaced")
    backup.set_defaults(run=backup_store)
    restore = commands.add_parser("restore", help="make new groups from a backup")
    add_data(restore)
    restore.add_argument("file", metavar="FILE", help="written by `emporium backup`")
    restore.set_defaults(run=restore_store)


def _store(folder: DataFolder) -> dict[str, Any]:
    old = old_store(folder)
    if old is None:
        raise LocalError(
            f"there is no store in {folder.root}",
            f"{folder.command('up')} makes one; or give --data DIR",
        )
    return old


def verify_store(arguments: argparse.Namespace, screen: Screen) -> int:
    """Say what was compared and what came of it. Exit code 1 when anything is wrong."""
    folder = folder_of(arguments)
    members = members_of(folder, _store(folder))
    launcher = members.launcher
    logs = {role: read_logs(folder, members.names[role]) for role in GROUPS}
    findings = [found for role in GROUPS for found in check_journals(logs[role])]
    replicas = [place for role in GROUPS for place in launcher.plan.of(role)] if launcher else []
    if launcher and all(launcher.state(place.name) == "up" for place in replicas):
        screen.line("Checked: every row of each journal; the state that each process tells.")
        findings += compare_running(launcher)
    else:
        how = "some replicas don't run" if launcher else "the store doesn't run"
        screen.line(f"Checked: every row of each journal; the states they replay to ({how}).")
        findings += [found for role in GROUPS for found in compare_journals(role, logs[role])]
        findings += compare_groups(logs)
    screen.line()
    show_findings(screen, findings)
    wrong = sum(not found.passed for found in findings)
    screen.line()
    if wrong:
        screen.line(f"NOT GOOD: {plural(wrong, 'finding')} of {len(findings)}", "red")
    else:
        screen.line(f"GOOD: all {len(findings)} checks hold", "green")
    return 1 if wrong else 0


def show_findings(screen: Screen, findings: list[Finding]) -> None:
    """One line each: ok or WRONG, what, and the numbers."""
    width = max((len(found.name) for found in findings), default=0)
    for found in findings:
        mark = screen.paint("ok   ", "green") if found.passed else screen.paint("WRONG", "red")
        screen.line(f"  {mark}  {found.name:<{width}}  {found.detail}".rstrip())


def backup_store(arguments: argparse.Namespace, screen: Screen) -> int:
    """Take it and say what is in it."""
    folder = folder_of(arguments)
    backup = store_backup.take_backup(folder, _store(folder))
    path = Path(arguments.file)
    store_backup.write_store_backup(path, backup)
    screen.line(
        f"{path}: {plural(backup.catalog.ledger_length, 'sale')} (catalog up to entry"
        f" {backup.catalog.index}), {plural(backup.order.ledger_length, 'order')} (order up to"
        f" entry {backup.order.index})"
    )
    return 0


def restore_store(arguments: argparse.Namespace, screen: Screen) -> int:
    """Put it in place; the store itself starts with `up`."""
    folder = folder_of(arguments)
    backup = store_backup.read_store_backup(Path(arguments.file))
    for line in store_backup.restore(folder, backup):
        screen.line(f"  {line}")
    screen.line(
        f"{folder.root} holds the backup of {backup.made}:"
        f" {plural(backup.catalog.ledger_length, 'sale')}. {folder.command('up')} starts it."
    )
    return 0
