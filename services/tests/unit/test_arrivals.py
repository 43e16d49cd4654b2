"""Whether an HTTP request has arrived whole."""

from __future__ import annotations

import pytest

from emporium.runtime.arrivals import LONGEST_HEAD, Arrival, arrival

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\ncontent-LENGTH: 4\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "whole",
    [
        GET,
        POST + b"body",
        CHUNKED + b"4\r\nbody\r\n0\r\n\r\n",
        CHUNKED + b"5;x=y\r\n0\r\n\r\n\r\nA\r\n0123456789\r\n0\r\nX: trailer\r\n\r\n",
    ],
)
def test_a_request_is_whole_at_its_last_byte_only(whole: bytes) -> None:
    """Cut anywhere, it is a part; with another request behind it, it stays whole."""
    for length in range(len(whole)):
        assert arrival(whole[:length], 100) is Arrival.PART
    assert arrival(whole, 100) is Arrival.WHOLE
    assert arrival(whole + GET, 100) is Arrival.WHOLE


def test_what_is_too_long_is_not_waited_for() -> None:
    """A head without an end, an announced length above the limit, chunks without an end."""
    assert arrival(b"x" * (LONGEST_HEAD + 1), 100) is Arrival.EXCESS
    assert arrival(POST.replace(b"4", b"101"), 100) is Arrival.EXCESS
    assert arrival(CHUNKED + b"c9\r\n" + b"x" * 201, 100) is Arrival.EXCESS
    assert arrival(CHUNKED + b"1" * 300, 100) is Arrival.EXCESS


@pytest.mark.parametrize("length", [b"", b"-1", b"1x", b"0" * 40 + b"5", b"1\r\ncontent-length: 2"])
def test_a_strange_length_is_left_to_the_parser(length: bytes) -> None:
    """Refused there, and never taken for no length at all."""
    assert arrival(POST.replace(b"4", length), 100) is Arrival.EXCESS
    assert arrival(POST.replace(b"4", b"0" * 20 + b"50"), 100) is Arrival.PART
    assert arrival(CHUNKED + b"zz\r\n", 100) is Arrival.EXCESS


def test_a_client_that_expects_to_be_told_is_told() -> None:
    """Only while its body is missing."""
    head = POST.replace(b"Host: a", b"Expect: 100-Continue")
    assert arrival(head, 100) is Arrival.ASKS
    assert arrival(head + b"body", 100) is Arrival.WHOLE
