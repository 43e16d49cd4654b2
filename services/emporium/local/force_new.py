"""`emporium group force-new`: the loud way back from the loss of a majority's disks (PROTOCOL 1.8).

The most up-to-date journal that is left of a group, by (epoch of the last entry, last index), is
replayed to its end, and the state becomes the data of a new group: numbers, request ids and the
ledger's chain stay. What only the lost disks held is gone; nobody can say whether there was any.

Every replica's old journal is set aside, never deleted, the chosen one last: cut short at any
point, the command can be given again.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

from emporium.local.errors import LocalError
from emporium.local.folder import NOT_PULLED, DataFolder
from emporium.local.launcher import Launcher
from emporium.local.layout import GROUPS
from emporium.local.replay import Log, State, choose_log, read_log, replay
from emporium.local.screen import plural
from emporium.replication.messages import Snapshot
from emporium.replication.voters import Voters, majority
from emporium.runtime.backup import backup_of, place_restore
from emporium.runtime.data_folder import RESTORE
from emporium.runtime.errors import DataFolderInUse

_COUNTED = {"catalog": "sale", "order": "order"}


@dataclass(frozen=True)
class Plan:
    """What would be done to the group of `role`."""

    folder: DataFolder
    role: str
    logs: tuple[Log, ...]  # of all replicas, by id
    chosen: Log
    state: State
    other: State | None  # of the other group; None when less than a majority of it is left

    @property
    def missing(self) -> list[str]:
        """The replicas without a usable journal, each with the reason."""
        return [f"{log.name}: {_trouble(log)}" for log in self.logs if _trouble(log)]

    @property
    def contradicts(self) -> bool:
        """Whether the orders hold sales that the catalog's ledger doesn't."""
        if self.other is None:
            return False
        both = (self.state, self.other)
        catalog, order = both if self.role == "catalog" else both[::-1]
        return not catalog.has_sales(order.length, order.ledger)


def make_plan(folder: DataFolder, role: str, old: dict[str, Any]) -> Plan:
    """Look at what is left and change nothing; `old` is the store.json. Raises LocalError when
    the store runs, when a journal wasn't pulled, when a majority is left, and when nothing usable
    is."""
    launcher = Launcher.recorded(folder)
    running = launcher.occupants() if launcher is not None else []
    if running:
        raise LocalError(
            f"the store in {folder.root} runs ({', '.join(running)})",
            f"{folder.command('down')} stops it",
        )
    logs = _read(folder, role, old)
    _refuse_twice(folder, role, logs)
    _refuse_not_pulled(folder, logs)
    chosen = _choose(role, logs)
    _refuse_majority(folder, role, logs, chosen)
    return Plan(folder, role, logs, chosen, replay(role, chosen), _other(folder, role, old))


def _read(folder: DataFolder, role: str, old: dict[str, Any]) -> tuple[Log, ...]:
    names = [f"{role}-{number}" for number in range(int(old[role]))]
    return tuple(read_log(name, folder.replica(name)) for name in names)


def _trouble(log: Log) -> str:
    """Why a journal is of no use here; empty when it is."""
    if log.contents is None:
        return "; ".join(log.report.problems)
    return "" if log.report.group else "its journal is new and holds nothing"


def _refuse_twice(folder: DataFolder, role: str, logs: tuple[Log, ...]) -> None:
    """Done already: the journals are set aside, and every replica has its beginning."""
    placed = all((folder.replica(log.name) / RESTORE).exists() for log in logs)
    if placed and all(_trouble(log) for log in logs):
        raise LocalError(
            f"the {role} group has its new beginning already", f"{folder.command('up')} forms it"
        )


def _refuse_not_pulled(folder: DataFolder, logs: tuple[Log, ...]) -> None:
    """A journal that couldn't be copied out of its volume isn't lost: placing a new beginning
    would set it aside, with all that only it holds."""
    marks = {log.name: folder.replica(log.name) / NOT_PULLED for log in logs}
    reasons = [
        f"{name}: {mark.read_text('utf-8').strip()}"
        for name, mark in marks.items()
        if mark.exists()
    ]
    if reasons:
        raise LocalError(
            f"not every journal was pulled, though it may be whole ({'; '.join(reasons)})",
            "have those pods run, or delete the claims of volumes that are lost for good, and"
            " `emporium pods pull` into a fresh folder",
        )


def _choose(role: str, logs: tuple[Log, ...]) -> Log:
    left = [log for log in logs if not _trouble(log)]
    if not left:
        raise LocalError(
            f"no usable journal is left of the {role} group"
            f" ({'; '.join(f'{log.name}: {_trouble(log)}' for log in logs)})",
            "`emporium restore FILE` makes both groups from a backup",
        )
    groups = {log.report.group for log in left}
    if len(groups) > 1:
        listed = ", ".join(f"{log.name}: {log.report.group[:8]}" for log in left)
        raise LocalError(
            f"the journals that are left belong to different groups ({listed})",
            "move away the folder of the replica that doesn't belong to this store",
        )
    return max(left, key=lambda log: log.extent)


def _refuse_majority(folder: DataFolder, role: str, logs: tuple[Log, ...], chosen: Log) -> None:
    """A group that can go on by itself, losing nothing, must not be replaced."""
    voters = dict(_voters(chosen))
    intact = [
        log.name
        for number, log in enumerate(logs)
        if not _trouble(log) and voters.get(number) == log.report.incarnation
    ]
    if len(intact) >= majority(len(voters)):
        raise LocalError(
            f"a majority of the {role} group is left ({', '.join(intact)}): it goes on by itself"
            " and loses nothing",
            f"{folder.command('up')} starts it",
        )


def _voters(log: Log) -> tuple[tuple[int, str], ...]:
    """The voter set at the end of a log."""
    contents = log.contents
    if contents is None or contents.genesis is None:
        return ()
    base = json.loads(contents.genesis.command)["voters"]
    voters = Voters(tuple((int(number), str(name)) for number, name in base))
    after = 0
    if contents.snapshot is not None:
        voters, after = Voters(contents.snapshot.voters), contents.snapshot.index
    for entry in contents.entries:
        if entry.index > after:
            voters.add(entry)
    return voters.at(log.report.last_index)


def _other(folder: DataFolder, role: str, old: dict[str, Any]) -> State | None:
    """The other group's state, when enough of it is left to know it."""
    (name,) = (each for each in GROUPS if each != role)
    try:
        return replay(name, choose_log(name, list(_read(folder, name, old))))
    except LocalError:
        return None


