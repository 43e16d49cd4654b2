"""The text of docs/EVALUATION.md, from what was measured. Pure: records in, lines out.

Milliseconds of one machine say little about another, so every time is a multiple of what a bare
Flask and gunicorn endpoint takes for one answer on the same machine in the same run.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from emporium.local.measuring import markdown_table
from emporium.local.tiers import (
    BUY,
    FRONTEND,
    LOOK_UP,
    MODES,
    OFF,
    OPERATIONS,
    SERVER,
    Cell,
    Evaluation,
)

WIDTH = 100
RESPONSE_PLOT, TIERS_PLOT, LIFE_PLOT = "response.svg", "tiers.svg", "copies.svg"
CLIENT, FRONT, CACHE, ORDER, CATALOG = "client", "frontend", "cache", "order", "catalog"
PATHS = {"search": (CATALOG, CACHE), LOOK_UP: (CATALOG, CACHE), BUY: (ORDER, CATALOG)}
"""The tiers behind the frontend, by operation."""
MODE_NAMES = {
    OFF: "no cache",
    SERVER: "cache process (`server`)",
    FRONTEND: "copies in the frontend (`frontend`)",
}
SEEN = {
    CLIENT: "seen by the client",
    FRONT: "in the frontend",
    CACHE: "cache, seen by the frontend",
    ORDER: "order, seen by the frontend",
}


def times(value: float) -> str:
    """A multiple as it is printed."""
    return f"{value:.2f}"


def document(found: Evaluation, images: str, bench: Mapping[str, Any] | None) -> str:
    """The whole document. `images` is the folder of the plots, seen from the document; `bench` the
    JSON of `emporium bench`, where there is one."""
    lines = [
        *_head(found),
        *_response(found, images),
        *_tiers(found, images),
        *_copies(found, images),
        *(_bench(bench) if bench else []),
    ]
    return "\n".join([*lines, GOLDEN, LIMITS])


def _prose(text: str) -> str:
    """A paragraph, its lines filled."""
    return textwrap.fill(
        " ".join(text.split()), WIDTH, break_long_words=False, break_on_hyphens=False
    )


def _head(found: Evaluation) -> list[str]:
    shape = found.machine
    clients = ",".join(str(count) for count in found.clients)
    least = min(found.clients)
    return [
        "# Evaluation",
        "",
        _prose(f"""Written by `emporium evaluate --clients {clients} --requests {found.requests}`
            on a machine of {shape["cores"]} cores ({shape["system"]}, {shape["python"]}), with all
            roles and the load generator on it."""),
        "",
        _prose(f"""**The unit.** Every time below is a multiple of what a bare Flask and gunicorn
            endpoint takes for one answer with {_count(least)}, measured in the same run: 1.00 is
            that answer. The command prints the milliseconds. Means of {found.requests} requests,
            taken in turns (A B A B), so that a slow moment of the machine is one for all."""),
        "",
    ]


def _count(clients: int) -> str:
    return "1 client" if clients == 1 else f"{clients} clients"


def _heads(found: Evaluation, first: str) -> list[str]:
    return [first, *(_count(count) for count in found.clients)]


def _row(found: Evaluation, name: str, values_ms: Sequence[float | None]) -> list[str]:
    unit = found.unit_ms
    return [name, *("-" if value is None else times(value / unit) for value in values_ms)]


# --- 1. response times ---


def _response(found: Evaluation, images: str) -> list[str]:
    lines = [
        "## Response times, with and without a cache",
        "",
        _prose("""The first question of the course designs: how long do search, lookup and buy
            take, and how much does caching help?"""),
        "",
        f"![Response times]({images}/{RESPONSE_PLOT})",
        "",
    ]
    for operation in OPERATIONS:
        rows = [
            _row(
                found,
                MODE_NAMES[mode],
                [found.cell(operation, mode, count).client_ms for count in found.clients],
            )
            for mode in MODES
        ]
        if operation == LOOK_UP:
            bare = [found.bare_ms[count] for count in found.clients]
            rows.append(_row(found, "bare endpoint", bare))
        title = f"{operation.capitalize()}, seen by the client"
        lines += [*markdown_table(_heads(found, title), rows), ""]
    return [*lines, *_how_much(found), ""]


def _how_much(found: Evaluation) -> list[str]:
    parts = []
    for count in (min(found.clients), max(found.clients)):
        plain, own, server = (
            found.cell(LOOK_UP, mode, count).client_ms for mode in (OFF, FRONTEND, SERVER)
        )
        parts.append(
            f"with {_count(count)} a lookup takes {times(own / plain)} of the uncached time"
            f" from the frontend's own copy and {times(server / plain)} from the cache process"
        )
    most = max(found.clients)
    buys = found.cell(BUY, SERVER, most).client_ms / found.cell(BUY, OFF, most).client_ms
    return [
        _prose(f"""Caching: {"; ".join(parts)}. A buy is not cached: with {_count(most)} it takes
            {times(buys)} of its time without a cache, invalidations included. All these reads are
            linearizable, the cached ones too."""),
    ]


# --- 2. tiers ---


def _tiers(found: Evaluation, images: str) -> list[str]:
    lines = [
        "## Where the time goes",
        "",
        _prose("""The second question of 001: the same answers by tier, from the `Server-Timing`
            header. Each tier contains those behind it. The catalog is seen by whoever asks it: by
            the frontend in a search or lookup, by the order primary in a buy. The bookstore's
            `/buy` goes to the order replicas in turn, and a backup forwards it: that hop is part of
            order, and such an answer says nothing of the catalog."""),
        "",
        f"![Time by tier]({images}/{TIERS_PLOT})",
        "",
    ]
    for operation in OPERATIONS:
        for mode in MODES:
            cells = [found.cell(operation, mode, count) for count in found.clients]
            rows = [
                _row(found, _seen(tier, operation), values)
                for tier, values in tier_rows(operation, cells)
            ]
            title = f"{operation.capitalize()}, {MODE_NAMES[mode]}"
            lines += [*markdown_table(_heads(found, title), rows), ""]
    return lines


def _seen(tier: str, operation: str) -> str:
    asker = "order" if operation == BUY else "the frontend"
    return SEEN.get(tier, f"catalog, seen by {asker}")


def tier_rows(operation: str, cells: Sequence[Cell]) -> list[tuple[str, list[float | None]]]:
    """The ms of each tier that any of the cells has, from the outside in."""
    rows: list[tuple[str, list[float | None]]] = [(CLIENT, [cell.client_ms for cell in cells])]
    for tier in (FRONT, *PATHS[operation]):
        values = [cell.tiers_ms.get(tier) for cell in cells]
        if any(value is not None for value in values):
            rows.append((tier, values))
    return rows


def shares(cell: Cell) -> dict[str, float]:
    """What each tier takes by itself, in ms: its time without that of the tiers behind it."""
    front = cell.tiers_ms.get(FRONT, 0.0)
    alone = {"HTTP": max(0.0, cell.client_ms - front)}
    if cell.operation == BUY:
        order, catalog = cell.tiers_ms.get(ORDER, 0.0), cell.tiers_ms.get(CATALOG, 0.0)
        behind = {ORDER: max(0.0, order - catalog), CATALOG: catalog}
    else:
        behind = {tier: cell.tiers_ms.get(tier, 0.0) for tier in (CACHE, CATALOG)}
    alone[FRONT] = max(0.0, front - sum(behind.values()))
    return {**alone, **{tier: value for tier, value in behind.items() if value > 0}}


# --- 3. copies ---


def _copies(found: Evaluation, images: str) -> list[str]:
    rows = []
    for life in found.lives:
        values = [life.before_ms, life.buy_ms, life.after_ms]
        shown = _row(found, MODE_NAMES[life.mode], values)
        rows.append([*shown, f"{life.before_copies:.0%}", f"{life.after_copies:.0%}"])
    head = [
        "One client",
        "lookup before",
        "buy",
        "lookup after",
        "copies before",
        "copies after",
    ]
    plain, server = found.life(OFF), found.life(SERVER)
    unit = found.unit_ms
    return [
        "## What an invalidation costs, and the miss after it",
        "",
        _prose("""The second question of 000. One client looks a book up (a copy can answer), buys
            it (the copy is told to go before the buyer hears of it), and looks it up again (a miss,
            which fills the copy anew). Medians; the last columns say how many of the lookups a copy
            answered."""),
        "",
        f"![The life of a copy]({images}/{LIFE_PLOT})",
        "",
        *markdown_table(head, rows),
        "",
        _prose(f"""With the cache process, a buy takes
            {_signed((server.buy_ms - plain.buy_ms) / unit)} compared with no cache: the
            invalidation, which a buyer waits for, and noise. The lookup after it takes
            {_signed((server.after_ms - server.before_ms) / unit)} compared with a hit, and
            {_signed((server.after_ms - plain.after_ms) / unit)} compared with a store without a
            cache: the question to the cache and the fill."""),
        "",
    ]


def _signed(value: float) -> str:
    return f"{value:+.2f}"


# --- 4. the bench ---


def _bench(bench: Mapping[str, Any]) -> list[str]:
    rates = [
        [
            f"{each['comparison']}: {each['side']}",
            str(each["clients"]),
            each["base"],
            _range(each["ratio"]),
            each["aim"] or "-",
        ]
        for each in bench.get("rates", [])
    ]
    drills = [
        [
            each["drill"],
            str(len(each["blows"])),
            f"{each['heartbeats']:.1f}",
            f"{each['heartbeats'] * each['gap_s']['high'] / each['gap_s']['median']:.1f}",
            "; ".join(each["aims"]),
        ]
        for each in bench.get("failover", [])
    ]
    lines = ["## Ratios and fail-over", ""]
    if rates:
        head = ["Answers per second", "at a time", "compared with", "ratio (range)", "aim"]
        lines += [
            "From `emporium bench`: medians over rounds in turns.",
            "",
            *markdown_table(head, rates),
            "",
        ]
    if drills:
        head = ["Without a successful buy", "times", "median", "max", "aims"]
        lines += [
            _prose("""The gap between two successful buys of any of four clients when a primary (the
                catalog's and order's in turn) is hit, in heartbeats."""),
            "",
            *markdown_table(head, drills),
            "",
        ]
    return lines


def _range(ratio: Mapping[str, float]) -> str:
    return f"{times(ratio['median'])} ({times(ratio['low'])}-{times(ratio['high'])})"


# --- 5. what was read, not measured ---

GOLDEN = """\
## Where the first seed's logs differ from ours

