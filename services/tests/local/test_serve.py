"""How every role is served: one worker, a good-bye, limits, and no life after death."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from emporium.local import ports
from emporium.runtime import serve
from emporium.runtime.errors import SettingsError
from emporium.runtime.settings import read
from tests.local import stub_role
from tests.waiting import eventually

SERVICES = Path(__file__).parents[2]


class Served:
    """A stub role as a process."""

    def __init__(self, folder: Path, role: str, **environ: str) -> None:
        """Started; perhaps not yet answering."""
        self.port = ports.free_base("127.0.0.1", [0])
        self.log = folder / "log"
        self.home = folder
        addresses = ",".join(f"127.0.0.1:{self.port + n}" for n in range(3))
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", stub_role.__name__, role],
                env={
                    "PATH": os.environ["PATH"],
                    "PYTHONPATH": str(SERVICES),
                    "HOME": str(folder),
                    "EMPORIUM_DATA_DIR": str(folder),
                    "EMPORIUM_CATALOG": addresses,
                    "EMPORIUM_FRONTEND": f"127.0.0.1:{self.port}",
                    "EMPORIUM_THREADS": "4",
                    **environ,
                },
                stdout=log,
                stderr=log,
                cwd=folder,
                start_new_session=True,
            )

    def connect(self) -> http.client.HTTPConnection:
        """A connection that isn't used yet."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)

    def get(self, path: str) -> str:
        """The body of one GET over its own connection; empty when nobody answers."""
        with closing(self.connect()) as connection:
            try:
                connection.request("GET", path)
                return connection.getresponse().read().decode()
            except OSError:
                return ""

    def worker(self) -> int:
        """The worker's process id, once it answers."""
        return int(eventually(lambda: self.get("/pid"), "an answer"))

    def wait(self) -> int:
        """The master's exit code."""
        return self.process.wait(timeout=20)

    def logged(self, text: str) -> bool:
        """Whether the log has the text."""
        return text in self.log.read_text()


@contextmanager
def served(folder: Path, role: str, **environ: str) -> Iterator[Served]:
    """A stub role that is gone afterwards."""
    role_process = Served(folder, role, **environ)
    try:
        yield role_process
    finally:
        if role_process.process.poll() is None:
            os.killpg(role_process.process.pid, signal.SIGKILL)
            role_process.process.wait()


def alive(pid: int) -> bool:
    """Whether a process runs: a zombie doesn't."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def test_sigterm_hands_over_while_the_replica_still_answers(tmp_path: Path) -> None:
    """Leaving and unready, but open, until the hand-over is done; then it stops in order."""
    with served(tmp_path, "catalog") as replica:
        replica.worker()
        assert replica.get("/leaving") == "False"
        replica.process.terminate()
        eventually(lambda: replica.get("/leaving") == "True", "leaving, and answering")
        assert replica.process.poll() is None
        replica.get("/hand-over")
        assert replica.wait() == 0
        lines = replica.log.read_text()
        said = ["hand-over begins", "hand-over ends", "everything is closed"]
        assert [lines.count(text) for text in said] == [1, 1, 1]
        assert sorted(said, key=lines.index) == said


def test_a_frontend_stays_open_for_a_while_after_sigterm(tmp_path: Path) -> None:
    """Clients that don't know yet are answered."""
    with served(tmp_path, "frontend", STUB_LINGER_MS="4000") as frontend:
        frontend.worker()
        frontend.get("/hand-over")
        frontend.process.terminate()
        eventually(lambda: frontend.logged("hand-over ends"), "the good-bye")
        assert frontend.get("/leaving") == "True"
        assert frontend.wait() == 0


def test_a_kept_connection_is_answered_during_the_good_bye(tmp_path: Path) -> None:
    """Keep-alive holds until the end."""
    with served(tmp_path, "catalog") as replica, closing(replica.connect()) as connection:
        pid = replica.worker()
        for path in ("/pid", "/pid"):
            connection.request("GET", path)
            assert connection.getresponse().read() == str(pid).encode()
        replica.process.terminate()
        eventually(lambda: replica.logged("hand-over begins"), "the good-bye")
        connection.request("GET", "/hand-over")
        assert connection.getresponse().status == 200
        assert replica.wait() == 0


def test_the_master_dies_with_its_worker(tmp_path: Path) -> None:
    """No silent respawn: a new worker would be a new life that nobody started."""
    with served(tmp_path, "catalog") as replica:
        pid = replica.worker()
        os.kill(pid, signal.SIGKILL)
        assert replica.wait() == 3
        assert not alive(pid)
        assert replica.get("/pid") == ""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the worker notices within a second")
def test_the_worker_dies_with_its_master(tmp_path: Path) -> None:
    """A kill -9 of the process that was started kills the replica, at once."""
    with served(tmp_path, "catalog") as replica:
        pid = replica.worker()
        replica.process.kill()
        eventually(lambda: not alive(pid), "the worker's end")


def test_a_fatal_error_ends_worker_and_master_with_one_line(tmp_path: Path) -> None:
    """The exit code says that something is wrong, the line says what."""
    with served(tmp_path, "catalog") as replica:
        replica.worker()
        replica.get("/die")
        assert replica.wait() == 3
        assert replica.logged("level=error role=catalog id=0")
        assert replica.logged('message="the journal can\'t be trusted"')


