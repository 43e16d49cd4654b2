"""Who reigns over the catalog, and what time it is there, as the order group hears it.

From heartbeats, hints and answers. A wrong view costs a retry, never safety.
"""

from __future__ import annotations

from emporium.replication.messages import Heartbeat

SILENCE_MS = 3_000.0  # after so long without its heartbeat a reign of another group may replace it


class CatalogWatch:
    """The newest reign of the catalog that is known, and its newest stamp."""

    def __init__(self) -> None:
        self.group = ""
        self.primary = -1  # id of the reign; -1 before any was heard
        self.epoch = 0
        self.stamp = 0  # ms since 1970; 0 before any was heard
        self._heard_at = 0.0

    def hear(self, beat: Heartbeat, now: float) -> bool:
        """Take a heartbeat in. True: it shows a newer reign."""
        if beat.role != "catalog" or not beat.reigning or not beat.group:
            return False
        if beat.group != self.group and not self._change_group(beat.group, now):
            return False
        if beat.epoch < self.epoch:
            return False
        newer = beat.epoch > self.epoch or self.primary != beat.replica
        self.primary, self.epoch, self._heard_at = beat.replica, beat.epoch, now
        self.hear_stamp(beat.stamp)
        return newer

    def hear_stamp(self, stamp: int) -> None:
        """The catalog's stamped time is at least this."""
        self.stamp = max(self.stamp, stamp)

    def hint(self, primary: int, epoch: int) -> bool:
        """A replica that doesn't reign says who does. True: that is a newer reign."""
        if primary < 0 or epoch <= self.epoch:
            return False
        self.primary, self.epoch = primary, epoch
        return True

    def _change_group(self, group: str, now: float) -> bool:
        """A restored catalog is another group, whose epochs begin anew; a leftover of an old one
        must not replace a reign that is heard."""
        if self.group and now - self._heard_at < SILENCE_MS:
            return False
        self.group, self.primary, self.epoch, self.stamp = group, -1, 0, 0
        return True
