"""Frames: what travels between two processes of the store, and how it is kept genuine.

A frame is a 4-byte big-endian length, a 32-byte code and a body: one wire record as JSON text. The
first three frames of a connection are the handshake and carry no code:

    acceptor                                    dialer
    Challenge(newest, oldest, who, nonce) ->
                                          <-    Introduction(version, who, nonce, proofs)
    Welcome(proof)                        ->              or Rejected(reason), and the end

Each side proves that it knows the secret by an HMAC-SHA256 over both nonces and both names, so that
nothing recorded can be played again. The dialer gives one proof for each of its secrets (there are
two while they are rotated); the acceptor uses the newest of its own that one of them fits. From
then on every frame has an HMAC over its direction, its number and its body under a key made from
both nonces: a frame that is altered, replayed, reordered or sent back is refused, and no clock is
needed (PROTOCOL 5.5). TLS, where it is on, lies below and hides the bodies.

The message version is agreed on for each connection: the acceptor offers what it speaks, the dialer
chooses the newest that it speaks too, or leaves. Offer and choice are in every proof and in the
key, so that nobody in between can talk two sides down to an older version. What was offered comes
first in a Challenge in every version; its other fields are those of the oldest version offered.

Rule of the house: this file has no socket and no thread; it can be read and tested as text.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from emporium.replication import wire

MAXIMUM_BODY_BYTES = 8 * 1024 * 1024
HANDSHAKE_BODY_BYTES = 4 * 1024
CODE_BYTES = 32
NONCE_BYTES = 16
_LENGTH = struct.Struct(">I")
_NUMBER = struct.Struct(">cQ")
Handshake = TypeVar("Handshake")


class FrameError(ValueError):
    """The other side broke the rules of frames: what was wrong, in one line."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end: role and id, as settings name them."""

    role: str
    replica: int

    def __str__(self) -> str:
        """The name in logs and fault rules, as in catalog-0."""
        return f"{self.role}-{self.replica}"


@dataclass(frozen=True, slots=True)
class Versions:
    """The message versions that a process speaks: these two and those between."""

    newest: int
    oldest: int

    def __str__(self) -> str:
        """As in the line that refuses a connection. Cut, for it may be a stranger's word."""
        return f"{str(self.oldest)[:20]} to {str(self.newest)[:20]}"


def spoken() -> Versions:
    """What this program speaks."""
    return Versions(wire.NEWEST_MESSAGE_VERSION, wire.OLDEST_MESSAGE_VERSION)


# --- the records of a connection ---


@dataclass(frozen=True, slots=True)
class Challenge:
    """The acceptor's first word: the message versions that it speaks. `nonce` in hex."""

    newest: int
    oldest: int
    role: str
    replica: int
    nonce: str


@dataclass(frozen=True, slots=True)
class Introduction:
    """The dialer's answer: the message version that it chose, and one proof in hex for each secret
    that it has, newest first."""

    version: int
    role: str
    replica: int
    nonce: str
    proofs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Welcome:
    """The acceptor's own proof, under the secret that it chose."""

    proof: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """Why the acceptor ends the connection."""

    reason: str