@pytest.mark.parametrize("failure", ["DiskFull", "DataFolderInUse", "SettingsError"])
def test_what_cannot_be_built_ends_with_one_line_and_no_traceback(
    tmp_path: Path, failure: str
) -> None:
    """A newcomer reads what to do, not a stack."""
    with served(tmp_path, "catalog", STUB_FAILS=failure) as replica:
        assert replica.wait() == 3
        assert replica.logged("as the test wants it")
        assert not replica.logged("Traceback")


def test_a_reload_or_another_worker_is_refused(tmp_path: Path) -> None:
    """gunicorn's signals for more workers do nothing here."""
    with served(tmp_path, "catalog") as replica:
        pid = replica.worker()
        for number in (signal.SIGHUP, signal.SIGTTIN, signal.SIGUSR2, signal.SIGTTOU):
            replica.process.send_signal(number)
        eventually(lambda: replica.log.read_text().count("reload is off") == 4, "four refusals")
        assert replica.worker() == pid
        assert not (replica.home / ".gunicorn").exists()  # no control socket


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (["GET /" + "x" * 5000 + " HTTP/1.1", "Host: a"], 414),
        (["GET /pid HTTP/1.1", "Host: a", "X-Long: " + "x" * 5000], 431),
        (["GET /pid HTTP/1.1", "Host: a", *(f"X-{n}: 1" for n in range(60))], 431),
        (["nonsense"], 400),
    ],
)
def test_request_lines_and_headers_are_bounded(
    tmp_path: Path, lines: list[str], status: int
) -> None:
    """What is longer than anybody needs is refused."""
    with served(tmp_path, "catalog") as replica:
        replica.worker()
        with socket.create_connection(("127.0.0.1", replica.port), timeout=10) as connection:
            connection.sendall("\r\n".join([*lines, "", ""]).encode())
            answer = connection.recv(2000)
            assert answer.split()[1] == str(status).encode()
            assert b"application/problem+json" in answer
            assert json.loads(answer.partition(b"\r\n\r\n")[2])["status"] == status


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"GET /pid HTTP/1.1\r\nHost: a\r\nX-Slow: ",
        b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 900\r\n\r\nhalf",
        b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 0000000000000000000050\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n0\r\n\r\n",
    ],
    ids=["silent", "half a head", "half a body", "half a chunked body", "padded", "false end"],
)
def test_clients_that_say_half_a_request_hold_no_thread(tmp_path: Path, begun: bytes) -> None:
    """Far more of them than there are threads, and others are answered while they wait."""
    with served(tmp_path, "catalog", STUB_ARRIVAL_MS="60000") as replica:
        replica.worker()
        slow = [socket.create_connection(("127.0.0.1", replica.port), 10) for _ in range(40)]
        for connection in slow:
            connection.sendall(begun)
        for _ in range(5):
            with closing(replica.connect()) as good:
                good.request("GET", "/pid")
                assert good.getresponse().status == 200
        for connection in slow:
            connection.close()


def test_a_request_that_trickles_in_is_cut_off(tmp_path: Path) -> None:
    """What has not come whole in time is closed."""
    with served(tmp_path, "catalog", STUB_ARRIVAL_MS="300") as replica:
        replica.worker()
        with socket.create_connection(("127.0.0.1", replica.port), 10) as slow:
            slow.sendall(b"GET /pid HTTP/1.1\r\nHost: a\r\nX-Slow: ")
            assert slow.recv(100) == b""


def test_a_request_in_pieces_is_put_together(tmp_path: Path) -> None:
    """Head and body in many packets, and a client that waits to be told to go on."""
    with served(tmp_path, "catalog") as replica:
        replica.worker()
        with socket.create_connection(("127.0.0.1", replica.port), 10) as connection:
            text = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n"
            for byte in text:
                connection.send(bytes([byte]))
            connection.sendall(b"Expect: 100-continue\r\n\r\n")
            assert connection.recv(25).startswith(b"HTTP/1.1 100")
            connection.sendall(b"body")
            answer = b""
            while not answer.endswith(b"body"):
                answer += connection.recv(1000)
            assert b"200 OK" in answer


def test_a_body_comes_through(tmp_path: Path) -> None:
    """The time limit on requests with a body doesn't hurt the quick."""
    with served(tmp_path, "catalog") as replica, closing(replica.connect()) as connection:
        replica.worker()
        connection.request("POST", "/echo", body=b"x" * 60_000)
        assert connection.getresponse().read() == b"x" * 60_000


def test_a_bad_setting_or_role_is_said_before_anything_starts(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Named with what is allowed."""
    with served(tmp_path, "catalog", EMPORIUM_HEARTBEET="1") as replica:
        assert replica.wait() == 3
        assert replica.logged("EMPORIUM_HEARTBEET is not a setting of this version")
    assert serve.main(["shop"], {}) == 2
    assert serve.main(["catalog", "order"], {}) == 2
    assert "usage: python -m emporium.runtime.serve frontend|cache" in capfd.readouterr().err


def test_start_up_asserts_one_worker() -> None:
    """Two workers would be two replicas behind one port (PROTOCOL 5.2)."""
    server = serve.RoleServer(read({"EMPORIUM_DATA_DIR": "x"}, "catalog"))
    for name, value in (("workers", 2), ("max_requests", 1), ("reload", True)):
        before = getattr(server.cfg, name)
        server.cfg.set(name, value)
        with pytest.raises(SettingsError):
            serve.check(server.cfg)
        server.cfg.set(name, before)
    serve.check(server.cfg)
