"""Faults at the sending side: each rule does what it says, in its direction alone."""

from __future__ import annotations

import pytest

from emporium.runtime.faults import FaultRule, FaultTable
from tests.waiting import eventually


def test_an_empty_table_is_inactive_and_changes_nothing() -> None:
    """Off by default."""
    table = FaultTable("catalog-0")
    assert not table.active
    assert table.plan("catalog-1") == (0.0,)
    assert not table.cuts("catalog-1")


def test_a_cut_works_in_one_direction_and_for_one_receiver() -> None:
    """catalog-0 can't be heard by catalog-1; everything else gets through."""
    table = FaultTable("catalog-0")
    table.set("catalog-1", FaultRule(cut=True))
    assert table.cuts("catalog-1")
    assert table.plan("catalog-1") == ()
    assert table.plan("catalog-2") == (0.0,)
    assert not table.cuts("catalog-0", sender="catalog-1")


def test_everybody_is_a_receiver_too() -> None:
    """A rule for a pair goes before one for everybody."""
    table = FaultTable("catalog-0")
    table.set("*", FaultRule(cut=True))
    table.set("catalog-2", FaultRule(delay_ms=1))
    assert table.cuts("order-1")
    assert not table.cuts("catalog-2")


def test_loss_and_duplication_come_in_their_shares_and_the_same_for_a_seed() -> None:
    """Seeded: a run can be repeated."""
    plans = []
    for _ in range(2):
        table = FaultTable("catalog-0", seed=7)
        table.set("catalog-1", FaultRule(loss=0.3, duplicate=0.5))
        plans.append([len(table.plan("catalog-1")) for _ in range(2000)])
    assert plans[0] == plans[1]
    assert 500 < plans[0].count(0) < 700
    assert 600 < plans[0].count(2) < 800


def test_delayed_frames_arrive_later_and_in_order_of_their_time() -> None:
    """What is delayed isn't lost."""
    table = FaultTable("catalog-0")
    table.set("catalog-1", FaultRule(delay_ms=30))
    seen: list[int] = []
    assert table.send("catalog-1", lambda: seen.append(1))
    table.set("catalog-1", FaultRule(delay_ms=5))
    assert table.send("catalog-1", lambda: seen.append(2))
    assert seen == []
    eventually(lambda: seen == [2, 1], "both frames")


def test_a_harmless_rule_takes_the_fault_away() -> None:
    """Healing is a rule too."""
    table = FaultTable("catalog-0")
    table.set_from_json({"to": "catalog-1", "cut": True})
    assert table.describe() == [
        {
            "from": "catalog-0",
            "to": "catalog-1",
            "loss": 0.0,
            "delay_ms": 0.0,
            "duplicate": 0.0,
            "cut": True,
        }
    ]
    table.set_from_json({"to": "catalog-1", "cut": False})
    assert not table.active
    table.set_from_json({"to": "catalog-1", "loss": 1})
    table.clear()
    assert not table.active


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ([], "to"),
        ({}, "to"),
        ({"to": 3}, "to"),
        ({"to": "catalog-1", "loss": "much"}, "loss"),
        ({"to": "catalog-1", "loss": True}, "loss"),
        ({"to": "catalog-1", "loss": 1.5}, "loss"),
        ({"to": "catalog-1", "delay_ms": -1}, "delay_ms"),
        ({"to": "catalog-1", "duplicate": float("nan")}, "duplicate"),
        ({"to": "catalog-1", "cut": 1}, "cut"),
        ({"to": "catalog-1", "colour": 1}, "colour"),
    ],
)
def test_a_bad_rule_is_refused_by_its_field(document: object, field: str) -> None:
    """An operator's mistake is named."""
    table = FaultTable("catalog-0")
    with pytest.raises(ValueError, match=f"^{field}:"):
        table.set_from_json(document)
    assert not table.active
