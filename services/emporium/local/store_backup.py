"""`emporium backup` and `restore`: both groups in one file.

    {"format": "emporium-store-backup", "version": 1, "edition": …, "made": …,
     "replicas": {"catalog": 3, "order": 3}, "order": backup, "catalog": backup}

Each group's part is a document of `runtime/backup.py` with its own checksum. The catalog's part
is taken after the order's: whatever was ordered is then in its ledger. `restore` puts each part
into the data folder of every replica of its group; they begin as new groups at the next start
(PROTOCOL 1.8), so that nothing of the old groups can mix with them.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emporium.local.errors import LocalError
from emporium.local.folder import DataFolder, write_json
from emporium.local.launcher import Launcher
from emporium.local.layout import GROUP_SIZES, GROUPS
from emporium.local.replay import choose_log, load, read_log, replay
from emporium.replication.messages import Snapshot
from emporium.runtime.backup import (
    Backup,
    backup_of,
    decode_backup,
    encode_backup,
    place_restore,
)
from emporium.runtime.errors import DataFolderInUse, JournalError
from emporium.runtime.files import write_whole

FORMAT, VERSION = "emporium-store-backup", 1


@dataclass(frozen=True, slots=True)
class StoreBackup:
    """Both groups of a store. `replicas` counts those of each group."""

    edition: str
    made: str
    replicas: dict[str, int]
    order: Backup
    catalog: Backup


def take_backup(folder: DataFolder, old: dict[str, Any]) -> StoreBackup:
    """Read the journals of the store in `folder`, running or not; `old` is its store.json.
    Raises LocalError."""
    replicas = {role: int(old[role]) for role in GROUPS}
    order = _take(folder, "order", replicas["order"])
    catalog = _take(folder, "catalog", replicas["catalog"])
    made = time.strftime("%Y-%m-%d %H:%M:%S")
    backup = StoreBackup(str(old["edition"]), made, replicas, order, catalog)
    check_together(backup)
    return backup


def _take(folder: DataFolder, role: str, count: int) -> Backup:
    names = [f"{role}-{number}" for number in range(count)]
    log = choose_log(role, [read_log(name, folder.replica(name)) for name in names])
    state = replay(role, log)
    voters = tuple((number, "") for number in range(count))
    text = state.snapshot()
    snapshot = Snapshot(state.index, state.epoch, state.chain, voters, text)
    ledger = (state.length, state.ledger)
    return backup_of(role, log.report.group, snapshot, ledger, stamp=time.time_ns() // 1_000_000)


def check_together(backup: StoreBackup) -> None:
    """The orders must be in the catalog's ledger. Raises LocalError."""
    catalog = load("catalog", backup.catalog.state)
    length = backup.order.ledger_length
    if not catalog.has_sales(length, backup.order.ledger_chain):
        raise LocalError(
            f"the {length} orders aren't in the catalog's ledger of {catalog.length} sales",
            "one of the two groups lost its past; such a backup would be refused by the store",
        )


def write_store_backup(path: Path, backup: StoreBackup) -> None:
    """Write the file whole or not at all, for its owner only. Raises LocalError."""
    document = {
        "format": FORMAT,
        "version": VERSION,
        "edition": backup.edition,
        "made": backup.made,
        "replicas": backup.replicas,
        "order": json.loads(encode_backup(backup.order)),
        "catalog": json.loads(encode_backup(backup.catalog)),
    }
    try:
        write_whole(path, json.dumps(document, indent=1) + "\n")
    except OSError as error:
        raise LocalError(f"{path}: {error.strerror}") from None


def read_store_backup(path: Path) -> StoreBackup:
    """Read and verify a file. Raises LocalError."""
    try:
        document = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise LocalError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise LocalError(f"{path}: no backup: {error}") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise LocalError(f"{path}: no backup of an Emporium store")
    if document.get("version") != VERSION:
        raise LocalError(f"{path}: version {document.get('version')}; this one reads {VERSION}")
    try:
        backup = StoreBackup(
            str(document["edition"]),
            str(document["made"]),
            {role: int(document["replicas"][role]) for role in GROUPS},
            decode_backup(json.dumps(document["order"])),
            decode_backup(json.dumps(document["catalog"])),
        )
    except (KeyError, TypeError, ValueError, JournalError) as error:
        raise LocalError(f"{path}: the backup is damaged: {error}") from None
    if any(count not in GROUP_SIZES for count in backup.replicas.values()):
        raise LocalError(f"{path}: the backup is damaged: replicas {backup.replicas}")
    check_together(backup)
    return backup


def restore(folder: DataFolder, backup: StoreBackup) -> list[str]:
    """Make the store in `folder` begin anew from the backup; a sentence for each replica. Raises
    LocalError when any of the store runs."""
    launcher = Launcher.recorded(folder)
    running = launcher.occupants() if launcher is not None else []
    if running:
        raise LocalError(
            f"the store in {folder.root} runs ({', '.join(running)})",
            f"{folder.command('down')} stops it",
        )
    folder.make()
    done: list[str] = []
    try:
        for role, part in (("order", backup.order), ("catalog", backup.catalog)):
            names = [f"{role}-{number}" for number in range(backup.replicas[role])]
            done += [place_restore(folder.replica(name), part) for name in names]
    except (DataFolderInUse, OSError) as error:
        raise LocalError(f"not restored: {error}", "nothing is lost; try again") from None
    made = f"the backup of {backup.made}"
    write_json(folder.store_file, {"edition": backup.edition, **backup.replicas, "made": made})
    return done
