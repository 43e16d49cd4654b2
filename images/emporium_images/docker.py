"""Building with Docker, from its registry's Python."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from emporium_images.errors import run
from emporium_images.source import Source, dockerfile, stage

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


def build(roles: Sequence[str], source: Source, target: Path) -> dict[str, str]:
    """Build images, save all into one archive, and answer each one's id by its name."""
    names = [source.reference(role) for role in roles]
    with tempfile.TemporaryDirectory(prefix="emporium-image-") as name:
        context = Path(name)
        stage(context, source)
        for role, image in zip(roles, names, strict=True):
            run(
                [
                    *("docker", "build", "--quiet", "--file", dockerfile(context, role)),
                    f"--build-arg=SOURCE_DATE_EPOCH={source.timestamp}",
                    *("--tag", image, context),
                ],
                BUILD_S,
                env={**os.environ, "DOCKER_BUILDKIT": "1"},
            )
    run(["docker", "save", "--output", target, *names], BUILD_S)
    inspected = json.loads(run(["docker", "image", "inspect", *names], ASK_S))
    return {image: each["Id"] for image, each in zip(names, inspected, strict=True)}


def packages_of(name: str) -> str:
    """dpkg's list of what is in an image."""
    command = ["docker", "run", "--rm", "--network=none", "--entrypoint", "cat", name]
    return run([*command, "/var/lib/dpkg/status"], BUILD_S)
