"""What is built: the roles, the version, the labels, and a clean copy of the files.

A build takes its files from a copy in a temporary folder: only what git knows or would take, with
the same modes whatever the umask was, so that two clones of one commit give the same image.
"""

from __future__ import annotations

import os
import re
import shutil
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from emporium_images.errors import BuildError, run
from emporium_images.next_version import raise_message_version

ROOT: Final = Path(__file__).resolve().parents[2]
ROLES: Final = ("frontend", "cache", "catalog", "order", "client")
NEEDED: Final = ("services/emporium", "requirements", "images", "LICENSE", "pyproject.toml")
LEFT_OUT: Final = ("__pycache__", "images/emporium_images", "images/build.py")
GIT_S: Final = 60
REGISTRY: Final = "localhost/emporium"
LABEL: Final = "org.opencontainers.image."
TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True)
class Source:
    """What is built, and what is known of it: what isn't known is empty."""

    version: str
    """Of the images: the tag, if one was given."""
    revision: str = ""
    url: str = ""
    """Where the source can be had."""
    timestamp: int = 0
    """Of the commit, in seconds since 1970."""
    next_message_version: bool = False
    """Build from a copy whose newest message version is one higher: `next_version`."""

    @property
    def created(self) -> str:
        """The time of the commit, as labels and documents write it."""
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.timestamp))

    @property
    def labels(self) -> dict[str, str]:
        """The labels that differ from build to build; none for what isn't known."""
        known = {
            "version": self.version,
            "revision": self.revision,
            "source": self.url,
            "created": self.created if self.timestamp else "",
        }
        return {LABEL + name: value for name, value in known.items() if value}

    def reference(self, role: str) -> str:
        """The name of a role's image."""
        return f"{REGISTRY}/{role}:{self.version}"


def requirements(role: str) -> Path:
    """The locked packages of a role."""
    name = "client" if role == "client" else "runtime"
    return ROOT / "requirements" / f"{name}.txt"


def read_source(tag: str = "", *, next_message_version: bool = False) -> Source:
    """Version (or the tag) and address from pyproject.toml, revision and time from git; outside of
    git the time is SOURCE_DATE_EPOCH. Raises BuildError."""
    if tag and not TAG.fullmatch(tag):
        raise BuildError(f"a tag has up to 128 letters, digits, dots, - and _; not {tag!r}")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    version = tag or project["version"] + ("-next" if next_message_version else "")
    url = project.get("urls", {}).get("Source", "")
    if not (ROOT / ".git").exists():
        revision, timestamp = "", int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
    else:
        revision = _git("rev-parse", "HEAD").strip()
        timestamp = int(_git("log", "-1", "--format=%ct"))
        if _git("status", "--porcelain", "--", *NEEDED).strip():
            revision += "-changed"
        if next_message_version:
            revision += "-next-message-version"
    return Source(version, revision, url, timestamp, next_message_version)


def stage(folder: Path, source: Source) -> None:
    """Copy what a build needs into an empty folder, with the labels in the Dockerfiles, where a
    cached step is told from a new one by its text. Raises BuildError."""
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
    if source.next_message_version:
        raise_message_version(folder)
    labels = " ".join(f"{label}={_quoted(value)}" for label, value in source.labels.items())
    for role in ROLES:
        with dockerfile(folder, role).open("a", encoding="utf-8") as text:
            text.write(f"LABEL {labels}\n")


def dockerfile(folder: Path, role: str) -> Path:
    """The Dockerfile of a role in a copy."""
    return folder / "images" / role / "Dockerfile"


def _quoted(value: str) -> str:
    """A value as a Dockerfile takes it literally."""
    return '"' + re.sub(r'([\\"$])', r"\\\1", value) + '"'


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
