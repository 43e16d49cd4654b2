"""The operation log."""

from __future__ import annotations

import io
import threading
from pathlib import Path

import pytest

from emporium.runtime import operation_log
from emporium.runtime.errors import SettingsError
from emporium.runtime.operation_log import OperationLog, file_name, open_log


class Gate(io.StringIO):
    """A stream whose writes wait until it is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Event()
        self.opened = threading.Event()

    def write(self, text: str) -> int:
        """Wait, then write."""
        self.entered.set()
        assert self.opened.wait(10)
        return super().write(text)


class FullDisk(io.StringIO):
    """A stream that refuses."""

    def write(self, text: str) -> int:
        """No space left."""
        raise OSError(28, f"no space for {len(text)} characters")


def test_files_have_the_names_of_the_seeds() -> None:
    """Catalog and order with their id, the one cache and the client without."""
    names = [file_name(*of) for of in (("catalog", 0), ("order", 1), ("cache", 0), ("client", 0))]
    assert names == ["catalog0_log", "order1_log", "cache_log", "client_log"]
    assert file_name("cache", 1) == "cache1_log"


def test_lines_are_appended_in_order(tmp_path: Path) -> None:
    """A second start goes on in the same file."""
    for number in range(2):
        log = open_log(str(tmp_path / "output"), "catalog", 0)
        log.write(f"query_by_item,{number}")
        log.write("a line\nwith an end in it")
        log.close()
        log.close()
    text = (tmp_path / "output" / "catalog0_log").read_text()
    assert text == (
        "query_by_item,0\na line with an end in it\nquery_by_item,1\na line with an end in it\n"
    )


def test_without_a_folder_lines_go_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    """As pods do it; closing the log leaves standard output open."""
    log = open_log("", "order", 2)
    log.write("bought book 2")
    log.close()
    print("still open")  # noqa: T201 the point of the test
    assert capsys.readouterr().out == "bought book 2\nstill open\n"


def test_writers_never_wait_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """While one write hangs, lines are queued up to the bound, then counted and dropped."""
    monkeypatch.setattr(operation_log, "QUEUE_LINES", 3)
    gate = Gate()
    log = OperationLog(gate, owned=False)
    log.write("first")
    assert gate.entered.wait(10)
    for number in range(5):
        log.write(str(number))
    assert log.dropped == 2
    assert not log.flush(0.01)
    gate.opened.set()
    assert log.flush(10)
    log.close()
    assert gate.getvalue() == "first\n0\n1\n2\n"


def test_a_full_disk_costs_lines_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    """It is said once; the lines are counted."""
    log = OperationLog(FullDisk(), owned=False)
    for _ in range(3):
        log.write("query_by_item,1")
        assert log.flush(10)
    log.close()
    assert log.dropped == 3
    assert len(caplog.records) == 1


def test_a_closed_log_takes_no_more() -> None:
    """A late line is counted, not an error."""
    log = OperationLog(io.StringIO(), owned=False)
    log.close()
    log.write("late")
    assert log.dropped == 1


def test_a_folder_that_cant_be_made_names_the_setting(tmp_path: Path) -> None:
    """The operator sees which setting is wrong."""
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="EMPORIUM_OUTPUT_DIR"):
        open_log(str(tmp_path / "file" / "output"), "cache", 0)


def test_many_threads_write_whole_lines(tmp_path: Path) -> None:
    """No line is lost or torn."""
    log = open_log(str(tmp_path), "client", 0)

    def work(name: int) -> None:
        """Write a hundred lines."""
        for number in range(100):
            log.write(f"{name}:{number}")

    threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    lines = (tmp_path / "client_log").read_text().splitlines()
    assert sorted(lines) == sorted(f"{name}:{n}" for name in range(8) for n in range(100))
    for name in range(8):
        own = [line for line in lines if line.startswith(f"{name}:")]
        assert own == [f"{name}:{number}" for number in range(100)]
