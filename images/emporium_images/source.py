"""What is built: the roles, the version, the revision, and a clean copy of the files.

A build takes its files from a copy in a temporary folder: only what git knows or would take, with
the same modes whatever the umask was, so that two clones of one commit give the same image.
"""

from __future__ import annotations

import os
import shutil
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from emporium_images.errors import BuildError, run

ROOT: Final = Path(__file__).resolve().parents[2]
ROLES: Final = ("frontend", "cache", "catalog", "order", "client")
NEEDED: Final = ("services/emporium", "requirements", "images", "LICENSE", "pyproject.toml")
LEFT_OUT: Final = ("__pycache__", "images/emporium_images", "images/build.py")
GIT_S: Final = 60
REGISTRY: Final = "localhost/emporium"


@dataclass(frozen=True, slots=True)
class Source:
    """What the labels say; `timestamp` is of the commit, in seconds since 1970."""

    version: str
    revision: str
    source: str
    timestamp: int

    @property
    def created(self) -> str:
        """The time of the commit, as labels and documents write it."""
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.timestamp))

    def reference(self, role: str, tag: str = "") -> str:
        """The name of a role's image."""
        return f"{REGISTRY}/{role}:{tag or self.version}"


def requirements(role: str) -> Path:
    """The locked packages of a role."""
    name = "client" if role == "client" else "runtime"
    return ROOT / "requirements" / f"{name}.txt"


def read_source() -> Source:
    """Version from pyproject.toml, revision and time from git; outside of git the time is
    SOURCE_DATE_EPOCH, or 0."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    origin = project.get("urls", {}).get("Source", "unknown")
    if not (ROOT / ".git").exists():
        epoch = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
        return Source(project["version"], "unknown", origin, epoch)
    revision = _git("rev-parse", "HEAD").strip()
    timestamp = int(_git("log", "-1", "--format=%ct"))
    if _git("status", "--porcelain", "--", *NEEDED).strip():
        revision += "-changed"
    return Source(project["version"], revision, origin, timestamp)


def stage(folder: Path) -> None:
    """Copy what a build needs into an empty folder. Raises BuildError."""
    names = _names()
    if not names:
        raise BuildError(f"nothing to build from in {ROOT}")
    for name in names:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, target)
        target.chmod(0o644)
    for path in (folder, *folder.rglob("*")):
        if path.is_dir():
            path.chmod(0o755)


def _names() -> list[str]:
    """The files of a build, by their path from the root, sorted."""
    if (ROOT / ".git").exists():
        listed = _git("ls-files", "-z", "--cached", "--others", "--exclude-standard", *NEEDED)
        found = [name for name in listed.split("\0") if name]
    else:
        paths = [path for part in NEEDED for path in (ROOT / part, *(ROOT / part).rglob("*"))]
        found = [path.relative_to(ROOT).as_posix() for path in paths]
    return sorted(
        {
            name
            for name in found
            if (ROOT / name).is_file() and not any(part in name for part in LEFT_OUT)
        }
    )


def _git(*arguments: str) -> str:
    """Ask git about this checkout."""
    return run(["git", "-C", ROOT, *arguments], GIT_S)
