"""A journal under real faults: kill -9, a full disk, a file-size limit, an fsync that fails."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from emporium.replication.messages import Entry
from emporium.runtime.backup import verify_journal
from emporium.runtime.data_folder import AMNESIAC, FRESH, INTACT, DataFolder, Opened
from emporium.runtime.errors import DiskFull
from emporium.runtime.journal_failures import POISONED

pytestmark = pytest.mark.local

DEADLINE_S = 30.0

WRITER = '''
"""Appends entries of argv[2] characters for ever; prints each one's index and chain after it is
acknowledged, and the error's name when it has to leave."""
import os, sys
from pathlib import Path
from emporium.replication.effects import Persist, Promised
from emporium.replication.log import Log
from emporium.runtime.data_folder import DataFolder
from emporium.runtime.errors import JournalError

try:
    opened = DataFolder(Path(sys.argv[1])).open()
    print("opened", opened.outcome, opened.durable.incarnation, flush=True)
    log = Log(opened.durable.entries)
    if opened.durable.genesis is None:
        genesis = log.make(0, "genesis", "{}")
        opened.journal.write(Persist(Promised(1, 0), genesis, entries=[genesis]))
    while True:
        entries = [log.make(1, "command", "x" * int(sys.argv[2])) for _ in range(3)]
        opened.journal.write(Persist(entries=entries))
        print(entries[-1].index, entries[-1].chain, flush=True)
except JournalError as error:
    print("left", type(error).__name__, error.detail, flush=True)
    os._exit(3)
