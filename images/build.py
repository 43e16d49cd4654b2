#!/usr/bin/env python3
"""Builds the images; `build.py --help` lists what it can do.

With a Docker that answers, Docker builds. Otherwise buildah does, on a base image that mmdebstrap
makes from the machine's Debian sources. Base and wheels are kept in the user's cache folder.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

if sys.version_info < (3, 11):  # noqa: UP036 (make takes the machine's own python3)
    sys.exit("images: needs Python 3.11 or newer; make images PYTHON=/path/to/python3")

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))

from emporium_images import archive, buildah, docker, sbom  # noqa: E402 - its folder comes first
from emporium_images.errors import BuildError  # noqa: E402
from emporium_images.source import ROLES, ROOT, Source, read_source  # noqa: E402

OUTPUT: Final = ROOT / "output" / "images"
ARCHIVE: Final = OUTPUT / "emporium.tar"
DIGESTS: Final = OUTPUT / "digests.json"
BIGGEST_BYTES: Final = 100_000_000
"""An image of a service, unpacked, on the project's own base. The client may be bigger."""
CLONE_S: Final = 300


def build(roles: Sequence[str], tag: str) -> dict[str, str]:
    """Build images into output/images/emporium.tar; their digests by name. Raises BuildError."""
    source = read_source()
    OUTPUT.mkdir(parents=True, exist_ok=True)
    if docker.there():
        print("Building with Docker", file=sys.stderr)
        found = docker.build(roles, source, tag, ARCHIVE)
    else:
        print("Building with buildah: there is no Docker that answers", file=sys.stderr)
        found = _build_here(roles, source, tag)
    DIGESTS.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", "utf-8")
    for name, digest in found.items():
        print(f"{name}  {digest}")
    print(f"All in {ARCHIVE.relative_to(ROOT)}")
    return found


def _build_here(roles: Sequence[str], source: Source, tag: str) -> dict[str, str]:
    with tempfile.TemporaryDirectory(prefix="layout-", dir=OUTPUT) as name:
        layout = Path(name) / "layout"
        buildah.build(roles, source, tag, layout)
        found = archive.manifests(layout)
        for reference, digest in found.items():
            size = archive.unpacked_bytes(layout, digest)
            print(f"{reference}: {size / 1e6:.1f} MB unpacked", file=sys.stderr)
            if size > BIGGEST_BYTES and "/client:" not in reference:
                raise BuildError(f"{reference} has more than {BIGGEST_BYTES / 1e6:.0f} MB")
        archive.write_archive(layout, ARCHIVE)
    return found


def write_sboms(roles: Sequence[str]) -> None:
    """Write what is in each image beside the archive. Raises BuildError."""
    source = read_source()
    built = json.loads(DIGESTS.read_text("utf-8")) if DIGESTS.exists() else {}
    by_docker = docker.there()
    for role in roles:
        name = source.reference(role)
        if name not in built:
            raise BuildError(f"{name} isn't built yet: make images")
        status = docker.packages_of(name) if by_docker else buildah.packages_of_base()
        text = sbom.document(role, source, built[name], status)
        print(sbom.write(OUTPUT, role, text).relative_to(ROOT))


def compare_clones(roles: Sequence[str]) -> None:
    """Build the last commit from two clones, the second without any layer of the first. Raises
    BuildError unless each image has the same digest."""
    if docker.there():
        print("Not compared: Docker's own base decides whether its builds repeat")
        return
    with tempfile.TemporaryDirectory(prefix="emporium-clones-") as name:
        found = [_digests_of_clone(Path(name) / str(number), roles, number) for number in (1, 2)]
    for reference, digest in found[0].items():
        print(f"{reference}  {digest}")
    if found[0] != found[1]:
        raise BuildError(f"two clones give different images: {found[1]}")
    print("Two clones give the same images.")


def _digests_of_clone(clone: Path, roles: Sequence[str], number: int) -> dict[str, str]:
    """Clone, and build there with the clone's own builder."""
    command = ["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(clone)]
    subprocess.run(command, check=True, timeout=CLONE_S)
    command = [sys.executable, str(clone / "images" / "build.py"), "digests", *roles]
    done = subprocess.run(
        [*command, *(["--fresh"] if number > 1 else [])],
        check=False,
        stdout=subprocess.PIPE,
        text=True,
    )
    if done.returncode:
        raise BuildError("a clone of the last commit doesn't build; see above")
    return dict(json.loads(done.stdout))


def print_digests(roles: Sequence[str], *, fresh: bool) -> None:
    """Build without leaving an archive, and print the digests as JSON."""
    with tempfile.TemporaryDirectory(prefix="emporium-layout-") as name:
        layout = Path(name) / "layout"
        buildah.build(roles, read_source(), "", layout, fresh=fresh)
        print(json.dumps(archive.manifests(layout)))


def main(arguments: Sequence[str]) -> int:
    """The command line; 0 done, 1 it didn't work."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    verbs = ("build", "sbom", "compare", "digests")
    parser.add_argument("verb", choices=verbs, help="compare: two clones, the same digests")
    parser.add_argument("roles", nargs="*", help=f"default: {' '.join(ROLES)}")
    parser.add_argument("--tag", default="", help="default: the version in pyproject.toml")
    parser.add_argument("--fresh", action="store_true", help="use no layer of an earlier build")
    given = parser.parse_args(arguments)
    roles = given.roles or list(ROLES)
    if unknown := set(roles) - set(ROLES):
        parser.error(f"no such role: {', '.join(sorted(unknown))}")
    try:
        match given.verb:
            case "build":
                build(roles, given.tag)
            case "sbom":
                write_sboms(roles)
            case "compare":
                compare_clones(roles)
            case _:
                print_digests(roles, fresh=given.fresh)
    except BuildError as error:
        print(f"images: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
