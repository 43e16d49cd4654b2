"""`emporium up` as a process of its own, for tests that watch it from outside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from emporium.local import ports, processes
from emporium.local.layout import default_places, offsets
from emporium.local.processes import ProcessKey
from tests.waiting import eventually

SERVICES = Path(__file__).parents[2]
STAND_IN = Path(__file__).parent / "stand_in.py"
HOST = "127.0.0.1"
READY_S = 60.0
READY = "Ctrl-C or `emporium down"

WITH_STAND_IN = f"""
import sys
from emporium.local import cli, launcher
launcher.SERVE = (sys.executable, {str(STAND_IN)!r}, *{{words!r}})
sys.exit(cli.main())
"""


def config_text(counts: dict[str, int]) -> str:
    """A config file for a store on free ports."""
    base = ports.free_base(HOST, offsets(counts))
    places = default_places(counts, HOST, base)
    return "".join(f"{place.role},{place.address}\n" for place in places)


def run_apart(*words: str, timeout_s: float = READY_S) -> str:
    """Run one command as a process of its own; its output. It must succeed."""
    done = subprocess.run(
        [sys.executable, "-m", "emporium", *words],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(SERVICES)},
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class Up:
    """A running `emporium up`. Without `stand_in` the roles are the real ones."""

    def __init__(self, *words: str, stand_in: tuple[str, ...] | None = None) -> None:
        """Start it with these words after `up`."""
        program = ["-m", "emporium"]
        if stand_in is not None:
            program = ["-c", WITH_STAND_IN.format(words=stand_in)]
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, *program, "up", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"PYTHONPATH": str(SERVICES)},
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    @property
    def text(self) -> str:
        """What it has said so far."""
        return "\n".join(self.lines)

    def says(self, words: str, timeout_s: float = READY_S) -> None:
        """Wait until it has said this. Ends early when it has ended."""
        eventually(
            lambda: words in self.text or not self._reader.is_alive(), words, timeout_s=timeout_s
        )
        assert words in self.text, self.text

    def ready(self) -> Up:
        """Wait until the store answers."""
        self.says(READY)
        return self

    def ends(self, timeout_s: float = 30.0) -> int:
        """Wait for its end; the exit code."""
        code = self.process.wait(timeout_s)
        self._reader.join(timeout_s)
        return code

    def signal(self, number: signal.Signals) -> None:
        """Signal `up` alone."""
        self.process.send_signal(number)

    def close(self, keys: list[ProcessKey]) -> None:
        """Whatever happened: nothing of it stays."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(30.0)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(5.0)
        self._reader.join(5.0)
        assert self.process.stdout is not None
        self.process.stdout.close()
        for key in keys:
            processes.signal_group(key, signal.SIGKILL)
