"""Frames: what an attacker, a bad line or another version can do to them."""

from __future__ import annotations

import dataclasses
import hmac
import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emporium.catalog.requests import QueryItem
from emporium.runtime import frames
from emporium.runtime.frames import (
    FROM_ACCEPTOR,
    FROM_DIALER,
    Ask,
    Challenge,
    FrameError,
    FrameReader,
    Introduction,
    Peer,
    Seal,
    Versions,
)

KEY = b"k" * 32
DIALER = Peer("frontend", 0)
SPOKEN = frames.spoken()
CHALLENGE = frames.challenge_of(SPOKEN, Peer("catalog", 1), "aa" * 16)
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
    introduction = frames.introduce(dialers, CHALLENGE, SPOKEN, DIALER, NONCE)
    assert frames.choose_secret(acceptors, CHALLENGE, introduction) == chosen
    answer = frames.welcome(chosen, CHALLENGE, introduction)
    assert frames.confirm_secret(dialers, CHALLENGE, introduction, answer) == chosen


def test_a_wrong_secret_is_refused_on_both_sides() -> None:
    """Neither side believes a proof under a secret that it doesn't know."""
    introduction = frames.introduce([OTHER], CHALLENGE, SPOKEN, DIALER, NONCE)
    with pytest.raises(FrameError, match="wrong secret: the dialer"):
        frames.choose_secret([NEW, OLD], CHALLENGE, introduction)
    answer = frames.welcome(OTHER, CHALLENGE, introduction)
    with pytest.raises(FrameError, match="wrong secret: the acceptor"):
        frames.confirm_secret([NEW, OLD], CHALLENGE, introduction, answer)


def test_a_recorded_handshake_is_worth_nothing_for_another_challenge() -> None:
    """The acceptor's nonce makes each proof good for one connection."""
    recorded = frames.introduce([NEW], CHALLENGE, SPOKEN, DIALER, NONCE)
    fresh = dataclasses.replace(CHALLENGE, nonce="cc" * 16)
    with pytest.raises(FrameError):
        frames.choose_secret([NEW], fresh, recorded)


def test_a_proof_names_who_gives_it() -> None:
    """One process's proof can't be used by another, nor the dialer's as the acceptor's."""
    introduction = frames.introduce([NEW], CHALLENGE, SPOKEN, DIALER, NONCE)
    other = dataclasses.replace(introduction, role="catalog")
    with pytest.raises(FrameError):
        frames.choose_secret([NEW], CHALLENGE, other)
    reflected = frames.Welcome(introduction.proofs[0])
    with pytest.raises(FrameError):
        frames.confirm_secret([NEW], CHALLENGE, introduction, reflected)


ranges = st.builds(Versions, st.integers(1, 6), st.integers(1, 6))


@given(ranges, ranges)
def test_two_sides_speak_the_newest_version_that_both_know(
    acceptor: Versions, dialer: Versions
) -> None:
    """Or none, which names both ranges; and it doesn't matter who dials."""
    common = _versions(acceptor) & _versions(dialer)
    for one, other in ((acceptor, dialer), (dialer, acceptor)):
        if common:
            assert frames.choose_version(one, other) == max(common)
            continue
        with pytest.raises(FrameError, match=f"the other side speaks {other}, this side {one}"):
            frames.choose_version(one, other)


def _versions(spoken: Versions) -> set[int]:
    return set(range(spoken.oldest, spoken.newest + 1))


@pytest.mark.parametrize(
    ("acceptor", "dialer", "version"),
    [((1, 1), (2, 1), 1), ((2, 1), (1, 1), 1), ((2, 1), (2, 1), 2), ((3, 2), (2, 1), 2)],
)
def test_a_handshake_agrees_on_a_version(
    acceptor: tuple[int, int], dialer: tuple[int, int], version: int
) -> None:
    """Each side reads the other's words by its own range, and both prove the same choice."""
    accepts, dials = Versions(*acceptor), Versions(*dialer)
    sent = frames.challenge_of(accepts, Peer("catalog", 1), "aa" * 16)
    challenge = frames.plain_record(frames.pack(sent), Challenge, dials)
    answer = frames.introduce([NEW], challenge, dials, DIALER, NONCE)
    introduction = frames.plain_record(frames.pack(answer), Introduction, accepts)
    assert introduction.version == version
    assert frames.choose_secret([NEW], sent, introduction) == NEW
    told = frames.welcome(NEW, sent, introduction)
    assert frames.confirm_secret([NEW], challenge, answer, told) == NEW


