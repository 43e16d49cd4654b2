"""The twin in memory can lose and break what a disk can, and is found out by the same rules."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import pytest

from emporium.replication.effects import Persist, Promised
from emporium.runtime.data_folder import AMNESIAC, FRESH, INTACT
from emporium.runtime.errors import Corrupt, DiskFull, JournalError
from emporium.runtime.memory_journal import MemoryJournal, open_memory
from tests.unit.journal_history import History


def names() -> Callable[[], str]:
    """Incarnations one, two, …"""
    numbers = count(1)
    return lambda: f"i{next(numbers)}"


@pytest.fixture
def history() -> History:
    """The transactions that the fixture below has written."""
    return History()


@pytest.fixture
def journal(history: History) -> MemoryJournal:
    """A twin that holds a formed group and five entries."""
    made = MemoryJournal(names())
    assert open_memory(made).outcome == FRESH
    made.write(history.form())
    made.write(history.append(5))
    return made


def test_crash_keeps_what_was_written(journal: MemoryJournal, history: History) -> None:
    """Every write is synced before it returns."""
    assert journal.crash() == 0
    found = open_memory(journal)
    assert (found.outcome, found.durable.incarnation) == (INTACT, "i1")
    assert found.durable.entries == history.kept()


def test_crash_loses_what_was_not_synced(journal: MemoryJournal, history: History) -> None:
    """With the planted bug on, acknowledged writes vanish without a trace."""
    kept = history.kept()
    journal.skip_sync = True
    journal.write(history.append(2))
    journal.write(history.append(2))
    assert journal.durable().entries == kept
    assert journal.crash() == 2
    assert open_memory(journal).durable.entries == kept


def test_sync_by_hand_keeps_it(journal: MemoryJournal, history: History) -> None:
    """What was synced before the crash stays."""
    journal.skip_sync = True
    journal.write(history.append(2))
    journal.sync()
    kept = history.kept()
    journal.write(history.append(2))
    assert journal.crash() == 1
    assert open_memory(journal).durable.entries == kept


def test_journal_set_back_is_found_by_its_mark(journal: MemoryJournal) -> None:
    """It is set aside, and the replica begins with a new incarnation."""
    assert journal.set_back(1) == 1
    found = open_memory(journal)
    assert found.outcome == AMNESIAC
    assert "at transaction 1, its mark at 2" in found.sentence
    assert (found.durable.incarnation, found.durable.genesis) == ("i2", None)
    assert journal.set_aside == 1


def test_erased_journal_is_a_fresh_one(journal: MemoryJournal) -> None:
    """A new disk has no mark; the incarnation is new all the same."""
    journal.erase()
    found = open_memory(journal)
    assert (found.outcome, found.durable.incarnation) == (FRESH, "i2")


def test_broken_entry_is_found_by_the_chain(journal: MemoryJournal) -> None:
    """An entry that isn't there can't be broken."""
    assert not journal.break_entry(99)
    assert journal.break_entry(3)
    with pytest.raises(Corrupt, match="broken at entry 3"):
        journal.open()


def test_full_disk_leaves_it_intact(journal: MemoryJournal, history: History) -> None:
    """The write fails, nothing of it is there, and the replica comes back."""
    kept = history.kept()
    journal.fail(DiskFull())
    with pytest.raises(DiskFull):
        journal.write(history.append())
    found = open_memory(journal)
    assert (found.outcome, found.durable.entries) == (INTACT, kept)
    journal.write(Persist())


def test_failed_write_poisons_it(journal: MemoryJournal, history: History) -> None:
    """Any other failure makes an amnesiac at the next start."""
    journal.fail(JournalError("planted"))
    with pytest.raises(JournalError, match="planted"):
        journal.write(history.append())
    with pytest.raises(JournalError, match="isn't open"):
        journal.write(Persist())
    assert open_memory(journal).outcome == AMNESIAC


@pytest.mark.parametrize("synced", [True, False])
def test_long_history_is_folded(synced: bool) -> None:
    """After hundreds of transactions the newest can still be taken back, the old ones are kept."""
    history, journal = History(), MemoryJournal(names())
    journal.open()
    journal.skip_sync = not synced
    journal.write(history.form())
    for _ in range(300):
        journal.write(history.append())
    journal.close()
    assert journal.counter == 301
    assert open_memory(journal).durable.entries == history.kept()
    assert journal.set_back(3) == 3
    assert journal.durable().entries == history.kept()[:-3]


def test_older_promise_is_refused(journal: MemoryJournal) -> None:
    """The twin refuses what the real one refuses."""
    journal.write(Persist(promised=Promised(5, 1)))
    with pytest.raises(JournalError):
        journal.write(Persist(promised=Promised(4, 1)))
