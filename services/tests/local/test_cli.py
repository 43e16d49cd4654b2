"""The `emporium` command against a foreground `up`, with a stand-in for the roles."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from emporium.local import cli, processes
from emporium.local.folder import DataFolder
from emporium.local.launcher import Launcher
from emporium.local.processes import ProcessKey
from tests.local.up_process import HOST, Up, config_text, run_apart
from tests.waiting import eventually

COUNTS = {"frontend": 1, "catalog": 3, "order": 1}
Run = Callable[..., tuple[int, str]]


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    """A data folder."""
    return DataFolder(tmp_path / "data")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A config file with free ports."""
    path = tmp_path / "config"
    path.write_text(config_text(COUNTS))
    return path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], folder: DataFolder) -> Run:
    """Run one command on the folder; exit code and output."""

    def command(*words: str) -> tuple[int, str]:
        code = cli.main([*words, "--data", str(folder.root)])
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    return command


StartUp = Callable[..., Up]


@pytest.fixture
def start_up(folder: DataFolder, config: Path) -> Iterator[StartUp]:
    """Start `up` with stand-ins; in the end nothing is left."""
    started: list[Up] = []
    keys: dict[int, ProcessKey] = {}

    def start(*words: str, stand_in: tuple[str, ...] = ()) -> Up:
        options = ["--data", str(folder.root), "--config", str(config), *words]
        started.append(Up(*options, stand_in=stand_in))
        return started[-1]

    def note() -> None:
        launcher = Launcher.recorded(folder)
        if launcher is not None:
            keys.update({key.pid: key for key in launcher.keys().values()})

    yield start
    note()
    for up in started:
        up.close(list(keys.values()))


@pytest.fixture
def up(start_up: StartUp) -> Up:
    """A store of stand-ins that answers."""
    return start_up().ready()


def keys_of(folder: DataFolder) -> dict[str, ProcessKey]:
    """The processes that the run file names."""
    return Launcher.running(folder).keys()


def test_up_shows_a_table(up: Up, folder: DataFolder) -> None:
    """`up` shows every process, who reigns, and where the token is."""
    for name, key in keys_of(folder).items():
        role, _, number = name.partition("-")
        row = next(line for line in up.lines if line.split()[:2] == [role, number])
        assert str(key.pid) in row
        assert ("reigns" in row) == (name in ("catalog-0", "order-0"))
    assert str(folder.token_file) in up.text
    assert "\x1b" not in up.text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_up_stops_with_everything(up: Up, folder: DataFolder, number: signal.Signals) -> None:
    """Ctrl-C, SIGTERM or a closed terminal stop every process; the data stays."""
    keys = list(keys_of(folder).values())
    up.signal(number)
    assert up.ends() == 0
    assert "All processes have stopped" in up.text
    assert not any(processes.alive(key) for key in keys)
    assert not folder.run_file.exists()
    assert folder.store_file.exists()


def test_status(up: Up, run: Run) -> None:
    """`status` shows who is behind; `--json` has the same for programs."""
    code, text = run("status")
    assert code == 0
    row = next(line for line in text.splitlines() if line.split()[:2] == ["catalog", "2"])
    assert row.split()[4:] == ["up", "1", "yes", "yes", "7", "5", "2"]
    code, text = run("status", "--json")
    catalog = [each for each in json.loads(text) if each["role"] == "catalog"]
    assert [each["lag"] for each in catalog] == [0, 1, 2]
    assert catalog[0]["reigning"] is True
    assert up.process.poll() is None


def test_kill_is_told_and_start_brings_back(up: Up, run: Run, folder: DataFolder) -> None:
    """`up` tells who died and doesn't start it; `start` does, and `up` tells that, too."""
    before = keys_of(folder)["catalog-1"]
    assert run("kill", "catalog-1")[0] == 0
    up.says("catalog-1 was killed by SIGKILL; `emporium start catalog-1 --data ")
    code, text = run("status")
    assert code == 1
    row = next(line for line in text.splitlines() if line.split()[:2] == ["catalog", "1"])
    assert "dead" in row
    assert "serves" in run_apart("start", "catalog-1", "--data", str(folder.root))
    up.says("catalog-1 is back")
    after = keys_of(folder)["catalog-1"]
    assert after != before
    up.signal(signal.SIGTERM)
    assert up.ends() == 0
    assert not processes.alive(after)