@pytest.mark.parametrize(("newest", "oldest"), [(2, 1), (4, 1), (3, 2), (2, 2)])
def test_an_offer_that_was_altered_on_the_way_is_refused(newest: int, oldest: int) -> None:
    """Nobody in between can talk two sides down: each proves what it has sent or seen."""
    sent = frames.challenge_of(Versions(3, 1), Peer("catalog", 1), "aa" * 16)
    seen = dataclasses.replace(sent, newest=newest, oldest=oldest)
    introduction = frames.introduce([NEW], seen, Versions(4, 1), DIALER, NONCE)
    with pytest.raises(FrameError, match="wrong secret: the dialer"):
        frames.choose_secret([NEW], sent, introduction)
    told = frames.welcome(NEW, sent, introduction)
    with pytest.raises(FrameError, match="wrong secret: the acceptor"):
        frames.confirm_secret([NEW], seen, introduction, told)
    assert frames.session_key(NEW, sent, introduction) != frames.session_key(
        NEW, seen, introduction
    )


def test_a_choice_that_was_altered_on_the_way_is_refused() -> None:
    """The version that the dialer chose is in its proof, and in the acceptor's."""
    versions = Versions(3, 1)
    challenge = frames.challenge_of(versions, Peer("catalog", 1), "aa" * 16)
    sent = frames.introduce([NEW], challenge, versions, DIALER, NONCE)
    lowered = dataclasses.replace(sent, version=2)
    with pytest.raises(FrameError, match="wrong secret: the dialer"):
        frames.choose_secret([NEW], challenge, lowered)
    told = frames.welcome(NEW, challenge, lowered)
    with pytest.raises(FrameError, match="wrong secret: the acceptor"):
        frames.confirm_secret([NEW], challenge, sent, told)


@pytest.mark.parametrize(
    ("word", "kind", "said"),
    [
        (
            ["Challenge", 99, 98],
            Challenge,
            "in common: the other side speaks 98 to 99, this.* 2 to 3",
        ),
        (["Challenge", 1, 1], Challenge, "in common: the other side speaks 1 to 1, this.* 2 to 3"),
        (["Introduction", 99], Introduction, "version 99 isn't spoken here, this.* 2 to 3"),
        (["Introduction", 1], Introduction, "version 1 isn't spoken here, this.* 2 to 3"),
    ],
)
def test_versions_that_are_not_spoken_are_refused_with_clear_text(
    word: list[object], kind: type[Challenge | Introduction], said: str
) -> None:
    """They are looked at first: the rest of another version's record may be anything."""
    body = json.dumps([*word, {"new": "shape"}]).encode()
    with pytest.raises(FrameError, match=said):
        frames.plain_record(body, kind, Versions(3, 2))


@pytest.mark.parametrize(
    "body",
    [
        b'["Challenge"]',
        b'["Challenge",1,"catalog",0,"aa"]',
        b'["Challenge",true,true,"catalog",0,"aa"]',
        b'["Challenge",1.0,1,"catalog",0,"aa"]',
        b'["Challenge","1",null,"catalog",0,"aa"]',
        b'["Challenge",1,2,"catalog",0,"aa"]',
        b'["Challenge",' + b"9" * 4000 + b',2,"catalog",0,"aa"]',
    ],
)
def test_an_offer_that_makes_no_sense_is_refused(body: bytes) -> None:
    """Bad fields are a line in the log, a short one, never a crash."""
    with pytest.raises(FrameError) as caught:
        frames.plain_record(body, Challenge, Versions(1, 1))
    assert len(str(caught.value)) < 200


def test_a_handshake_of_the_wrong_kind_is_refused() -> None:
    """Only the expected word counts, and a rejection tells its reason."""
    with pytest.raises(FrameError, match="expected Challenge, got Welcome"):
        frames.plain_record(frames.pack(frames.Welcome("x")), Challenge, SPOKEN)
    with pytest.raises(FrameError, match="rejected: go away"):
        frames.plain_record(frames.pack(frames.Rejected("go away")), Challenge, SPOKEN)
    with pytest.raises(FrameError, match="the first bytes are no JSON"):
        frames.plain_record(b"GET / HTTP/1.1", Challenge, SPOKEN)
