"""One OCI archive for all images: layers that they share are in it once."""

from __future__ import annotations

import json
import os
import tarfile
from pathlib import Path
from typing import Any, Final

GZIP: Final = b"\x1f\x8b"
REFERENCE: Final = "org.opencontainers.image.ref.name"


def write_archive(layout: Path, target: Path) -> None:
    """Put an OCI layout into a tar whose bytes depend on nothing but the images."""
    part = target.with_suffix(".part")
    with tarfile.open(part, "w", format=tarfile.PAX_FORMAT) as out:
        for path in sorted(layout.rglob("*")):
            member = tarfile.TarInfo(path.relative_to(layout).as_posix())
            if path.is_dir():
                member.type, member.mode = tarfile.DIRTYPE, 0o755
                out.addfile(member)
            else:
                member.size, member.mode = path.stat().st_size, 0o644
                with path.open("rb") as content:
                    out.addfile(member, content)
    part.rename(target)


def manifests(layout: Path) -> dict[str, str]:
    """The digest of each image in the layout, by its name."""
    return {
        entry["annotations"][REFERENCE]: entry["digest"]
        for entry in _json(layout / "index.json")["manifests"]
    }


def labels(layout: Path, digest: str) -> dict[str, str]:
    """The labels of an image."""
    config = _json(_blob(layout, _json(_blob(layout, digest))["config"]["digest"]))
    return dict(config["config"].get("Labels") or {})


def unpacked_bytes(layout: Path, digest: str) -> int:
    """The size of an image's layers when they are unpacked."""
    manifest = _json(_blob(layout, digest))
    return sum(_unpacked(_blob(layout, layer["digest"])) for layer in manifest["layers"])


def _unpacked(layer: Path) -> int:
    """The size of a layer without its compression. gzip's own note of it is at the end, and is
    right below 4 GB."""
    with layer.open("rb") as content:
        if content.read(2) != GZIP:
            return layer.stat().st_size
        content.seek(-4, os.SEEK_END)
        return int.from_bytes(content.read(4), "little")


def _blob(layout: Path, digest: str) -> Path:
    return layout / "blobs" / digest.replace(":", "/")


def _json(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))
