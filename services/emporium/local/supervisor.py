"""`emporium up` in the foreground: it watches, tells, and stops everything in the end.

It reports a process that dies and doesn't start it again: a store that mends its processes in
secret would hide from the one who breaks them what the protocol does. `emporium start` does it.
"""

from __future__ import annotations

import threading

from emporium.local.launcher import Launcher
from emporium.local.layout import GROUPS
from emporium.local.readiness import status_of
from emporium.local.screen import Screen

LOOK_S = 0.25
REIGN_EVERY = 4  # looks at the processes between two looks at who reigns


class Supervisor:
    """Watches the processes of a store that has been started."""

    def __init__(self, launcher: Launcher, screen: Screen) -> None:
        """Tell what changes on `screen`."""
        self.launcher = launcher
        self.screen = screen
        self.states = {place.name: "up" for place in launcher.plan.places}
        self.reigns: dict[str, tuple[int, int]] = {}

    def watch(self) -> None:
        """Until an interrupt: look four times a second, tell once for each change."""
        pause = threading.Event()
        looks = 0
        while True:
            self.look_at_processes()
            if looks % REIGN_EVERY == 0:
                self.look_at_reigns()
            looks += 1
            pause.wait(LOOK_S)

    def look_at_processes(self) -> None:
        """Tell who died, came back, was paused or resumed since the last look."""
        keys = self.launcher.keys()
        for name, before in self.states.items():
            now = self.launcher.state(name)
            if now == before:
                continue
            self.states[name] = now
            if now == "dead":
                end = self.launcher.obituary(name)
                again = self.launcher.folder.command(f"start {name}")
                self.screen.line(f"{name} {end}; {again} brings it back", "red")
            elif before == "dead":
                self.screen.line(f"{name} is back (pid {keys[name].pid})", "green")
            else:
                self.screen.line(f"{name} {'is paused' if now == 'paused' else 'goes on'}")

    def look_at_reigns(self) -> None:
        """Tell who reigns, when that changes."""
        for role in GROUPS:
            found = [
                (int(status.get("epoch", 0)), place.replica)
                for place in self.launcher.plan.of(role)
                if self.states[place.name] == "up"
                for status in [status_of(place)]
                if status and status.get("reigning")
            ]
            if not found or max(found) == self.reigns.get(role):
                continue
            epoch, replica = max(found)
            if role in self.reigns:
                self.screen.line(f"{role}-{replica} reigns now (epoch {epoch})", "bold")
            self.reigns[role] = (epoch, replica)