@dataclass(frozen=True, slots=True)
class Ask:
    """A request. `deadline_ms` is what is left of the asker's time when it is sent; `request_id`
    is the trace that appears in every log line."""

    id: int
    deadline_ms: float
    request_id: str
    payload: object


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer to the `Ask` with this id. `timings` are those of the tiers behind, `took_ms` is
    the time in this process."""

    id: int
    payload: object
    timings: tuple[tuple[str, float], ...]
    took_ms: float


wire.register(Challenge, Introduction, Welcome, Rejected, Ask, Answered)


# --- bodies ---


def pack(record: object) -> bytes:
    """The body of a frame. Raises FrameError when it is too large."""
    body = wire.encode(record).encode()
    if len(body) > MAXIMUM_BODY_BYTES:
        name = type(record).__name__
        raise FrameError(f"a frame of {len(body)} bytes ({name}) is too large to send")
    return body


def unpack(body: bytes) -> object:
    """The record in a body. Raises FrameError."""
    try:
        return wire.decode(body)
    except (wire.WireError, RecursionError) as error:
        raise FrameError(f"no message: {error}") from None


def plain_frame(record: object) -> bytes:
    """A frame of the handshake: length and body, without a code."""
    body = pack(record)
    return _LENGTH.pack(len(body)) + body


def plain_record(body: bytes, kind: type[Handshake], own: Versions) -> Handshake:
    """The handshake record in `body`. Versions that aren't spoken here are told before anything
    else is looked at: the other fields may have changed. Raises FrameError, also for `Rejected`."""
    _check_version(body, own)
    record = unpack(body)
    if isinstance(record, Rejected):
        raise FrameError(f"rejected: {record.reason[:200]}")
    if not isinstance(record, kind):
        raise FrameError(f"expected {kind.__name__}, got {type(record).__name__}")
    return record


def body_length(prefix: bytes, bound: int = MAXIMUM_BODY_BYTES) -> int:
    """The length that a 4-byte prefix says. Raises FrameError above the bound."""
    length: int = _LENGTH.unpack(prefix)[0]
    if length > bound:
        raise FrameError(f"a frame of {length} bytes is above the bound of {bound}")
    return length


def _check_version(body: bytes, own: Versions) -> None:
    try:
        plain = json.loads(body)
    except (ValueError, RecursionError):
        raise FrameError("no handshake: the first bytes are no JSON") from None
    match plain:
        case ["Challenge", int(newest), int(oldest), *_]:
            choose_version(own, Versions(newest, oldest))
        case ["Introduction", int(version), *_] if not own.oldest <= version <= own.newest:
            told = str(version)[:20]
            raise FrameError(f"message version {told} isn't spoken here, this side speaks {own}")


def choose_version(own: Versions, offered: Versions) -> int:
    """The newest message version that both sides speak. Raises FrameError when there is none."""
    version = min(own.newest, offered.newest)
    if version < max(own.oldest, offered.oldest):
        raise FrameError(
            f"no message version in common: the other side speaks {offered}, this side {own}"
        )
    return version


# --- proofs and codes ---


def _proof(secret: bytes, label: str, challenge: Challenge, introduction: Introduction) -> str:
    text = json.dumps(
        [
            label,
            *(f"{challenge.role}-{challenge.replica}", challenge.nonce),
            *(f"{introduction.role}-{introduction.replica}", introduction.nonce),
            *(challenge.newest, challenge.oldest, introduction.version),
        ]
    )
    return hmac.digest(secret, text.encode(), hashlib.sha256).hex()


def challenge_of(own: Versions, acceptor: Peer, nonce: str) -> Challenge:
    """The acceptor's first word."""
    return Challenge(own.newest, own.oldest, acceptor.role, acceptor.replica, nonce)


def introduce(
    secrets: Sequence[bytes], challenge: Challenge, own: Versions, dialer: Peer, nonce: str
) -> Introduction:
    """The dialer's answer to a challenge. Raises FrameError without a common message version."""
    version = choose_version(own, Versions(challenge.newest, challenge.oldest))
    plain = Introduction(version, dialer.role, dialer.replica, nonce, ())
    proofs = tuple(_proof(secret, "dialer", challenge, plain) for secret in secrets)
    return replace(plain, proofs=proofs)


def choose_secret(
    secrets: Sequence[bytes], challenge: Challenge, introduction: Introduction
) -> bytes:
    """The acceptor's newest secret that the dialer proves too. Raises FrameError for none."""
    for secret in secrets:
        expected = _proof(secret, "dialer", challenge, introduction)
        if any(_same(expected, proof) for proof in introduction.proofs[:2]):
            return secret
    raise FrameError("wrong secret: the dialer proves none that is known here")


