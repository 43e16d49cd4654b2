"""Small things that the storage needs from the file system, done with care for power cuts."""

from __future__ import annotations

import fcntl
import os
import sys
from pathlib import Path


def sync_file(path: Path) -> None:
    """Bring a file's data to stable storage. Raises OSError."""
    file = os.open(path, os.O_RDONLY)
    try:
        if sys.platform == "darwin":  # there, fsync leaves the data in the disk's own cache
            fcntl.fcntl(file, fcntl.F_FULLFSYNC)
        else:
            os.fsync(file)
    finally:
        os.close(file)


def sync_folder(path: Path) -> None:
    """Bring a folder's names to stable storage, after files in it were made or renamed."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def write_whole(path: Path, text: str) -> None:
    """Write a file that is there whole or not at all, readable by its owner only."""
    draft = path.with_name(f"{path.name}.draft")
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(file, "wb") as stream:
        stream.write(text.encode())
    sync_file(draft)
    draft.replace(path)
    sync_folder(path.parent)