'''


@dataclass
class Writer:
    """A process that writes a journal, and what it has acknowledged."""

    folder: Path
    size: int = 100
    limit: int = resource.RLIM_INFINITY
    acknowledged: list[tuple[int, str]] = field(default_factory=list)
    outcome: str = ""
    incarnation: str = ""
    error: str = ""

    @contextlib.contextmanager
    def running(self) -> Iterator[subprocess.Popen[str]]:
        """Start it; kill it in the end, whatever happened."""
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(self.folder), str(self.size)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            preexec_fn=self._limit if self.limit != resource.RLIM_INFINITY else None,  # noqa: PLW1509
        )
        with process:
            try:
                yield process
            finally:
                process.kill()
                self.read(process)

    def _limit(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.limit, self.limit))

    def read(self, process: subprocess.Popen[str], until: int = sys.maxsize) -> None:
        """Read its lines up to acknowledgement `until` or to their end."""
        assert process.stdout is not None
        for line in process.stdout:
            words = line.split()
            if words[0] == "opened" and len(words) == 3:
                self.outcome, self.incarnation = words[1], words[2]
            elif words[0] == "left":
                self.error = line
            elif len(words) == 2 and line.endswith("\n"):
                self.acknowledged.append((int(words[0]), words[1]))
            if len(self.acknowledged) >= until:
                return

    def run_to_the_end(self) -> None:
        """Start it and wait until it leaves by itself."""
        deadline = time.monotonic() + DEADLINE_S
        with self.running() as process:
            self.read(process)
            assert process.wait(max(0.1, deadline - time.monotonic())) == 3

    def missing(self, entries: tuple[Entry, ...]) -> list[int]:
        """The acknowledged entries that are not among `entries`."""
        chains = {entry.index: entry.chain for entry in entries}
        return [index for index, chain in self.acknowledged if chains.get(index) != chain]


def look(folder: Path) -> Opened:
    """Open a data folder and close it again."""
    data_folder = DataFolder(folder, lock_wait_ms=5_000)
    try:
        return data_folder.open()
    finally:
        data_folder.close()


@contextlib.contextmanager
def mounted(place: Path, *options: str) -> Iterator[Path]:
    """Mount something at `place` for a while; skip where that isn't allowed."""
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None or sys.platform != "linux":
        pytest.skip("only root on Linux can mount a small file system")
    place.mkdir(exist_ok=True)
    done = subprocess.run(
        [mount, *options, str(place)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no small file system can be mounted here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def tmpfs(place: Path, size: str) -> contextlib.AbstractContextManager[Path]:
    """A file system of its own, of `size`."""
    return mounted(place, "-t", "tmpfs", "-o", f"size={size}", "tmpfs")


def grow(place: Path, size: str) -> None:
    """Give a mounted tmpfs more space."""
    subprocess.run(["mount", "-o", f"remount,size={size}", str(place)], check=True)


# --- kill -9 ---


def test_killed_in_the_middle_of_writes_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    """Eight kills in a row; each time every acknowledged entry is there, and the replica is the
    same voter."""
    chance = random.Random(1)
    writer = Writer(tmp_path / "data")
    for number in range(8):
        with writer.running() as process:
            writer.read(process, until=len(writer.acknowledged) + chance.randint(20, 200))
        assert writer.outcome == (INTACT if number else FRESH)
        report = verify_journal(tmp_path / "data")
        assert report.whole, report.problems
        found = look(tmp_path / "data")
        assert found.outcome == INTACT
        assert writer.missing(found.durable.entries) == []
        assert found.durable.incarnation == writer.incarnation
    assert len(writer.acknowledged) >= 160


def test_check_beside_a_running_process_doesnt_disturb_it(tmp_path: Path) -> None:
    """Thirty checks while a process writes: each whole, and the process goes on."""
    writer = Writer(tmp_path / "data")
    with writer.running() as process:
        writer.read(process, until=10)
        counters = []
        for _ in range(30):
            report = verify_journal(tmp_path / "data")
            assert report.whole, report.problems
            counters.append(report.counter)
            # What was acknowledged before the check waits in the pipe: only what is newer than what
            # the check saw shows that the process goes on.
            while writer.acknowledged[-1][0] <= report.last_index:
                writer.read(process, until=len(writer.acknowledged) + 1)
                assert process.poll() is None
    assert counters == sorted(set(counters))
    assert writer.error == ""
    assert writer.missing(look(tmp_path / "data").durable.entries) == []


# --- a full disk ---


@pytest.mark.parametrize("size", [10, 3_000, 60_000])
def test_full_disk_stops_the_replica_and_keeps_everything(tmp_path: Path, size: int) -> None:
    """On a real small file system: it leaves as DiskFull, and comes back as the same voter."""
    with tmpfs(tmp_path / "disk", "1m") as disk:
        writer = Writer(disk / "data", size)
        writer.run_to_the_end()
        assert "DiskFull" in writer.error
        assert not (disk / "data" / POISONED).exists()
        with contextlib.suppress(DiskFull):  # it is still full: the same again, or just enough
            assert look(disk / "data").outcome == INTACT
        grow(disk, "16m")
        found = look(disk / "data")
        assert found.outcome == INTACT
        assert found.durable.incarnation == writer.incarnation
        assert writer.missing(found.durable.entries) == []
        again = Writer(disk / "data", size)
        with again.running() as process:
            again.read(process, until=3)
        assert again.outcome == INTACT
        assert len(again.acknowledged) >= 3


@pytest.mark.parametrize("size", ["4k", "8k", "16k", "28k", "40k", "64k"])
def test_disk_full_at_the_first_start_leaves_no_half_journal(tmp_path: Path, size: str) -> None:
    """Once there is space, the replica starts as if nothing had happened."""
    with tmpfs(tmp_path / "disk", size) as disk:
        writer = Writer(disk / "data")
        writer.run_to_the_end()
        assert "DiskFull" in writer.error
        grow(disk, "16m")
        found = look(disk / "data")
        assert found.outcome in (FRESH, INTACT)
        assert writer.missing(found.durable.entries) == []


@pytest.mark.parametrize("limit", [1, 20_000, 100_000, 250_000, 1_000_000])
def test_file_size_limit_counts_as_a_full_disk(tmp_path: Path, limit: int) -> None:
    """SQLite reports it as a failed write; it is told apart all the same."""
    writer = Writer(tmp_path / "data", 500, limit)
    writer.run_to_the_end()
    assert "DiskFull" in writer.error, writer.error
    assert not (tmp_path / "data" / POISONED).exists()
    found = look(tmp_path / "data")
    assert found.outcome in (FRESH, INTACT)
    assert writer.missing(found.durable.entries) == []


# --- an fsync that fails ---


def test_failed_fsync_stops_the_replica_and_makes_an_amnesiac(tmp_path: Path) -> None:
    """On a real file system whose disk takes no more blocks, though it says that it has them: what
    was written is in memory only, and the fsync says so."""
    if shutil.which("mkfs.ext4") is None:
        pytest.skip("there is no mkfs.ext4")
    with tmpfs(tmp_path / "store", "6m") as store:
        image = store / "disk.img"
        with image.open("wb") as file:
            file.truncate(64 << 20)  # more than the store can ever hold
        options = ["-q", "-O", "^has_journal", "-E", "nodiscard"]
        subprocess.run(["mkfs.ext4", *options, str(image)], check=True, capture_output=True)
        writer = Writer(tmp_path / "disk" / "data", 20_000)
        with mounted(tmp_path / "disk", "-o", "loop", str(image)):
            writer.run_to_the_end()
            assert writer.acknowledged
            assert "JournalError" in writer.error, writer.error
            assert "SQLITE_IOERR" in writer.error
            noted = (tmp_path / "disk" / "data" / POISONED).exists()
        grow(store, "128m")
        with mounted(tmp_path / "disk", "-o", "loop", str(image)):
            found = look(tmp_path / "disk" / "data")
        # The note is on a failing disk as well: without it, nothing may be missing.
        intact = found.outcome == INTACT and not noted
        assert found.outcome == AMNESIAC or intact
        assert found.outcome == AMNESIAC or writer.missing(found.durable.entries) == []
