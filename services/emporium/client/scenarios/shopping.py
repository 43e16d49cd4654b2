"""Scenarios 1-4: the seeds' tests without a fault, on a fresh store, against the golden logs."""

from __future__ import annotations

import contextlib
import functools
import threading
import uuid
from urllib.parse import quote

from emporium.client.cluster import GROUPS, DeadlinePassedError, Replica
from emporium.client.items import LOAD_ITEMS
from emporium.client.scenarios import golden
from emporium.client.scenarios.stage import Stage
from emporium.client.store import Bought, Refused, Result, Store, StoreError

EVEN_READS = 12
NOT_SAID = -1
CACHE_READY_S = 20.0
TOPICS = ("distributed systems", "graduate school")
COSTS = {"1": "10", "2": "20", "3": "5", "4": "15", "5": "15", "6": "15", "7": "15"}
STOCKS = {"1": 3, "2": 3, "3": 3, "4": 6, "5": 3, "6": 3, "7": 3}


def begin(stage: Stage) -> golden.Marks:
    """Make the copies as a fresh store has them, whoever looked at the books before (the launcher,
    for one), and remember where the logs end: the cache works and has no copy of a book. No reign
    is about to be handed back either: its successor would begin with no copy again."""
    for role in GROUPS:
        stage.settled_primary(role)
    store = stage.store(logged=False, recorded=False)
    if stage.cluster.cache_mode() != "off":
        stage.cluster.wait_until(
            lambda: store.lookup(LOAD_ITEMS[0]).cached, CACHE_READY_S, "a copy answers a lookup"
        )
        for book in STOCKS:
            what = f"the copies of book {book} go"
            gone = functools.partial(_drop_copies, stage, store, book)
            stage.cluster.wait_until(gone, stage.options.settle_s, what)
    store.close()
    stage.wait_equal("catalog")
    return golden.mark(stage)


def _drop_copies(stage: Stage, store: Store, book: str) -> bool:
    """The same price again: copies of the book and of its topic go. Whether that was done; it may
    be done again."""
    operator = stage.operator()
    try:
        price = int(store.get(f"/v1/items/{book}?read=primary")["price"])
        operator.change(book, price=price)
    except (StoreError, KeyError):  # between two reigns
        return False
    finally:
        operator.close()
    return True


def search_twice(stage: Stage) -> None:
    """Search each topic twice: the same and right answer, from the cache the second time."""
    marks = begin(stage)
    store = stage.store()
    answers = [store.get(f"/search?topic={quote(topic)}") for _ in range(2) for topic in TOPICS]
    stage.check("both searches of a topic agree", answers[:2] == answers[2:])
    counts = [len(answer.get("result", [])) for answer in answers[:2]]
    stage.check("all books are found", counts == [2, 4], f"{counts}")
    golden.compare(stage, 1, marks)


def lookup_twice(stage: Stage) -> None:
    """Look each book up twice: the same and right answer, from the cache the second time."""
    marks = begin(stage)
    store = stage.store()
    wrong = []
    for item, stock in STOCKS.items():
        first, second = store.lookup_book(item), store.lookup_book(item)
        if (first.stock, second.stock) != (stock, stock) or first.title != second.title:
            wrong.append(f"book {item}: {first}, {second}")
    stage.check("both lookups of a book agree and are right", not wrong, "; ".join(wrong))
    golden.compare(stage, 2, marks)


def buy_until_gone(stage: Stage) -> None:
    """Buy the 3 copies of book 1 and one more: replicas and cache agree, the load is even."""
    marks = begin(stage)
    store = stage.store()
    results = [store.buy_book("1") for _ in range(4)]
    stage.check(
        "three buys succeed, the fourth fails",
        all(isinstance(result, Bought) for result in results[:3])
        and isinstance(results[3], Refused),
        _kinds(results),
    )
    golden.compare(stage, 3, marks)
    seen = [store.lookup_book("1").stock for _ in range(3)]
    stage.check("the cache shows the sale", seen == [0, 0, 0], f"{seen}")
    check_stock_everywhere(stage, store, "1", 0)
    check_even_load(stage)


