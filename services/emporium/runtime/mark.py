"""The mark: a small file beside the journal that says how far the journal has been (PROTOCOL 1.7).

SQLite drops a damaged tail of its write-ahead log without a word, and a replica that forgot a
promise that way could elect a second reign. So after each commit (incarnation, counter, promise)
goes into one of two slots, in turn, each with a checksum, without an fsync: a torn write leaves
the other slot, and a write that a power cut swallows leaves an older mark, which accuses nobody.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from emporium.runtime.files import sync_file
from emporium.runtime.journal_rows import State, checksum

SLOT_BYTES = 512  # a sector: the two slots never share one
_PREFIX = "emporium-mark-1"


@dataclass(frozen=True, slots=True)
class Slot:
    """What the journal had when the slot was written."""

    incarnation: str
    counter: int
    promised_epoch: int
    candidate: int

    def encode(self) -> bytes:
        """The slot as it is written: text, checksum, padding."""
        text = f"{_PREFIX} {self.incarnation} {self.counter} {self.promised_epoch} {self.candidate}"
        return f"{text} {checksum(text)}\n".encode().ljust(SLOT_BYTES)


def slot_of(state: State) -> Slot:
    """The slot that describes the journal's state."""
    return Slot(state.incarnation, state.counter, state.promised_epoch, state.candidate)


def decode(data: bytes) -> Slot | None:
    """The slot in `data`; None when it is torn, empty or of another version."""
    try:
        text, _, check = data.decode("ascii").strip().rpartition(" ")
        prefix, incarnation, counter, epoch, candidate = text.split(" ")
        if prefix != _PREFIX or check != checksum(text):
            return None
        return Slot(incarnation, int(counter), int(epoch), int(candidate))
    except ValueError:
        return None


def read_slots(path: Path) -> tuple[Slot, ...]:
    """The readable slots of the mark at `path`; none without a file. Raises OSError."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return ()
    slots = (decode(data[start : start + SLOT_BYTES]) for start in (0, SLOT_BYTES))
    return tuple(slot for slot in slots if slot is not None)


def behind(slots: Sequence[Slot], state: State) -> str:
    """Why a journal in `state` is behind its mark, in one sentence; empty when it is intact.

    Without a readable slot the journal alone decides.
    """
    for slot in slots:
        if slot.incarnation != state.incarnation:
            return f"the mark belongs to another journal, incarnation {slot.incarnation}"
        if slot.counter > state.counter:
            return f"the journal is at transaction {state.counter}, its mark at {slot.counter}"
        if slot.promised_epoch > state.promised_epoch:
            return (
                f"the journal's promise is of epoch {state.promised_epoch},"
                f" its mark's of {slot.promised_epoch}"
            )
    return ""


class Mark:
    """The open mark file of a journal. All methods raise OSError."""

    def __init__(self, path: Path) -> None:
        """Nothing is opened yet."""
        self._path = path
        self._file = -1

    def start(self, state: State) -> None:
        """Open the file, make it in its full length where it isn't there, and write the first
        slot, this once with an fsync. From here on no write of a slot needs new space."""
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        if os.fstat(self._file).st_size < 2 * SLOT_BYTES:
            _write(self._file, b" " * 2 * SLOT_BYTES, 0)
        self.write(state)
        sync_file(self._path)

    def write(self, state: State) -> None:
        """Write the slot whose turn it is: consecutive counters use different slots."""
        _write(self._file, slot_of(state).encode(), state.counter % 2 * SLOT_BYTES)

    def close(self) -> None:
        """Close the file; again is nothing."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _write(file: int, data: bytes, offset: int) -> None:
    written = os.pwrite(file, data, offset)
    if written != len(data):
        raise OSError(f"only {written} of {len(data)} bytes of the mark were written")
