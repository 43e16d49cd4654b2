"""Directed schedules, for what random faults seldom meet.

A script is a generator: it does something, yields what it waits for, and goes on when that holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, cast

from emporium.catalog.requests import TakeStock
from emporium.frontend.view import ClusterView, ReignSeen
from emporium.order.requests import Purchase
from emporium.replication import effects as fx
from emporium.replication import messages as m
from emporium.replication.states import State
from tests.simulation.replica import Replica
from tests.simulation.world import SimulationFailure

if TYPE_CHECKING:
    from tests.simulation.run import Store

LOOK_EVERY_MS = 0.1
LOOK_AT_ITEM_MS = 4.0
LONGEST_WAIT_MS = 1_500.0
Script = Iterator[Callable[[], bool]]


def follow(script: Callable[[Store], Script]) -> Callable[[Store], None]:
    """Play a script beside everything else. One that waits in vain is a failure."""

    def begin(store: Store) -> None:
        steps = script(store)
        store.script_done = False

        def look(condition: Callable[[], bool], since: float) -> None:
            try:
                while condition():
                    condition, since = next(steps), store.world.now
            except StopIteration:
                store.script_done = True
                return
            if store.world.now - since > LONGEST_WAIT_MS:
                raise SimulationFailure(f"the script waits in vain: {condition.__qualname__}")
            store.world.after(LOOK_EVERY_MS, look, condition, since)

        look(lambda: True, store.world.now)

    return begin


def _core(replica: Replica) -> Any:
    return None if replica.node is None else replica.node.core


def _ignore(answer: object, *, cached: bool) -> None:
    """Nobody waits for this answer."""


def _opened(replica: Replica) -> Callable[[], bool]:
    return lambda: replica.node is not None and bool(replica.node.core.open)


def _cut(store: Store, source: Replica, *targets: Replica) -> None:
    for target in targets:
        store.network.cut(source.name, target.name)


def _mend(store: Store, source: Replica, *targets: Replica) -> None:
    for target in targets:
        store.network.mend(source.name, target.name)


def _swallow(store: Store, source: Replica, matches: Callable[[object], bool]) -> None:
    """From now on, what `source` sends and `matches` says is lost; to its group alone."""

    def swallow(sender: str, arguments: tuple[Any, ...]) -> bool:
        event = arguments[0] if arguments else None
        received = isinstance(event, fx.Received) and sender == source.name
        return received and matches(event.envelope.message)  # type: ignore[union-attr]

    store.network.swallow = swallow


def figure_eight(store: Store) -> Script:
    """Raft's figure 8: an entry of an older epoch reaches a majority and is lost again, which is
    right as long as nobody has counted it as committed."""
    first, second, third = store.replicas["catalog"]
    yield _opened(first)
    yield lambda: len({_core(r).log.last_index for r in (first, second, third)}) == 1
    _swallow(store, third, lambda message: isinstance(message, m.PreVote))  # it never stands
    _cut(store, first, second, third)
    start = _core(first).log.last_index
    for client in store.clients:
        client.buy_once()
    yield lambda: bool(_core(first).durable > start)  # an entry of epoch 1 that is only here
    _mend(store, first, second, third)
    first.crash()
    yield lambda: _core(third).promised.candidate == 1
    _cut(store, second, third)
    yield lambda: _core(second).reigning and _core(second).durable > start  # its own, only there
    _mend(store, second, third)
    second.crash()
    first.start()
    yield lambda: _core(first).reigning and bool(_core(third).log.last_index > start)
    _cut(store, first, third)  # the older entry has come through, the reign's own hasn't
    since = store.world.now
    yield lambda: store.world.now > since + 20.0
    _mend(store, first, third)
    first.crash()
    second.start()
    yield _opened(second)


def replaced_while_standing(store: Store) -> Script:
    """A voter promises an epoch and loses its disk; another incarnation replaces it while the one
    who stands collects promises. The adopted log says so: the old promise counts no more. (The
    reign's clock is so slow that it outlasts the others' patience.)"""
    c0, c1, c2, c3, c4 = store.replicas["catalog"]
    network = store.network
    yield _opened(c0)
    c0.clock.change_rate(0.7, store.world.now)
    yield lambda: store.world.now > 300.0
    _cut(store, c0, c2, c4)
    cut_at = store.world.now
    yield lambda: store.world.now > cut_at + 20.0
    _cut(store, c0, c3)
    _cut(store, c1, c3)
    _cut(store, c2, c3)
    yield lambda: _core(c3).state is State.ASKING
    _mend(store, c2, c3)
    yield lambda: _core(c3).state is State.STANDING
    network.hold(c3.name, c2.name)
    _cut(store, c3, c0, c1)
    yield lambda: 4 in _core(c3).elections._promises
    c4.crash()
    c4.journal.erase()
    _mend(store, c0, c2, c4)
    c4.start()
    yield lambda: any(e.kind == m.REPLACE for e in _core(c2).log._entries)
    for other in (c2, c3, c4):
        network.hold(c1.name, other.name)
    c0.crash()
    yield lambda: bool(_core(c2).peers[0].dead)
    network.release(c3.name, c2.name)
    yield lambda: _core(c3).state is not State.STANDING
    since = store.world.now
    yield lambda: store.world.now > since + 50.0
    for other in (c2, c3, c4):
        network.release(c1.name, other.name)
    _mend(store, c0, c3)
    _mend(store, c1, c3)
    _mend(store, c3, c0, c1)


def straggler(store: Store) -> Script:
    """What a reign sent and nobody got arrives when the next reign has committed."""
    c0, c1, c2 = store.replicas["catalog"]
    yield _opened(c0)
    yield lambda: len({_core(r).log.last_index for r in (c0, c1, c2)}) == 1
    _cut(store, c0, c1)
    store.network.hold(c0.name, c2.name)
    start = _core(c0).log.last_index
    for client in store.clients:
        client.buy_once()
    yield lambda: bool(_core(c0).durable > start)
    _mend(store, c0, c1)
    c0.crash()
    yield _opened(c1)
    yield lambda: bool(_core(c2).commit > start)
    store.network.release(c0.name, c2.name)
    since = store.world.now
    yield lambda: store.world.now > since + 50.0


def longer_log(store: Store) -> Script:
    """A replica comes back with an entry that nobody else has, behind many that all have."""
    c0, c1, c2 = store.replicas["catalog"]
    yield _opened(c0)
    yield lambda: len({_core(r).log.last_index for r in (c0, c1, c2)}) == 1
    _cut(store, c0, c1, c2)
    start = _core(c0).log.last_index
    for client in store.clients:
        client.buy_once()
    yield lambda: bool(_core(c0).durable > start)
    _mend(store, c0, c1, c2)
    c0.crash()
    yield _opened(c1)
    for client in store.clients:
        client.buy_once()
    yield lambda: bool(_core(c1).commit > start + 2)
    c0.start()
    yield _opened(c0)


# --- holders ---


def _copies_of_item_1(store: Store) -> Callable[[], bool]:
    keepers = [frontend.keeper for frontend in store.frontends if frontend.keeper is not None]
    return lambda: all("item:1" in keeper.holder._copies for keeper in keepers)


def _look_often(store: Store, for_ms: float) -> None:
    """Item 1 through every frontend, again and again."""
    for moment in range(int(for_ms / LOOK_AT_ITEM_MS)):
        for number, frontend in enumerate(store.frontends):
            client = store.clients[number]
            store.world.after(moment * LOOK_AT_ITEM_MS, client.look, frontend, "1")


def _silence_last_frontend(store: Store) -> None:
    """The last frontend's holder and the catalog don't hear each other any more."""
    last = store.frontends[-1].name
    for replica in store.replicas["catalog"]:
        store.network.cut(replica.name, last)
        store.network.cut(last, replica.name)


def _speak_again(store: Store) -> None:
    last = store.frontends[-1].name
    for replica in store.replicas["catalog"]:
        store.network.mend(replica.name, last)
        store.network.mend(last, replica.name)


def unheard(store: Store) -> Script:
    """A holder with a copy doesn't hear of a purchase: nobody may before its lease is over."""
    yield _opened(store.replicas["catalog"][0])
    for _ in range(3):
        yield _copies_of_item_1(store)
        _silence_last_frontend(store)
        for client in store.clients[:2]:
            client.buy_once("1")
        _look_often(store, 250.0)
        since = store.world.now
        yield lambda since=since: store.world.now > since + 300.0  # type: ignore[misc]
        _speak_again(store)