def test_pause_and_resume(up: Up, run: Run) -> None:
    """A paused process is shown as such."""
    assert run("pause", "order-0")[0] == 0
    up.says("order-0 is paused")
    assert "paused" in run("status")[1]
    assert run("resume", "order-0")[0] == 0
    up.says("order-0 goes on")


def test_logs(up: Up, run: Run) -> None:
    """`logs` shows what a process wrote, or all of them with their names."""
    for words, line in (
        (("logs", "catalog-0"), "catalog-0 listens"),
        (("logs",), "order-0     order-0 listens"),
    ):
        eventually(lambda words=words, line=line: line in run(*words)[1], line)  # type: ignore[misc]
        assert run(*words)[0] == 0
    code, text = run("logs", "nobody-7")
    assert code == 1
    assert "there is no log of 'nobody-7'" in text
    assert up.process.poll() is None


def test_down(up: Up, run: Run) -> None:
    """`down` stops `up` and all its processes; afterwards nothing runs."""
    assert run("down")[0] == 0
    assert up.ends() == 0
    code, text = run("status")
    assert code == 1
    assert "no store runs" in text


def test_down_after_up_was_killed(up: Up, run: Run, folder: DataFolder) -> None:
    """Processes that a killed `up` left behind are found, and stopped."""
    keys = list(keys_of(folder).values())
    up.signal(signal.SIGKILL)
    up.ends()
    assert all(processes.alive(key) for key in keys)
    assert run("down")[0] == 0
    assert not any(processes.alive(key) for key in keys)


def test_names_are_checked(up: Up, run: Run) -> None:
    """A wrong name is answered with the right ones."""
    code, text = run("kill", "catalog-7")
    assert code == 1
    assert "there is no 'catalog-7'" in text
    assert "catalog-2" in text
    assert "no signal 'HUGO'" in run("kill", "catalog-0", "--signal", "HUGO")[1]
    assert up.process.poll() is None


def test_second_up(up: Up, start_up: StartUp) -> None:
    """A second `up` in the same folder says that one runs."""
    second = start_up()
    assert second.ends() == 1
    assert "a store runs in" in second.text
    assert up.process.poll() is None


def test_old_data(up: Up, start_up: StartUp, folder: DataFolder) -> None:
    """`up` on old data says so and goes on; another number of replicas is refused."""
    up.signal(signal.SIGTERM)
    assert up.ends() == 0
    token = folder.token()
    again = start_up().ready()
    assert "Going on from the data of" in again.text
    assert folder.token() == token
    again.signal(signal.SIGTERM)
    assert again.ends() == 0
    other = Up("--data", str(folder.root), "--catalog", "5", "--order", "1", stand_in=())
    try:
        assert other.ends() == 1
        assert "it has catalog 3, and catalog 5 is asked for" in other.text
    finally:
        other.close([])


def test_taken_port(start_up: StartUp, config: Path, folder: DataFolder) -> None:
    """A taken port is named and nothing is started."""
    port = int(config.read_text().splitlines()[0].rpartition(":")[2])
    with closing(socket.create_server((HOST, port))):
        up = start_up()
        assert up.ends() == 1
    assert f"port {port} (frontend-0) is taken by pid" in up.text
    assert not folder.run_file.exists()


def test_broken_role(start_up: StartUp, folder: DataFolder) -> None:
    """A role that dies at its start ends `up`, with the end of its log and exit code 1."""
    up = start_up(stand_in=("broken",))
    assert up.ends() == 1
    assert "ended with exit code 4" in up.text
    assert "nothing works here" in up.text
    assert not folder.run_file.exists()


def test_nothing_runs(run: Run) -> None:
    """Without a store every command says so."""
    for words in (["status"], ["down"], ["kill", "catalog-0"], ["start", "order-0"]):
        code, text = run(*words)
        assert code == 1
        assert "no store runs" in text
