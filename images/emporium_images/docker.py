"""Building with Docker, from its registry's Python."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from emporium_images.errors import run
from emporium_images.source import ROOT, Source

BUILD_S: Final = 1800
ASK_S: Final = 10


def there() -> bool:
    """Whether there is a Docker that answers."""
    if shutil.which("docker") is None:
        return False
    try:
        asked = subprocess.run(["docker", "info"], capture_output=True, timeout=ASK_S, check=False)
    except subprocess.TimeoutExpired:
        return False
    return asked.returncode == 0


def build(roles: Sequence[str], source: Source, tag: str, target: Path) -> dict[str, str]:
    """Build images, save all into one archive, and answer each one's id by its name."""
    names = [source.reference(role, tag) for role in roles]
    for role, name in zip(roles, names, strict=True):
        given = {
            "VERSION": tag or source.version,
            "REVISION": source.revision,
            "SOURCE": source.source,
            "CREATED": source.created,
            "SOURCE_DATE_EPOCH": str(source.timestamp),
        }
        arguments = [f"--build-arg={key}={value}" for key, value in given.items()]
        dockerfile = f"images/{role}/Dockerfile"
        run(
            ["docker", "build", "--quiet", "--file", dockerfile, *arguments, "--tag", name, "."],
            BUILD_S,
            cwd=ROOT,
            env={**os.environ, "DOCKER_BUILDKIT": "1"},
        )
    run(["docker", "save", "--output", target, *names], BUILD_S)
    inspected = json.loads(run(["docker", "image", "inspect", *names], ASK_S))
    return {name: each["Id"] for name, each in zip(names, inspected, strict=True)}


def packages_of(name: str) -> str:
    """dpkg's list of what is in an image."""
    command = ["docker", "run", "--rm", "--network=none", "--entrypoint", "cat", name]
    return run([*command, "/var/lib/dpkg/status"], BUILD_S)
