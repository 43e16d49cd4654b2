"""`group force-new`: the way back from the loss of a majority's disks."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from emporium.catalog.state_machine import CatalogState
from emporium.local import cli
from emporium.local.commands_group import ACCEPT
from emporium.local.folder import DataFolder
from emporium.replication.messages import COMMAND
from emporium.runtime.backup import restored_data
from emporium.runtime.data_folder import FolderLock
from emporium.runtime.journal import JOURNAL, Journal
from tests.local.store_journals import VOTERS, Logs, extend, logs_with, write_journal, write_store


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    """A data folder."""
    return DataFolder(tmp_path / "data")


def run(capsys: pytest.CaptureFixture[str], folder: DataFolder, *words: str) -> str:
    """Give the command; its output together with its exit code."""
    code = cli.main(["group", "force-new", *words, "--data", str(folder.root)])
    captured = capsys.readouterr()
    return f"{captured.out}{captured.err}exit {code}"


def lose(folder: DataFolder, *names: str) -> None:
    """The folders of these replicas are gone."""
    for name in names:
        shutil.rmtree(folder.replica(name))


def store_that_lost(folder: DataFolder, role: str, *, sales: int = 3) -> Logs:
    """A store of which the role has only replica 1 left."""
    logs = logs_with(sales)
    write_store(folder, logs)
    lose(folder, f"{role}-0", f"{role}-2")
    return logs


def test_it_only_explains_without_the_confirmation(
    folder: DataFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    """Which replica, which entry, what is missing; nothing is changed; exit code 2."""
    store_that_lost(folder, "order")
    told = run(capsys, folder, "order")
    assert "order-0: there is no journal" in told
    assert "order-2: there is no journal" in told
    assert "would begin from order-1: entry 5 of epoch 1, 3 orders" in told
    assert "Nothing is done yet" in told
    assert f"group force-new order {ACCEPT}" in told
    assert "exit 2" in told
    assert not folder.replica("order-0").exists()
    assert not list(folder.root.rglob("set-aside-*"))
    assert not list(folder.root.rglob("restore"))


def test_a_majority_needs_no_force(folder: DataFolder, capsys: pytest.CaptureFixture[str]) -> None:
    """It goes on by itself; so does a group of which nothing is lost."""
    write_store(folder, logs_with(3))
    assert "a majority of the order group is left" in run(capsys, folder, "order", ACCEPT)
    lose(folder, "order-0")
    told = run(capsys, folder, "order", ACCEPT)
    assert "(order-1, order-2)" in told
    assert "exit 1" in told
    assert (folder.replica("order-1") / JOURNAL).exists()


def test_a_replica_that_came_back_empty_counts_as_lost(
    folder: DataFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    """Started again after the loss, it has a new journal that holds nothing."""
    store_that_lost(folder, "order")
    path = folder.replica("order-0")
    path.mkdir()
    journal = Journal(path)
    journal.open()
    journal.close()
    told = run(capsys, folder, "order", ACCEPT)
    assert "order-0: its journal is new and holds nothing" in told
    assert "exit 0" in told


def test_the_catalog_keeps_its_ledger(
    folder: DataFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    """All replicas get the same beginning; the chain stays; the old journal is set aside."""
    logs = store_that_lost(folder, "catalog")
    told = run(capsys, folder, "catalog", ACCEPT)
    assert "exit 0" in told
    assert (folder.replica("catalog-1") / "set-aside-1" / JOURNAL).exists()
    for number in VOTERS:
        machine = CatalogState()
        machine.start(restored_data(folder.replica(f"catalog-{number}"), "catalog"))
        assert (machine.ledger.length, machine.ledger.chain) == (3, logs.sales[-1].chain)
        assert not (folder.replica(f"catalog-{number}") / JOURNAL).exists()
    assert not (folder.replica("order-0") / "restore").exists()
    assert "has its new beginning already" in run(capsys, folder, "catalog", ACCEPT)


def test_the_newest_epoch_wins_over_the_longest_log(
    folder: DataFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of five, two are left: the shorter log of the newer epoch counts (PROTOCOL 1.4)."""
    logs = logs_with(3)
    write_store(folder, logs)
    store = folder.store_file.read_text().replace('"order": 3', '"order": 5')
    folder.store_file.write_text(store)
    lose(folder, "order-0", "order-1", "order-2")
    newer = logs.order[:4]
    extend(newer, COMMAND, "{}", epoch=2)
    write_journal(folder, "order-3", newer)
    write_journal(folder, "order-4", logs.order)
    told = run(capsys, folder, "order")
    assert "would begin from order-3: entry 5 of epoch 2, 2 orders" in told


def test_a_catalog_that_lost_sales_is_told(
    folder: DataFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    """Order will refuse purchases; the operator hears it before."""
    logs = logs_with(3)
    write_store(folder, logs)
    lose(folder, *(f"catalog-{number}" for number in VOTERS))
    write_journal(folder, "catalog-2", logs.catalog[:5])
    told = run(capsys, folder, "catalog")
    assert "WARNING: the orders hold sales that the catalog's ledger doesn't" in told
    assert "Restore both groups from one backup" in told
    assert "exit 2" in told


def test_a_damaged_journal_is_named_and_not_used(
    folder: DataFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is missing like a lost one; without any other there is nothing to begin from."""
    store_that_lost(folder, "order")
    (folder.replica("order-1") / "poisoned").write_text("a failed fsync\n")
    told = run(capsys, folder, "order", ACCEPT)
    assert "no usable journal is left of the order group" in told
    assert "poisoned" in told
    assert "exit 1" in told


def test_journals_of_different_groups_are_refused(
    folder: DataFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody can say which of them is the store's."""
    logs = store_that_lost(folder, "order")
    write_journal(folder, "order-0", logs.catalog)
    told = run(capsys, folder, "order", ACCEPT)
    assert "belong to different groups" in told
    assert (folder.replica("order-1") / JOURNAL).exists()


def test_a_running_replica_stops_it(folder: DataFolder, capsys: pytest.CaptureFixture[str]) -> None:
    """One that holds its folder's lock; given again, it finishes, since the best journal goes
    last."""
    store_that_lost(folder, "order")
    lock = FolderLock(folder.replica("order-1"))
    lock.acquire(0.0)
    try:
        told = run(capsys, folder, "order", ACCEPT)
    finally:
        lock.release()
    assert "not finished" in told
    assert "exit 1" in told
    assert "exit 0" in run(capsys, folder, "order", ACCEPT)
    assert (folder.replica("order-1") / "set-aside-1" / JOURNAL).exists()


def test_a_role_without_a_group(folder: DataFolder) -> None:
    """Only catalog and order have one."""
    with pytest.raises(SystemExit) as caught:
        cli.main(["group", "force-new", "cache", "--data", str(folder.root)])
    assert caught.value.code == 2
