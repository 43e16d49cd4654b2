"""First start: how a group forms, once (PROTOCOL 1.8).

A group forms when all configured replicas say that they are empty and all see the same empty
incarnations; each then writes the same genesis, so nobody has to be asked. A replica that comes
to a formed group is shown the genesis: named in it with its incarnation, it is a voter (it never
promised anything before); otherwise it is a learner.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from emporium.replication import messages as m
from emporium.replication.log import chain_hash
from emporium.replication.states import State

if TYPE_CHECKING:
    from emporium.replication.core import Core
    from emporium.replication.vitals import Peer


def genesis_of(role: str, voters: dict[int, str], lease_ms: float, data: str) -> m.Entry:
    """Entry 1 of a new group, identical whoever writes it; its chain hash is the group id."""
    command = json.dumps(
        {
            "role": role,
            "voters": sorted(voters.items()),
            "lease_ms": lease_ms,
            "data": json.loads(data) if data else {},
        },
        separators=(",", ":"),
        sort_keys=True,
    )
    return m.Entry(0, 1, m.GENESIS, command, chain_hash("", 0, 1, m.GENESIS, command))


class Forming:
    """The part of a core that is busy until the replica has a genesis."""

    def __init__(self, core: Core) -> None:
        """Only the digest of the data set is kept; the text stays in the settings."""
        self.core = core
        text = f"{core.settings.lease_ms}|{core.settings.data}"
        self.seed = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
        self._hellos: dict[int, m.Hello] = {}
        self._next_hello = core.now

    def tick(self) -> None:
        """Say hello while empty; form the group when everybody agrees."""
        core = self.core
        if core.state is not State.EMPTY:
            return
        if core.now >= self._next_hello:
            self._next_hello = core.now + core.settings.heartbeat_interval_ms
            self._greet()
        if self._agreed():
            self._form()

    def wake_at(self) -> float:
        """The next hello."""
        return self._next_hello if self.core.state is State.EMPTY else float("inf")

    def _seen(self) -> tuple[tuple[int, str], ...]:
        seen = {replica: h.incarnation for replica, h in self._hellos.items() if h.empty}
        seen[self.core.replica] = self.core.incarnation
        return tuple(sorted(seen.items()))

    def _greet(self) -> None:
        hello = m.Hello(
            empty=True, incarnation=self.core.incarnation, seed=self.seed, seen=self._seen()
        )
        for replica in self.core.peers:
            self.core.send(replica, hello)

    def on_hello(self, peer: Peer, hello: m.Hello) -> None:
        """An empty replica introduces itself."""
        core = self.core
        if core.state is not State.EMPTY:
            if hello.empty and core.genesis is not None:
                core.send(peer.replica, m.ShowGenesis(core.genesis))
            return
        if hello.seed != self.seed:
            core.note("seed_differs", f"replica {peer.replica} was given other items or leases")
        before = self._seen()
        self._hellos[peer.replica] = hello
        if self._seen() != before:
            self._greet()

    def _agreed(self) -> bool:
        seen = self._seen()
        complete = len(seen) == len(self.core.settings.members)
        return complete and all(
            hello.empty and hello.seed == self.seed and hello.seen == seen
            for hello in self._hellos.values()
        )

    def _form(self) -> None:
        core = self.core
        # The others may wait for just this agreement, and I won't be empty any more.
        self._greet()
        settings = core.settings
        voters = dict(self._seen())
        self._begin(genesis_of(settings.role, voters, settings.lease_ms, settings.data))
        core.note("group_formed", core.group)
        core.elections.first_start()

    def on_genesis(self, _peer: Peer, shown: m.ShowGenesis) -> None:
        """A formed group shows its first entry."""
        if self.core.state is not State.EMPTY:
            return
        entry = shown.entry
        if entry.chain != chain_hash("", 0, 1, m.GENESIS, entry.command):
            return
        self._begin(entry)
        self.core.elections.delay()  # somebody else formed the group, and stands first
        named = self.core.voter
        self.core.note("group_joined", "as a voter" if named else "as a learner")

    def _begin(self, genesis: m.Entry) -> None:
        self.core.adopt_genesis(genesis)
        persist = self.core.persist()
        persist.genesis = genesis
        persist.entries.append(genesis)
        self.core.beat_now()
