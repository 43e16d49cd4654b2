"""Runs programs, or, in a dry run, prints what would be run.

A dry run starts nothing at all and needs neither tools nor credentials; where a later command
depends on an earlier one's answer, it is shown with a sample of it.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from emporium_aws.errors import AwsError, CommandError

ASK_S: Final = 120
WORK_S: Final = 7200
"""The longest that one program may work: EKS takes a quarter of an hour, when all goes well."""
GRACE_S: Final = 900
"""How long an interrupted Terraform may take to finish what it is doing and write its state."""
LAST_LINES: Final = 200
SHOWN_LINES: Final = 15


@dataclass(frozen=True, slots=True)
class Done:
    """How a program ended."""

    code: int
    output: str
    errors: str


@dataclass(slots=True)
class Runner:
    """Runs everything with the same additions to the environment."""

    dry_run: bool = False
    environment: dict[str, str] = field(default_factory=dict)
    root: Path = field(default_factory=Path.cwd)
    say: Callable[[str], None] = print
    _exported: dict[str, str] = field(default_factory=dict)
    _running: list[subprocess.Popen[str]] = field(default_factory=list)

    def step(self, text: str) -> None:
        """A heading: what comes next."""
        self.say(f"\n== {text}")

    def done(self, text: str) -> None:
        """The last line: what came of it."""
        self.say("\nDry run: nothing was run" if self.dry_run else f"\n{text}")

    def export(self, name: str, value: str) -> None:
        """Set a variable for all programs from now on."""
        self.environment[name] = value

    def ask(
        self, *command: str | Path, sample: str = "", timeout_s: float = ASK_S, hide: bool = False
    ) -> str:
        """What a program prints. Raises CommandError with what it said when it fails; `hide`: it
        prints a secret."""
        done = self.attempt(*command, sample=sample, timeout_s=timeout_s)
        if done.code:
            said = done.errors if hide else done.errors + done.output
            raise _failed(command, done.code, said)
        return done.output.strip()

    def attempt(
        self, *command: str | Path, sample: str = "", timeout_s: float = ASK_S, code: int = 0
    ) -> Done:
        """As `ask`, for questions to which failing is an answer; `code` is the sample's."""
        words = [str(part) for part in command]
        self._show(words)
        if self.dry_run:
            return Done(code, sample, "")
        with self._started(words, capture=True) as process:
            try:
                output, errors = process.communicate(timeout=timeout_s)
            except subprocess.TimeoutExpired:
                process.kill()
                raise AwsError(f"no answer after {timeout_s:.0f} s: {shlex.join(words)}") from None
        return Done(process.returncode, output, errors)

    def work(
        self,
        *command: str | Path,
        timeout_s: float = WORK_S,
        text: str | None = None,
        quiet: bool = False,
    ) -> str:
        """Run what takes its time; what it says is printed as it comes, unless `quiet`, and its
        last lines are the answer. `text` is its standard input. Raises CommandError."""
        words = [str(part) for part in command]
        self._show(words)
        if self.dry_run:
            return ""
        last: deque[str] = deque(maxlen=LAST_LINES)
        with self._started(words, capture=False, typed=text is not None) as process:
            if process.stdout is None:
                raise TypeError("the output is a pipe")
            if process.stdin is not None:
                process.stdin.write(text or "")
                process.stdin.close()
            overdue = threading.Timer(timeout_s, process.send_signal, [signal.SIGINT])
            overdue.start()
            try:
                for line in process.stdout:
                    last.append(line)
                    if not quiet:
                        self.say(f"  {line.rstrip()}")
                process.wait(GRACE_S)
            finally:
                overdue.cancel()
        if process.returncode:
            raise _failed(words, process.returncode, "".join(last))
        return "".join(last)

    def pipe(self, source: Sequence[str], *target: str | Path) -> None:
        """`source | target`, for a secret that is shown nowhere. Raises CommandError."""
        words = [str(part) for part in target]
        if self.dry_run:
            self._show([*source, "|", *words])
            return
        secret = self.ask(*source, hide=True)
        self.work(*words, text=secret)

    def terminate(self, _signal: int = 0, _frame: object = None) -> None:
        """Handler of SIGTERM: as Ctrl-C, which tells the running program, too."""
        for process in self._running:
            process.send_signal(signal.SIGINT)
        raise KeyboardInterrupt

    def _show(self, words: Sequence[str]) -> None:
        """A command as one would type it, after the variables that are new."""
        for name, value in self.environment.items():
            if self._exported.get(name) != value:
                self._exported[name] = value
                self.say(f"$ export {name}={shlex.quote(self.short(value))}")
        typed = (word if word == "|" else shlex.quote(self.short(word)) for word in words)
        self.say(f"$ {' '.join(typed)}")

    def short(self, word: str | Path) -> str:
        """A word with paths as from the checkout's root."""
        return str(word).replace(f"{self.root}/", "")

    @contextmanager
    def _started(
        self, words: Sequence[str], *, capture: bool, typed: bool = False
    ) -> Iterator[subprocess.Popen[str]]:
        """A running program, waited for at the end.

        At Ctrl-C the terminal tells the program, too: it gets the time to stop by itself, for a
        Terraform that is killed leaves things that are in no state.
        """
        try:
            process = subprocess.Popen(
                words,
                cwd=self.root,
                env={**os.environ, **self.environment},
                stdin=subprocess.PIPE if typed else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE if capture else subprocess.STDOUT,
                text=True,
                errors="replace",
            )
        except FileNotFoundError as error:
            raise AwsError(f"{words[0]} isn't installed") from error
        self._running.append(process)
        try:
            yield process
        except KeyboardInterrupt:
            self.say("Interrupted; waiting for the program to stop. Don't interrupt it again.")
            _let_it_stop(process, self.say)
            raise
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            self._running.remove(process)
            _close(process.stdin, process.stdout, process.stderr)


def _let_it_stop(process: subprocess.Popen[str], say: Callable[[str], None]) -> None:
    """Wait for a program that was interrupted, and print what it still says."""
    try:
        rest, _ = process.communicate(timeout=GRACE_S)
    except (subprocess.TimeoutExpired, ValueError):
        return
    for line in (rest or "").splitlines():
        say(f"  {line}")


def _close(*streams: IO[str] | None) -> None:
    for stream in streams:
        if stream is not None:
            stream.close()


def _failed(command: Sequence[str | Path], code: int, said: str) -> CommandError:
    words = shlex.join(str(part) for part in command)
    last = "\n".join(said.strip().splitlines()[-SHOWN_LINES:])
    return CommandError(f"failed ({code}): {words[:200]}\n{last}".strip(), said)
