"""What every process of a store says of itself, as records, as a table and as JSON."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import Any

from emporium.local.launcher import Launcher
from emporium.local.layout import GROUPS, Place
from emporium.local.readiness import status_of
from emporium.local.screen import Screen

HEAD = (
    "role",
    "id",
    "address",
    "pid",
    "state",
    "reign",
    "epoch",
    "voter",
    "caught up",
    "commit",
    "applied",
    "lag",
    "note",
)


@dataclass(frozen=True, slots=True)
class Report:
    """One process. The fields after `state` are None where it has none or says nothing."""

    role: str
    id: int
    address: str
    pid: int | None
    state: str  # up, dead, paused; silent: it lives and its health port says nothing
    reigning: bool | None = None
    epoch: int | None = None
    voter: bool | None = None
    caught_up: bool | None = None
    serving: bool | None = None
    commit: int | None = None
    applied: int | None = None
    lag: int | None = None  # entries behind the group's newest known commit
    incarnation: str | None = None
    group: str | None = None
    note: str = ""

    @property
    def name(self) -> str:
        """role-id."""
        return f"{self.role}-{self.id}"


def reports(launcher: Launcher) -> list[Report]:
    """Ask every process at the same time: a paused one costs the others no wait."""
    places = launcher.plan.places
    states = {place.name: launcher.state(place.name) for place in places}
    keys = launcher.keys()
    with ThreadPoolExecutor(max_workers=len(places)) as pool:
        told = dict(
            pool.map(
                lambda place: (place.name, _ask(place, states[place.name])),
                places,
            )
        )
    newest = {
        role: max([_number(told[p.name], "commit") or 0 for p in launcher.plan.of(role)], default=0)
        for role in GROUPS
    }
    result = []
    for place in places:
        state, status = states[place.name], told[place.name]
        if state == "up" and status is None:
            state = "silent"
        pid = keys[place.name].pid if state != "dead" else None
        result.append(_report(place, state, pid, status or {}, newest.get(place.role, 0)))
    return result


def _ask(place: Place, state: str) -> dict[str, Any] | None:
    return status_of(place) if state == "up" else None


def _report(
    place: Place, state: str, pid: int | None, status: dict[str, Any], newest: int
) -> Report:
    common = Report(place.role, place.replica, place.address, pid, state, note=place.note)
    if place.role not in GROUPS or not status:
        return common
    if status.get("up") is False:
        return replace(common, note=", ".join(filter(None, [place.note, "shut down, not serving"])))
    applied = _number(status, "applied")
    return Report(
        **asdict(common)
        | {
            "reigning": _flag(status, "reigning"),
            "epoch": _number(status, "epoch"),
            "voter": _flag(status, "voter"),
            "caught_up": _flag(status, "caught_up"),
            "serving": _flag(status, "serving"),
            "commit": _number(status, "commit"),
            "applied": applied,
            "lag": None if applied is None else max(0, newest - applied),
            "incarnation": str(status.get("incarnation", "")),
            "group": str(status.get("group", "")),
        }
    )


def _number(status: dict[str, Any] | None, name: str) -> int | None:
    value = (status or {}).get(name)
    return value if isinstance(value, int) else None


def _flag(status: dict[str, Any], name: str) -> bool | None:
    value = status.get(name)
    return value if isinstance(value, bool) else None


def show(screen: Screen, found: list[Report]) -> None:
    """The table of `emporium status`."""
    screen.table(HEAD, [_row(report) for report in found])


def show_short(screen: Screen, found: list[Report]) -> None:
    """The table of `emporium up`: who is where, and who reigns."""
    rows = [_row(report) for report in found]
    columns = [0, 1, 2, 3, 5] + ([12] if any(row[12] for row in rows) else [])
    screen.table([HEAD[c] for c in columns], [[row[c] for c in columns] for row in rows])


def _row(report: Report) -> list[str]:
    return [
        report.role,
        str(report.id),
        report.address,
        _text(report.pid),
        report.state,
        "reigns" if report.reigning else "",
        _text(report.epoch),
        _yes(report.voter),
        _yes(report.caught_up),
        _text(report.commit),
        _text(report.applied),
        _text(report.lag),
        report.note,
    ]


def _text(value: int | None) -> str:
    return "" if value is None else str(value)


def _yes(value: object) -> str:
    return "" if value is None else "yes" if value else "no"


def as_json(found: list[Report]) -> list[dict[str, Any]]:
    """For `--json`: the same fields under their own names."""
    return [asdict(report) for report in found]
