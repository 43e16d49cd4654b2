"""Runs many seeds, shows progress, and sums up what happened in them."""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from tests.simulation import world
from tests.simulation.plants import PLANTS
from tests.simulation.run import Result, run_seed

ENOUGH_SEEDS = 200
"""From so many seeds on, everything in `EXPECTED` must have happened."""
EXPECTED = (
    # faults
    "fault_crash fault_crash_primary fault_crash_both_primaries fault_restart_all fault_pause"
    " fault_lose_disk fault_set_back fault_leave fault_partition fault_one_way fault_deaf"
    " fault_mute fault_split_groups fault_cut_holder fault_reset fault_slow_disk"
    " fault_clock_ahead fault_bad_weather fault_pause_holder fault_crash_holder"
    " fault_permanent_one_way lost_messages duplicated_messages late_messages"
    " reordered_messages cut_messages crash_between_send_early_and_persist"
    " crash_between_persist_and_send restarts amnesiac_starts"
    # transitions of the groups
    " group_formed standing reign_began reign_open log_adopted log_truncated snapshot_taken"
    " snapshot_installed voter_replaced stepped_down old_epoch_refused death_proved"
    " proofs_of_death handing_over asked_to_stand left"
    # holders
    " session_opened lease_lapsed leases_granted cached_reads fills refused_fills holder_lapses"
    # purchases
    " purchases refusals repeats retries storms asked_again conflicts unknown_outcomes restocks"
    " orders_read found_recorded fenced_takes_epoch fenced_takes_deadline overloaded"
).split()
WORKERS = 2
TRACE_LINES = 400


def run_many(seeds: Sequence[int], workers: int = WORKERS) -> Iterator[Result]:
    """The results of all seeds, in any order."""
    if workers == 1 or len(seeds) == 1:
        yield from map(run_seed, seeds)
        return
    context = multiprocessing.get_context("spawn")
    with context.Pool(workers) as pool:
        yield from pool.imap_unordered(run_seed, seeds, chunksize=4)


def missing(counts: Counter[str]) -> list[str]:
    """What should have happened and didn't."""
    return [name for name in EXPECTED if not counts[name]]


def sum_up(counts: Counter[str]) -> str:
    """All counts, one per line."""
    return "\n".join(f"  {name:40} {counts[name]:>9}" for name in sorted(counts))


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulation", description="Simulate the whole store under faults."
    )
    parser.add_argument("--seeds", type=int, default=1, help="how many (default 1)")
    parser.add_argument("--seed", type=int, default=1, help="the first one (default 1)")
    parser.add_argument("--workers", type=int, default=WORKERS, help="processes (default 2)")
    parser.add_argument("--plants", action="store_true", help="which seed sees which planted bug")
    parser.add_argument("--trace", action="store_true", help="print the first seed's whole trace")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """The command. Gives its exit code: 0 when every promise held and enough happened."""
    options = _options(arguments)
    if options.plants:
        return _try_plants()
    if options.trace:
        return _print_trace(options.seed, 0)
    started = time.perf_counter()
    seeds = range(options.seed, options.seed + options.seeds)
    counts: Counter[str] = Counter()
    failures = []
    for done, result in enumerate(run_many(seeds, options.workers), 1):
        counts.update(result.counts)
        if result.failure:
            failures.append(result)
            _say(f"seed {result.seed} FAILED: {result.failure}")
        if done % 50 == 0 or done == len(seeds):
            _say(f"{done} of {len(seeds)} seeds, {time.perf_counter() - started:.0f} s")
    _say(sum_up(counts))
    absent = missing(counts) if len(seeds) >= ENOUGH_SEEDS else []
    if absent:
        _say(f"never happened: {', '.join(absent)}")
    if failures:
        first = min(failures, key=lambda result: result.seed)
        _print_trace(first.seed, TRACE_LINES)
        _say(f"{len(failures)} of {len(seeds)} seeds failed; first: --seed {first.seed} --trace")
    return 1 if failures or absent else 0


def _try_plants() -> int:
    missed = 0
    for plant in PLANTS:
        caught = plant.catch()
        missed += caught is None
        seed = "no seed sees it" if caught is None else f"seed {caught.seed}"
        _say(f"{plant.name:40} {seed}")
    return 1 if missed else 0


def _print_trace(seed: int, last: int) -> int:
    result = run_seed(seed, tracing=True)
    _say(str(world.__doc__))
    for line in result.trace[-last:]:
        _say(line)
    _say(f"seed {seed}: {result.failure or 'all promises held'}")
    return 1 if result.failure else 0


def _say(text: str | Iterable[str]) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
