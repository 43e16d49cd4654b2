"""Processes, their identity and the run file, with a stand-in for the roles."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from emporium.local import ports, processes
from emporium.local.errors import LocalError
from emporium.local.folder import DataFolder, read_json
from emporium.local.launcher import Launcher
from emporium.local.layout import Plan, default_places, offsets
from emporium.local.processes import ProcessKey
from emporium.local.readiness import missing, wait_until_answers, wait_until_serves
from tests.waiting import eventually

STAND_IN = str(Path(__file__).parent / "stand_in.py")
COUNTS = {"frontend": 1, "catalog": 3, "order": 1}
HOST = "127.0.0.1"
DEADLINE_S = 20.0

Make = Callable[..., Launcher]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Make launchers of stand-ins; whatever they started is killed in the end."""
    made: list[Launcher] = []

    def build(*words: str, folder: str = "data", counts: dict[str, int] | None = None) -> Launcher:
        numbers = counts or COUNTS
        places = default_places(numbers, HOST, ports.free_base(HOST, offsets(numbers)))
        plan = Plan("bookstore", "off", places)
        command = (sys.executable, STAND_IN, *words)
        launcher = Launcher(DataFolder(tmp_path / folder), plan, command)
        made.append(launcher)
        return launcher

    yield build
    for launcher in made:
        for child in launcher.children.values():
            with contextlib.suppress(ProcessLookupError):  # nothing of the group is left
                os.killpg(child.pid, signal.SIGKILL)
            child.wait(DEADLINE_S)


@pytest.fixture
def launcher(make: Make) -> Launcher:
    """A store of stand-ins that answers."""
    store = make()
    store.begin()
    store.start_all()
    wait_until_answers(store, DEADLINE_S)
    return store


def test_the_store_answers(launcher: Launcher) -> None:
    """Every process runs in a group of its own, and the run file says which."""
    keys = launcher.keys()
    assert len(keys) == 5
    assert all(os.getpgid(key.pid) == key.pid for key in keys.values())
    assert missing(launcher) == ""
    assert {launcher.state(name) for name in keys} == {"up"}


def test_another_command_finds_it(launcher: Launcher) -> None:
    """The run file alone is enough to find and signal the processes."""
    other = Launcher.running(launcher.folder)
    assert other.keys() == launcher.keys()
    assert other.plan == launcher.plan


def test_kill_takes_the_whole_group(launcher: Launcher) -> None:
    """After kill -9 neither master nor worker is left, and the ports are free."""
    key = launcher.keys()["catalog-0"]
    assert len(processes.members(key)) == 2
    launcher.kill("catalog-0")
    assert processes.members(key) == []
    assert launcher.state("catalog-0") == "dead"
    assert launcher.obituary("catalog-0") == "was killed by SIGKILL"
    assert "catalog-0 isn't ready" in missing(launcher)
    with pytest.raises(LocalError, match="catalog-0 doesn't run"):
        launcher.kill("catalog-0")


def test_start_again(launcher: Launcher) -> None:
    """A dead replica is started with the same settings, by whoever asks; a living one isn't."""
    with pytest.raises(LocalError, match="catalog-0 runs already"):
        launcher.start("catalog-0")
    before = launcher.kill("catalog-0")
    other = Launcher.running(launcher.folder)
    after = other.start("catalog-0")
    try:
        assert after.pid != before.pid
        wait_until_serves(launcher, "catalog-0", DEADLINE_S)
        assert launcher.state("catalog-0") == "up"
    finally:
        other.kill("catalog-0")


def test_a_dead_master_does_not_hide_its_worker(launcher: Launcher) -> None:
    """A worker that outlived its master still counts, and is killed with the group."""
    key = launcher.keys()["order-0"]
    os.kill(key.pid, signal.SIGKILL)
    launcher.children["order-0"].wait(DEADLINE_S)
    assert launcher.state("order-0") == "up"
    launcher.kill("order-0")
    assert launcher.state("order-0") == "dead"


