"""Streams on loopback: who is let in, what one direction can do, and that nobody ever waits."""

from __future__ import annotations

import shutil
import socket
import struct
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from emporium.catalog.requests import QueryItem
from emporium.replication.messages import NotGranted, Renew
from emporium.runtime import frames, streams
from emporium.runtime.errors import FatalError
from emporium.runtime.faults import FaultRule, FaultTable
from emporium.runtime.frames import Answered, Ask, FrameError, Peer
from emporium.runtime.hub import Hub
from emporium.runtime.internal_server import InternalServer
from emporium.runtime.streams import Credentials, Stream, credentials_of, probe
from tests.unit.loopback import CATALOG, FRONTEND, SECRET, Gate, dialling, listening
from tests.waiting import eventually, never

OTHER_SECRET = "another secret of letters"
RENEW = Renew("frontend-0-a", "", 1.0)


def dial(port: int) -> socket.socket:
    """A bare connection."""
    return socket.create_connection(("127.0.0.1", port), timeout=5)


def receive_record(connection: socket.socket) -> object:
    """One handshake frame as it is on the line."""
    (length,) = struct.unpack(">I", connection.recv(4, socket.MSG_WAITALL))
    return frames.unpack(connection.recv(length, socket.MSG_WAITALL))


def introduced(port: int) -> tuple[socket.socket, frames.Seal]:
    """A connection that has done the handshake by hand, and its outgoing seal."""
    connection = dial(port)
    challenge = receive_record(connection)
    assert isinstance(challenge, frames.Challenge)
    secret = SECRET.encode()
    spoken = frames.spoken()
    introduction = frames.introduce([secret], challenge, spoken, FRONTEND, "ab" * 16)
    connection.sendall(frames.plain_frame(introduction))
    assert isinstance(receive_record(connection), frames.Welcome)
    key = frames.session_key(secret, challenge, introduction)
    return connection, frames.Seal(key, frames.FROM_DIALER)


def test_records_travel_in_both_directions() -> None:
    """One stream carries both ways, and both ends know who is there."""
    answer = NotGranted(1, 2)
    with listening(handle=lambda stream, _: stream.send(answer)) as listener:
        seen: list[object] = []
        with dialling(listener.server.port) as hub:
            hub.on_message(lambda role, replica, record: seen.append((role, replica, record)))
            eventually(lambda: hub.send("catalog", 0, RENEW), "a stream")
            eventually(lambda: seen == [("catalog", 0, answer)], "the answer")
            assert listener.records == [RENEW]
            assert listener.changes == [("frontend-0", True)]
        eventually(lambda: listener.changes[-1] == ("frontend-0", False), "the end")


