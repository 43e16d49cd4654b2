"""A store's data folder with real journals, made without any process."""

from __future__ import annotations

import json
from dataclasses import dataclass

from emporium.catalog.requests import Admit, AdmitOrders, Sale, StockTaken, Take, TakeStock
from emporium.catalog.state_machine import CatalogState
from emporium.editions import bookstore
from emporium.editions.files import items_as_data
from emporium.local.folder import DataFolder, write_json
from emporium.order.requests import RecordSale
from emporium.replication import wire
from emporium.replication.effects import Persist
from emporium.replication.forming import genesis_of
from emporium.replication.log import chain_hash
from emporium.replication.messages import COMMAND, NOOP, Entry
from emporium.runtime.journal import Journal

STAMP = 1_700_000_000_000
VOTERS = {0: "a", 1: "b", 2: "c"}


def extend(entries: list[Entry], kind: str, command: str, epoch: int = 1) -> Entry:
    """Append one entry with its chain hash."""
    last = entries[-1]
    chain = chain_hash(last.chain, epoch, last.index + 1, kind, command)
    entry = Entry(epoch, last.index + 1, kind, command, chain)
    entries.append(entry)
    return entry


@dataclass
class Logs:
    """The entries of both groups after some sales."""

    catalog: list[Entry]
    order: list[Entry]
    sales: list[Sale]


def logs_with(sales: int) -> Logs:
    """Both groups' logs: genesis, no-op, an admitted order group, and sales of book 4."""
    data = items_as_data(bookstore.items())
    catalog = [genesis_of("catalog", VOTERS, 400.0, data)]
    order = [genesis_of("order", VOTERS, 0.0, "")]
    machine = CatalogState()
    machine.start(json.dumps(json.loads(catalog[0].command)["data"]))  # as the core does
    extend(catalog, NOOP, "")
    extend(order, NOOP, "")
    group = order[0].chain
    admit = Admit(AdmitOrders(group, 1, 0, machine.ledger.chain), STAMP)
    entry = extend(catalog, COMMAND, wire.encode(admit))
    machine.apply(entry.index, entry.command)
    made = []
    for number in range(sales):
        request = TakeStock("4", 1, "buy", f"request-{number:016}", group, 1, STAMP + 30_000)
        entry = extend(catalog, COMMAND, wire.encode(Take(request, STAMP + number)))
        fact = machine.apply(entry.index, entry.command).fact
        assert isinstance(fact, StockTaken)
        made.append(fact.sale)
        extend(order, COMMAND, wire.encode(RecordSale(fact.sale)))
    return Logs(catalog, order, made)


def write_journal(folder: DataFolder, name: str, entries: list[Entry]) -> None:
    """A journal that holds these entries, of the voter of that id."""
    path = folder.replica(name)
    path.mkdir(parents=True)
    number = int(name.rpartition("-")[2])
    journal = Journal(path, incarnation=lambda: VOTERS.get(number, "stranger"))
    journal.open()
    journal.write(Persist(genesis=entries[0], entries=entries))
    journal.close()


def write_store(folder: DataFolder, logs: Logs) -> None:
    """Three equal journals of each group, and the store.json that belongs to them."""
    folder.make()
    for number in VOTERS:
        write_journal(folder, f"catalog-{number}", logs.catalog)
        write_journal(folder, f"order-{number}", logs.order)
    store = {"edition": "bookstore", "catalog": 3, "order": 3, "made": "2026-01-01 00:00:00"}
    write_json(folder.store_file, store)