def race_for_the_last(stage: Stage) -> None:
    """Four clients race for the 3 copies of book 2: three get one, on every replica."""
    marks = begin(stage)
    gate = threading.Barrier(4)
    results: list[Result] = []

    def client(number: int) -> None:
        store = stage.store(f"Client{number}")
        gate.wait(10)
        results.append(store.buy_book("2"))
        store.close()

    threads = [threading.Thread(target=client, args=(number,)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    won = sum(isinstance(result, Bought) for result in results)
    lost = sum(isinstance(result, Refused) for result in results)
    stage.check("three clients win, one loses", (won, lost) == (3, 1), _kinds(results))
    golden.compare(stage, 4, marks, racing=True)
    check_stock_everywhere(stage, stage.store(logged=False), "2", 0)


def _kinds(results: list[Result]) -> str:
    return ", ".join(type(result).__name__ for result in results)


def replica_stock(store: Store, address: str, item: str) -> int:
    """What a catalog replica's own `query_by_item` says; -1 when it doesn't say."""
    try:
        answer = store.get_at(f"http://{address}/query_by_item?item_number={item}")
    except StoreError:
        return NOT_SAID
    result = answer.body.get("result")
    return int(result["stock"]) if isinstance(result, dict) else NOT_SAID


def check_stock_everywhere(stage: Stage, store: Store, item: str, stock: int) -> None:
    """Every catalog replica that serves shows the same stock; one that just came back may not. Who
    can't say, as between two reigns, is asked again: the first thing that it says counts."""
    seen: dict[str, int] = {}

    def all_said() -> bool:
        asked = [r for r in stage.replicas("catalog") if r.healthy or r.name in seen]
        for replica in asked:
            if seen.get(replica.name, NOT_SAID) == NOT_SAID:
                seen[replica.name] = replica_stock(store, replica.address, item)
        return bool(seen) and NOT_SAID not in seen.values()

    with contextlib.suppress(DeadlinePassedError):  # the check will show who said nothing
        what = f"the catalog's replicas tell the stock of book {item}"
        stage.cluster.wait_until(all_said, stage.options.settle_s, what)
    stage.check(
        f"all catalog replicas have {stock} copies of book {item}",
        set(seen.values()) == {stock},
        ", ".join(f"{name} {count}" for name, count in seen.items()),
    )


def check_even_load(stage: Stage) -> None:
    """Reads per healthy catalog replica differ by at most 1; a dead one gets none.

    Every read searches a topic of its own, so that no copy answers; all go through one frontend,
    for round robin is a frontend's own. It is told only of reads between which nobody came or went,
    neither by the replicas' own word nor by that frontend's.
    """
    store = stage.store(logged=False, recorded=False)
    replicas = stage.replicas("catalog")
    word = ""

    def undisturbed() -> bool:
        nonlocal replicas, word
        replicas, view = stage.replicas("catalog"), _view(store)
        word = uuid.uuid4().hex[:8]
        for number in range(EVEN_READS):
            store.get(f"/search?topic=even-{word}-{number}")
        return view == _view(store) and _who(replicas) == _who(stage.replicas("catalog"))

    def counted() -> dict[str, int]:
        line = f"query_by_topic,even-{word}-"
        logs = {replica.name: stage.cluster.logs(replica.name) for replica in replicas}
        return {name: sum(line in each for each in lines) for name, lines in logs.items()}

    with contextlib.suppress(DeadlinePassedError):  # then the last reads are told of
        what = f"nobody comes or goes during {EVEN_READS} reads"
        stage.cluster.wait_until(undisturbed, stage.options.healthy_s, what)
    store.close()
    counts: dict[str, int] = {}

    def logged() -> bool:
        counts.update(counted())
        return sum(counts.values()) >= EVEN_READS

    with contextlib.suppress(DeadlinePassedError):  # what is missing then, the check below says
        what = "every read is in an operation log"
        stage.cluster.wait_until(logged, stage.options.settle_s, what)
    healthy = {replica.name for replica in replicas if replica.healthy}
    alive = [count for name, count in counts.items() if name in healthy]
    dead = [count for name, count in counts.items() if name not in healthy]
    even = alive and max(alive) - min(alive) <= 1 and sum(alive) == EVEN_READS and not any(dead)
    detail = ", ".join(f"{name} {count}" for name, count in counts.items())
    stage.check("reads are spread evenly, a dead replica gets none", even, detail)


def _view(store: Store) -> list[tuple[object, ...]]:
    """Which catalog replicas a frontend sends reads to, by its own word."""
    rows = store.get("/v1/cluster").get("replicas", [])
    return [(row["id"], row.get("serving")) for row in rows if row["role"] == "catalog"]


def _who(replicas: list[Replica]) -> list[tuple[object, ...]]:
    """Who is there, as far as it matters to whom reads are sent."""
    return [(r.name, r.process or r.pid, r.healthy, r.epoch) for r in replicas]
