"""Building with buildah: no Docker, no registry, and no network in the build."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from emporium_images.base import INSTALL, ROOT_FILES, STATUS, base_root
from emporium_images.cache import cache_folder, only_one
from emporium_images.errors import BuildError, run
from emporium_images.source import Source, dockerfile, stage
from emporium_images.wheels import pip_wheel, wheels

BUILD_S: Final = 1800
PATH: Final = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LOCK: Final = "buildah"


def buildah(*arguments: str | Path) -> str:
    """Run buildah on storage of our own, below the cache folder."""
    storage = cache_folder() / "storage"
    driver = os.environ.get("STORAGE_DRIVER", "overlay")
    return run(
        [
            *("nice", "-n", "19", "buildah", "--root", storage / "root"),
            *("--runroot", storage / "run", "--storage-driver", driver),
            *arguments,
        ],
        BUILD_S,
        env={**os.environ, "BUILDAH_ISOLATION": "chroot"},
    )


def build(roles: Sequence[str], source: Source, layout: Path, *, fresh: bool = False) -> None:
    """Build images into an OCI layout. `fresh` uses no layer of an earlier build."""
    if shutil.which("buildah") is None:
        raise BuildError(f"there is neither a Docker that answers nor buildah here; {INSTALL}")
    with only_one(LOCK):
        base = _base_image()
        for role in roles:
            _build(role, source, base, fresh=fresh)
            name = source.reference(role)
            buildah("push", "--quiet", name, f"oci:{layout}:{name}")


def packages_of_base() -> str:
    """dpkg's list of what is in the base image."""
    return (base_root() / STATUS).read_text("utf-8")


def _base_image() -> str:
    """The base image in buildah's storage; imported once."""
    root = base_root()
    name = f"localhost/emporium-{root.name}:1"
    if name in buildah("images", "--format", "{{.Name}}:{{.Tag}}").split():
        return name
    container = buildah("from", "scratch").strip()
    try:
        buildah("add", "--quiet", container, root / ROOT_FILES, "/")
        buildah("config", "--env", PATH, "--env", "LANG=C.UTF-8", "--cmd", "python3", container)
        buildah("commit", "--quiet", "--identity-label=false", "--timestamp=0", container, name)
    finally:
        buildah("rm", container)
    return name


def _build(role: str, source: Source, base: str, *, fresh: bool) -> None:
    wheelhouse = wheels(role)
    pip = f"python3 /tmp/wheels/{pip_wheel(wheelhouse)}/pip"
    given = {"BASE_IMAGE": base, "PIP": pip, "PIP_ARGS": "--no-index"}
    with tempfile.TemporaryDirectory(prefix="emporium-image-") as name:
        context = Path(name)
        stage(context, source)
        for wheel in wheelhouse.iterdir():
            shutil.copy(wheel, context / "images" / "wheels")
        buildah(
            *("bud", "--quiet", "--pull-never", "--identity-label=false", "--layers"),
            *(["--no-cache"] if fresh else []),
            # Not the commit's time: a layer that an earlier commit made has to be the same.
            "--timestamp=0",
            *(f"--build-arg={key}={value}" for key, value in given.items()),
            *("--file", dockerfile(context, role)),
            *("--tag", source.reference(role), context),
        )
