"""Images from the archive of `make images` into the registry.

The tag is made of the images' content: what is pushed twice is pushed once, and other content never
meets a tag that is taken, for the registry's tags can't be moved.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from emporium_aws.commands import Runner
from emporium_aws.errors import AwsError
from emporium_aws.settings import ROLES, Settings
from emporium_aws.store import Outputs, pushed

BUILT: Final = "localhost/emporium"
REFERENCE: Final = "org.opencontainers.image.ref.name"
DIGITS: Final = 12
PUSH_S: Final = 1800


@dataclass(frozen=True, slots=True)
class Archive:
    """The images of `make images`: a tar of an OCI layout, or one of `docker save`."""

    path: Path
    transport: str
    """As skopeo calls its kind: oci-archive or docker-archive."""
    digests: Mapping[str, str]
    """By role: of the manifest, or of the configuration in an archive of Docker's."""
    references: Mapping[str, str]
    """By role: the name in the archive."""
    architectures: frozenset[str]

    @property
    def tag(self) -> str:
        """VERSION-HASH, the hash of all digests."""
        version = self.references[ROLES[0]].rpartition(":")[2]
        text = "\n".join(f"{role} {self.digests[role]}" for role in ROLES)
        return f"{version}-{hashlib.sha256(text.encode()).hexdigest()[:DIGITS]}"


def sample_archive(settings: Settings) -> Archive:
    """What a dry run shows where nothing was built yet."""
    references = {role: f"{BUILT}/{role}:VERSION" for role in ROLES}
    nothing = dict.fromkeys(ROLES, "")
    return Archive(settings.archive, "oci-archive", nothing, references, frozenset({"amd64"}))


def read(settings: Settings) -> Archive:
    """What is in the archive. Raises AwsError when a role's image isn't, or there is no archive."""
    path = settings.archive
    if not path.is_file():
        if settings.dry_run:
            return sample_archive(settings)
        raise AwsError(f"there is no {settings.shown(path)}", "make images")
    try:
        with tarfile.open(path) as tar:
            names = set(tar.getnames())
            found = _oci(path, tar) if "index.json" in names else _docker(path, tar)
    except (tarfile.TarError, KeyError, ValueError) as error:
        raise AwsError(
            f"{settings.shown(path)} is no archive of images: {error}", "make images"
        ) from error
    if missing := [role for role in ROLES if role not in found.references]:
        raise AwsError(f"{settings.shown(path)} lacks {', '.join(missing)}", "make images")
    return found


def _oci(path: Path, tar: tarfile.TarFile) -> Archive:
    """What `make images` leaves without Docker."""
    digests, references, architectures = {}, {}, set()
    for entry in _json(tar, "index.json")["manifests"]:
        name = entry.get("annotations", {}).get(REFERENCE, "")
        if role := _role(name):
            manifest = _json(tar, _blob(entry["digest"]))
            architectures.add(_json(tar, _blob(manifest["config"]["digest"]))["architecture"])
            digests[role], references[role] = entry["digest"], name
    return Archive(path, "oci-archive", digests, references, frozenset(architectures))


def _docker(path: Path, tar: tarfile.TarFile) -> Archive:
    """What `docker save` leaves."""
    digests, references, architectures = {}, {}, set()
    for entry in _json(tar, "manifest.json"):
        for name in entry.get("RepoTags") or []:
            if role := _role(name):
                architectures.add(_json(tar, entry["Config"])["architecture"])
                digests[role], references[role] = entry["Config"], name
    return Archive(path, "docker-archive", digests, references, frozenset(architectures))


def _role(name: str) -> str:
    """The role in an image's name, or ""."""
    role = name.removeprefix(f"{BUILT}/").rpartition(":")[0]
    return role if role in ROLES else ""


def _blob(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _json(tar: tarfile.TarFile, name: str) -> Any:
    member = tar.extractfile(name)
    if member is None:
        raise ValueError(f"{name} is no file")
    return json.loads(member.read())


def push(runner: Runner, settings: Settings, outputs: Outputs, tool: str) -> str:
    """Push what isn't there yet, and answer the tag. Raises AwsError and CommandError."""
    archive = read(settings)
    if archive.architectures != {outputs.architecture}:
        raise AwsError(
            f"the images are for {', '.join(sorted(archive.architectures))}, the nodes are"
            f" {outputs.architecture}",
            "build them on such a machine, or set the variable architecture in VARS=...",
        )
    tag = settings.tag or archive.tag
    runner.step(f"Push to {outputs.registry}/{outputs.repository}, tag {tag}")
    there = {} if settings.dry_run else pushed(runner, outputs.repository, tag)
    wanted = [role for role in ROLES if role not in there]
    for role in there:
        runner.say(f"  {role}: there already")
    if wanted:
        with tempfile.TemporaryDirectory(prefix="emporium-login-") as folder:
            _Pusher(runner, settings, tool, Path(folder)).push(archive, outputs, tag, wanted)
    return tag


@dataclass(frozen=True, slots=True)
class _Pusher:
    """One tool, logged in with a password that is forgotten at the end."""

    runner: Runner
    settings: Settings
    tool: str
    folder: Path

    def push(self, archive: Archive, outputs: Outputs, tag: str, roles: list[str]) -> None:
        """Log in, and push the images of roles."""
        docker = self.tool == "docker"
        login = ("--config", self.folder) if docker else ()
        auth = () if docker else ("--authfile", self.folder / "auth.json")
        password = ("aws", "ecr", "get-login-password", "--region", self.settings.region)
        words = ("login", *auth, "--username", "AWS", "--password-stdin", outputs.registry)
        self.runner.pipe(password, self.tool, *login, *words)
        for role in roles:
            target = f"{outputs.registry}/{outputs.repository}/{role}:{tag}"
            source = f"{archive.transport}:{archive.path}:{archive.references[role]}"
            for command in self._commands(source, archive, role, target, (*login, *auth)):
                self.runner.work(*command, timeout_s=PUSH_S)

    def _commands(
        self,
        source: str,
        archive: Archive,
        role: str,
        target: str,
        auth: tuple[str | Path, ...],
    ) -> list[tuple[str | Path, ...]]:
        """How a tool pushes one image."""
        name = archive.references[role]
        if self.tool == "skopeo":
            whole = ("--preserve-digests",) if archive.transport == "oci-archive" else ()
            return [("skopeo", "copy", *auth, *whole, source, f"docker://{target}")]
        if self.tool == "buildah":
            return [
                ("buildah", "pull", source),
                ("buildah", "push", *auth, name, f"docker://{target}"),
            ]
        return [
            ("docker", "load", "--input", archive.path),
            ("docker", "tag", name, target),
            ("docker", *auth, "push", target),
        ]
