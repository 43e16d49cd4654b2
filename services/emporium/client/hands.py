"""The scenario job's hands: what a pod may not do, done for it from outside.

The job pod may delete pods of its namespace and no more. To kill a process with SIGKILL, freeze a
pod, lose a disk, cut a node off, run Helm or stop the API server it asks **hands** outside the
cluster, by a mailbox of files: `Mailbox.ask` writes a request and waits for the answer; whoever has
the hands runs, with `kubectl exec` in the job's pod,

    python3 -m emporium.client.hands next --wait 20      the oldest request without an answer, as
                                                         JSON; {} when none comes
    python3 -m emporium.client.hands answer ID JSON      {"ok": true, ...} or {"ok": false,
                                                         "reason": "..."}
    python3 -m emporium.client.hands pack                the report's folder as a tar

Requests are numbered, so that an answer that comes twice, or an exec that is cut off and tried
again, does no harm. Files appear whole, by renaming.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from emporium.client.cluster import DeadlinePassedError, DrillError, wait_until

FOLDER: Final = "hands"
"""Below the report's folder."""
REPORT: Final = "/report"
ANSWER_S: Final = 600.0
"""A roll-out of all roles on a slow cluster takes minutes."""

KILL_PROCESS, FREEZE, THAW, LOSE_DISK = "kill-process", "freeze", "thaw", "lose-disk"
CUT_NODE, HEAL_NODE, DRAIN_NODE, UNCORDON_NODE = (
    "cut-node",
    "heal-node",
    "drain-node",
    "uncordon-node",
)
EVICT_POD, CRASH_NODE, RESTART_NODE = "evict-pod", "crash-node", "restart-node"
UPGRADE, ROLLBACK, API_OUTAGE, COLLECT = "upgrade", "rollback", "api-outage", "collect"
SCALE: Final = "scale"
"""No verb of the hands: the job's pod may do that itself."""
VERBS: Final = (
    *(KILL_PROCESS, FREEZE, THAW, LOSE_DISK),
    *(CUT_NODE, HEAL_NODE, DRAIN_NODE, UNCORDON_NODE),
    *(EVICT_POD, CRASH_NODE, RESTART_NODE),
    *(UPGRADE, ROLLBACK, API_OUTAGE, COLLECT),
)


@dataclass(frozen=True, slots=True)
class Request:
    """One thing to do. `about` says with what: a pod's member name, a node, values."""

    id: int
    verb: str
    about: dict[str, str]

    def to_json(self) -> str:
        """One line."""
        return json.dumps({"id": self.id, "verb": self.verb, "about": self.about})


class Mailbox:
    """Requests and answers, as files of one folder."""

    def __init__(self, report: Path) -> None:
        """The mailbox of the job whose report goes into this folder."""
        self.folder = report / FOLDER

    def ask(
        self, verb: str, about: Mapping[str, str], deadline_s: float = ANSWER_S
    ) -> dict[str, Any]:
        """Have something done; the answer's fields. Raises DrillError when it couldn't be done,
        and when nobody answered."""
        self.folder.mkdir(parents=True, exist_ok=True)
        number = 1 + max((request.id for request in self._requests()), default=0)
        _write(self._path("request", number), Request(number, verb, dict(about)).to_json())
        answer = self._path("answer", number)
        try:
            wait_until(answer.exists, deadline_s, f"the hands have done {verb}")
        except DeadlinePassedError as error:
            raise DrillError(str(error)) from error
        told: dict[str, Any] = json.loads(answer.read_text("utf-8"))
        if told.get("ok") is not True:
            raise DrillError(f"{verb} {dict(about)}: {told.get('reason', 'the hands say no why')}")
        return told

    def next(self, wait_s: float) -> Request | None:
        """The oldest request without an answer, waiting for one; None when none comes."""
        found: list[Request] = []

        def waits() -> bool:
            found.extend(r for r in self._requests() if not self._path("answer", r.id).exists())
            return bool(found)

        try:
            wait_until(waits, wait_s, "a request")
        except DeadlinePassedError:
            return None
        return found[0]

    def answer(self, number: int, told: Any) -> None:
        """Answer a request; a second answer changes nothing. Raises ValueError for an answer that
        doesn't say `ok`, or to no request."""
        if not (isinstance(told, dict) and told.get("ok") in (True, False)):
            raise ValueError('an answer is an object with "ok": true or false')
        if not self._path("request", number).exists():
            raise ValueError(f"there is no request {number}")
        path = self._path("answer", number)
        if not path.exists():
            _write(path, json.dumps(told))

    def _path(self, kind: str, number: int) -> Path:
        return self.folder / f"{kind}-{number:06}.json"

    def _requests(self) -> list[Request]:
        """All requests, the oldest first."""
        paths = sorted(self.folder.glob("request-*.json"))
        return [Request(**json.loads(path.read_text("utf-8"))) for path in paths]


def _write(path: Path, text: str) -> None:
    """The file is there whole, or not at all."""
    part = path.with_suffix(".part")
    part.write_text(text + "\n", encoding="utf-8")
    part.replace(path)


def pack(report: Path, to: BinaryIO) -> None:
    """The report's folder as a tar, without the mailbox."""
    with tarfile.open(fileobj=to, mode="w|") as archive:
        for path in sorted(report.iterdir()):
            if path.name != FOLDER:
                archive.add(path, arcname=path.name)


def main(arguments: Sequence[str]) -> int:
    """The three verbs of the hands. Exit code 2 for an answer that is none."""
    parser = argparse.ArgumentParser(prog="emporium.client.hands")
    parser.add_argument("--report", type=Path, default=Path(REPORT), help=f"({REPORT})")
    verbs = parser.add_subparsers(dest="verb", required=True)
    asked = verbs.add_parser("next", help="print the oldest request without an answer")
    asked.add_argument("--wait", type=float, default=20.0, metavar="S", help="for one (20)")
    answered = verbs.add_parser("answer", help="answer a request")
    answered.add_argument("id", type=int)
    answered.add_argument("json")
    verbs.add_parser("pack", help="the report's folder as a tar, on standard output")
    chosen = parser.parse_args(arguments)
    mailbox = Mailbox(chosen.report)
    if chosen.verb == "pack":
        pack(chosen.report, sys.stdout.buffer)
    elif chosen.verb == "next":
        request = mailbox.next(chosen.wait)
        print(request.to_json() if request else "{}")
    else:
        try:
            mailbox.answer(chosen.id, json.loads(chosen.json))
        except ValueError as error:
            print(f"emporium.client.hands: {error}", file=sys.stderr)
            return 2
    return os.EX_OK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