# --- what people read ---


def explain(plan: Plan) -> list[str]:
    """What is left, what would be done, and what may be lost, a sentence each."""
    role, state, noun = plan.role, plan.state, _COUNTED[plan.role]
    missing = "; ".join(plan.missing) or "no journal, but most of them are learners'"
    begins = (
        f"A new {role} group would begin from {plan.chosen.name}: entry {state.index} of epoch"
        f" {state.epoch}, {plural(state.length, noun)}. Numbers, request ids and the ledger's"
        " chain stay."
    )
    gone = (
        f"What only the lost disks held after entry {state.index} is gone, also if it was"
        " acknowledged; nobody can say whether there was any."
    )
    return [
        f"Lost of the {role} group: {missing}.",
        f"Left: {_left(plan)}.",
        begins,
        gone,
        "The old journals are set aside in their folders (set-aside-N), not deleted.",
        _consequence(plan),
    ]


def _left(plan: Plan) -> str:
    left = [log for log in plan.logs if not _trouble(log)]
    return ", ".join(
        f"{log.name} up to entry {log.report.last_index} of epoch {log.report.last_epoch}"
        for log in left
    )


def _consequence(plan: Plan) -> str:
    """What it means for the other group."""
    if plan.contradicts:
        return (
            "WARNING: the orders hold sales that the catalog's ledger doesn't: order refuses every"
            " purchase (ledger_trouble), and the store sells nothing. Restore both groups from"
            " one backup instead."
        )
    if plan.other is None:
        return "WARNING: less than a majority of the other group is whole; it needs help, too."
    if plan.role == "order":
        return (
            f"The catalog's ledger holds {plural(plan.other.length, 'sale')}: the new group"
            " rebuilds from it the orders that it lacks, with the same numbers. No order is lost."
        )
    return (
        f"The orders ({plan.other.length}) are all in the ledger that is left; order goes on. A"
        " sale that neither group holds any more is lost with its request id: a client that"
        " repeats it buys anew."
    )


# --- doing it ---


def force_new(plan: Plan) -> list[str]:
    """Place the new group's beginning in the folder of every replica; a sentence for each.
    Raises LocalError."""
    state, report = plan.state, plan.chosen.report
    voters = tuple((number, "") for number in range(len(plan.logs)))
    snapshot = Snapshot(state.index, state.epoch, state.chain, voters, state.snapshot())
    ledger = (state.length, state.ledger)
    stamp = time.time_ns() // 1_000_000
    backup = backup_of(plan.role, report.group, snapshot, ledger, stamp=stamp)
    names = [log.name for log in plan.logs if log is not plan.chosen] + [plan.chosen.name]
    try:
        return [place_restore(plan.folder.replica(name), backup) for name in names]
    except (DataFolderInUse, OSError) as error:
        raise LocalError(f"not finished: {error}", "nothing is lost; give it again") from None
