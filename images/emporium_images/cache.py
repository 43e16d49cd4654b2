"""The user's cache folder: what takes long is made once, under the hash of what goes into it."""

from __future__ import annotations

import fcntl
import hashlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def cache_folder() -> Path:
    """$XDG_CACHE_HOME/emporium/images, or below ~/.cache; made if it isn't there."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    folder = (Path(home) if home else Path.home() / ".cache") / "emporium" / "images"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def key_of(*parts: str | bytes) -> str:
    """A short name for all that goes into something."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, "big") + data)
    return total.hexdigest()[:12]


def provide(name: str, what: str, make: Callable[[Path], None]) -> Path:
    """The folder `name`; when it isn't there, `make` fills a new one, which gets the name when
    all is well."""
    place = cache_folder() / name
    if place.exists():
        return place
    with only_one(name):
        if not place.exists():
            print(f"Making {what} (once; it is kept in {place}) ...", file=sys.stderr)
            with tempfile.TemporaryDirectory(prefix="unfinished-", dir=cache_folder()) as folder:
                made = Path(folder) / "made"
                made.mkdir()
                make(made)
                made.rename(place)
    return place


@contextmanager
def only_one(name: str) -> Iterator[None]:
    """Hold a lock; another build waits for it."""
    with (cache_folder() / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
