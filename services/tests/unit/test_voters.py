"""Who counts, compared with a dumb version: every majority meets every other one."""

from __future__ import annotations

import itertools
import json

import pytest

from emporium.replication.messages import NOOP, REPLACE, Entry
from emporium.replication.voters import VoterList, Voters, majority, replacement

Who = tuple[int, str]


def group(size: int) -> VoterList:
    """Replicas 0 … size-1 in their first incarnation."""
    return tuple((number, f"a{number}") for number in range(size))


def replace(index: int, replica: int, new: str) -> Entry:
    """A REPLACE entry."""
    return Entry(1, index, REPLACE, replacement(replica, "", new), "")


def dumb(base: VoterList, changes: list[tuple[int, Who]], commit: int) -> set[Who]:
    """Who counts, said as simply as possible: the set with all changes, but of a change that isn't
    committed neither the old nor the new incarnation."""
    counting = dict(base)
    for index, (replica, new) in changes:
        counting[replica] = new
        if index > commit:
            del counting[replica]
    return set(counting.items())


def majorities(voters: Voters, everybody: set[Who], commit: int) -> list[set[Who]]:
    """All smallest sets whose word is enough."""
    counting = sorted(who for who in everybody if voters.counts(*who, commit))
    return [set(chosen) for chosen in itertools.combinations(counting, voters.majority)]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6, 7])
def test_any_two_majorities_meet(size: int) -> None:
    """And one voter fewer isn't enough."""
    needed = majority(size)
    chosen = [set(one) for one in itertools.combinations(range(size), needed)]
    assert all(one & other for one in chosen for other in chosen)
    assert 2 * (needed - 1) <= size


@pytest.mark.parametrize("size", [3, 5])
def test_counts_as_the_dumb_version_does(size: int) -> None:
    """Before, meanwhile and after, for two changes in a row, at every commit index."""
    base = group(size)
    for first, second in itertools.product(range(size), repeat=2):
        changes = [(10, (first, "b")), (20, (second, "c"))]
        everybody = {*base, (first, "b"), (second, "c"), (size, "stranger")}
        for known in range(len(changes) + 1):
            voters = Voters(base)
            voters.add(Entry(1, 9, NOOP, "", ""))
            for index, (replica, new) in changes[:known]:
                voters.add(replace(index, replica, new))
            # The second change is appended only when the first is committed.
            for commit in {0: (0, 30), 1: (9, 10, 30), 2: (10, 19, 20, 30)}[known]:
                counting = {who for who in everybody if voters.counts(*who, commit)}
                assert counting == dumb(base, changes[:known], commit)


@pytest.mark.parametrize("size", [3, 5])
def test_majorities_before_meanwhile_and_after_a_replacement_meet(size: int) -> None:
    """In a replica with the same memory: an incarnation that forgot can't elect a second reign.
    Before and after are never used at once by two who don't know of each other: after needs the
    change committed, which a majority of meanwhile has done."""
    base = group(size)
    everybody = {*base, (0, "b")}
    before, changed = Voters(base), Voters(base)
    changed.add(replace(10, 0, "b"))
    old = majorities(before, everybody, 0)
    meanwhile = majorities(changed, everybody, 9)
    after = majorities(changed, everybody, 10)
    assert old
    assert meanwhile
    assert after
    for one, other in itertools.chain(
        itertools.product(old, meanwhile),
        itertools.product(meanwhile, meanwhile),
        itertools.product(meanwhile, after),
    ):
        assert one & other


def test_only_the_last_change_can_be_pending() -> None:
    """A replica that starts with both in its log and no commit index counts the first."""
    voters = Voters(group(3))
    voters.add(replace(10, 2, "b"))
    voters.add(replace(20, 0, "c"))
    assert voters.counts(2, "b", 0)
    assert not voters.counts(0, "c", 0)
    assert not voters.counts(0, "a0", 0)
    assert voters.changing(19)
    assert not voters.changing(20)


def test_truncation_takes_a_change_back() -> None:
    """The old incarnation counts again."""
    voters = Voters(group(3))
    voters.add(replace(10, 2, "b"))
    voters.truncate_from(10)
    assert voters.counts(2, "a2", 0)
    assert not voters.counts(2, "b", 99)
    assert voters.incarnation(2) == "a2"


def test_the_set_at_an_index() -> None:
    """For snapshots: the changes up to there."""
    voters = Voters(group(3))
    voters.add(replace(10, 2, "b"))
    assert voters.at(9) == group(3)
    assert voters.at(10) == ((0, "a0"), (1, "a1"), (2, "b"))
    voters.rebase(voters.at(10))
    assert voters.counts(2, "b", 10)
    assert voters.ids == (0, 1, 2)


def test_a_stranger_never_counts() -> None:
    """Nor an unknown incarnation of a voter."""
    voters = Voters(group(3))
    assert not voters.counts(7, "a7", 0)
    assert not voters.counts(1, "", 0)
    assert voters.incarnation(7) == ""
    assert json.loads(replacement(1, "a", "b")) == {"replica": 1, "old": "a", "new": "b"}
