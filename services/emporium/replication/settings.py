"""What a core must be told. Majorities never come from here: the voter set lives in the log."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CoreSettings:
    """One replica's settings. Times in milliseconds. Raises ValueError, naming the field."""

    role: str
    replica: int
    members: tuple[int, ...]  # ids of the group's configured replicas, this one among them
    mode: str = "primary-backup"
    heartbeat_interval_ms: float = 250.0
    failure_timeout_ms: float = 1000.0
    lease_ms: float = 400.0  # seeds the genesis; 0 for a group without holders
    data: str = ""  # the data set that a genesis written here carries (JSON text)
    batch_entries: int = 256  # at most so many entries in one message
    batch_bytes: int = 512 * 1024  # and so many bytes of commands
    snapshot_entries: int = 10_000  # applied entries between two snapshots, at least
    keep_entries: int = 2_000  # entries kept before a snapshot, for catch-up by suffix
    pending_proposals: int = 1_024  # beyond it: overloaded
    pending_reads: int = 4_096
    steady_ms: float = 2_000.0  # how long a returning replica is steady before a hand-back

    def __post_init__(self) -> None:
        """Refuse what can't work."""
        if self.replica not in self.members:
            raise ValueError(f"replica: {self.replica} is not among members {self.members}")
        if len(set(self.members)) != len(self.members) or len(self.members) not in (1, 3, 5):
            raise ValueError(f"members: 1, 3 or 5 distinct ids are allowed, got {self.members}")
        if self.heartbeat_interval_ms <= 0:
            raise ValueError("heartbeat_interval_ms: must be above 0")
        if self.heartbeat_interval_ms > self.failure_timeout_ms / 4:
            raise ValueError(
                f"heartbeat_interval_ms: {self.heartbeat_interval_ms:g} is more than a quarter of"
                f" failure_timeout_ms {self.failure_timeout_ms:g}"
            )
        if not 0 <= self.lease_ms <= self.failure_timeout_ms / 2:
            raise ValueError(
                f"lease_ms: {self.lease_ms:g} must be 0 or at most half of"
                f" failure_timeout_ms {self.failure_timeout_ms:g}"
            )
