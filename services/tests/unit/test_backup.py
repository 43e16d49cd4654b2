"""A backup begins a new group, or says why it can't; a journal can be checked from outside."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from emporium.runtime.backup import (
    Backup,
    backup_of,
    decode_backup,
    encode_backup,
    place_restore,
    read_backup,
    restore_genesis,
    restored_data,
    verify_backup,
    verify_journal,
    write_backup,
)
from emporium.runtime.data_folder import FRESH, RESTORE, DataFolder
from emporium.runtime.errors import Corrupt, DataFolderInUse, JournalError
from emporium.runtime.journal import JOURNAL, MARK
from emporium.runtime.journal_failures import POISONED
from emporium.runtime.mark import Slot
from tests.unit.journal_history import History, copy_files, open_folder

BACKUP = Backup("catalog", "g", 9, 2, "c9", (0, 1, 2), 4, "l4", '{"é": "\\u0001"}', 123)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a journal, closed."""
    data_folder, history = DataFolder(tmp_path / "data"), History(1)
    journal = data_folder.open().journal
    journal.write(history.form())
    journal.write(history.append(5))
    journal.write(history.take_snapshot())
    data_folder.close()
    return data_folder.folder


# --- the file ---


def test_backup_comes_back_as_it_went(tmp_path: Path) -> None:
    """Every field survives, and only the owner may read it."""
    path = tmp_path / "catalog.backup"
    write_backup(path, BACKUP)
    assert read_backup(path) == BACKUP
    assert path.stat().st_mode & 0o777 == 0o600
    assert verify_backup(path) == []
    assert [item.name for item in tmp_path.iterdir()] == ["catalog.backup"]


def test_backup_holds_neither_incarnation_nor_promise() -> None:
    """Of the voters only the ids go in."""
    history = History()
    history.form()
    history.take_snapshot()
    assert history.snapshot is not None
    backup = backup_of("catalog", "g", history.snapshot, (3, "l3"))
    assert backup.voters == (0, 1, 2)
    assert (backup.ledger_length, backup.ledger_chain) == (3, "l3")
    text = encode_backup(backup)
    assert "promise" not in text
    assert not any(f'"{incarnation}"' in text for _, incarnation in history.snapshot.voters)


def test_changed_byte_of_a_backup_is_found() -> None:
    """A backup with any digit or letter of its body changed is refused."""
    text = encode_backup(BACKUP)
    body = text.index('"body"')
    for place in range(body + 8, len(text) - 3):
        if text[place].isalnum():
            changed = text[:place] + ("0" if text[place] != "0" else "1") + text[place + 1 :]
            with pytest.raises(Corrupt):
                decode_backup(changed)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no JSON"),
        ("[]", "no backup"),
        ('{"format": "other"}', "no backup"),
        ('{"format": "emporium-backup"}', "unknown version"),
        ('{"format": "emporium-backup", "version": 1, "body": {}}', "checksum"),
        ('{"format": "emporium-backup", "version": 2}', "version 2; this program reads up to 1"),
    ],
)
def test_other_file_is_refused(text: str, reason: str) -> None:
    """The error says what the file is instead."""
    with pytest.raises(JournalError, match=reason):
        decode_backup(text)


def test_backup_with_a_field_of_another_kind_is_refused() -> None:
    """The checksum alone isn't trusted."""
    wrong = replace(BACKUP, index="9", voters=("0",))  # type: ignore[arg-type]
    with pytest.raises(Corrupt, match="index, voters"):
        decode_backup(encode_backup(wrong))


def test_missing_or_unreadable_backup_is_reported(tmp_path: Path) -> None:
    """The check gives a sentence, not an exception."""
    assert "No such file" in verify_backup(tmp_path / "none")[0]
    (tmp_path / "noise").write_bytes(b"\xff\xfe\x00")
    assert "no text" in verify_backup(tmp_path / "noise")[0]


# --- restore ---


def test_restored_state_is_the_data_of_the_genesis() -> None:
    """The text that a state machine starts from."""
    assert json.loads(restore_genesis(BACKUP)) == {"restored": BACKUP.state}


def test_placed_backup_begins_a_new_journal(folder: Path) -> None:
    """The old journal is set aside, the next start is fresh and finds the data."""
    before = open_folder(folder).durable.incarnation
    done = place_restore(folder, BACKUP)
    assert "set aside as set-aside-1" in done
    assert restored_data(folder, "catalog") == restore_genesis(BACKUP)
    found = open_folder(folder)
    assert found.outcome == FRESH
    assert found.durable.incarnation != before
    assert restored_data(folder, "catalog") == restore_genesis(BACKUP)


def test_nothing_is_restored_without_a_backup(folder: Path) -> None:
    """An ordinary start gets no data from here."""
    assert restored_data(folder, "catalog") == ""


def test_backup_of_another_role_is_refused(tmp_path: Path) -> None:
    """The order's backup doesn't go into a catalog."""
    place_restore(tmp_path, BACKUP)
    with pytest.raises(JournalError, match="of role catalog, not of order"):
        restored_data(tmp_path, "order")


def test_running_replica_is_not_restored(tmp_path: Path) -> None:
    """A restore needs the folder's lock."""
    data_folder = DataFolder(tmp_path)
    data_folder.open()
    with pytest.raises(DataFolderInUse):
        place_restore(tmp_path, BACKUP)
    data_folder.close()
    assert not (tmp_path / RESTORE).exists()


# --- the check of a journal ---


def test_whole_journal_is_reported_as_such(folder: Path) -> None:
    """The report names what is in it."""
    report = verify_journal(folder)
    assert report.whole
    assert (report.counter, report.mark_counter) == (3, 3)
    assert (report.snapshot_index, report.first_index, report.last_index) == (6, 4, 8)
    assert (report.entries, report.promised_epoch, report.format_version) == (5, 1, 1)
    durable = open_folder(folder).durable
    assert report.last_chain == durable.entries[-1].chain
    assert durable.genesis is not None
    assert (report.incarnation, report.group) == (durable.incarnation, durable.genesis.chain)
    assert verify_journal(folder / JOURNAL) == verify_journal(folder)


def test_check_changes_nothing(folder: Path) -> None:
    """The journal and the mark are the same bytes afterwards."""
    before = [(folder / name).read_bytes() for name in (JOURNAL, MARK)]
    assert verify_journal(folder).whole
    assert [(folder / name).read_bytes() for name in (JOURNAL, MARK)] == before


def test_broken_journal_is_reported(folder: Path, tmp_path: Path) -> None:
    """At every page, and with the reason."""
    for start in range(0, (folder / JOURNAL).stat().st_size, 4096):
        copy = copy_files(folder, tmp_path / f"copy-{start}")
        data = bytearray((copy / JOURNAL).read_bytes())
        data[start : start + 4096] = bytes(4096)
        (copy / JOURNAL).write_bytes(data)
        report = verify_journal(copy)
        assert not report.whole
        assert report.problems[0]


def test_journal_behind_its_mark_is_reported(folder: Path) -> None:
    """The check judges as a start would."""
    incarnation = verify_journal(folder).incarnation
    (folder / MARK).write_bytes(Slot(incarnation, 99, 1, 0).encode())
    assert "its mark at 99" in verify_journal(folder).problems[0]


def test_poison_and_absence_are_reported(folder: Path, tmp_path: Path) -> None:
    """A note and a missing journal are problems."""
    (folder / POISONED).write_text("planted")
    assert "poisoned" in verify_journal(folder).problems[0]
    assert "no journal" in verify_journal(tmp_path / "none").problems[0]
