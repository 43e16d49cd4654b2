"""What goes wrong in a build, and running the programs that it needs."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

LAST_LINES: Final = 30


class BuildError(Exception):
    """An image can't be built; the text says why, and what to do."""


def run(
    command: Sequence[str | Path],
    timeout_s: float,
    env: Mapping[str, str] | None = None,
) -> str:
    """Run a program and answer what it printed. Raises BuildError with its last lines."""
    try:
        done = subprocess.run(
            [str(part) for part in command],
            env=None if env is None else dict(env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except FileNotFoundError as error:
        raise BuildError(f"{command[0]} isn't installed") from error
    except subprocess.TimeoutExpired as error:
        raise BuildError(f"not done after {timeout_s:.0f} s: {_shown(command)}") from error
    if done.returncode:
        said = "\n    ".join((done.stdout + done.stderr).strip().splitlines()[-LAST_LINES:])
        raise BuildError(f"failed ({done.returncode}): {_shown(command)}\n    {said}")
    return done.stdout


def _shown(command: Sequence[str | Path]) -> str:
    """A command as one would type it, cut where it gets long."""
    text = " ".join(str(part) for part in command)
    return text if len(text) <= 200 else f"{text[:200]} ..."  # noqa: PLR2004 (a line or two)