def doubled_unheard(store: Store) -> Script:
    """The same, and the takes arrive twice: the second time their outcome is known."""
    catalog = store.replicas["catalog"][0]
    yield _opened(catalog)
    yield _copies_of_item_1(store)
    _silence_last_frontend(store)
    ledger = _core(catalog).machine.ledger
    for client in store.clients[:2]:
        client.buy_once("1")
    before = ledger.length
    yield lambda: bool(ledger.length > before + 1)
    for token, payload in list(catalog.asked.items()):
        if isinstance(payload, TakeStock):
            catalog.request(token, payload, 500.0)
    _look_often(store, 250.0)
    since = store.world.now
    yield lambda: store.world.now > since + 300.0
    _speak_again(store)


def unheard_hand_over(store: Store) -> Script:
    """The same, and the reign is handed over at once: the next one must know of the lease."""
    c0, c1, _ = store.replicas["catalog"]
    yield _opened(c0)
    yield _copies_of_item_1(store)
    _silence_last_frontend(store)
    c0.deliver(fx.Leave())
    yield _opened(c1)
    for client in store.clients[:2]:
        client.buy_once("1")
    _look_often(store, 500.0)
    since = store.world.now
    yield lambda: store.world.now > since + 300.0
    _speak_again(store)
    c0.crash()
    c0.start()


