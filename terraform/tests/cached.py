"""What the checks need and make does not bring, made once, into the user's cache folder."""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
STAND_IN: Final = "aws-stand-in"
CHECKOV: Final = "checkov"
STAMP: Final = "installed"
BUILD_S: Final = 1800


class NotBuiltError(Exception):
    """A tool can't be made; the text says what it said."""


def folder() -> Path:
    """$XDG_CACHE_HOME/emporium/terraform, or below ~/.cache."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(home) if home else Path.home() / ".cache") / "emporium" / "terraform"


def programs(name: str) -> Path:
    """The folder of the programs that requirements/NAME.txt brings. Raises NotBuiltError.

    It is kept under a hash of that file and of the Python, so that another lock makes another one.
    """
    lock = ROOT / "requirements" / f"{name}.txt"
    python = f"{sys.implementation.cache_tag} {platform.machine()} {sys.base_prefix}"
    digest = hashlib.sha256(python.encode() + lock.read_bytes()).hexdigest()[:12]
    place = folder() / f"{name}-{digest}"
    place.parent.mkdir(parents=True, exist_ok=True)
    with (folder() / f"{name}.lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if not (place / STAMP).exists():
            _install(place, lock)
    return place / "bin"


def tool(name: str) -> Path:
    """A tool of k8s-tests/tools.sh, built from pinned sources. Raises NotBuiltError."""
    printed = _run(str(ROOT / "k8s-tests" / "tools.sh"), name)
    return Path(printed.strip().splitlines()[-1])


def _install(place: Path, lock: Path) -> None:
    """Make an environment of its own; the stamp is written last."""
    print(f"  installing requirements/{lock.name} (once) ...", flush=True)
    started = time.monotonic()
    shutil.rmtree(place, ignore_errors=True)
    # The interpreter below this environment's own, so that a rebuilt .venv doesn't matter.
    base = getattr(sys, "_base_executable", sys.executable)
    _run(base, "-m", "venv", str(place))
    pip = (str(place / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install")
    _run(*pip, "--quiet", "--require-hashes", "--requirement", str(lock))
    (place / STAMP).touch()
    print(f"  installed in {time.monotonic() - started:.0f} s", flush=True)


def _run(*command: str) -> str:
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=BUILD_S,
        check=False,
    )
    if done.returncode:
        last = "\n".join((done.stdout + done.stderr).strip().splitlines()[-30:])
        raise NotBuiltError(f"failed ({done.returncode}): {' '.join(command)}\n{last}")
    return done.stdout
