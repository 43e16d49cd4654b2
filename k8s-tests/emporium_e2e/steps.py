"""Progress on standard output: what is done, and how long it took."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field


def say(text: str) -> None:
    """One line, at once."""
    print(f"e2e: {text}", flush=True)


@dataclass(slots=True)
class Steps:
    """The steps of a run, with their seconds, for the report."""

    done: list[tuple[str, float]] = field(default_factory=list)

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Say that a step begins, and how long it took when it has ended well."""
        say(f"{name} ...")
        began = time.monotonic()
        yield
        seconds = time.monotonic() - began
        self.done.append((name, seconds))
        say(f"{name}: {seconds:.1f} s")
