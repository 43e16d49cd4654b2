"""The base image where there is no registry: Debian's essential packages and its Python.

mmdebstrap makes it from the machine's own Debian sources, without documentation, locales and
caches. Files get the time 0 and come in the order of their names, so that the same packages make
the same image.
"""

from __future__ import annotations

import os
import re
import shutil
import tarfile
from pathlib import Path
from typing import Final

from emporium_images.cache import key_of, provide
from emporium_images.errors import BuildError, run

SUITE: Final = "bookworm"
PACKAGES: Final = ("usr-is-merged", "media-types", "python3-minimal", "libpython3-stdlib")
HOOKS: Final = Path("/usr/share/mmdebstrap/hooks/merged-usr")
LEFT_OUT: Final = (
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/lib/*/gconv/*",
)
EMPTIED: Final = (
    'rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/* "$1"/var/log/* "$1"/tmp/*'
    ' "$1"/etc/resolv.conf "$1"/etc/hostname'
)
SOURCES: Final = (
    Path("/etc/apt/sources.list.d/debian.sources"),
    Path("/etc/apt/sources.list"),
)
MMDEBSTRAP_S: Final = 1800
INSTALL: Final = "`make cluster-packages` installs it on Debian, as root; or start a Docker"
ROOT_FILES: Final = "rootfs.tar"
STATUS: Final = "dpkg-status"


def base_root() -> Path:
    """The folder with the root file system as a tar and dpkg's list of packages."""
    if shutil.which("mmdebstrap") is None:
        raise BuildError(f"there is no mmdebstrap here to make a base image with; {INSTALL}")
    sources = _sources()
    listed = sources.read_bytes() if sources else b""
    key = key_of(SUITE, *PACKAGES, *LEFT_OUT, EMPTIED, os.uname().machine, listed)
    return provide(f"base-{key}", "the base image", lambda folder: _make(folder, sources))


def _sources() -> Path | None:
    """The machine's own list of Debian's sources, if it is for our suite."""
    for path in SOURCES:
        if path.is_file() and re.search(rf"\b{SUITE}\b", path.read_text("utf-8")):
            return path
    return None


def _make(folder: Path, sources: Path | None) -> None:
    raw = folder / "raw.tar"
    command: list[str | Path] = ["nice", "-n", "19", "mmdebstrap", "--variant=essential"]
    command += [f"--hook-dir={HOOKS}", f"--include={','.join(PACKAGES)}"]
    command += [f"--dpkgopt={line}" for line in LEFT_OUT]
    command += ['--aptopt=APT::Install-Recommends "false"', f"--customize-hook={EMPTIED}"]
    command += [SUITE, raw, *([sources] if sources else [])]
    run(command, MMDEBSTRAP_S, env={**os.environ, "SOURCE_DATE_EPOCH": "0"})
    with tarfile.open(raw) as given:
        status = given.extractfile("./var/lib/dpkg/status")
        if status is None:
            raise BuildError("mmdebstrap made a base without a list of packages")
        (folder / STATUS).write_bytes(status.read())
        _rewrite(given, folder / ROOT_FILES)
    raw.unlink()


def _rewrite(given: tarfile.TarFile, target: Path) -> None:
    """Without devices, in the order of names, all at time 0."""
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as out:
        for member in sorted(given.getmembers(), key=lambda each: each.name):
            if member.name.startswith("./dev/") or member.isdev():
                continue
            member.mtime = 0
            member.pax_headers = {}
            out.addfile(member, given.extractfile(member) if member.isreg() else None)
