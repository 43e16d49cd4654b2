"""Frames: what an attacker, a bad line or another version can do to them."""

from __future__ import annotations

import hmac
import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emporium.catalog.requests import QueryItem
from emporium.replication import wire
from emporium.runtime import frames
from emporium.runtime.frames import (
    FROM_ACCEPTOR,
    FROM_DIALER,
    Ask,
    Challenge,
    FrameError,
    FrameReader,
    Peer,
    Seal,
)

KEY = b"k" * 32
DIALER = Peer("frontend", 0)
CHALLENGE = Challenge(wire.MESSAGE_VERSION, "catalog", 1, "aa" * 16)
NONCE = "bb" * 16
OLD, NEW, OTHER = b"the old secret", b"the new secret", b"another secret"


def ask(number: int = 1) -> Ask:
    """Some request."""
    return Ask(number, 1000.0, "trace", QueryItem("1", "local"))


def reader(direction: bytes = FROM_DIALER) -> FrameReader:
    """A reader of one direction, at its first frame."""
    return FrameReader(Seal(KEY, direction))


@given(st.lists(st.integers(1, 50), min_size=1, max_size=8), st.integers(1, 700))
def test_frames_survive_any_cut_of_the_byte_stream(numbers: list[int], step: int) -> None:
    """Whatever parts TCP makes of it, the same records come out in the same order."""
    seal, incoming = Seal(KEY, FROM_DIALER), reader()
    data = b"".join(seal.close(frames.pack(ask(number))) for number in numbers)
    seen = []
    for start in range(0, len(data), step):
        incoming.feed(data[start : start + step])
        while (body := incoming.next_body()) is not None:
            seen.append(frames.unpack(body))
    assert seen == [ask(number) for number in numbers]


@given(st.binary(min_size=1, max_size=130), st.integers(0, 2**64 - 1), st.binary(max_size=300))
def test_the_code_is_an_hmac(key: bytes, number: int, body: bytes) -> None:
    """HMAC-SHA256 over direction, number and body, for keys of any length."""
    data = Seal(key, FROM_ACCEPTOR, number).close(body)
    told = struct.pack(">cQ", FROM_ACCEPTOR, number) + body
    assert data[4:36] == hmac.digest(key, told, "sha256")


@given(st.integers(min_value=4), st.integers(1, 255))
def test_an_altered_frame_is_refused(position: int, change: int) -> None:
    """Not one bit of code or body can be changed."""
    data = bytearray(Seal(KEY, FROM_DIALER).close(frames.pack(ask())))
    data[4 + position % (len(data) - 4)] ^= change
    incoming = reader()
    incoming.feed(bytes(data))
    with pytest.raises(FrameError, match="frame 0 is altered, replayed or out of order"):
        incoming.next_body()


def test_a_replayed_frame_is_refused() -> None:
    """The second time the same bytes come, their number is gone."""
    data = Seal(KEY, FROM_DIALER).close(frames.pack(ask()))
    incoming = reader()
    incoming.feed(data + data)
    assert incoming.next_body() is not None
    with pytest.raises(FrameError, match="frame 1 is altered, replayed or out of order"):
        incoming.next_body()


def test_a_left_out_frame_is_noticed() -> None:
    """Frames can't be dropped within a connection without its end."""
    seal, incoming = Seal(KEY, FROM_DIALER), reader()
    seal.close(frames.pack(ask(1)))
    incoming.feed(seal.close(frames.pack(ask(2))))
    with pytest.raises(FrameError, match="out of order"):
        incoming.next_body()


def test_a_frame_sent_back_is_refused() -> None:
    """What one side has sent isn't taken for the other side's word."""
    incoming = reader(FROM_ACCEPTOR)
    incoming.feed(Seal(KEY, FROM_DIALER).close(frames.pack(ask())))
    with pytest.raises(FrameError):
        incoming.next_body()


def test_an_oversize_frame_is_refused_by_its_length_alone() -> None:
    """The bound holds before a byte of the body is kept."""
    incoming = reader()
    incoming.feed(struct.pack(">I", frames.MAXIMUM_BODY_BYTES + 1))
    with pytest.raises(FrameError, match="above the bound of 8388608"):
        incoming.next_body()