def test_a_wrong_secret_is_refused_and_said(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody gets in without the secret, and the log says why."""
    with (
        listening() as listener,
        dialling(listener.server.port, credentials_of([OTHER_SECRET])) as hub,
    ):
        eventually(lambda: listener.server.refused > 1, "refusals")
        assert not hub.connected("catalog", 0)
        assert listener.changes == []
        eventually(lambda: "rejected: wrong secret" in caplog.text, "a line")
        assert caplog.text.count("no stream to catalog-0") == 1


@pytest.mark.parametrize(
    ("acceptor", "dialer"),
    [
        ([SECRET, OTHER_SECRET], [OTHER_SECRET]),
        ([OTHER_SECRET], [SECRET, OTHER_SECRET]),
        ([SECRET, OTHER_SECRET], [SECRET, OTHER_SECRET]),
    ],
)
def test_secrets_can_be_rotated_without_a_gap(acceptor: list[str], dialer: list[str]) -> None:
    """Any secret that both have is enough."""
    with (
        listening(credentials_of(acceptor)) as listener,
        dialling(listener.server.port, credentials_of(dialer)) as hub,
    ):
        eventually(lambda: hub.send("catalog", 0, RENEW), "a stream")
        eventually(lambda: listener.records == [RENEW], "the record")


@pytest.mark.parametrize("spoil", ["replay", "alter", "oversize", "back"])
def test_a_bad_frame_ends_the_connection_and_is_not_handled(spoil: str) -> None:
    """Replayed, altered, too large or sent back: the stream ends before the handler sees it."""
    with listening() as listener:
        connection, seal = introduced(listener.server.port)
        good = seal.close(frames.pack(RENEW))
        connection.sendall(good)
        eventually(lambda: listener.records == [RENEW], "the good one")
        second = bytearray(seal.close(frames.pack(RENEW)))
        second[-2] ^= 1
        bad = {
            "replay": good,
            "alter": bytes(second),
            "oversize": struct.pack(">I", frames.MAXIMUM_BODY_BYTES + 1),
            "back": frames.Seal(seal.key, frames.FROM_ACCEPTOR, 1).close(frames.pack(RENEW)),
        }[spoil]
        connection.sendall(bad)
        assert connection.recv(1) == b""
        connection.close()
        assert listener.records == [RENEW]
        eventually(lambda: listener.server.streams() == (), "no stream")


def test_a_message_version_that_was_not_offered_is_refused_with_clear_text() -> None:
    """A newer program that doesn't listen is told what is spoken here, on the line itself."""
    with listening(speaking(2, 1)) as listener, dial(listener.server.port) as connection:
        assert isinstance(receive_record(connection), frames.Challenge)
        body = b'["Introduction",3,"frontend",0,"x",["y"]]'
        connection.sendall(struct.pack(">I", len(body)) + body)
        refusal = receive_record(connection)
        assert refusal == frames.Rejected(
            "message version 3 isn't spoken here, this side speaks 1 to 2"
        )
        assert connection.recv(1) == b""


def speaking(newest: int, oldest: int) -> Credentials:
    """The credentials of a program of other message versions."""
    return replace(credentials_of([SECRET]), versions=frames.Versions(newest, oldest))


@pytest.mark.parametrize(
    ("acceptor", "dialer", "agreed"),
    [((1, 1), (2, 1), 1), ((2, 1), (1, 1), 1), ((2, 1), (2, 1), 2)],
)
def test_programs_of_neighbouring_versions_talk(
    acceptor: tuple[int, int],
    dialer: tuple[int, int],
    agreed: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With the newest message version that both know; both ends know which, and the log says it."""
    caplog.set_level("DEBUG", "emporium.streams")
    with (
        listening(speaking(*acceptor), handle=lambda stream, _: stream.send(RENEW)) as listener,
        dialling(listener.server.port, speaking(*dialer)) as hub,
    ):
        seen: list[object] = []
        hub.on_message(lambda _role, _replica, record: seen.append(record))
        eventually(lambda: hub.send("catalog", 0, RENEW), "a stream")
        eventually(lambda: seen == [RENEW], "an answer")
        (accepted,), (dialled,) = listener.server.streams(), hub.streams()
        assert (accepted.version, dialled.version) == (agreed, agreed)
        assert f"a stream with frontend-0: message version {agreed}" in caplog.text
        assert f"a stream with catalog-0: message version {agreed}" in caplog.text


@pytest.mark.parametrize(
    ("acceptor", "dialer", "said"),
    [
        ((1, 1), (2, 2), "the other side speaks 1 to 1, this side 2 to 2"),
        ((2, 2), (1, 1), "the other side speaks 2 to 2, this side 1 to 1"),
    ],
)
def test_programs_without_a_common_version_do_not_talk(
    acceptor: tuple[int, int],
    dialer: tuple[int, int],
    said: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whoever dials sees it, and says once what both speak."""
    with (
        listening(speaking(*acceptor)) as listener,
        dialling(listener.server.port, speaking(*dialer)) as hub,
    ):
        eventually(lambda: said in caplog.text, "a line")
        never(lambda: hub.streams() or listener.changes, "a stream", for_s=0.1)
        assert caplog.text.count("no message version in common") == 1


@pytest.mark.parametrize("newest", [1, 3])
def test_an_offer_altered_on_the_way_is_refused(newest: int) -> None:
    """Both speak 1 to 2 and somebody in between changes that: the acceptor doesn't believe the
    dialer, who proves what it has seen."""
    with listening(speaking(2, 1)) as listener, dial(listener.server.port) as connection:
        challenge = receive_record(connection)
        assert isinstance(challenge, frames.Challenge)
        seen = replace(challenge, newest=newest)
        secret, own = SECRET.encode(), frames.Versions(2, 1)
        introduction = frames.introduce([secret], seen, own, FRONTEND, "ab" * 16)
        connection.sendall(frames.plain_frame(introduction))
        refusal = receive_record(connection)
        assert isinstance(refusal, frames.Rejected)
        assert "wrong secret" in refusal.reason
        assert connection.recv(1) == b""
        assert listener.changes == []


def test_a_stranger_at_the_address_is_not_believed(caplog: pytest.LogCaptureFixture) -> None:
    """Settings that point to another replica are found out."""
    listener = InternalServer(
        Peer("order", 1),
        ("127.0.0.1", 0),
        credentials_of([SECRET]),
        FaultTable("order-1"),
        lambda _stream, _record: None,
        lambda _stream, *, up: None,  # noqa: ARG005 the callback's signature
    )
    listener.start()
    with dialling(listener.port):
        eventually(lambda: "order-1 is there, not catalog-0" in caplog.text, "a line")
    listener.close()


def test_a_dialer_that_says_nothing_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half-open from outside: the handshake has a time limit."""
    monkeypatch.setattr("emporium.runtime.internal_server.HANDSHAKE_S", 0.05)
    with listening() as listener, dial(listener.server.port) as connection:
        assert isinstance(receive_record(connection), frames.Challenge)
        assert connection.recv(1) == b""
        assert listener.changes == []


def test_an_acceptor_that_says_nothing_is_given_up() -> None:
    """Half-open to the outside: a paused process accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(5)
        with dialling(silent.getsockname()[1]) as hub:
            first, _ = silent.accept()
            second, _ = silent.accept()  # after the time-out the dialer tries again
            first.close()
            second.close()
            assert not hub.connected("catalog", 0)


def test_closing_the_server_refuses_connects_and_it_can_be_started_again() -> None:
    """The fault hook `shutdown` looks like a death, `recover` like a new life."""
    with listening() as listener:
        port = listener.server.port
        with dialling(port) as hub:
            lost: list[tuple[str, int]] = []
            hub.on_disconnect(lambda role, replica: lost.append((role, replica)))
            eventually(lambda: hub.connected("catalog", 0), "a stream")
            assert not probe(("127.0.0.1", port), 1.0)
            listener.server.close()
            assert probe(("127.0.0.1", port), 1.0)
            eventually(lambda: lost == [("catalog", 0)], "the loss")
            listener.server.start()
            assert listener.server.port == port
            eventually(lambda: hub.connected("catalog", 0), "a new stream")


def test_a_taken_port_is_a_clear_fatal_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not two processes on one internal port."""
    monkeypatch.setattr("emporium.runtime.internal_server.BIND_PATIENCE_MS", 0.0)
    with listening() as listener:
        second = InternalServer(
            CATALOG,
            ("127.0.0.1", listener.server.port),
            credentials_of([SECRET]),
            FaultTable("catalog-0"),
            lambda _stream, _record: None,
            lambda _stream, *, up: None,  # noqa: ARG005 the callback's signature
        )
        with pytest.raises(FatalError, match=r"internal port 127.0.0.1:.* can't be opened"):
            second.start()


def test_a_one_way_cut_cuts_one_way() -> None:
    """What the frontend says arrives, what the catalog says doesn't, and nobody sees a loss."""

    def answer(stream: Stream, record: object) -> None:
        assert isinstance(record, Ask)
        stream.send(Answered(record.id, record.payload, (), 0.0))

    with listening(handle=answer) as listener, dialling(listener.server.port) as hub:
        eventually(lambda: hub.connected("catalog", 0), "a stream")
        listener.faults.set("frontend-0", FaultRule(cut=True))
        pending = hub.call("catalog", 0, QueryItem("1", "local"), 10_000)
        eventually(lambda: len(listener.records) == 1, "the request")
        never(lambda: pending.finished, "an answer", for_s=0.1)
        hub.faults.set("catalog-0", FaultRule(cut=True))
        listener.faults.clear()
        hub.call("catalog", 0, QueryItem("2", "local"), 10_000)
        never(lambda: len(listener.records) > 1, "a request", for_s=0.1)
        assert hub.connected("catalog", 0)
        hub.faults.clear()
        assert hub.call("catalog", 0, RENEW, 1000).wait(5000)[0] == RENEW


def test_a_repeated_frame_is_handled_twice_and_answered_once() -> None:
    """Duplication happens above the codes: each copy is a genuine frame."""

    def answer(stream: Stream, record: object) -> None:
        assert isinstance(record, Ask)
        stream.send(Answered(record.id, record.payload, (), 0.0))

    with listening(handle=answer) as listener, dialling(listener.server.port) as hub:
        eventually(lambda: hub.connected("catalog", 0), "a stream")
        hub.faults.set("catalog-0", FaultRule(duplicate=1.0))
        assert hub.call("catalog", 0, RENEW, 1000).wait(5000)[0] == RENEW
        eventually(lambda: len(listener.records) == 2, "both copies")
        assert hub.connected("catalog", 0)


def test_sending_never_waits_and_a_full_queue_drops(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that stands still costs its sender memory up to a bound, and no time."""
    monkeypatch.setattr(streams, "QUEUE_BYTES", 200_000)
    gate = Gate()
    with listening(handle=gate.pass_through) as listener, dialling(listener.server.port) as hub:
        eventually(lambda: hub.connected("catalog", 0), "a stream")
        body = frames.pack(Ask(1, 1.0, "", "x" * 50_000))
        sent = 0
        while hub.dropped() < 3:
            sent += hub.send_body("catalog", 0, body)
            assert sent < 10_000
        gate.open()
        eventually(lambda: len(listener.records) == sent, "all that were taken")
        assert hub.send("catalog", 0, RENEW)
        eventually(lambda: listener.records[-1] == RENEW, "the next one")


def test_who_has_taken_a_connection_may_take_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connect is given up after a heartbeat interval, its handshake not before four: a busy
    machine isn't a dead one."""
    waits: list[float | None] = []
    handshake = streams.dial_handshake

    def noted(connection: socket.socket, *more: Any) -> Stream:
        waits.append(connection.gettimeout())
        return handshake(connection, *more)

    monkeypatch.setattr(streams, "dial_handshake", noted)
    with listening() as listener, dialling(listener.server.port) as hub:
        eventually(lambda: hub.connected("catalog", 0), "a stream")
    assert waits[0] == pytest.approx(1.0)


def test_a_handler_that_fails_ends_its_stream_and_the_dialer_comes_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A fault in one handler doesn't stop the process from hearing."""

    def fail(_stream: Stream, record: object) -> None:
        if record == RENEW:
            raise KeyError("unexpected")

    with listening(handle=fail) as listener, dialling(listener.server.port) as hub:
        eventually(lambda: hub.send("catalog", 0, RENEW), "a stream")
        eventually(lambda: "could not be handled" in caplog.text, "a line")

        def heard_again() -> bool:
            hub.send("catalog", 0, NotGranted(0, 0))  # the first may go into the dying stream
            return NotGranted(0, 0) in listener.records

        eventually(heard_again, "a record over a new stream")


def test_a_callback_that_fails_does_not_end_the_dialling(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whoever is told of a new stream and raises loses that stream, not the next one."""
    faults = [KeyError("unexpected")]

    def told(_role: str, _replica: int) -> None:
        if faults:
            raise faults.pop()

    with listening() as listener:
        hub = Hub(
            FRONTEND,
            {"catalog": {0: ("127.0.0.1", listener.server.port)}},
            credentials_of([SECRET]),
            FaultTable(str(FRONTEND)),
            connect_timeout_ms=250.0,
        )
        hub.on_connect(told)
        hub.start()
        eventually(lambda: "was given up" in caplog.text, "a line")
        eventually(lambda: hub.send("catalog", 0, RENEW), "a new stream")
        eventually(lambda: listener.records == [RENEW], "the record")
        hub.close()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificates")
def test_streams_run_over_tls_when_the_settings_have_certificates(tmp_path: Path) -> None:
    """Both sides show certificates of the one authority; a plain dialer gets nowhere."""
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
        f" -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 -keyout {key} -out {certificate}"
    )
    subprocess.run(command.split(), check=True, capture_output=True)
    tls = credentials_of([SECRET], (str(certificate), str(key), str(certificate)))
    echo: list[object] = []
    with listening(tls, handle=lambda stream, record: stream.send(record)) as listener:
        with dialling(listener.server.port, tls) as hub:
            hub.on_message(lambda _role, _replica, record: echo.append(record))
            eventually(lambda: hub.send("catalog", 0, RENEW), "a stream")
            large = Renew("x" * 3_000_000, "", 2.0)  # more than one write takes
            hub.send("catalog", 0, large)
            eventually(lambda: echo == [RENEW, large], "both, in order")
        with dialling(listener.server.port) as plain:
            never(lambda: plain.connected("catalog", 0), "a plain stream", for_s=0.2)


def test_credentials_without_a_secret_prove_the_empty_one() -> None:
    """On loopback a store may run without a secret; that opens no door to one that has one."""
    with listening() as listener, dialling(listener.server.port, credentials_of([])) as hub:
        eventually(lambda: listener.server.refused, "a refusal")
        assert not hub.connected("catalog", 0)
    spoken = frames.spoken()
    challenge = frames.challenge_of(spoken, CATALOG, "aa")
    introduction = frames.introduce([b""], challenge, spoken, FRONTEND, "")
    with pytest.raises(FrameError):
        frames.choose_secret([b"x"], challenge, introduction)