Scenarios 1 to 4 compare the operation logs with golden ones, which follow the seed's format and the
rules of this store. The seed's own logs are those in its section *Test Output*. The differences:

| Test | the seed's log | ours |
| --- | --- | --- |
| 3 | 2 stock checks (`query_by_item,1`) for four buys; its text says 3 | 4, one for each buy |
| 4 | 5 stock checks (`query_by_item,2`) for four buys; its text says 4 | 4, one for each buy |
| 3, 4 | `update` at each of two replicas | at every replica, three by default |
| 4 | Client4 is refused | one of the four is; compared without the client's number |
| 1-4 | each line at one named replica | reads, stock checks and `bought` over all replicas |
| 1-4 | trailing blanks, a leading one | none |

Tests 5 to 8 have no golden logs, because who answers depends on timing; their scenarios check what
is promised instead. There the seed's log has `query_by_item,2` in test 6, although its client asks
for book 4, and calls order replica 0 crashed in test 5, although only catalog 0 was shut down. Ours
log what was asked, and order goes on with all its replicas.
"""

LIMITS = """\
## What these figures are not

- The load generator runs on the same cores as the store: more clients measure the machine as much
  as the store. Figures within a column are fair, because every side pays the same.
- Loopback has next to no latency. Between machines each tier adds its round trip, and a buy the one
  to a majority in each group; a hit in the frontend adds none.
- 001's tables were taken between a laptop and EC2, and most of their time is the way there. They
  can't be compared with these number by number.
- Not measured here: several machines, disks that sync slowly, more clients than the tables show.
"""
