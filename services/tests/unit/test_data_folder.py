"""A data folder has one user at a time, and a start that is cut short anywhere can be repeated."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from emporium.runtime import data_folder as module
from emporium.runtime.backup import backup_of, place_restore
from emporium.runtime.data_folder import AMNESIAC, FRESH, INTACT, DataFolder, FolderLock
from emporium.runtime.errors import DataFolderInUse, DiskFull, JournalError
from emporium.runtime.journal import DRAFT, JOURNAL, MARK
from emporium.runtime.journal_failures import POISONED
from emporium.runtime.mark import SLOT_BYTES, Slot
from tests.unit.journal_history import History, copy_files, open_folder

HOLD = """
import sys, time
from pathlib import Path
from emporium.runtime.data_folder import FolderLock
FolderLock(Path(sys.argv[1])).acquire(0)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the folder until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


@pytest.fixture
def written(tmp_path: Path) -> tuple[Path, History]:
    """A folder with a journal of a formed group, closed."""
    folder, history = DataFolder(tmp_path / "written"), History()
    journal = folder.open().journal
    journal.write(history.form())
    journal.write(history.append(5))
    folder.close()
    return folder.folder, history


# --- the lock ---


def test_second_process_is_refused_with_the_first_ones_id(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    """Without waiting, the error names who holds the folder; nothing is changed in it."""
    with pytest.raises(DataFolderInUse, match=rf"process id {holder.pid}\)"):
        DataFolder(tmp_path).open()
    assert not (tmp_path / JOURNAL).exists()


def test_second_process_waits_and_then_fails(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    """The wait is as long as it was set."""
    assert holder.poll() is None
    began = time.monotonic()
    with pytest.raises(DataFolderInUse, match="waited 300 ms"):
        DataFolder(tmp_path, lock_wait_ms=300).open()
    assert time.monotonic() - began >= 0.3


def test_second_process_follows_when_the_first_is_killed(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    """The successor of a pod that is deleted by force starts as soon as that has gone."""
    timer = threading.Timer(0.2, holder.kill)
    timer.start()
    folder = DataFolder(tmp_path, lock_wait_ms=10_000)
    assert folder.open().outcome == FRESH
    folder.close()
    timer.join()


def test_folder_can_be_opened_again_by_the_same_process(tmp_path: Path) -> None:
    """Closing gives the lock and the journal back; closing twice is nothing."""
    folder = DataFolder(tmp_path)
    first = folder.open().durable
    folder.close()
    folder.close()
    again = folder.open()
    assert (again.outcome, again.durable) == (INTACT, first)
    folder.close()


def test_lock_is_given_back_after_a_failed_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that couldn't be opened isn't locked for the next, nor is its journal blamed."""

    def refused(*_: object) -> None:
        raise PermissionError(errno.EACCES, "not yours")

    monkeypatch.setattr("emporium.runtime.mark.Mark.start", refused)
    with pytest.raises(JournalError, match="not yours"):
        DataFolder(tmp_path).open()
    assert not (tmp_path / POISONED).exists()
    lock = FolderLock(tmp_path)
    lock.acquire(0)
    assert lock.held
    lock.release()


# --- what a journal is worth ---


def test_missing_folder_is_made(tmp_path: Path) -> None:
    """A first start needs no folder."""
    found = open_folder(tmp_path / "a" / "b")
    assert found.outcome == FRESH
    assert found.durable.incarnation in found.sentence


def test_whole_journal_is_intact(written: tuple[Path, History]) -> None:
    """A clean start finds everything, and says up to where."""
    folder, history = written
    found = open_folder(folder)
    assert found.outcome == INTACT
    assert found.durable.entries == history.kept()
    assert "log up to 6" in found.sentence


def test_lost_journal_is_amnesia(written: tuple[Path, History]) -> None:
    """A mark without a journal: a new incarnation."""
    folder, _ = written
    before = open_folder(folder).durable.incarnation
    (folder / JOURNAL).unlink()
    found = open_folder(folder)
    assert found.outcome == AMNESIAC
    assert found.durable.incarnation != before
    assert "the journal is gone" in found.sentence
    assert (folder / "set-aside-1" / MARK).exists()


def test_journal_behind_its_mark_is_amnesia(written: tuple[Path, History], tmp_path: Path) -> None:
    """An older copy of the journal under a newer mark is found out."""
    folder, history = written
    old = copy_files(folder, tmp_path / "old")
    data_folder = DataFolder(folder)
    data_folder.open().journal.write(history.append())
    data_folder.close()
    shutil.copyfile(old / JOURNAL, folder / JOURNAL)
    found = open_folder(folder)
    assert found.outcome == AMNESIAC
    assert "at transaction 2, its mark at 3" in found.sentence


def test_lost_mark_accuses_nobody(written: tuple[Path, History]) -> None:
    """Without a mark the journal alone decides, and a mark is made."""
    folder, history = written
    (folder / MARK).unlink()
    found = open_folder(folder)
    assert (found.outcome, found.durable.entries) == (INTACT, history.kept())
    assert (folder / MARK).exists()


def test_several_journals_are_set_aside_side_by_side(written: tuple[Path, History]) -> None:
    """Nothing that was set aside is overwritten."""
    folder, _ = written
    for number in (1, 2, 3):
        (folder / JOURNAL).write_bytes(b"noise" * 1000)
        assert f"set aside as set-aside-{number}" in open_folder(folder).sentence
        kept = (folder / f"set-aside-{number}" / JOURNAL).read_bytes()
        assert kept == b"noise" * 1000


def test_poison_without_a_journal_is_amnesia(tmp_path: Path) -> None:
    """The note alone is enough, readable or not."""
    (tmp_path / POISONED).write_bytes(b"\xff\xfe")
    found = open_folder(tmp_path)
    assert found.outcome == AMNESIAC
    assert not (tmp_path / POISONED).exists()


# --- starts that are cut short ---


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("reason", ["broken", "behind", "poisoned", "broken without a mark"])
@pytest.mark.parametrize("step", range(6))
def test_setting_aside_cut_short_ends_in_amnesia(
    written: tuple[Path, History], monkeypatch: pytest.MonkeyPatch, reason: str, step: int
) -> None:
    """Killed before any of the moves, the next start still trusts nothing of the old journal."""
    folder, _ = written
    before = open_folder(folder).durable.incarnation
    (folder / f"{JOURNAL}-wal").touch()
    if reason.startswith("broken"):
        (folder / JOURNAL).write_bytes(b"noise" * 1000)
    if reason == "behind":
        (folder / MARK).write_bytes(far_mark(before, 99))
    if reason == "poisoned":
        (folder / POISONED).write_text("planted")
    if reason.endswith("mark"):
        (folder / MARK).unlink()
    count = 0
    rename = Path.rename

    def killed(self: Path, target: Path) -> Path:
        nonlocal count
        count += 1
        if count > step:
            raise Killed
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed)
        with contextlib.suppress(Killed):
            open_folder(folder)
    found = open_folder(folder)
    assert found.durable.incarnation != before
    assert found.durable.genesis is None
    assert found.outcome in (AMNESIAC, FRESH, INTACT)
    assert open_folder(folder).outcome == INTACT


def far_mark(incarnation: str, counter: int) -> bytes:
    """A mark far ahead."""
    return Slot(incarnation, counter, 1, 0).encode() + b" " * SLOT_BYTES


@pytest.mark.parametrize("function", ["sync_file", "create_tables", "sync_folder"])
def test_first_start_cut_short_is_a_fresh_start_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    """A half-made journal is never taken for one."""

    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(f"emporium.runtime.journal.{function}", killed)
        with pytest.raises(Killed):
            open_folder(tmp_path)
    found = open_folder(tmp_path)
    assert found.outcome in (FRESH, INTACT)
    assert found.durable.genesis is None
    assert not list(tmp_path.glob(f"{DRAFT}*"))
    assert not list(tmp_path.glob("set-aside-*"))


def test_full_disk_at_the_start_is_told_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the folder nor the journal is blamed."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr("emporium.runtime.mark.Mark.start", full)
    with pytest.raises(DiskFull, match="no space"):
        open_folder(tmp_path)
    assert not (tmp_path / POISONED).exists()


def test_placed_restore_is_renamed_when_the_group_has_formed(tmp_path: Path) -> None:
    """A backup begins one group only."""
    history = History()
    history.form()
    history.take_snapshot()
    assert history.snapshot is not None
    place_restore(tmp_path, backup_of("catalog", "g", history.snapshot))
    folder = DataFolder(tmp_path)
    assert folder.open().outcome == FRESH
    folder.close()
    assert (tmp_path / module.RESTORE).exists()
    folder.open().journal.write(History().form())
    folder.close()
    open_folder(tmp_path)
    assert not (tmp_path / module.RESTORE).exists()
    assert (tmp_path / module.RESTORED).exists()
