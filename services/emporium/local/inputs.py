"""From the command line of `up` to a plan, and the old data that it may meet.

Everything that can be wrong with what was given (a missing file, a bad line, numbers that can't
work, data of another store) is said here, before any process is started. The items are copied
into the data folder: a replica that is started later reads the same ones.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from typing import Any

from emporium.editions import bookstore
from emporium.editions.files import (
    FileError,
    Item,
    Process,
    items_as_lines,
    read_config,
    read_items,
)
from emporium.local import ports
from emporium.local.errors import LocalError
from emporium.local.folder import DataFolder, read_json, write_json
from emporium.local.layout import (
    GROUPS,
    Place,
    Plan,
    check_config,
    check_counts,
    config_places,
    default_places,
    with_cache,
    with_third_voters,
)

EDITIONS = (bookstore.NAME,)
DEFAULT_COUNTS = {"frontend": 2, "catalog": 3, "order": 3}
HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What `up` shall start. `items` is the text of the items file, empty for the edition's own;
    `old` is what store.json says of the data that is there already."""

    plan: Plan
    items: str
    old: dict[str, Any] | None


def wanted_by(arguments: argparse.Namespace, folder: DataFolder) -> Wanted:
    """The command line, checked. Raises LocalError."""
    old = old_store(folder)
    edition = arguments.edition or (old or {}).get("edition") or EDITIONS[0]
    if edition not in EDITIONS:
        known = ", ".join(EDITIONS)
        raise LocalError(f"there is no edition {edition!r}", f"this version has: {known}")
    try:
        items = _items(arguments)
        places, has_cache = _places(arguments, old)
    except FileError as error:
        raise LocalError(str(error)) from None
    cache_mode = arguments.cache or ("server" if has_cache else "off")
    places = with_third_voters(places, ports.is_free)
    settings = []
    if arguments.heartbeat_ms:
        settings.append(("HEARTBEAT_INTERVAL_MS", str(arguments.heartbeat_ms)))
    keeps_items = folder.items_file.exists() if old else bool(items)
    plan = Plan(
        edition,
        cache_mode,
        with_cache(places, cache_mode, ports.is_free),
        str(folder.items_file) if keeps_items else "",
        arguments.faults,
        tuple(settings),
    )
    _check_old(old, plan, folder)
    return Wanted(plan, items_as_lines(items), old)


def _items(arguments: argparse.Namespace) -> tuple[Item, ...]:
    """The items that were asked for; none for the edition's own."""
    if arguments.items:
        return read_items(arguments.items)
    return bookstore.items(arguments.like) if arguments.like else ()


def _places(
    arguments: argparse.Namespace, old: dict[str, Any] | None
) -> tuple[tuple[Place, ...], bool]:
    """Where everything is, and whether a cache belongs to it: by a config file, by a seed's, or
    by numbers on the usual ports."""
    if arguments.config:
        return _from_lines(read_config(arguments.config), arguments.config)
    counts = {role: getattr(arguments, role) for role in DEFAULT_COUNTS}
    usual, has_cache = DEFAULT_COUNTS, True
    if arguments.like:
        places, has_cache = _from_lines(bookstore.processes(arguments.like), arguments.like)
        if not any(counts.values()):
            return places, has_cache
        usual = {role: sum(place.role == role for place in places) for role in DEFAULT_COUNTS}
    elif old:
        usual = DEFAULT_COUNTS | {role: int(old[role]) for role in GROUPS if role in old}
    counts = {role: counts[role] or usual[role] for role in DEFAULT_COUNTS}
    check_counts(counts)
    counts["cache"] = 1 if has_cache or arguments.cache == "server" else 0
    return default_places(counts, HOST), has_cache


def _from_lines(lines: tuple[Process, ...], name: str) -> tuple[tuple[Place, ...], bool]:
    places = config_places([(line.role, line.host, line.port, line.where) for line in lines])
    check_config(places, name)
    return places, any(place.role == "cache" for place in places)


# --- old data ---


def old_store(folder: DataFolder) -> dict[str, Any] | None:
    """What store.json says of the data that is there; None in a fresh folder. Raises LocalError
    for data without it."""
    if not any((folder.root / "replicas").glob("*/*")):
        return None
    old = read_json(folder.store_file)
    if old is None:
        raise LocalError(
            f"{folder.root} has replicas' data and no store.json that says what they are",
            "give another folder with --data",
        )
    return old


def _check_old(old: dict[str, Any] | None, plan: Plan, folder: DataFolder) -> None:
    """The voters of a group are in its log: data of other numbers or another shop can't be used."""
    if old is None:
        return
    asked = describe(plan)
    different = [name for name in asked if old.get(name) != asked[name]]
    if different:
        raise LocalError(
            f"the data in {folder.root} is of another store: it has"
            f" {_listed(old, different)}, and {_listed(asked, different)} is asked for",
            "ask for what it has, or give another folder with --data",
        )


def _listed(content: dict[str, Any], names: list[str]) -> str:
    return ", ".join(f"{name} {content.get(name)}" for name in names)


def describe(plan: Plan) -> dict[str, Any]:
    """What of a plan its data depends on."""
    counts = plan.counts()
    return {"edition": plan.edition, **{role: counts[role] for role in GROUPS}}


def claim(folder: DataFolder, wanted: Wanted) -> list[str]:
    """Write down which store this folder holds and what it sells; on old data, the lines that say
    what is gone on from."""
    if wanted.old is not None:
        made = wanted.old.get("made", "an earlier run")
        lines = [f"Going on from the data of {made} in {folder.root}"]
        if wanted.items:
            lines.append("  (the items aren't read again: the first stock is in the log)")
        return lines
    made = time.strftime("%Y-%m-%d %H:%M:%S")
    write_json(folder.store_file, describe(wanted.plan) | {"made": made})
    folder.items_file.unlink(missing_ok=True)
    if wanted.items:
        folder.items_file.write_text(wanted.items, "utf-8")
    return []