def slow_zombie(store: Store) -> Script:
    """A reign that is cut off from its group, and whose clock is so slow that it doesn't notice,
    is still heard by holders and readers."""
    c0, c1, c2 = store.replicas["catalog"]
    last = store.frontends[-1].name
    yield _opened(c0)
    yield _copies_of_item_1(store)
    c0.clock.change_rate(0.4, store.world.now)
    _cut(store, c0, c1, c2)
    _cut(store, c1, c0)
    _cut(store, c2, c0)
    for replica in (c1, c2):
        store.network.cut(replica.name, last)
        store.network.cut(last, replica.name)
    yield _opened(c1)
    for client in store.clients[:2]:
        client.buy_once("1")
    _look_often(store, 500.0)
    since = store.world.now
    yield lambda: store.world.now > since + 600.0
    c0.clock.change_rate(1.0, store.world.now)
    _mend(store, c0, c1, c2)
    _mend(store, c1, c0)
    _mend(store, c2, c0)
    for replica in (c1, c2):
        store.network.mend(replica.name, last)
        store.network.mend(last, replica.name)


def noop_on_its_way(store: Store) -> Script:
    """A new reign hears its majority and can't commit its no-op: it doesn't know yet what its
    predecessor has told people."""
    c0, c1, _ = store.replicas["catalog"]
    yield _opened(c0)
    yield _copies_of_item_1(store)
    for client in store.clients:
        client.stopped = True
    since = store.world.now
    yield lambda: store.world.now > since + 300.0
    _swallow(store, c0, _is_commit_news)
    told = _core(c0).gate.released
    store.clients[0].buy_once("1")
    yield lambda: bool(_core(c0).gate.released > told)
    last = store.frontends[-1]
    real = last.view
    last.view = cast("ClusterView", _View(real, c1.replica))
    c0.crash()
    _swallow(store, c1, lambda message: isinstance(message, m.Append) and bool(message.entries))
    yield lambda: bool(_core(c1).reigning)
    since = store.world.now
    yield lambda: store.world.now > since + 250.0
    store.network.swallow = None
    last.view = real
    c0.start()