def welcome(secret: bytes, challenge: Challenge, introduction: Introduction) -> Welcome:
    """The acceptor's proof that it knows the secret too."""
    return Welcome(_proof(secret, "acceptor", challenge, introduction))


def confirm_secret(
    secrets: Sequence[bytes], challenge: Challenge, introduction: Introduction, answer: Welcome
) -> bytes:
    """The dialer's secret that the acceptor has proved. Raises FrameError for none."""
    for secret in secrets:
        if _same(_proof(secret, "acceptor", challenge, introduction), answer.proof):
            return secret
    raise FrameError("wrong secret: the acceptor proves none that is known here")


def _same(left: str, right: str) -> bool:
    return hmac.compare_digest(left.encode(), right.encode())


def session_key(secret: bytes, challenge: Challenge, introduction: Introduction) -> bytes:
    """The key of one connection."""
    return bytes.fromhex(_proof(secret, "session", challenge, introduction))


FROM_DIALER, FROM_ACCEPTOR = b"d", b"a"
_BLOCK = hashlib.sha256().block_size
_INNER, _OUTER = (bytes(byte ^ pad for byte in range(256)) for pad in (0x36, 0x5C))


class Seal:
    """The codes of one direction of one connection. Not for use by two threads at once.

    HMAC-SHA256 (RFC 2104) from two states that have taken in the key already: half the time of
    `hmac.digest`, and unlike that it keeps Python's lock, so that sending a frame doesn't put the
    driver behind every other thread."""

    __slots__ = ("_direction", "_inner", "_outer", "key", "number")

    def __init__(self, key: bytes, direction: bytes, number: int = 0) -> None:
        """`direction` is FROM_DIALER or FROM_ACCEPTOR, `number` that of the next frame."""
        self.key = key
        self.number = number
        self._direction = direction
        padded = (key if len(key) <= _BLOCK else hashlib.sha256(key).digest()).ljust(_BLOCK, b"\0")
        self._inner = hashlib.sha256(padded.translate(_INNER))
        self._outer = hashlib.sha256(padded.translate(_OUTER))

    def close(self, body: bytes) -> bytes:
        """The next frame with this body."""
        return _LENGTH.pack(len(body)) + self._code(body) + body

    def check(self, code: bytes, body: bytes) -> None:
        """Raise FrameError unless this is the very next frame of the direction, unaltered."""
        number = self.number
        if not hmac.compare_digest(self._code(body), code):
            raise FrameError(f"frame {number} is altered, replayed or out of order")

    def _code(self, body: bytes) -> bytes:
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(_NUMBER.pack(self._direction, self.number))
        inner.update(body)
        self.number += 1
        outer.update(inner.digest())
        return outer.digest()


class FrameReader:
    """Cuts what comes in into checked bodies: `feed` bytes, then take `next_body` until None."""

    def __init__(self, seal: Seal, bound: int = MAXIMUM_BODY_BYTES) -> None:
        """`seal` is that of the incoming direction."""
        self._seal = seal
        self._bound = bound
        self._buffer = bytearray()
        self._start = 0

    def feed(self, data: bytes) -> None:
        """Take what the connection gave."""
        if self._start:
            del self._buffer[: self._start]
            self._start = 0
        self._buffer += data

    def next_body(self) -> bytes | None:
        """The next whole body, None when more bytes are needed. Raises FrameError."""
        buffer, start = self._buffer, self._start
        head = start + _LENGTH.size
        if len(buffer) < head:
            return None
        length = body_length(bytes(buffer[start:head]), self._bound)
        end = head + CODE_BYTES + length
        if len(buffer) < end:
            return None
        body = bytes(buffer[head + CODE_BYTES : end])
        self._seal.check(bytes(buffer[head : head + CODE_BYTES]), body)
        self._start = end
        return body
