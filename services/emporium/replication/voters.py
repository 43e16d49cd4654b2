"""Who counts: the voter set, as the log says (PROTOCOL 1.5, 1.6).

A voter is an (id, incarnation). `replace` is the only change so far: from the moment it is
appended until it is committed neither the old nor the new incarnation counts, and the size of the
set stays, so that every majority of before, meanwhile and after meets every other one:
before/meanwhile in a replica other than the replaced one, and after is used only where the entry
is known to be committed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from emporium.replication.messages import REPLACE, Entry

VoterList = tuple[tuple[int, str], ...]


def majority(size: int) -> int:
    """The smallest number of voters that meets every other such number."""
    return size // 2 + 1


def replacement(replica: int, old: str, new: str) -> str:
    """The command of a REPLACE entry."""
    return json.dumps({"replica": replica, "old": old, "new": new})


class Voters:
    """The voter set at the end of a log, and the changes that may still be truncated."""

    def __init__(self, base: VoterList = ()) -> None:
        """`base` is the set at the log's base or in its genesis."""
        self._base = dict(base)
        self._changes: list[tuple[int, int, str]] = []  # (index, replica, new incarnation)

    def add(self, entry: Entry) -> None:
        """Take note of an appended entry."""
        if entry.kind == REPLACE:
            change = json.loads(entry.command)
            self._changes.append((entry.index, change["replica"], change["new"]))

    def truncate_from(self, index: int) -> None:
        """Entries from `index` on are gone."""
        self._changes = [change for change in self._changes if change[0] < index]

    def rebase(self, base: VoterList, entries: Iterable[Entry] = ()) -> None:
        """Begin anew from a snapshot's or genesis' set and the entries after it."""
        self._base, self._changes = dict(base), []
        for entry in entries:
            self.add(entry)

    @property
    def ids(self) -> tuple[int, ...]:
        """The voters' ids, sorted; a change never alters them."""
        return tuple(sorted(self._base))

    @property
    def majority(self) -> int:
        """How many votes make a majority."""
        return majority(len(self._base))

    def at(self, index: int) -> VoterList:
        """The set after the entry at `index`, sorted."""
        changes = {replica: name for changed, replica, name in self._changes if changed <= index}
        voters = self._base | changes
        return tuple(sorted(voters.items()))

    def counts(self, replica: int, incarnation: str, commit: int) -> bool:
        """Whether this replica's word counts, as far as the log up to `commit` is committed. Only
        the last change can be pending: it was appended when those before it were committed."""
        current = self._base.get(replica)
        for _, changing, new in self._changes:
            if changing == replica:
                current = new
        if self._changes and commit < self._changes[-1][0] and self._changes[-1][1] == replica:
            return False
        return current == incarnation

    def incarnation(self, replica: int) -> str:
        """The newest incarnation of a voter's id, committed or not; empty for a stranger."""
        return dict(self.at(1 << 62)).get(replica, "")

    def changing(self, commit: int) -> bool:
        """Whether a change is appended but not committed."""
        return bool(self._changes) and self._changes[-1][0] > commit