def _is_commit_news(message: object) -> bool:
    return isinstance(message, m.ReadIndex) or (
        isinstance(message, m.Append) and not message.entries
    )


class _View:
    """A view that takes one catalog replica for the reign, whatever the heartbeats say."""

    def __init__(self, real: Any, replica: int) -> None:
        self.real, self._replica = real, replica

    def reign(self, role: str) -> Any:
        """The wrong one."""
        return ReignSeen(self._replica, 0) if role == "catalog" else self.real.reign(role)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


def old_echo(store: Store) -> Script:
    """The echo of a round that was sent before a read arrives after it, and after another reign
    has sold something."""
    c0, c1, c2 = store.replicas["catalog"]
    network, order, frontend = store.network, store.replicas["order"][0], store.frontends[0]
    yield _opened(c0)
    yield lambda: bool(_core(order).machine.watermark > 0)
    askers = [*(each.name for each in store.frontends), order.name, c1.name]
    for asker in askers:
        network.cut(asker, c0.name)
    network.hold(c2.name, c0.name)
    sent = _core(c0).reign.round
    yield lambda: bool(_core(c0).reign.round > sent)
    c0.clock.change_rate(0.05, store.world.now)
    yield _opened(c1)
    before = _core(c1).machine.ledger.length
    for client in store.clients:
        client.buy_once("1")
    yield lambda: bool(_core(c1).machine.ledger.length > before)
    since = store.world.now
    yield lambda: store.world.now > since + 30.0
    network.mend(frontend.name, c0.name)
    real = frontend.view
    frontend.view = cast("ClusterView", _Choice(real, c0.replica))
    store.clients[0].look(frontend, "1")
    since = store.world.now
    yield lambda: store.world.now > since + 5.0
    network.release(c2.name, c0.name)
    yield lambda: store.world.now > since + 10.0
    frontend.view = real
    c0.clock.change_rate(1.0, store.world.now)
    network.cut(frontend.name, c0.name)
    for asker in askers:
        network.mend(asker, c0.name)


class _Choice(_View):
    """A view that reads from one replica only."""

    def reign(self, role: str) -> Any:
        """As it is."""
        return self.real.reign(role)

    def choose(self, _role: str, *, without: frozenset[int]) -> int:
        """Always this one."""
        return self._replica if self._replica not in without else -1


def answer_lost(store: Store) -> Script:
    """The answer to a take is lost, and nobody asks again; the next sale's answer arrives."""
    catalog, order = store.replicas["catalog"][0], store.replicas["order"][0]
    yield _opened(catalog)
    yield lambda: bool(_core(order).machine.watermark > 0)
    _cut(store, catalog, order)
    before = _core(catalog).machine.ledger.length
    for frontend in store.frontends:
        purchase = Purchase("1", 1, "buy", f"lost-{frontend.name}", forwarded=False)
        store.asked.add(purchase.request_id)
        frontend.purchase(purchase, 20.0, _ignore)
    yield lambda: bool(_core(catalog).machine.ledger.length > before)
    since = store.world.now
    yield lambda: store.world.now > since + 5.0
    _mend(store, catalog, order)
    for client in store.clients:
        client.buy_once()


SCRIPTS: dict[str, Callable[[Store], None]] = {
    "figure eight": follow(figure_eight),
    "straggler": follow(straggler),
    "longer log": follow(longer_log),
    "unheard": follow(unheard),
    "doubled, unheard": follow(doubled_unheard),
    "old echo": follow(old_echo),
    "unheard hand-over": follow(unheard_hand_over),
    "slow zombie": follow(slow_zombie),
    "no-op on its way": follow(noop_on_its_way),
    "answer lost": follow(answer_lost),
    "replaced while standing": follow(replaced_while_standing),
}