def test_pause_and_resume(launcher: Launcher) -> None:
    """A paused process is stopped as a whole and goes on afterwards."""
    launcher.pause("catalog-1")
    eventually(lambda: launcher.state("catalog-1") == "paused", "it is paused")
    launcher.resume("catalog-1")
    eventually(lambda: launcher.state("catalog-1") == "up", "it goes on")
    wait_until_serves(launcher, "catalog-1", DEADLINE_S)


def test_stop_leaves_nothing(launcher: Launcher) -> None:
    """A graceful stop ends every process, the paused one too, and removes the run file."""
    keys = list(launcher.keys().values())
    launcher.pause("catalog-1")
    assert launcher.stop() == []
    assert not any(processes.alive(key) for key in keys)
    assert not launcher.folder.run_file.exists()
    with pytest.raises(LocalError, match="no store runs"):
        Launcher.running(launcher.folder)


def test_a_deaf_process_is_killed(make: Make) -> None:
    """Who ignores SIGTERM is killed after the grace period, and named."""
    launcher = make("deaf", counts={"frontend": 1})
    launcher.begin()
    launcher.start_all()
    wait_until_serves(launcher, "frontend-0", DEADLINE_S)
    assert launcher.stop(grace_s=0.3) == ["frontend-0"]


def test_a_process_that_dies_at_its_start(make: Make) -> None:
    """Waiting ends at once, with the exit code and the end of the log."""
    launcher = make("broken", counts={"frontend": 1})
    launcher.begin()
    launcher.start_all()
    with pytest.raises(LocalError, match=r"(?s)exit code 4.*nothing works here"):
        wait_until_answers(launcher, DEADLINE_S)


def test_a_recycled_pid_is_never_signalled(launcher: Launcher) -> None:
    """A process with the recorded pid and another start time is a stranger."""
    stranger = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True
    )
    try:
        true = processes.key_of(stranger.pid)
        false = ProcessKey(true.pid, true.started + "0")
        assert processes.alive(true)
        assert not processes.alive(false)
        assert not processes.signal_group(false, signal.SIGKILL)
        assert not processes.signal_leader(false, signal.SIGTERM)
        launcher._write({"processes": {"catalog-0": {"pid": false.pid, "started": false.started}}})
        with pytest.raises(LocalError, match="catalog-0 doesn't run"):
            launcher.kill("catalog-0")
        launcher.stop(grace_s=0)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait(DEADLINE_S)


def test_a_taken_port(make: Make) -> None:
    """A port that somebody has is named together with its use and its owner; nothing starts."""
    launcher = make()
    place = launcher.plan.place("catalog-1")
    with socket.create_server((HOST, place.health_port)):
        with pytest.raises(LocalError) as caught:
            launcher.begin()
        text = str(caught.value)
        assert f"port {place.health_port} (catalog-1 health) is taken by" in text
        if sys.platform.startswith("linux"):
            assert f"pid {os.getpid()}" in text
    assert launcher.children == {}


def test_one_store_per_folder(launcher: Launcher) -> None:
    """A second store in the same folder is refused."""
    with pytest.raises(LocalError, match=r"runs in .* already"):
        Launcher(launcher.folder, launcher.plan).begin()


def test_files_are_private(launcher: Launcher) -> None:
    """Token, secret and run file are for their user alone, and survive a restart."""
    folder = launcher.folder
    for path in (folder.token_file, folder.secret_file, folder.run_file):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    token = folder.token()
    folder.make_secrets()
    assert len(token) >= 32
    assert folder.token() == token


def test_run_file_is_replaced_in_one_step(launcher: Launcher) -> None:
    """No scratch file stays beside the run file, and another version's is refused."""
    assert [path.name for path in launcher.folder.root.glob(".run.json*")] == []
    launcher.folder.run_file.write_text('{"format": 99}')
    with pytest.raises(LocalError, match="another version"):
        read_json(launcher.folder.run_file)
