"""Runs programs with a deadline, starts those that stay, and waits for what they bring about."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from emporium_cluster.errors import ClusterError

POLL_S = 0.1
SPAWN_S = 30
TOLD_LINES = 12  # of a program's output or log, when it fails
TOLD_CHARACTERS = 300  # of a line
# Proxies and the like are for the user's programs, not for the nodes'.
PLAIN_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/nonexistent",
    "LANG": "C.UTF-8",
}
# The shell joins the cgroup, and only then starts the program, which is nobody's child any more.
JOIN = 'echo $$ > "$0" && exec setsid --fork "$@"'


def run(
    command: Sequence[str | Path],
    deadline_s: float = 30,
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str = "",
    show: bool = False,
) -> str:
    """Run a program to its end; its standard output, or with `show` nothing, as it is printed.

    Raises ClusterError when it fails or doesn't end in time; then it and its children are gone.
    """
    words = [str(word) for word in command]
    path = env.get("PATH", "") if env and "PATH" in env else PLAIN_ENVIRONMENT["PATH"]
    program = shutil.which(words[0], path=path)
    if program is None:
        raise ClusterError(f"the program {words[0]} is missing", "make cluster-packages")
    with subprocess.Popen(
        [program, *words[1:]],
        cwd=cwd,
        env=PLAIN_ENVIRONMENT if env is None else env,
        stdin=subprocess.PIPE,
        stdout=sys.stderr if show else subprocess.PIPE,
        stderr=None if show else subprocess.PIPE,
        text=True,
        process_group=0,
    ) as child:
        try:
            out, err = child.communicate(stdin, deadline_s)
        except BaseException as trouble:
            _kill_group(child.pid)
            if isinstance(trouble, subprocess.TimeoutExpired):
                raise ClusterError(f"not done within {deadline_s:g} s: {_shown(words)}") from None
            raise
    if child.returncode != 0:
        told = tail((err or "") + (out or ""))
        raise ClusterError(f"failed ({child.returncode}): {_shown(words)}{told}")
    return out or ""


def succeeds(command: Sequence[str | Path], deadline_s: float = 30) -> bool:
    """Whether the program ends well, and in time."""
    try:
        run(command, deadline_s)
    except ClusterError:
        return False
    return True


def spawn(
    command: Sequence[str | Path],
    register: Path,
    log: Path,
    env: Mapping[str, str] | None = None,
) -> None:
    """Start a program that outlives this one, in the cgroup whose cgroup.procs is `register`.

    Raises ClusterError when it can't be registered; then it doesn't run.
    """
    with log.open("ab") as output:
        done = subprocess.run(  # a shell that forks: it ends, whatever the program does
            ["/bin/sh", "-c", JOIN, str(register), *(str(word) for word in command)],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**PLAIN_ENVIRONMENT, **(env or {})},
            cwd="/",
            timeout=SPAWN_S,
        )
    if done.returncode != 0:
        told = tail(log.read_text("utf-8", "replace"))
        raise ClusterError(f"not started: {_shown([str(word) for word in command])}{told}")


def wait_for(
    what: str,
    deadline_s: float,
    condition: Callable[[], object],
    log: Path,
    alive: Callable[[], object] = lambda: True,
) -> None:
    """Poll until the condition is true. Raises ClusterError with the end of `log`, at the deadline
    or once nobody is `alive` who could make it true."""
    end = time.monotonic() + deadline_s
    while not condition():
        passed = time.monotonic() > end
        if passed or not alive():
            told = tail(log.read_text("utf-8", "replace")) if log.is_file() else ""
            reason = f"not within {deadline_s:g} s" if passed else "it has ended"
            raise ClusterError(f"{reason}: {what}{told}")
        time.sleep(POLL_S)


def tail(text: str) -> str:
    """The last lines of a text, indented, on lines of their own."""
    lines = [f"    {line[:TOLD_CHARACTERS]}" for line in text.splitlines() if line.strip()]
    return "".join(f"\n{line}" for line in lines[-TOLD_LINES:])


def _shown(words: Sequence[str]) -> str:
    """A command as a user would recognise it."""
    text = " ".join(words)
    return text if len(text) <= TOLD_CHARACTERS else f"{text[:TOLD_CHARACTERS]} ..."


def _kill_group(pid: int) -> None:
    """Kill a child that leads its own process group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
