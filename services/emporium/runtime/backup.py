"""Backups of a replica's state, their way into a new group, and the check of a whole journal.

A backup holds what the state machine holds, the ids of the voters and the place in the log. It
has no incarnation and no promise: whoever starts from it starts a new group, so that a copy of an
old promise can never vote (PROTOCOL 1.8). It is one JSON document:

    {"format": "emporium-backup", "version": 1, "checksum": …, "body": {…}}

`body` has the fields of `Backup`; the checksum is BLAKE2b over the body's canonical text.

To restore, the backup is put into the data folder of every replica of the group, while none runs
(`place_restore`); the old journal is set aside. At the next start `restored_data` gives the text
for `CoreSettings.data`, and the first entry of the new group carries it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from emporium.replication.messages import Snapshot
from emporium.runtime import journal_rows as rows
from emporium.runtime.data_folder import RESTORE, FolderLock, set_aside
from emporium.runtime.errors import Corrupt, JournalError
from emporium.runtime.files import write_whole
from emporium.runtime.journal import JOURNAL, MARK
from emporium.runtime.journal_failures import POISONED
from emporium.runtime.mark import behind, read_slots

FORMAT, VERSION = "emporium-backup", 1


@dataclass(frozen=True, slots=True)
class Backup:
    """The state of a group after `index`, as one replica had applied it."""

    role: str
    group: str  # id of the group it was taken from
    index: int
    epoch: int  # of the entry at `index`
    chain: str  # chain hash of the log at `index`
    voters: tuple[int, ...]  # ids only
    ledger_length: int  # catalog: sales in the ledger; order: the watermark
    ledger_chain: str  # the ledger's chain hash there
    state: str  # what the state machine's snapshot() gave
    stamp: int = 0  # when it was taken, ms since 1970; 0 when that isn't known


def backup_of(
    role: str, group: str, snapshot: Snapshot, ledger: tuple[int, str] = (0, ""), stamp: int = 0
) -> Backup:
    """The backup that a snapshot makes, with the ledger's length and chain hash."""
    return Backup(
        role=role,
        group=group,
        index=snapshot.index,
        epoch=snapshot.epoch,
        chain=snapshot.chain,
        voters=tuple(replica for replica, _ in snapshot.voters),
        ledger_length=ledger[0],
        ledger_chain=ledger[1],
        state=snapshot.state,
        stamp=stamp,
    )


# --- the file ---


def encode_backup(backup: Backup) -> str:
    """The backup as the text of its file."""
    body = asdict(backup)
    document = {"format": FORMAT, "version": VERSION, "checksum": _digest(body), "body": body}
    return json.dumps(document, indent=1) + "\n"


def decode_backup(text: str) -> Backup:
    """The backup in the text of a file. Raises Corrupt, and JournalError for a newer version."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise Corrupt(f"the backup is no JSON: {error}") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise Corrupt("the file is no backup of Emporium")
    version, body = document.get("version"), document.get("body")
    if isinstance(version, int) and version > VERSION:
        raise JournalError(f"the backup has version {version}; this program reads up to {VERSION}")
    if version != VERSION or not isinstance(body, dict):
        raise Corrupt(f"the backup has the unknown version {version!r}")
    if document.get("checksum") != _digest(body):
        raise Corrupt("the backup doesn't have its checksum")
    return _from_body(body)


def _digest(body: Mapping[str, Any]) -> str:
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _from_body(body: dict[str, Any]) -> Backup:
    if set(body) != {field.name for field in fields(Backup)}:
        raise Corrupt(f"the backup has the fields {', '.join(sorted(body))}")
    voters = body["voters"]
    integers = ("index", "epoch", "ledger_length", "stamp")
    wrong = [name for name in integers if type(body[name]) is not int]
    texts = ("role", "group", "chain", "ledger_chain", "state")
    wrong += [name for name in texts if not isinstance(body[name], str)]
    if not isinstance(voters, list) or not all(type(voter) is int for voter in voters):
        wrong.append("voters")
    if wrong:
        raise Corrupt(f"the backup's {', '.join(wrong)} can't be read")
    return Backup(**{**body, "voters": tuple(voters)})


def write_backup(path: Path, backup: Backup) -> None:
    """Write the file whole or not at all, for its owner only. Raises OSError."""
    write_whole(path, encode_backup(backup))


def read_backup(path: Path) -> Backup:
    """Read and verify a file. Raises OSError, Corrupt, JournalError for a newer version."""
    try:
        return decode_backup(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise Corrupt(f"the backup is no text: {error}") from None


def verify_backup(path: Path) -> list[str]:
    """What is wrong with a file, one sentence each; empty when it can be restored."""
    try:
        read_backup(path)
    except (OSError, JournalError) as error:
        return [str(error)]
    return []


# --- restore ---


def restore_genesis(backup: Backup) -> str:
    """The text for `CoreSettings.data`: what a new group's genesis carries, so that its state
    machine starts from the backup."""
    return json.dumps({"restored": backup.state})


def place_restore(folder: Path, backup: Backup) -> str:
    """Make the replica of `folder` begin a new group from `backup` at its next start; give one
    sentence that says what was done. Call it for every replica of the group.

    Raises DataFolderInUse when the replica runs, and OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FolderLock(folder)
    lock.acquire(0.0)
    try:
        done = f"{folder.name}: starts a new group from the backup at entry {backup.index}"
        write_backup(folder / RESTORE, backup)  # first: cut short, the old journal still counts
        if any((folder / name).exists() for name in (JOURNAL, MARK, POISONED)):
            done += f"; the old journal is set aside as {set_aside(folder).name}"
        return done
    finally:
        lock.release()


