"""Whether an HTTP request has arrived whole, so that a thread is worth taking for it.

Only as much of HTTP as that needs: where the head ends, and how long the body is. What is odd goes
on to gunicorn's parser, which judges it; what doesn't come in time is closed by the worker.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

LONGEST_HEAD: Final = 64 * 1024
"""Beyond it the parser may refuse the head at once."""
_HEAD_END: Final = b"\r\n\r\n"
_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*([^\r\n]*?)[ \t]*(?=\r\n)", re.IGNORECASE)
_CHUNKED: Final = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)
_EXPECTS: Final = re.compile(rb"\r\nexpect:[ \t]*100-continue[ \t]*\r\n", re.IGNORECASE)
_DIGITS: Final = re.compile(rb"[0-9]{1,32}")
_CHUNK_SIZE: Final = re.compile(rb"[0-9a-fA-F]{1,16}")
_LONGEST_SIZE_LINE: Final = 256


class Arrival(Enum):
    """How much of a request is there."""

    PART = "part"  # more has to come
    ASKS = "asks"  # the head is there, and the client waits to be told to go on
    WHOLE = "whole"
    EXCESS = "excess"  # too long to wait for: to be refused, and the connection closed


@dataclass(slots=True)
class Arriving:
    """A request on its way. `until` is when it is given up (ms of the worker's clock)."""

    until: float
    data: bytearray
    told: bool = False  # the client was told to go on
    waiting: bool = False  # registered with the poller


def arrival(data: bytes | bytearray, longest_body: int) -> Arrival:
    """How much of the first request in `data` is there."""
    end = data.find(_HEAD_END)
    if end < 0:
        return Arrival.PART if len(data) <= LONGEST_HEAD else Arrival.EXCESS
    head, start = bytes(data[: end + 2]), end + len(_HEAD_END)
    if _CHUNKED.search(head):
        state = _chunks(data, start, longest_body)
    else:
        state = _counted(_LENGTH.findall(head), len(data) - start, longest_body)
    return Arrival.ASKS if state is Arrival.PART and _EXPECTS.search(head) else state


def _counted(lengths: list[bytes], there: int, longest_body: int) -> Arrival:
    if not lengths:
        return Arrival.WHOLE
    if len(lengths) > 1 or not _DIGITS.fullmatch(lengths[0]) or int(lengths[0]) > longest_body:
        return Arrival.EXCESS
    return Arrival.WHOLE if there >= int(lengths[0]) else Arrival.PART


def _chunks(data: bytes | bytearray, at: int, longest_body: int) -> Arrival:
    """Walk from chunk to chunk; what is malformed is the parser's to refuse."""
    # Each chunk carries a few bytes of its own: twice the limit is enough for any sane framing.
    last = at + 2 * longest_body
    while at <= last:
        line_end = data.find(b"\r\n", at)
        if line_end < 0:
            return Arrival.PART if len(data) - at <= _LONGEST_SIZE_LINE else Arrival.EXCESS
        size = bytes(data[at:line_end]).partition(b";")[0].strip()
        if not _CHUNK_SIZE.fullmatch(size):
            return Arrival.EXCESS
        if int(size, 16) == 0:  # then trailers, if any, and an empty line
            ended = data.find(_HEAD_END, line_end) >= 0
            return Arrival.WHOLE if ended else Arrival.PART
        at = line_end + 2 + int(size, 16) + 2
        if at > len(data):
            return Arrival.PART if at <= last else Arrival.EXCESS
    return Arrival.EXCESS
