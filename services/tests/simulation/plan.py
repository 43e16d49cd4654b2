"""What a seed means: sizes, timings and how much of every fault."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from random import Random

ITEMS = (("1", "systems", 500), ("2", "systems", 6), ("3", "novels", 30))
"""(item, topic, initial stock): one that never runs out, one scarce, one in between."""
DATA = json.dumps(
    {
        "items": [
            {"item": item, "title": f"Book {item}", "topic": topic, "price": 1000, "stock": stock}
            for item, topic, stock in ITEMS
        ]
    }
)

FAULTS = {
    "crash": 10,
    "crash_primary": 8,
    "crash_both_primaries": 3,
    "restart_all": 3,
    "pause": 5,
    "pause_primary": 6,
    "lose_disk": 5,
    "set_back": 3,
    "leave": 4,
    "leave_primary": 5,
    "isolate": 4,
    "isolate_primary": 5,
    "one_way": 5,
    "deaf": 3,
    "mute": 3,
    "split_groups": 2,
    "cut_holder": 4,
    "reset": 4,
    "slow_disk": 4,
    "clock_ahead": 2,
    "bad_weather": 4,
    "pause_holder": 3,
    "crash_holder": 3,
}
"""How often each fault is chosen, relative to the others."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a run is told. Times in virtual ms."""

    seed: int
    catalogs: int = 3
    orders: int = 3
    frontends: int = 2
    cache_mode: str = "frontend"
    clients: int = 3
    heartbeat_ms: float = 100.0
    timeout_ms: float = 400.0
    lease_ms: float = 160.0
    steady_ms: float = 300.0
    batch_entries: int = 64
    snapshot_entries: int = 10_000
    keep_entries: int = 2_000
    snapshot_part: int = 256 * 1024
    pending_proposals: int = 1_024
    delay_ms: float = 1.0
    sync_ms: float = 0.4
    ordered: bool = True
    loss: float = 0.0
    duplicate: float = 0.0
    late: float = 0.0
    drift: float = 0.005  # each clock runs this much faster or slower, at most
    wire: bool = False  # messages go through their wire form
    think_ms: float = 60.0
    reads: float = 0.45  # share of reads among what clients do
    restocks: int = 0
    fault_ms: float = 3_000.0  # length of the phase with faults
    fault_every_ms: float = 250.0
    faults: dict[str, int] = field(default_factory=lambda: dict(FAULTS))
    permanent: bool = False  # a one-way cut inside a group stays for ever
    heal_ms: float = 6_000.0  # within so long after the faults the store must work again

    def changed(self, **changes: object) -> Plan:
        """A plan with some fields replaced."""
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]


def plan_of(seed: int) -> Plan:
    """What `seed` means."""
    random = Random(f"plan {seed}")

    def one_in(times: int) -> bool:
        return random.randrange(times) == 0

    sizes = random.choice(((3, 3),) * 8 + ((1, 3), (3, 1), (5, 3), (1, 1), (3, 5)))
    slow = one_in(6)
    tiny = one_in(2)
    return Plan(
        seed=seed,
        catalogs=sizes[0],
        orders=sizes[1],
        frontends=random.choice((1, 2, 2)),
        cache_mode=random.choice(("frontend", "frontend", "server", "server", "off")),
        clients=random.choice((2, 3, 4)),
        heartbeat_ms=200.0 if slow else 100.0,
        timeout_ms=800.0 if slow else 400.0,
        lease_ms=random.choice((400.0, 200.0)) if slow else random.choice((200.0, 160.0, 80.0)),
        batch_entries=random.choice((2, 3, 8)) if tiny else 64,
        snapshot_entries=random.choice((6, 12, 25)) if tiny else 10_000,
        keep_entries=random.choice((2, 5, 10)) if tiny else 2_000,
        snapshot_part=random.choice((300, 1_000, 100_000)) if tiny else 256 * 1024,
        pending_proposals=random.choice((1, 2)) if one_in(12) else 1_024,
        delay_ms=random.choice((0.5, 1.0, 3.0)),
        ordered=one_in(2),
        loss=random.choice((0.0, 0.0, 0.01, 0.03)),
        duplicate=random.choice((0.0, 0.0, 0.02)),
        late=random.choice((0.0, 0.0, 0.01, 0.05)),
        wire=one_in(12),
        restocks=random.choice((0, 0, 0, 1, 2)),
        fault_ms=6_000.0 if slow else 3_000.0,
        fault_every_ms=random.choice((150.0, 250.0, 400.0)) * (2 if slow else 1),
        permanent=one_in(6),
        heal_ms=16_000.0 if slow else 8_000.0,
    )
