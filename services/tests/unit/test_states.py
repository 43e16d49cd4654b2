"""The table of states and transitions, and that the core allows nothing else."""

from __future__ import annotations

import itertools
import json

import pytest

from emporium.replication.core import Core, InvariantError
from emporium.replication.effects import Durable
from emporium.replication.settings import CoreSettings
from emporium.replication.state_machine import Outcome
from emporium.replication.states import TRANSITIONS, State, diagram


class Nothing:
    """A state machine without a state."""

    stamp = 0

    def apply(self, _index: int, _command: str) -> Outcome:
        """Nothing."""
        return Outcome(None)

    def start(self, _data: str) -> tuple[str, ...]:
        """Nothing."""
        return ()

    def snapshot(self) -> str:
        """Nothing."""
        return json.dumps(None)

    def restore(self, _state: str) -> None:
        """Nothing."""


def core() -> Core:
    """An empty replica of three."""
    settings = CoreSettings(role="catalog", replica=0, members=(0, 1, 2))
    return Core(settings, Nothing(), Durable("i1"), 0.0)


def test_every_state_is_reached_from_empty() -> None:
    """And only empty is never entered again."""
    reached = {State.EMPTY}
    while True:
        more = {end for start, end in TRANSITIONS if start in reached} - reached
        if not more:
            break
        reached |= more
    assert reached == set(State)
    assert all(end is not State.EMPTY for _, end in TRANSITIONS)


def test_every_state_but_empty_leads_back_to_following() -> None:
    """A replica can always give up what it does."""
    others = set(State) - {State.EMPTY, State.FOLLOWING}
    assert all((state, State.FOLLOWING) in TRANSITIONS for state in others)


@pytest.mark.parametrize(
    ("start", "end"), list(itertools.permutations(State, 2)), ids=lambda state: state.value
)
def test_the_core_allows_what_the_table_says(start: State, end: State) -> None:
    """Anything else is an impossible state."""
    replica = core()
    replica.state = start
    if (start, end) in TRANSITIONS:
        replica.become(end)
        assert replica.state is end
    else:
        with pytest.raises(InvariantError):
            replica.become(end)


def test_the_diagram_names_every_transition() -> None:
    """docs/PROTOCOLS.md shows it."""
    lines = diagram().splitlines()
    assert len(lines) == len(TRANSITIONS) + 2
    for (start, end), why in TRANSITIONS.items():
        assert f"    {start.value} --> {end.value}: {why}" in lines
