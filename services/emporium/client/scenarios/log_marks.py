"""Where the operation logs end, once all that was done before is in them.

A replica writes its log behind its work, and on Kubernetes it is read through the API server, so
lines of what is long done may still be on their way. A log is in order, though: a read with a word
of its own is logged after everything that the replica had applied before, and when the word is
there, so is all of that.
"""

from __future__ import annotations

import functools
import uuid
from collections.abc import Sequence

from emporium.client.cluster import Replica
from emporium.client.scenarios.stage import Stage
from emporium.client.store import StoreError

READS = {"catalog": "query_by_topic", "cache": "search"}
"""Role -> the bookstore's read of a topic, at the replica itself and in its log."""
_OK = 200
_WORD = "mark-"


def without(lines: Sequence[str]) -> list[str]:
    """The lines that no mark has left: a read that was tried again is logged more than once."""
    return [line for line in lines if f",{_WORD}" not in line]


def mark(stage: Stage, replicas: Sequence[Replica]) -> dict[str, int]:
    """Name -> how many lines there are in the log of each of these replicas of `READS`, those of
    the mark included. Raises DeadlinePassedError when one doesn't answer or log."""
    word = f"{_WORD}{uuid.uuid4().hex[:8]}"
    store = stage.store(logged=False, recorded=False)
    ends: dict[str, int] = {}

    def answers(replica: Replica) -> bool:
        url = f"http://{replica.address}/{READS[replica.role]}?topic={word}"
        try:
            return store.get_at(url).status == _OK
        except StoreError:
            return False

    def logged(replica: Replica) -> bool:
        line = f"{READS[replica.role]},{word}"
        lines = stage.cluster.logs(replica.name)
        if line in lines:
            ends[replica.name] = len(lines) - lines[::-1].index(line)
        return line in lines

    seconds = stage.options.settle_s
    try:
        for replica in replicas:
            what = f"{replica.name} answers a read"
            stage.cluster.wait_until(functools.partial(answers, replica), seconds, what)
        for replica in replicas:
            what = f"{replica.name} has logged a read"
            stage.cluster.wait_until(functools.partial(logged, replica), seconds, what)
    finally:
        store.close()
    return ends
