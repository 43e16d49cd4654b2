"""Writes container images as OCI archives: one layer, no base, the same bytes each time."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
KIND = "application/vnd.oci.image"


def write_image(
    archive: Path, name: str, files: Mapping[str, Path], command: Sequence[str], user: str
) -> None:
    """Write the image `name` (localhost/x:1): `files` by their path in it, run as `command`."""
    layer = _tar({path: file.read_bytes() for path, file in files.items()}, mode=0o755)
    blobs: dict[str, bytes] = {}
    config = {
        "architecture": MACHINES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {"Entrypoint": list(command), "User": user, "WorkingDir": "/"},
        "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{KIND}.manifest.v1+json",
        "config": _put(blobs, f"{KIND}.config.v1+json", _json(config)),
        "layers": [_put(blobs, f"{KIND}.layer.v1.tar", layer)],
    }
    entry = _put(blobs, f"{KIND}.manifest.v1+json", _json(manifest))
    entry["annotations"] = {"io.containerd.image.name": name}
    contents = {
        "oci-layout": _json({"imageLayoutVersion": "1.0.0"}),
        "index.json": _json({"schemaVersion": 2, "manifests": [entry]}),
        **{f"blobs/sha256/{digest}": blob for digest, blob in blobs.items()},
    }
    archive.write_bytes(_tar(contents, mode=0o644))


def _put(blobs: dict[str, bytes], kind: str, blob: bytes) -> dict[str, Any]:
    """Add a blob; its descriptor."""
    digest = _digest(blob)
    blobs[digest.removeprefix("sha256:")] = blob
    return {"mediaType": kind, "digest": digest, "size": len(blob)}


def _tar(contents: Mapping[str, bytes], mode: int) -> bytes:
    """A tar of files and the folders above them, owned by root, of no time."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        folders = {str(above) for path in contents for above in Path(path).parents} - {"."}
        for folder in sorted(folders):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        for path, data in sorted(contents.items()):
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(data), mode
            tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def _json(value: Any) -> bytes:
    """A JSON text, always the same for the same value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _digest(data: bytes) -> str:
    """As images name their parts."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
