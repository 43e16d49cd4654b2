"""The promises hold under faults, in many seeds; the same seed gives the same trace."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections import Counter

import pytest

from tests.repository import SERVICES
from tests.simulation.command import ENOUGH_SEEDS, missing, run_many
from tests.simulation.run import run_seed

SEEDS = int(os.environ.get("SIMULATION_SEEDS", "2000"))
PRINT_DIGEST = (
    "import hashlib; from tests.simulation.run import run_seed;"
    " print(hashlib.sha256('\\n'.join(run_seed({seed}, tracing=True).trace).encode()).hexdigest())"
)


@pytest.mark.simulation
@pytest.mark.timeout(900)
def test_promises_hold_in_every_seed() -> None:
    """No seed breaks a promise, and every fault and transition of the summary happens."""
    counts: Counter[str] = Counter()
    failures = []
    for result in run_many(range(1, SEEDS + 1)):
        counts.update(result.counts)
        if result.failure:
            failures.append(f"seed {result.seed}: {result.failure}")
    assert not failures, "\n".join(failures)
    assert SEEDS < ENOUGH_SEEDS or not missing(counts)


@pytest.mark.parametrize("seed", [3, 20])
def test_a_seed_replays_its_trace(seed: int) -> None:
    """Bit by bit, in another process with other hash values too."""
    trace = "\n".join(run_seed(seed, tracing=True).trace)
    digest = hashlib.sha256(trace.encode()).hexdigest()
    for hash_seed in ("1", "2"):
        told = subprocess.run(
            [sys.executable, "-c", PRINT_DIGEST.format(seed=seed)],
            cwd=SERVICES,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        assert told.stdout.strip() == digest
