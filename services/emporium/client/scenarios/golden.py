"""Golden logs: what scenarios 1-4 leave in the operation logs of a fresh store, line by line.

The files in `golden/` are in the seeds' format. A section is a heading, `## client`, and the lines
below it. `update` lines must be in every catalog replica's log; all other lines of a role are
compared over all its replicas together, since any of them may have answered (DESIGN 4). Where
several clients race (scenario 4), lines are compared as a multiset and without the client's
number.
"""

from __future__ import annotations

import contextlib
import difflib
import re
from dataclasses import dataclass
from importlib import resources

from emporium.client.cluster import DeadlinePassedError
from emporium.client.scenarios import log_marks
from emporium.client.scenarios.stage import Stage

CLIENT, CACHE = "client", "cache"
CATALOG_EACH, CATALOG_ALL, ORDER_ALL = "catalog each", "catalog all", "order all"
READ_TWICE = (1, 2)
"""Scenarios that read everything twice."""
SECTIONS = (CLIENT, CACHE, CATALOG_EACH, CATALOG_ALL, ORDER_ALL)
_BASE = re.compile(r"http://[^/ ]+")
_CLIENT = re.compile(r"^Client\d+: ")


@dataclass(frozen=True, slots=True)
class Marks:
    """How long each log was when the golden part began."""

    lengths: dict[str, int]
    client: int


def load(number: int) -> dict[str, list[str]]:
    """The golden logs of a scenario by section. Raises ValueError for an unknown section."""
    folder = resources.files("emporium.client").joinpath("golden")
    text = folder.joinpath(f"scenario{number}.log").read_text(encoding="utf-8")
    sections: dict[str, list[str]] = {name: [] for name in SECTIONS}
    current: list[str] = []
    for line in text.splitlines():
        if line.startswith("## "):
            name = line.removeprefix("## ")
            if name not in sections:
                raise ValueError(f"scenario{number}.log has an unknown section: {name}")
            current = sections[name]
        elif line and not line.startswith("# "):
            current.append(line)
    return sections


def _names(stage: Stage) -> list[str]:
    roles = ("cache", "catalog", "order")
    return [replica.name for role in roles for replica in stage.replicas(role)]


def _marked(stage: Stage) -> tuple[str, ...]:
    """The roles that log reads; an order group's log is complete when `compare` is through."""
    return ("cache", "catalog") if stage.cluster.cache_mode() == "server" else ("catalog",)


def mark(stage: Stage) -> Marks:
    """Remember where all logs end. Raises DeadlinePassedError when one comes to no end."""
    marked = [replica for role in _marked(stage) for replica in stage.replicas(role)]
    lengths = log_marks.mark(stage, marked)
    others = [name for name in _names(stage) if name not in lengths]
    lengths.update({name: len(stage.cluster.logs(name)) for name in others})
    return Marks(lengths, len(stage.log.lines()))


def written(stage: Stage, marks: Marks, *, racing: bool) -> dict[str, list[str]]:
    """What the logs got since the marks, by section; `catalog each` by replica, as `catalog-0`."""
    sections: dict[str, list[str]] = {name: [] for name in (CACHE, CATALOG_ALL, ORDER_ALL)}
    for name, length in marks.lengths.items():
        lines = log_marks.without(stage.cluster.logs(name)[length:])
        role = name.rsplit("-", 1)[0]
        if role == "catalog":
            sections[name] = [line for line in lines if line.startswith("update,")]
            sections[CATALOG_ALL] += [line for line in lines if not line.startswith("update,")]
        else:
            sections[CACHE if role == "cache" else ORDER_ALL] += lines
    client = stage.log.lines()[marks.client :]
    sections[CLIENT] = [_BASE.sub("http://127.0.0.1:8000", line) for line in client]
    if racing:
        sections[CLIENT] = [_CLIENT.sub("", line) for line in sections[CLIENT]]
    return sections


def _expected(number: int, stage: Stage, *, racing: bool) -> dict[str, list[str]]:
    wanted = load(number)
    each = wanted.pop(CATALOG_EACH)
    for replica in stage.replicas("catalog"):
        wanted[replica.name] = each
    if stage.cluster.cache_mode() != "server":
        wanted[CACHE] = []
    if stage.cluster.cache_mode() == "off" and number in READ_TWICE:
        wanted[CATALOG_ALL] *= 2  # no copy answers the second time
    if racing:
        wanted[CLIENT] = [_CLIENT.sub("", line) for line in wanted[CLIENT]]
    return wanted


def _difference(wanted: list[str], found: list[str], *, in_order: bool) -> str:
    if not in_order:
        wanted, found = sorted(wanted), sorted(found)
    if wanted == found:
        return ""
    return "\n".join(difflib.unified_diff(wanted, found, "golden", "log", n=0, lineterm=""))


def compare(stage: Stage, number: int, marks: Marks, *, racing: bool = False) -> None:
    """Check that the logs got what the golden file says; backups may take a moment."""
    wanted = _expected(number, stage, racing=racing)
    in_order = set() if racing else {CLIENT, CACHE}
    found: dict[str, list[str]] = {}

    def same() -> bool:
        found.clear()
        found.update(written(stage, marks, racing=racing))
        return all(
            not _difference(lines, found.get(name, []), in_order=name in in_order)
            for name, lines in wanted.items()
        )

    with contextlib.suppress(DeadlinePassedError):  # the checks below say what differs
        stage.cluster.wait_until(same, stage.options.settle_s, "the logs are complete")
    for name, lines in sorted(wanted.items()):
        if name == CACHE and stage.cluster.cache_mode() != "server":
            continue
        difference = _difference(lines, found.get(name, []), in_order=name in in_order)
        stage.check(f"golden log: {name}", not difference, difference or f"{len(lines)} lines")
