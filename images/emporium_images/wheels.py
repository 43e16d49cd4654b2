"""The locked packages as wheels, so that an image is built without a network."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

from emporium_images.cache import key_of, provide
from emporium_images.errors import run
from emporium_images.source import ROOT, requirements

PIP: Final = ROOT / "images" / "pip.txt"
DOWNLOAD_S: Final = 900
PYTHON: Final = "3.11"
GLIBC: Final = ("2_5", "2_12", "2_17", "2_24", "2_26", "2_27", "2_28", "2_31", "2_34")
"""The C libraries that wheels ask for; that of the base image is 2.36."""


def wheels(role: str) -> Path:
    """The folder with the wheels of a role, and pip's own."""
    lock = requirements(role)
    machine = os.uname().machine
    key = key_of(lock.read_bytes(), PIP.read_bytes(), machine, PYTHON)
    return provide(
        f"wheels-{lock.stem}-{key}",
        f"the wheels of {lock.name}",
        lambda folder: _download(folder, lock, machine),
    )


def _download(folder: Path, lock: Path, machine: str) -> None:
    """Fetch what is locked, for the image's Python, whichever runs this."""
    platforms = [f"manylinux_{version}_{machine}" for version in GLIBC]
    platforms += [f"manylinux{year}_{machine}" for year in ("2010", "2014")]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary", ":all:", "--require-hashes"]
    command += ["--implementation", "cp", "--python-version", PYTHON]
    command += [f"--abi={abi}" for abi in ("cp311", "abi3", "none")]
    command += [f"--platform={each}" for each in platforms]
    run([*command, "--dest", str(folder), "-r", str(lock), "-r", str(PIP)], DOWNLOAD_S)


def pip_wheel(folder: Path) -> str:
    """The name of pip's own wheel."""
    return next(path.name for path in folder.glob("pip-*.whl"))
