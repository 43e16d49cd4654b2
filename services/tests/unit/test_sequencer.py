"""Sales come in any order and leave in theirs."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import pytest

from emporium.catalog.requests import Sale
from emporium.order.sequencer import BUFFER_LIMIT, IN_FLIGHT_LIMIT, SaleSequencer
from tests.unit.catalog_data import sales_of

SALES = sales_of(BUFFER_LIMIT + 300)


def check_window(sequencer: SaleSequencer) -> None:
    """The invariant of the module."""
    assert sequencer.recorded <= sequencer.proposed <= sequencer.reach
    assert len(sequencer._buffer) <= BUFFER_LIMIT
    number, chain = sequencer.fetch_after()
    assert chain == (SALES[number - 1].chain if number else "")
    inside = range(sequencer.recorded + 1, sequencer.reach + 1)
    assert all(number in sequencer._buffer for number in inside)
    assert all(number > sequencer.recorded for number in sequencer._buffer)
    assert sequencer.reach + 1 not in sequencer._buffer


def test_every_permutation_of_six_sales_leaves_in_order() -> None:
    """720 arrival orders, each sale offered twice: one way out, no gap, no duplicate."""
    for order in itertools.permutations(SALES[:6]):
        sequencer = SaleSequencer()
        out: list[Sale] = []
        for sale in order:
            assert sequencer.offer(sale)
            assert not sequencer.offer(sale)
            out += sequencer.ready()
            check_window(sequencer)
        assert out == SALES[:6]
        assert not sequencer.gap


def test_a_gap_is_named_and_nothing_above_it_leaves() -> None:
    """Sale 3 waits for sale 2; the ledger is asked for what follows 1, not what follows 3."""
    sequencer = SaleSequencer()
    for number in (1, 3):
        sequencer.offer(SALES[number - 1])
    assert sequencer.ready() == SALES[:1]
    assert sequencer.gap
    assert sequencer.fetch_after() == (1, SALES[0].chain)
    sequencer.offer(SALES[1])
    assert sequencer.ready() == SALES[1:3]
    assert not sequencer.gap


def test_it_goes_on_after_a_watermark() -> None:
    """What is recorded already is refused."""
    sequencer = SaleSequencer(4, SALES[3].chain)
    assert not sequencer.offer(SALES[3])
    assert sequencer.offer(SALES[4])
    assert sequencer.ready() == SALES[4:5]


def test_a_sale_of_another_ledger_is_refused() -> None:
    """Right number, wrong chain, also when it waits above a gap first."""
    foreign = replace(SALES[1], request_id="foreign")
    sequencer = SaleSequencer()
    assert not sequencer.offer(replace(SALES[0], chain=""))
    assert sequencer.offer(foreign)
    assert sequencer.offer(SALES[0])
    assert sequencer.ready() == SALES[:1]
    assert sequencer.offer(SALES[1])
    assert sequencer.ready() == SALES[1:2]


def test_what_failed_is_handed_out_again_in_order() -> None:
    """After a rewind everything that isn't recorded comes once more."""
    sequencer = SaleSequencer()
    for sale in SALES[:5]:
        sequencer.offer(sale)
    assert sequencer.ready() == SALES[:5]
    sequencer.record(2, SALES[1].chain)
    assert sequencer.ready() == []
    sequencer.rewind()
    assert sequencer.ready() == SALES[2:5]
    check_window(sequencer)


def test_the_state_may_be_ahead_of_what_was_offered() -> None:
    """Recorded beyond the reach: the window moves there, and what waited above it follows."""
    sequencer = SaleSequencer()
    sequencer.offer(SALES[0])
    sequencer.offer(SALES[4])
    sequencer.record(4, SALES[3].chain)
    assert sequencer.ready() == SALES[4:5]
    check_window(sequencer)


def test_no_more_than_so_many_are_in_flight() -> None:
    """The others wait until some are recorded."""
    sequencer = SaleSequencer()
    for sale in SALES[: IN_FLIGHT_LIMIT + 10]:
        sequencer.offer(sale)
    assert len(sequencer.ready()) == IN_FLIGHT_LIMIT
    sequencer.record(4, SALES[3].chain)
    assert sequencer.ready() == SALES[IN_FLIGHT_LIMIT : IN_FLIGHT_LIMIT + 4]


def test_a_full_buffer_gives_the_farthest_up_and_never_blocks_the_gap() -> None:
    """Everything above the gap has come; the missing sale still finds its place."""
    sequencer = SaleSequencer()
    for sale in SALES[1 : BUFFER_LIMIT + 1]:
        assert sequencer.offer(sale)
    assert not sequencer.offer(SALES[BUFFER_LIMIT + 1])
    rooms = [sequencer.has_room]
    assert sequencer.offer(SALES[0])
    check_window(sequencer)
    assert sequencer.reach == BUFFER_LIMIT
    rooms.append(sequencer.has_room)
    assert rooms == [True, False]
    assert not sequencer.offer(SALES[BUFFER_LIMIT + 5])
    sequencer.ready()
    sequencer.record(200, SALES[199].chain)
    assert sequencer.offer(SALES[BUFFER_LIMIT])


@pytest.mark.parametrize("seed", range(30))
def test_random_arrivals_records_and_failures_lose_nothing(seed: int) -> None:
    """Offers in any order, with repeats and losses, failures in between: every sale is recorded
    once, in order, as long as the ledger brings what it is asked for."""
    chance = random.Random(seed)
    sales = SALES[:200]
    sequencer = SaleSequencer()
    recorded: list[Sale] = []
    pending: list[Sale] = []
    for _ in range(20_000):
        what = chance.random()
        if what < 0.5:
            ahead = min(len(sales), sequencer.reach + chance.randrange(1, 40))
            sequencer.offer(sales[chance.randrange(ahead)])
        elif what < 0.6:
            after, _chain = sequencer.fetch_after()
            for sale in sales[after : after + chance.randrange(1, 10)]:
                sequencer.offer(sale)
        elif what < 0.9 and pending:
            sale = pending.pop(0)
            assert sale.number == len(recorded) + 1
            recorded.append(sale)
            sequencer.record(sale.number, sale.chain)
        elif what > 0.97:
            sequencer.rewind()
            pending = []
        pending += sequencer.ready()
        check_window(sequencer)
        if len(recorded) == len(sales):
            break
    assert recorded == sales
