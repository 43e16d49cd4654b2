"""`emporium verify`: every journal is whole, and the replicas hold the same.

Journals are checked row by row, whether the store runs or not. The replicas are compared by what
their processes say of their state while the whole group runs, else by replaying the journals.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

from emporium.client.cluster import DrillError
from emporium.client.conservation import Digest, Finding, replicas_equal
from emporium.local.cluster import LocalCluster
from emporium.local.errors import LocalError
from emporium.local.folder import DataFolder
from emporium.local.launcher import Launcher
from emporium.local.layout import GROUPS
from emporium.local.replay import Log, choose_log, read_log, replay
from emporium.local.screen import plural

EQUAL_S = 10.0
POLL_S = 0.2
SHOWN = 5  # items that a finding names
CONSERVATION = "stock = initial + restocked + sold back - bought"


@dataclass(frozen=True, slots=True)
class Members:
    """The replicas of a store by group, and the running store, if it runs."""

    names: dict[str, list[str]]
    launcher: Launcher | None


def members_of(folder: DataFolder, old: dict[str, Any]) -> Members:
    """Which replicas belong to the store in `folder`; `old` is its store.json."""
    names = {role: [f"{role}-{n}" for n in range(int(old[role]))] for role in GROUPS}
    try:
        return Members(names, Launcher.running(folder))
    except LocalError:
        return Members(names, None)


def read_logs(folder: DataFolder, names: list[str]) -> list[Log]:
    """The journals of a group."""
    return [read_log(name, folder.replica(name)) for name in names]


def check_journals(logs: list[Log]) -> list[Finding]:
    """One finding for each journal."""
    findings = []
    for log in logs:
        report = log.report
        detail = (
            f"{report.last_index} entries, snapshot at {report.snapshot_index}"
            if report.whole
            else "; ".join(report.problems)
        )
        findings.append(Finding(f"journal of {log.name} is whole", report.whole, detail))
    return findings


# --- by what the processes say ---


def compare_running(launcher: Launcher) -> list[Finding]:
    """Digests of all replicas. Waits a little for a store at rest to become equal; under load it
    never is for long, so a difference then is retried."""
    cluster = LocalCluster(launcher)
    deadline = time.monotonic() + EQUAL_S
    while True:
        try:
            digests = _digests(cluster)
        except DrillError as error:
            return [Finding("replicas equal", passed=False, detail=str(error))]
        findings = [replicas_equal(digests), books_agree(digests)]
        if all(found.passed for found in findings) or time.monotonic() > deadline:
            return findings
        time.sleep(POLL_S)


def _digests(cluster: LocalCluster) -> list[Digest]:
    names = [(role, p.name) for role in GROUPS for p in cluster.launcher.plan.of(role)]
    found = [Digest.of(name, role, cluster.digest(name)) for role, name in names]
    # Before the first sale the catalog's ledger has its base, and the orders don't know it yet.
    return [digest if digest.length else replace(digest, chain="") for digest in found]


def books_agree(digests: list[Digest]) -> Finding:
    """At each catalog replica the books balance, item by item, and what it has sold is what the
    orders say."""
    catalog = [digest for digest in digests if digest.role == "catalog"]
    order = next((digest for digest in digests if digest.role == "order"), None)
    wrong = []
    for digest in catalog:
        for item, book in digest.books.items():
            ordered = order.books.get(item, {}) if order is not None else {}
            wrong += _book_errors(f"{digest.name}, item {item}", book, ordered)
    detail = "; ".join(wrong[:SHOWN]) or f"{len(catalog[0].books) if catalog else 0} items"
    return Finding(CONSERVATION, not wrong, detail)


def _book_errors(name: str, book: Any, ordered: Any) -> list[str]:
    told = {field: ordered.get(field, 0) for field in ("bought", "sold_back")}
    return _imbalance(name, book) + [
        f"{name}: {field} {book[field]}, the orders say {count}"
        for field, count in told.items()
        if book[field] != count
    ]


def _imbalance(name: str, book: Any) -> list[str]:
    expected = book["initial"] + book["restocked"] + book["sold_back"] - book["bought"]
    return [] if book["stock"] == expected else [f"{name}: stock {book['stock']}, not {expected}"]


# --- by the journals ---


def compare_journals(role: str, logs: list[Log]) -> list[Finding]:
    """Replay each whole journal up to the last entry that all of them have, and compare."""
    whole = [log for log in logs if log.contents is not None and log.report.group]
    name = f"{role} journals agree"
    if not whole:
        return [Finding(name, passed=False, detail="there is none to compare")]
    if len({log.report.group for log in whole}) > 1:
        return [Finding(name, passed=False, detail="they belong to different groups")]
    common = common_index(whole)
    try:
        states = {log.name: replay(role, log, common) for log in whole}
    except LocalError as error:
        return [Finding(name, passed=False, detail=str(error))]
    first = next(iter(states.values()))
    wrong = [n for n, s in states.items() if (s.chain, s.digest) != (first.chain, first.digest)]
    detail = f"{len(whole)} replayed up to entry {common}, {plural(first.length, 'sale')}"
    if wrong:
        detail = f"{', '.join(wrong)} and {whole[0].name} differ at entry {common}"
    findings = [Finding(name, not wrong, detail)]
    return findings + [_tail(log, common) for log in whole if log.report.last_index > common]


def common_index(logs: list[Log]) -> int:
    """The last index at which all logs have the same chain hash; the least last index when they
    have none (then they differ). A replica that fell behind, and an end that was never
    acknowledged and will be replaced, are no errors."""
    least = min(log.report.last_index for log in logs)
    lowest = max(log.report.snapshot_index for log in logs)
    for index in range(least, max(lowest, 1) - 1, -1):
        chains = {log.chains.get(index, "") for log in logs}
        if len(chains) == 1 and chains != {""}:
            return index
    return least


def _tail(log: Log, common: int) -> Finding:
    count = log.report.last_index - common
    detail = f"{count} more after entry {common}, which not every journal has"
    return Finding(f"journal of {log.name} goes on", passed=True, detail=detail)


def compare_groups(logs: dict[str, list[Log]]) -> list[Finding]:
    """The orders are the beginning of the catalog's ledger, or all of it; the books balance. By
    the log of each group that a new reign would take."""
    name = "orders are in the ledger"
    try:
        states = {role: replay(role, choose_log(role, logs[role])) for role in GROUPS}
    except LocalError as error:
        return [Finding(name, passed=False, detail=str(error))]
    catalog, order = states["catalog"], states["order"]
    detail = f"{plural(order.length, 'order')}, {plural(catalog.length, 'sale')}"
    holds = catalog.has_sales(order.length, order.ledger)
    books = catalog.books()
    wrong = [text for item, book in books.items() for text in _imbalance(f"item {item}", book)]
    return [
        Finding(name, holds, detail),
        Finding(CONSERVATION, not wrong, "; ".join(wrong[:SHOWN]) or f"{len(books)} items"),
    ]
