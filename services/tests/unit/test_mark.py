"""The mark says how far a journal has been, and accuses none wrongly (PROTOCOL 1.7)."""

from __future__ import annotations

from pathlib import Path

import pytest

from emporium.runtime.journal_rows import State
from emporium.runtime.mark import SLOT_BYTES, Mark, Slot, behind, decode, read_slots, slot_of


def state(counter: int, epoch: int = 1, incarnation: str = "aa") -> State:
    """A journal's state."""
    return State(incarnation, counter, epoch, 0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A mark with the slots of transactions 7 and 8."""
    mark = Mark(tmp_path / "mark")
    mark.start(state(7))
    mark.write(state(8))
    mark.close()
    return tmp_path / "mark"


def test_slots_are_written_in_turn(path: Path) -> None:
    """The two newest transactions are in the file, which keeps its size."""
    assert {slot.counter for slot in read_slots(path)} == {7, 8}
    assert path.stat().st_size == 2 * SLOT_BYTES


def test_slot_comes_back_as_it_was() -> None:
    """Encoding and decoding are inverse."""
    slot = Slot("aa", 12, 5, 2)
    assert decode(slot.encode()) == slot == slot_of(State("aa", 12, 5, 2))
    assert len(slot.encode()) == SLOT_BYTES


@pytest.mark.parametrize("offset", range(64))
@pytest.mark.parametrize("slot", [0, 1])
def test_torn_slot_leaves_the_other(path: Path, offset: int, slot: int) -> None:
    """A slot of which only the first bytes were written is no slot; the other one counts."""
    data = bytearray(path.read_bytes())
    new = state(10 if slot == 0 else 9)
    encoded = slot_of(new).encode()[:offset]
    start = slot * SLOT_BYTES
    data[start : start + offset] = encoded
    path.write_bytes(data)
    found = {found.counter for found in read_slots(path)}
    assert {7, 8} - found <= {8 - slot}
    assert found <= {7, 8, new.counter}
    assert found


def test_flipped_byte_makes_a_slot_unreadable() -> None:
    """Any changed byte of the text is seen."""
    good = Slot("aa", 12, 5, 2).encode()
    for place in range(len(good.rstrip())):
        data = bytearray(good)
        data[place] ^= 1
        assert decode(bytes(data)) is None


@pytest.mark.parametrize(
    ("counter", "epoch", "incarnation", "reason"),
    [
        (8, 1, "aa", ""),
        (9, 1, "aa", ""),  # killed between commit and mark
        (900, 4, "aa", ""),
        (7, 1, "aa", "at transaction 7, its mark at 8"),
        (0, 1, "aa", "its mark at"),
        (9, 0, "aa", "promise is of epoch 0"),
        (9, 1, "bb", "another journal"),
    ],
)
def test_journal_is_judged_by_the_newest_slot(
    path: Path, counter: int, epoch: int, incarnation: str, reason: str
) -> None:
    """Equal or higher is intact; lower, an older promise or another journal isn't."""
    verdict = behind(read_slots(path), state(counter, epoch, incarnation))
    assert reason in verdict
    assert bool(verdict) == bool(reason)


def test_without_a_readable_slot_the_journal_decides(tmp_path: Path) -> None:
    """No file, an empty one and one full of noise accuse nobody."""
    path = tmp_path / "mark"
    assert read_slots(path) == ()
    for data in (b"", b"\0" * 1024, bytes(range(256)) * 4):
        path.write_bytes(data)
        assert behind(read_slots(path), state(0)) == ""


def test_start_makes_the_full_length_at_once(tmp_path: Path) -> None:
    """No later write of a slot needs space on the disk."""
    mark = Mark(tmp_path / "mark")
    mark.start(state(0))
    mark.close()
    mark.close()
    assert (tmp_path / "mark").stat().st_size == 2 * SLOT_BYTES
