"""A cluster, kubectl and helm that only note what is done to them: for tests without a cluster."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from emporium.client import hands
from emporium_e2e.client import Kubectl
from emporium_e2e.cluster import OWN, Cluster
from emporium_e2e.errors import E2eError
from emporium_e2e.settings import Settings

ALWAYS: Final = ("--namespace=", "--cache-dir=")
"""Options of every command, left out of the notes."""


@dataclass
class World:
    """What was done to the pretended cluster, and how kubectl and helm answer.

    `answers` maps the beginning of a command (without options) to what it prints, to an error, or
    to several of those, one after the other; the last one stays.
    """

    done: list[str] = field(default_factory=list)
    answers: dict[str, Any] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)  # drills that fail

    def run(
        self, command: Sequence[str | Path], _deadline_s: float, *, stdin: bytes = b"", **_: object
    ) -> bytes:
        """Stands in for `client.run`."""
        words = [str(word) for word in command]
        text = " ".join(word for word in words if not word.startswith(ALWAYS))
        self.done.append(text + (f" < {stdin.decode()}" if stdin else ""))
        for beginning, answer in self.answers.items():
            if text.startswith(beginning):
                return self._answer(answer)
        return b""

    @staticmethod
    def _answer(answer: Any) -> bytes:
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, bytes):
            return answer
        return answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()


class PretendedCluster(Cluster):
    """Can do everything, and notes it."""

    kind = OWN
    verbs = frozenset(hands.VERBS)

    def __init__(self, world: World) -> None:
        """Into this world's notes."""
        super().__init__(Settings(), "a test")
        self._world = world
        self._tools = {name: Path(name) for name in ("kubectl", "helm")}

    def _note(self, what: str) -> None:
        self._world.done.append(what)
        if what.partition(" ")[0] in self._world.broken:
            raise E2eError(f"{what} failed")

    def kill_process(self, kubectl: Kubectl, pod: str) -> int:
        """Noted."""
        self._note(f"kill {kubectl.namespace}/{pod}")
        return 4711

    def freeze(self, kubectl: Kubectl, pod: str, *, frozen: bool) -> None:
        """Noted."""
        self._note(f"{'freeze' if frozen else 'thaw'} {kubectl.namespace}/{pod}")

    def cut(self, node: str) -> None:
        """Noted."""
        self._note(f"cut {node}")

    def heal(self, node: str) -> None:
        """Noted."""
        self._note(f"heal {node}")

    def crash(self, node: str) -> None:
        """Noted."""
        self._note(f"crash {node}")

    def restart(self, node: str) -> None:
        """Noted."""
        self._note(f"restart {node}")

    def api_stop(self) -> None:
        """Noted."""
        self._note("api-stop")

    def api_start(self) -> None:
        """Noted."""
        self._note("api-start")
