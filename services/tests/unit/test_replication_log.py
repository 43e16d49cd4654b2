"""The log of a replica: a base, the entries after it, and a chain hash over all."""

from __future__ import annotations

import pytest

from emporium.replication.log import Log, LogBroken, chain_hash
from emporium.replication.messages import COMMAND, GENESIS, NOOP, Entry


def filled(*epochs: int) -> Log:
    """A log with one entry for each of `epochs`."""
    log = Log()
    for number, epoch in enumerate(epochs):
        log.make(epoch, COMMAND, f"command {number}")
    return log


def test_entries_are_numbered_from_1_and_chained() -> None:
    """Every chain hash covers the one before it."""
    log = Log()
    first, second = log.make(0, GENESIS, "{}"), log.make(1, NOOP)
    assert (first.index, second.index) == (1, 2)
    assert first.chain == chain_hash("", 0, 1, GENESIS, "{}")
    assert second.chain == chain_hash(first.chain, 1, 2, NOOP, "")
    assert (log.last_index, log.last_epoch, log.last_chain) == (2, 1, second.chain)
    assert log.extent == (1, 2)


def test_a_copy_made_elsewhere_is_equal() -> None:
    """Adding the entries of one log gives another with the same chain."""
    log = filled(1, 1, 2)
    copy = Log(log.after(0, 10, 10_000))
    assert copy.last_chain == log.last_chain


def test_an_entry_that_does_not_fit_is_refused() -> None:
    """A gap, a repeated index, another past and a changed command are all noticed."""
    log = filled(1, 1)
    third = filled(1, 1, 1).entry(3)
    other = filled(1, 2, 2).entry(3)
    changed = Entry(third.epoch, 3, COMMAND, "something else", third.chain)
    for bad in (filled(1, 1, 1, 1).entry(4), log.entry(2), other, changed):
        with pytest.raises(LogBroken):
            log.add(bad)
    log.add(third)


def test_truncation_and_new_entries() -> None:
    """What is truncated is gone; the log goes on before it."""
    log = filled(1, 1, 1, 1)
    kept = log.entry(2).chain
    log.truncate_from(3)
    assert (log.last_index, log.last_chain) == (2, kept)
    assert log.make(2, NOOP).index == 3


def test_compaction_keeps_the_rest_and_the_chain() -> None:
    """The base stands for everything up to it."""
    log = filled(1, 1, 2, 2)
    chains = [log.entry(index).chain for index in (2, 3, 4)]
    log.compact_to(2)
    assert (log.base_index, log.base_epoch, log.base_chain) == (2, 1, chains[0])
    assert [log.chain_at(index) for index in (2, 3, 4)] == chains
    assert [log.epoch_at(index) for index in (2, 3, 4)] == [1, 2, 2]
    with pytest.raises(IndexError):
        log.entry(2)


def test_a_reset_log_goes_on_after_its_base() -> None:
    """As after an installed snapshot."""
    log = filled(1)
    log.reset(7, 3, "chain")
    assert log.extent == (3, 7)
    assert log.make(3, NOOP).chain == chain_hash("chain", 3, 8, NOOP, "")


def test_after_is_bounded_by_entries_and_size_and_gives_at_least_one() -> None:
    """A batch never grows beyond its bounds, and always makes progress."""
    log = filled(1, 1, 1, 1)
    assert [entry.index for entry in log.after(1, 2, 10_000)] == [2, 3]
    assert [entry.index for entry in log.after(0, 10, 160)] == [1, 2]
    assert [entry.index for entry in log.after(0, 10, 1)] == [1]
    assert log.after(4, 10, 10_000) == ()


def test_first_of_epoch_skips_a_whole_epoch() -> None:
    """For the hint of a log that conflicts."""
    log = filled(1, 1, 2, 2, 2, 3)
    assert [log.first_of_epoch(index) for index in (1, 2, 3, 5, 6)] == [1, 1, 3, 3, 6]
    log.compact_to(3)
    assert log.first_of_epoch(5) == 4