def restored_data(folder: Path, role: str) -> str:
    """The text for `CoreSettings.data` when a restore is placed in `folder`; empty when none is.

    Raises Corrupt, JournalError for a newer version or another role's backup, and OSError.
    """
    try:
        backup = read_backup(folder / RESTORE)
    except FileNotFoundError:
        return ""
    if backup.role != role:
        raise JournalError(f"the backup in {folder} is of role {backup.role}, not of {role}")
    return restore_genesis(backup)


# --- the check of a journal ---


@dataclass(frozen=True, slots=True)
class JournalReport:
    """What a journal holds and what is wrong with it. Without `problems` it is whole."""

    path: str
    problems: tuple[str, ...]
    format_version: int = 0
    incarnation: str = ""
    counter: int = 0
    mark_counter: int = -1  # -1: no readable slot
    promised_epoch: int = 0
    candidate: int = -1
    group: str = ""  # chain hash of the genesis; empty before the group has formed
    snapshot_index: int = 0
    snapshot_epoch: int = 0
    first_index: int = 0  # of the entries that are kept; 0 when none is
    last_index: int = 0
    last_epoch: int = 0
    last_chain: str = ""
    entries: int = 0

    @property
    def whole(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def verify_journal(path: Path) -> JournalReport:
    """Check every row, the chain, the format version and the mark of a journal.

    `path` is the data folder or the journal in it. It only reads, as of one moment, and a process
    that uses the journal doesn't notice; but never call it inside that process.
    """
    path = path / JOURNAL if path.is_dir() else path
    if not path.is_file():
        return JournalReport(str(path), (f"there is no journal at {path}",))
    note = path.with_name(POISONED)
    problems = [f"there is a note that it is poisoned, {note}"] if note.exists() else []
    slots = read_slots(path.with_name(MARK))  # first: the journal only moves away from it
    try:
        contents = read_journal(path)
    except JournalError as error:
        return JournalReport(str(path), (*problems, error.detail))
    except sqlite3.Error as error:
        return JournalReport(str(path), (*problems, f"SQLite can't read it: {error}"))
    if reason := behind(slots, contents.state):
        problems.append(reason)
    mark_counter = max((slot.counter for slot in slots), default=-1)
    return _report(path, problems, contents, mark_counter)


def read_journal(path: Path) -> rows.Contents:
    """All that the journal at `path` holds, verified, read beside a process that uses it.

    Raises Corrupt, JournalError for a newer format, and sqlite3.Error.
    """
    location = f"{path.absolute().as_uri()}?mode=ro"
    connection = sqlite3.connect(location, uri=True, isolation_level=None)
    with contextlib.closing(connection):
        connection.execute("PRAGMA cell_size_check = ON")
        try:
            contents = rows.read_contents(connection)
        except (ValueError, OverflowError) as error:
            raise Corrupt(f"the journal is broken: {error}") from error
        if (found := connection.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise Corrupt(f"SQLite's check says: {found}")
        return contents


def _report(
    path: Path, problems: list[str], contents: rows.Contents, mark_counter: int
) -> JournalReport:
    state, snapshot, entries = contents.state, contents.snapshot, contents.entries
    last_epoch = entries[-1].epoch if entries else (snapshot.epoch if snapshot else 0)
    return JournalReport(
        path=str(path),
        problems=tuple(problems),
        format_version=rows.FORMAT_VERSION,
        incarnation=state.incarnation,
        counter=state.counter,
        mark_counter=mark_counter,
        promised_epoch=state.promised_epoch,
        candidate=state.candidate,
        group=state.genesis,
        snapshot_index=state.snapshot_index,
        snapshot_epoch=snapshot.epoch if snapshot else 0,
        first_index=entries[0].index if entries else 0,
        last_index=state.last_index,
        last_epoch=last_epoch,
        last_chain=state.last_chain,
        entries=len(entries),
    )
