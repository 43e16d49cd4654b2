"""`verify`, `backup` and `restore` on real journals, without a process."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from emporium.catalog.state_machine import CatalogState
from emporium.local import cli
from emporium.local.folder import DataFolder
from emporium.replication.messages import COMMAND
from emporium.runtime.backup import restored_data
from emporium.runtime.data_folder import FolderLock
from emporium.runtime.journal import JOURNAL
from tests.local.store_journals import extend, logs_with, write_journal, write_store

Run = Callable[..., str]


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    """A data folder."""
    return DataFolder(tmp_path / "data")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run one command; its output together with its exit code."""

    def command(*words: object) -> str:
        code = cli.main([str(word) for word in words])
        captured = capsys.readouterr()
        return f"{captured.out}{captured.err}exit {code}"

    return command


def test_verify_good(folder: DataFolder, run: Run) -> None:
    """Equal whole journals are good, and the output says what was compared."""
    write_store(folder, logs_with(3))
    told = run("verify", "--data", folder.root)
    assert "exit 0" in told
    assert "catalog journals agree" in told
    assert "3 replayed up to entry 6, 3 sales" in told
    assert "3 orders, 3 sales" in told


def test_verify_a_replica_that_is_behind(folder: DataFolder, run: Run) -> None:
    """A shorter journal is no error; how far the others go on is said."""
    logs = logs_with(3)
    write_store(folder, logs)
    shutil.rmtree(folder.replica("catalog-2"))
    write_journal(folder, "catalog-2", logs.catalog[:4])
    told = run("verify", "--data", folder.root)
    assert "exit 0" in told
    assert "2 more after entry 4" in told


def test_verify_an_end_that_will_be_replaced(folder: DataFolder, run: Run) -> None:
    """Entries of an old reign that were never acknowledged are no error either."""
    logs = logs_with(3)
    write_store(folder, logs)
    shutil.rmtree(folder.replica("catalog-0"))
    old = logs.catalog[:4]
    extend(old, COMMAND, "{}", epoch=1)
    write_journal(folder, "catalog-0", old)
    told = run("verify", "--data", folder.root)
    assert "exit 0" in told
    assert "replayed up to entry 4" in told


def test_verify_damage(folder: DataFolder, run: Run) -> None:
    """A changed byte in a journal is found and named."""
    write_store(folder, logs_with(3))
    journal = folder.replica("order-1") / JOURNAL
    data = bytearray(journal.read_bytes())
    place = data.find(b"request-0000000000000001")
    data[place + 8] ^= 1
    journal.write_bytes(data)
    told = run("verify", "--data", folder.root)
    assert "exit 1" in told
    assert "WRONG  journal of order-1 is whole" in told


def test_verify_lost_sales(folder: DataFolder, run: Run) -> None:
    """Orders that the catalog's ledger doesn't hold are found."""
    logs = logs_with(3)
    logs.catalog = logs_with(2).catalog
    logs.order = logs_with(3).order
    write_store(folder, logs)
    told = run("verify", "--data", folder.root)
    assert "WRONG  orders are in the ledger" in told
    assert "exit 1" in told


def test_no_store(folder: DataFolder, run: Run) -> None:
    """Without data there is nothing to verify or back up."""
    assert "there is no store" in run("verify", "--data", folder.root)
    assert "there is no store" in run("backup", "--data", folder.root, "x")


def test_backup_and_restore(folder: DataFolder, run: Run, tmp_path: Path) -> None:
    """A backup of one folder makes a store in another: same sales, same ledger, a new group."""
    logs = logs_with(3)
    write_store(folder, logs)
    file = tmp_path / "backup.json"
    assert "3 sales" in run("backup", "--data", folder.root, file)
    assert file.stat().st_mode & 0o077 == 0
    other = DataFolder(tmp_path / "other")
    told = run("restore", "--data", other.root, file)
    assert "exit 0" in told
    for number in range(3):
        data = restored_data(other.replica(f"catalog-{number}"), "catalog")
        machine = CatalogState()
        machine.start(data)
        assert machine.ledger.length == 3
        assert machine.ledger.chain == logs.sales[-1].chain
        assert restored_data(other.replica(f"order-{number}"), "order")
    store = json.loads(other.store_file.read_text())
    assert (store["catalog"], store["order"], store["edition"]) == (3, 3, "bookstore")


def test_backup_from_a_majority(folder: DataFolder, run: Run, tmp_path: Path) -> None:
    """One lost journal doesn't matter; two of three do."""
    write_store(folder, logs_with(2))
    shutil.rmtree(folder.replica("catalog-0"))
    assert "2 sales" in run("backup", "--data", folder.root, tmp_path / "backup.json")
    shutil.rmtree(folder.replica("catalog-1"))
    told = run("backup", "--data", folder.root, tmp_path / "backup.json")
    assert "less than a majority of the 3 catalog journals" in told


def test_backup_takes_the_newest_log(folder: DataFolder, run: Run, tmp_path: Path) -> None:
    """Of different logs the one of the newer epoch counts, however short (PROTOCOL 1.4)."""
    logs = logs_with(3)
    write_store(folder, logs)
    for number in (0, 1):
        shutil.rmtree(folder.replica(f"order-{number}"))
    newer = logs.order[:4]
    extend(newer, COMMAND, "{}", epoch=2)
    write_journal(folder, "order-0", newer)
    write_journal(folder, "order-1", logs.order[:4])
    assert "2 orders" in run("backup", "--data", folder.root, tmp_path / "backup.json")


def test_restore_over_a_running_replica(folder: DataFolder, run: Run, tmp_path: Path) -> None:
    """A replica that holds its folder's lock stops a restore."""
    write_store(folder, logs_with(1))
    file = tmp_path / "backup.json"
    run("backup", "--data", folder.root, file)
    lock = FolderLock(folder.replica("order-0"))
    lock.acquire(0.0)
    try:
        assert "not restored" in run("restore", "--data", folder.root, file)
    finally:
        lock.release()
    assert "set aside" in run("restore", "--data", folder.root, file)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "no backup"),
        ("{}", "no backup of an Emporium store"),
        ('{"format": "emporium-store-backup", "version": 9}', "version 9"),
        ('{"format": "emporium-store-backup", "version": 1}', "damaged"),
    ],
)
def test_bad_backup(folder: DataFolder, run: Run, tmp_path: Path, text: str, error: str) -> None:
    """A file that is no backup changes nothing."""
    file = tmp_path / "backup.json"
    file.write_text(text)
    told = run("restore", "--data", folder.root, file)
    assert error in told
    assert "exit 1" in told
    assert not folder.root.exists()


def test_damaged_backup(folder: DataFolder, run: Run, tmp_path: Path) -> None:
    """A changed digit inside a part is found by its checksum."""
    write_store(folder, logs_with(2))
    file = tmp_path / "backup.json"
    run("backup", "--data", folder.root, file)
    document = json.loads(file.read_text())
    document["order"]["body"]["index"] += 1
    file.write_text(json.dumps(document))
    assert "damaged" in run("restore", "--data", tmp_path / "other", file)
