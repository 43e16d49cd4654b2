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
from emporium_images.source import LABEL, ROLES, ROOT, Source, read_source  # noqa: E402

ARCHIVE: Final = ROOT / "output" / "images" / "emporium.tar"
BIGGEST_BYTES: Final = 100_000_000
"""An image of a service, unpacked, on the project's own base. The client may be bigger."""
CLONE_S: Final = 300


def build(roles: Sequence[str], source: Source, target: Path) -> dict[str, str]:
    """Build images into an archive; their digests by name, which are put beside it. Raises
    BuildError."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if docker.there():
        print("Building with Docker", file=sys.stderr)
        found = docker.build(roles, source, target)
    else:
        print("Building with buildah: there is no Docker that answers", file=sys.stderr)
        found = _build_here(roles, source, target)
    _digests(target).write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", "utf-8")
    for name, digest in found.items():
        print(f"{name}  {digest}")
    print(f"All in {target}")
    return found


def _digests(archive_path: Path) -> Path:
    """Where the digests of an archive are kept."""
    return archive_path.with_suffix(".digests.json")


def _build_here(roles: Sequence[str], source: Source, target: Path) -> dict[str, str]:
    with tempfile.TemporaryDirectory(prefix="layout-", dir=target.parent) as name:
        layout = Path(name) / "layout"
        found = _layout(roles, source, layout)
        for reference, digest in found.items():
            size = archive.unpacked_bytes(layout, digest)
            print(f"{reference}: {size / 1e6:.1f} MB unpacked", file=sys.stderr)
            if size > BIGGEST_BYTES and "/client:" not in reference:
                raise BuildError(f"{reference} has more than {BIGGEST_BYTES / 1e6:.0f} MB")
        archive.write_archive(layout, target)
    return found


def _layout(
    roles: Sequence[str], source: Source, layout: Path, *, fresh: bool = False
) -> dict[str, str]:
    """Build with buildah, and see that the labels are of this build, not of a cached one."""
    buildah.build(roles, source, layout, fresh=fresh)
    found = archive.manifests(layout)
    for reference, digest in found.items():
        labels = archive.labels(layout, digest)
        for name in ("version", "revision", "source", "created"):
            wanted, there = source.labels.get(LABEL + name), labels.get(LABEL + name)
            if wanted != there:
                raise BuildError(f"{reference}: its label {name} is {there}, not {wanted}")
    return found


def write_sboms(roles: Sequence[str], source: Source) -> None:
    """Write what is in each image beside the archive. Raises BuildError."""
    kept = _digests(ARCHIVE)
    built = json.loads(kept.read_text("utf-8")) if kept.exists() else {}
    by_docker = docker.there()
    for role in roles:
        name = source.reference(role)
        if name not in built:
            raise BuildError(f"{name} isn't built yet: make images")
        status = docker.packages_of(name) if by_docker else buildah.packages_of_base()
        text = sbom.document(role, source, built[name], status)
        print(sbom.write(ARCHIVE.parent, role, text).relative_to(ROOT))


def compare_clones(roles: Sequence[str]) -> None:
    """Build the last commit from two clones: with the cached layers of builds before, and without
    any, elsewhere and under a stricter umask. Raises BuildError unless each image has the same
    digest."""
    if docker.there():
        print("Not compared: Docker's own base decides whether its builds repeat")
        return
    with tempfile.TemporaryDirectory(prefix="emporium-clones-") as name:
        one, other = Path(name) / "one", Path(name) / "the" / "other"
        cached = _digests_of_clone(ROOT, one, roles)
        # ... of the first: here there may be a new commit by now.
        fresh = _digests_of_clone(one, other, roles, "--fresh", umask=0o077)
    for reference, digest in cached.items():
        print(f"{reference}  {digest}")
    if cached != fresh:
        raise BuildError(f"two clones give different images: {fresh}")
    print("Two clones give the same images.")


def _digests_of_clone(
    origin: Path, clone: Path, roles: Sequence[str], *options: str, umask: int = 0o022
) -> dict[str, str]:
    """Clone, and build there with the clone's own builder."""
    command = ["git", "clone", "--quiet", "--no-hardlinks", str(origin), str(clone)]
    subprocess.run(command, check=True, timeout=CLONE_S, umask=umask)
    command = [sys.executable, str(clone / "images" / "build.py"), "digests", *roles, *options]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True, umask=umask)
    if done.returncode:
        raise BuildError("a clone of the last commit doesn't build; see above")
    return dict(json.loads(done.stdout))


def print_digests(roles: Sequence[str], source: Source, *, fresh: bool) -> None:
    """Build without leaving an archive, and print the digests as JSON."""
    with tempfile.TemporaryDirectory(prefix="emporium-layout-") as name:
        print(json.dumps(_layout(roles, source, Path(name) / "layout", fresh=fresh)))


def read_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line, with the roles filled in. Ends the program when it is wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    verbs = ("build", "sbom", "compare", "digests")
    parser.add_argument("verb", choices=verbs, help="compare: two clones, the same digests")
    parser.add_argument("roles", nargs="*", help=f"default: {' '.join(ROLES)}")
    parser.add_argument("--tag", default="", help="default: pyproject.toml's version")
    parser.add_argument("--output", type=Path, default=ARCHIVE, help="the archive to build")
    parser.add_argument("--fresh", action="store_true", help="use no layer of an earlier build")
    parser.add_argument(
        "--next-message-version",
        action="store_true",
        help="for tests of an upgrade only: services that speak a message version more",
    )
    given = parser.parse_intermixed_args(arguments)
    if given.next_message_version and given.output.absolute() == ARCHIVE:
        parser.error("--next-message-version needs an --output of its own")
    services = [role for role in ROLES if role != "client"]
    given.roles = given.roles or (services if given.next_message_version else list(ROLES))
    if unknown := set(given.roles) - set(ROLES):
        parser.error(f"no such role: {', '.join(sorted(unknown))}; there are {', '.join(ROLES)}")
    return given


def main(arguments: Sequence[str]) -> int:
    """The command line; 0 done, 1 it didn't work."""
    given = read_arguments(arguments)
    try:
        source = read_source(given.tag, next_message_version=given.next_message_version)
        match given.verb:
            case "build":
                build(given.roles, source, given.output.absolute())
            case "sbom":
                write_sboms(given.roles, source)
            case "compare":
                compare_clones(given.roles)
            case _:
                print_digests(given.roles, source, fresh=given.fresh)
    except BuildError as error:
        print(f"images: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