def test_an_oversize_record_is_not_sent() -> None:
    """The sender keeps the bound too."""
    with pytest.raises(FrameError, match="too large to send"):
        frames.pack(Ask(1, 1.0, "", "x" * frames.MAXIMUM_BODY_BYTES))


@pytest.mark.parametrize("body", [b"", b"\xff", b"[]", b'["Nothing"]', b'["Ask",1]', b"[" * 9999])
def test_a_body_that_is_no_record_is_a_frame_error(body: bytes) -> None:
    """Nonsense is refused, never a crash later."""
    with pytest.raises(FrameError, match="no message"):
        frames.unpack(body)


@pytest.mark.parametrize(
    ("dialers", "acceptors", "chosen"),
    [
        ([NEW], [NEW], NEW),
        ([OLD], [NEW, OLD], OLD),
        ([NEW, OLD], [OLD], OLD),
        ([NEW, OLD], [NEW, OLD], NEW),
        ([OLD, NEW], [NEW, OLD], NEW),
    ],
)
def test_both_sides_find_the_secret_that_they_share(
    dialers: list[bytes], acceptors: list[bytes], chosen: bytes
) -> None:
    """While secrets are rotated, the acceptor's newest that the dialer proves is used."""
    introduction = frames.introduce(dialers, CHALLENGE, DIALER, NONCE)
    assert frames.choose_secret(acceptors, CHALLENGE, introduction) == chosen
    answer = frames.welcome(chosen, CHALLENGE, introduction)
    assert frames.confirm_secret(dialers, CHALLENGE, DIALER, NONCE, answer) == chosen


def test_a_wrong_secret_is_refused_on_both_sides() -> None:
    """Neither side believes a proof under a secret that it doesn't know."""
    introduction = frames.introduce([OTHER], CHALLENGE, DIALER, NONCE)
    with pytest.raises(FrameError, match="wrong secret: the dialer"):
        frames.choose_secret([NEW, OLD], CHALLENGE, introduction)
    answer = frames.welcome(OTHER, CHALLENGE, introduction)
    with pytest.raises(FrameError, match="wrong secret: the acceptor"):
        frames.confirm_secret([NEW, OLD], CHALLENGE, DIALER, NONCE, answer)


def test_a_recorded_handshake_is_worth_nothing_for_another_challenge() -> None:
    """The acceptor's nonce makes each proof good for one connection."""
    recorded = frames.introduce([NEW], CHALLENGE, DIALER, NONCE)
    fresh = Challenge(wire.MESSAGE_VERSION, "catalog", 1, "cc" * 16)
    with pytest.raises(FrameError):
        frames.choose_secret([NEW], fresh, recorded)


def test_a_proof_names_who_gives_it() -> None:
    """One process's proof can't be used by another, nor the dialer's as the acceptor's."""
    introduction = frames.introduce([NEW], CHALLENGE, DIALER, NONCE)
    other = frames.Introduction(1, "catalog", 0, NONCE, introduction.proofs)
    with pytest.raises(FrameError):
        frames.choose_secret([NEW], CHALLENGE, other)
    with pytest.raises(FrameError):
        frames.confirm_secret(
            [NEW], CHALLENGE, DIALER, NONCE, frames.Welcome(introduction.proofs[0])
        )


@pytest.mark.parametrize("kind", ["Challenge", "Introduction"])
def test_another_message_version_is_refused_with_clear_text(kind: str) -> None:
    """The version is looked at first: the rest of another version's record may be anything."""
    body = json.dumps([kind, 99, {"new": "shape"}]).encode()
    with pytest.raises(FrameError, match=r"message version 99 is not spoken here, this side.*1"):
        frames.plain_record(body, Challenge)


def test_a_handshake_of_the_wrong_kind_is_refused() -> None:
    """Only the expected word counts, and a rejection tells its reason."""
    with pytest.raises(FrameError, match="expected Challenge, got Welcome"):
        frames.plain_record(frames.pack(frames.Welcome("x")), Challenge)
    with pytest.raises(FrameError, match="rejected: go away"):
        frames.plain_record(frames.pack(frames.Rejected("go away")), Challenge)
    with pytest.raises(FrameError, match="the first bytes are no JSON"):
        frames.plain_record(b"GET / HTTP/1.1", Challenge)
