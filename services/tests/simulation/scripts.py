"""Directed schedules, for what random faults seldom meet.

A script is a generator: it does something, yields what it waits for, and goes on when that holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from emporium.replication import messages as m
from emporium.replication.states import State
from tests.simulation.replica import Replica
from tests.simulation.world import SimulationFailure

if TYPE_CHECKING:
    from tests.simulation.run import Store

LOOK_EVERY_MS = 0.1
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


def _opened(replica: Replica) -> Callable[[], bool]:
    return lambda: replica.node is not None and bool(replica.node.core.open)


def _cut(store: Store, source: Replica, *targets: Replica) -> None:
    for target in targets:
        store.network.cut(source.name, target.name)


def _mend(store: Store, source: Replica, *targets: Replica) -> None:
    for target in targets:
        store.network.mend(source.name, target.name)


def figure_eight(store: Store) -> Script:
    """Raft's figure 8: an entry of an older epoch reaches a majority and is lost again, which is
    right as long as nobody has counted it as committed."""
    first, second, third = store.replicas["catalog"]
    yield _opened(first)
    yield lambda: len({_core(r).log.last_index for r in (first, second, third)}) == 1
    _cut(store, first, second, third)
    start = _core(first).log.last_index
    for client in store.clients:
        client.buy_once()
    yield lambda: bool(_core(first).durable > start)  # an entry of epoch 1 that is only here
    first.crash()
    _mend(store, first, second, third)
    yield lambda: _core(third).promised.candidate == 1
    _cut(store, second, third)
    yield lambda: _core(second).reigning and _core(second).durable > start  # its own, only there
    second.crash()
    _mend(store, second, third)
    first.start()
    yield lambda: _core(first).reigning and bool(_core(third).log.last_index > start)
    _cut(store, first, third)  # the older entry has come through, the reign's own hasn't
    since = store.world.now
    yield lambda: store.world.now > since + 20.0
    first.crash()
    _mend(store, first, third)
    second.start()
    yield _opened(second)


def replaced_while_standing(store: Store) -> Script:
    """A voter promises an epoch and loses its disk; another incarnation replaces it while the one
    who stands collects promises. The adopted log says so: the old promise counts no more. (The
    reign's clock is so slow that it outlasts the others' patience.)"""
    c0, c1, c2, c3, c4 = store.replicas["catalog"]
    network = store.network
    yield _opened(c0)
    c0.clock.rate = 0.7
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
    yield lambda: 4 in _core(c3).elections._promises  # noqa: SLF001 - the moment that matters
    c4.crash()
    c4.journal.erase()
    _mend(store, c0, c2, c4)
    c4.start()
    yield lambda: any(e.kind == m.REPLACE for e in _core(c2).log._entries)  # noqa: SLF001
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


SCRIPTS: dict[str, Callable[[Store], None]] = {
    "figure eight": follow(figure_eight),
    "replaced while standing": follow(replaced_while_standing),
}
