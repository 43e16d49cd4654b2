"""The states of a replica and the transitions between them, as one visible table.

docs/PROTOCOLS.md's diagram is drawn from TRANSITIONS; `Core.become` allows nothing else.
"""

from __future__ import annotations

from enum import Enum


class State(Enum):
    """What a replica is doing in its group."""

    EMPTY = "empty"  # no genesis yet
    FOLLOWING = "following"  # backup (or learner, while its incarnation isn't in the voter set)
    ASKING = "asking"  # pre-vote
    STANDING = "standing"  # collecting promises of an epoch
    ADOPTING = "adopting"  # fetching the most up-to-date log of the promise majority
    REIGNING = "reigning"
    LEAVING = "leaving"  # reigning, admitting nothing more, handing over


TRANSITIONS: dict[tuple[State, State], str] = {
    (State.EMPTY, State.FOLLOWING): "genesis written",
    (State.FOLLOWING, State.ASKING): "nobody reigns, own rank's delay is over",
    (State.FOLLOWING, State.STANDING): "asked to stand by a leaving reign",
    (State.ASKING, State.STANDING): "majority would promise",
    (State.ASKING, State.FOLLOWING): "reign heard, or another one is promised",
    (State.STANDING, State.ADOPTING): "promise majority, another log is more up to date",
    (State.STANDING, State.REIGNING): "promise majority, own log is the most up to date",
    (State.STANDING, State.FOLLOWING): "newer epoch or reign heard, or no majority in time",
    (State.ADOPTING, State.STANDING): "log adopted: promises are counted again",
    (State.ADOPTING, State.FOLLOWING): "newer epoch or reign heard, or donor silent",
    (State.REIGNING, State.FOLLOWING): "newer epoch seen, or no majority heard for a timeout",
    (State.REIGNING, State.LEAVING): "hand-back to the preferred replica, or SIGTERM",
    (State.LEAVING, State.FOLLOWING): "newer epoch seen, or no majority heard for a timeout",
}
"""(from, to): why. `Core` raises on any other transition."""


def diagram() -> str:
    """The table as a Mermaid state diagram, for docs/PROTOCOLS.md."""
    lines = ["stateDiagram-v2", f"    [*] --> {State.EMPTY.value}"]
    for (start, end), why in TRANSITIONS.items():
        lines.append(f"    {start.value} --> {end.value}: {why}")
    return "\n".join(lines)
