"""Ports of temporary stores: none is given to two processes, nor twice in a row."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from emporium.local import ports
from emporium.local.errors import LocalError
from emporium.local.layout import MOST_FRONTENDS, default_places, offsets

HOST = "127.0.0.1"
COUNTS = {"frontend": MOST_FRONTENDS, "catalog": 5, "order": 5, "cache": 1}


@pytest.fixture
def two() -> Iterator[tuple[ports.Blocks, ports.Blocks]]:
    """Those of two processes, as it were: they know nothing of each other."""
    both = ports.Blocks(), ports.Blocks()
    yield both
    for blocks in both:
        blocks.close()


def given(blocks: ports.Blocks, times: int) -> list[int]:
    """So many blocks, none of which is used."""
    return [blocks.free_base(HOST, offsets(COUNTS)) for _ in range(times)]


def test_two_processes_are_given_nothing_in_common(
    two: tuple[ports.Blocks, ports.Blocks],
) -> None:
    """Though nobody listens yet at what the other was given, in none of its three uses."""
    bases = [base for blocks in two for base in given(blocks, ports.BLOCKS)]
    used = [
        port
        for base in bases
        for place in default_places(COUNTS, HOST, base)
        for port in place.ports
    ]
    assert len(used) == len(set(used))


def test_a_block_is_given_again_after_all_others(
    two: tuple[ports.Blocks, ports.Blocks],
) -> None:
    """Its store may not listen yet."""
    bases = given(two[0], 2 * ports.BLOCKS)
    assert bases[ports.BLOCKS :] == bases[: ports.BLOCKS]
    assert len(set(bases)) == ports.BLOCKS


def test_what_somebody_listens_at_is_passed_over(
    two: tuple[ports.Blocks, ports.Blocks],
) -> None:
    """Whoever it is; with all of a range taken there is another."""
    blocks = two[0]
    first = given(blocks, ports.BLOCKS)
    listeners = [socket.create_server((HOST, base + 2_001)) for base in set(first)]
    try:
        assert not set(given(blocks, 2 * ports.BLOCKS)) & set(first)
    finally:
        for listener in listeners:
            listener.close()


def test_ranges_end(
    two: tuple[ports.Blocks, ports.Blocks], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an error that says so; what one lets go of the other is given."""
    ours = given(two[0], ports.BLOCKS)
    monkeypatch.setattr(ports, "RANGES", [min(ours)])
    with pytest.raises(LocalError, match="no block of free ports"):
        given(two[1], 1)
    two[0].close()
    assert given(two[1], 1) == [min(ours)]
