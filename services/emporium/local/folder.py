"""The data folder of a store on this machine: what lies where, and who may read it.

    store.json        which store this is: edition and number of replicas; stays after `down`
    run.json          the run file: settings and processes of the store while it runs
    run.lock          held while somebody changes the run file
    operator-token    bearer token of the operator routes, mode 0600
    secret            the secret that the roles share on the internal port, mode 0600
    items             the first stock, where it isn't the edition's own
    replicas/NAME/    journal and mark of catalog-0, order-2 …; or NOT_PULLED, and why
    logs/NAME.log     what a process wrote to its standard output and error
    output/           the operation logs

Without `--data` it is `emporium` in `$XDG_STATE_HOME`, or in `~/.local/state` where that isn't
set: a folder of the user's own that outlives a reboot, on Linux and macOS alike.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emporium.local.errors import LocalError

NOT_PULLED = "NOT_PULLED"
"""In a replica's folder: its journal is in a volume that is still there, and wasn't copied."""
FORMAT = 1
"""Version of store.json and run.json."""


def default_root() -> Path:
    """The data folder without `--data`."""
    state = Path(os.environ.get("XDG_STATE_HOME", ""))
    base = state if state.is_absolute() else Path.home() / ".local" / "state"
    return base / "emporium"


@dataclass(frozen=True, slots=True)
class DataFolder:
    """Names and small files of one data folder."""

    root: Path

    @staticmethod
    def at(path: str | os.PathLike[str] | None) -> DataFolder:
        """The folder of `--data`, or the default one."""
        return DataFolder(Path(path).expanduser().absolute() if path else default_root())

    @property
    def store_file(self) -> Path:
        """Which store this is."""
        return self.root / "store.json"

    @property
    def run_file(self) -> Path:
        """What runs now."""
        return self.root / "run.json"

    @property
    def token_file(self) -> Path:
        """The operator's bearer token."""
        return self.root / "operator-token"

    @property
    def secret_file(self) -> Path:
        """The secret of the internal port."""
        return self.root / "secret"

    @property
    def items_file(self) -> Path:
        """The first stock, where it isn't the edition's own."""
        return self.root / "items"

    @property
    def output(self) -> Path:
        """The folder of the operation logs."""
        return self.root / "output"

    def replica(self, name: str) -> Path:
        """The folder of one replica's journal."""
        return self.root / "replicas" / name

    def log(self, name: str) -> Path:
        """The log of one process."""
        return self.root / "logs" / f"{name}.log"

    def command(self, words: str) -> str:
        """`emporium WORDS` in the form that works for this folder, for hints."""
        where = "" if self.root == default_root() else f" --data {self.root}"
        return f"`emporium {words}{where}`"

    def make(self) -> None:
        """Make the folder, readable by its user alone (it holds the token). Raises LocalError."""
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            for part in ("logs", "output", "replicas"):
                (self.root / part).mkdir(exist_ok=True)
        except OSError as error:
            raise LocalError(f"cannot make the data folder {self.root}: {error.strerror}") from None

    def make_secrets(self) -> None:
        """Make token and secret once; later runs keep them."""
        _write_once(self.token_file, secrets.token_urlsafe(32))
        _write_once(self.secret_file, secrets.token_hex(32))

    def token(self) -> str:
        """The operator's token, empty when there is none yet."""
        try:
            return self.token_file.read_text("utf-8").strip()
        except OSError:
            return ""

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Alone with the run file: no two commands start the same replica."""
        with (self.root / "run.lock").open("a", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _write_once(path: Path, text: str) -> None:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text + "\n")


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Replace `path` in one step: a reader sees the old file or the new one, whole."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump({"format": FORMAT, **content}, file, indent=1)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)


def read_json(path: Path) -> dict[str, Any] | None:
    """The file's content, None when it isn't there. Raises LocalError when it is unreadable."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise LocalError(f"{path}: not readable: {error}") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise LocalError(
            f"{path}: written by another version of Emporium (this one knows format {FORMAT})"
        )
    return content
