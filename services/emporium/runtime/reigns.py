"""Who reigns, as heartbeats tell it. It decides whom to ask, never what is safe."""

from __future__ import annotations

from collections.abc import Iterable

from emporium.replication.messages import Heartbeat


def newest_reign(beats: Iterable[Heartbeat]) -> Heartbeat | None:
    """The heartbeat of the newest epoch that reigns and hears a majority; None when nobody does.
    Of two that claim one epoch, the one that isn't leaving."""
    reigning = [beat for beat in beats if beat.reigning and beat.hears_majority]
    return max(reigning, key=lambda beat: (beat.epoch, not beat.leaving), default=None)


class Reign:
    """The reign of one group, for whoever needs nothing else of the cluster."""

    def __init__(self, role: str, failure_timeout_ms: float) -> None:
        """Nobody is known."""
        self._role = role
        self._timeout_ms = failure_timeout_ms
        self._heard: dict[int, tuple[Heartbeat, float]] = {}

    def heard(self, beat: Heartbeat, now: float) -> None:
        """A heartbeat of any role."""
        if beat.role == self._role:
            self._heard[beat.replica] = (beat, now)

    def primary(self, now: float) -> int:
        """Who reigns; -1 when nobody is known to."""
        fresh = [beat for beat, at in self._heard.values() if now - at <= self._timeout_ms]
        reign = newest_reign(fresh)
        return -1 if reign is None else reign.replica
