"""Plays a core's scenario from a text file: commands, `----`, what they lead to.

A file is a list of blocks, a blank line between them; `#` begins a comment. The commands of a block
are played, and everything that is worth a line is compared with what stands below `----`.

    group N [NAME=VALUE ...]   N replicas with empty journals; settings of the core
    start ID ...               start processes on what their journals hold
    crash ID ...               kill them; what isn't persisted is lost
    erase ID                   empty the journal of a dead process: it starts as a new incarnation
    pause ID / resume ID       stop a process / let it go on; what came meanwhile waits
    run MS                     let virtual time pass; a message takes 1 ms
    propose ID WORD ...        propose words at a replica
    read ID [LEVEL]            read (default linearizable)
    leave ID                   SIGTERM
    cut A>B / mend A>B         one direction of the network
    quiet / loud               print notes and answers only / messages too
    status                     one line per replica
    hearing                    who says that it hears a majority
    log ID                     the log: index/epoch kind [command]

Lines: `A > B Message ...` is sent, `A note ...` noted, `A answers TOKEN STATUS ...` answered.
Heartbeats, hellos and appends without entries are left out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from emporium.replication import effects as fx
from emporium.replication import messages as m
from emporium.replication.core import Core
from emporium.replication.settings import CoreSettings
from emporium.replication.state_machine import Outcome
from emporium.runtime.memory_journal import MemoryJournal, open_memory

SETTINGS = {"heartbeat_interval_ms": 100.0, "failure_timeout_ms": 400.0, "lease_ms": 0.0}
HIDDEN = (m.Heartbeat, m.Hello)
WALL_MS = 1_700_000_000_000


class Words:
    """A state machine that keeps words in their order."""

    stamp = 0

    def __init__(self) -> None:
        self.words: list[str] = []

    def start(self, _data: str) -> tuple[str, ...]:
        """No word yet."""
        return ()

    def apply(self, index: int, command: str) -> Outcome:
        """One more word; the fact is how many there are."""
        self.words.append(command)
        return Outcome(f"{index}: {len(self.words)} words")

    def snapshot(self) -> str:
        """All words."""
        return json.dumps(self.words)

    def restore(self, state: str) -> None:
        """Other words."""
        self.words = json.loads(state)


@dataclass
class Process:
    """A replica over all its lives."""

    replica: int
    journal: MemoryJournal
    core: Core | None = None
    incarnation: str = ""
    inbox: list[object] = field(default_factory=list)
    paused: bool = False


class Group:
    """All replicas of a scenario, on virtual time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.lines: list[str] = []
        self.loud = True
        self._processes: list[Process] = []
        self._settings: dict[str, Any] = {}
        self._flying: list[tuple[int, int, object]] = []  # (source, target, event)
        self._cuts: set[tuple[int, int]] = set()
        self._count = 0
        self._commands: dict[str, Callable[..., None]] = {
            name.removeprefix("do_"): getattr(self, name)
            for name in dir(self)
            if name.startswith("do_")
        }

    def play(self, commands: list[str]) -> list[str]:
        """The lines that these commands lead to."""
        self.lines = []
        for command in commands:
            name, *arguments = command.split()
            self._commands[name](*arguments)
        return self.lines

    # --- commands ---

    def do_group(self, size: str, *settings: str) -> None:
        """See the module."""

        def incarnation() -> str:
            self._count += 1
            return f"i{self._count}"

        self._settings = dict(SETTINGS)
        for setting in settings:
            name, value = setting.split("=")
            self._settings[name] = int(value) if value.isdigit() else float(value)
        self._processes = [
            Process(number, MemoryJournal(incarnation)) for number in range(int(size))
        ]

    def do_start(self, *names: str) -> None:
        """See the module."""
        for name in names:
            process = self._processes[int(name)]
            durable = open_memory(process.journal).durable
            process.incarnation, process.inbox = durable.incarnation, []
            settings = CoreSettings(
                role="catalog",
                replica=process.replica,
                members=tuple(range(len(self._processes))),
                **self._settings,
            )
            process.core = Core(settings, Words(), durable, self.now)
            self._step(process)

    def do_crash(self, *names: str) -> None:
        """See the module."""
        for name in names:
            dead = self._processes[int(name)]
            dead.core = None
            dead.journal.crash()
            for process in self._processes:
                self._fly(dead.replica, process.replica, fx.Lost(dead.replica))

    def do_erase(self, name: str) -> None:
        """See the module."""
        self._processes[int(name)].journal.erase()

    def do_pause(self, name: str) -> None:
        """See the module."""
        self._processes[int(name)].paused = True

    def do_resume(self, name: str) -> None:
        """See the module."""
        process = self._processes[int(name)]
        process.paused = False
        self._step(process)

    def do_propose(self, name: str, *words: str) -> None:
        """See the module."""
        self._tell(name, [fx.Propose(word, word) for word in words])

    def do_read(self, name: str, level: str = "linearizable") -> None:
        """See the module."""
        self._tell(name, [fx.Read("read", level)])

    def do_leave(self, name: str) -> None:
        """See the module."""
        self._tell(name, [fx.Leave()])

    def do_cut(self, *ways: str) -> None:
        """See the module."""
        self._cuts |= {_way(way) for way in ways}

    def do_mend(self, *ways: str) -> None:
        """See the module."""
        self._cuts -= {_way(way) for way in ways}

    def do_quiet(self) -> None:
        """See the module."""
        self.loud = False

    def do_loud(self) -> None:
        """See the module."""
        self.loud = True

    def do_run(self, length: str) -> None:
        """See the module."""
        end = self.now + float(length)
        while True:
            due = self.now + 1 if self._flying else max(self._next_wake(), self.now + 1)
            if due > end:
                break
            self.now = due
            self._arrive()
            for process in self._processes:
                core = process.core
                awake = core is not None and not process.paused
                if awake and (process.inbox or (core is not None and core.wake_at() <= self.now)):
                    self._step(process)
        self.now = end

    def do_status(self) -> None:
        """See the module."""
        for process in self._processes:
            core = process.core
            if core is None:
                self.lines.append(f"{process.replica} down")
                continue
            kind = "voter" if core.voter else "learner"
            self.lines.append(
                f"{process.replica} {core.state.value} {kind} epoch {core.epoch} commit"
                f" {core.commit} applied {core.applied} last {core.log.last_index}"
            )

    def do_hearing(self) -> None:
        """See the module."""
        for process in self._processes:
            if process.core is not None:
                heard = "a majority" if process.core.vitals.hears_majority else "no majority"
                self.lines.append(f"{process.replica} hears {heard}")

    def do_log(self, name: str) -> None:
        """See the module."""
        core = self._processes[int(name)].core
        assert core is not None
        log = core.log
        kept = [log.entry(index) for index in range(log.base_index + 1, log.last_index + 1)]
        shown = [f"after {log.base_index}:"] if log.base_index else []
        shown += [f"{e.index}/{e.epoch} {_short(e)}" for e in kept]
        self.lines.append(", ".join(shown))

    # --- time and messages ---

    def _next_wake(self) -> float:
        living = [p.core for p in self._processes if p.core is not None and not p.paused]
        return min((core.wake_at() for core in living), default=float("inf"))

    def _arrive(self) -> None:
        flying, self._flying = self._flying, []
        for _, target, event in flying:
            if self._processes[target].core is not None:
                self._processes[target].inbox.append(event)

    def _tell(self, name: str, events: list[object]) -> None:
        process = self._processes[int(name)]
        process.inbox += events
        if not process.paused:
            self._step(process)

    def _step(self, process: Process) -> None:
        events, process.inbox = process.inbox, []
        while True:
            core = process.core
            assert core is not None
            effects = core.step(events, self.now, WALL_MS + int(self.now))
            self._show(process.replica, effects, core)
            for target, message in effects.send_early:
                self._send(process, target, message)
            if effects.persist is not None:
                process.journal.write(effects.persist)
            self._obey(process, effects)
            if effects.persist is None:
                return
            events = [fx.Persisted()]

    def _obey(self, process: Process, effects: fx.Effects) -> None:
        for target, message in effects.send:
            self._send(process, target, message)
        for target in effects.probe:
            ways = {(process.replica, target), (target, process.replica)}
            refused = self._processes[target].core is None and not ways & self._cuts
            self._flying.append((target, process.replica, fx.Probed(target, refused)))
        if effects.heartbeat is not None:
            for other in self._processes:
                if other is not process:
                    self._send(process, other.replica, effects.heartbeat)

    def _show(self, replica: int, effects: fx.Effects, core: Core) -> None:
        for note in effects.notes:
            self.lines.append(f"{replica} note {note.name} {note.detail}".rstrip())
        for answer in core.answers:
            fact = f" {answer.fact}" if answer.fact else ""
            self.lines.append(f"{replica} answers {answer.token} {answer.status}{fact}")
        core.answers = []

    def _send(self, process: Process, target: int, message: object) -> None:
        if self.loud and not isinstance(message, HIDDEN):
            text = describe(message)
            if text:
                self.lines.append(f"{process.replica} > {target} {text}")
        assert process.core is not None
        envelope = m.Envelope(process.core.group, process.replica, process.incarnation, message)
        self._fly(process.replica, target, fx.Received(envelope))

    def _fly(self, source: int, target: int, event: object) -> None:
        if source != target and (source, target) not in self._cuts:
            self._flying.append((source, target, event))


def _way(way: str) -> tuple[int, int]:
    source, target = way.split(">")
    return int(source), int(target)


def _short(entry: m.Entry) -> str:
    return f"{entry.kind} {entry.command}" if entry.kind == m.COMMAND else entry.kind


def describe(message: Any) -> str:
    """A message in a few words; empty for what only says that all is as before."""
    name = type(message).__name__
    match message:
        case m.Append(entries=()) | m.Appended(accepted=True):
            return ""
        case m.Append():
            sent = ", ".join(f"{e.index}/{e.epoch} {_short(e)}" for e in message.entries)
            after = f"{message.previous_index}/{message.previous_epoch}"
            return f"Append epoch {message.epoch} after {after}: {sent}; commit {message.commit}"
        case m.Appended():
            return f"Appended epoch {message.epoch} refused, try {message.match}"
        case m.PreVote() | m.RequestPromise():
            log = f"{message.last_index}/{message.last_epoch}"
            return f"{name} epoch {message.epoch} log {log}{_handed(message)}"
        case m.PreVoted() | m.Promise():
            return f"{name} epoch {message.epoch} {'yes' if message.granted else 'no'}"
        case m.LogPart():
            count = len(message.entries)
            return f"LogPart epoch {message.epoch} after {message.after}: {count} entries"
        case m.InstallSnapshot():
            part = f"{message.offset}+{len(message.data)} of {message.total}"
            return f"InstallSnapshot epoch {message.epoch} index {message.index} {part}"
        case m.ShowGenesis():
            return name
        case _:
            shown = (f"{field} {getattr(message, field)}" for field in message.__slots__)
            return f"{name} {', '.join(shown)}"


def _handed(message: object) -> str:
    if isinstance(message, m.RequestPromise) and message.leaving_epoch:
        return f" handed over by {message.leaving_epoch}"
    return ""


# --- files ---


@dataclass
class Block:
    """Commands with their comments, and what is expected of them."""

    text: list[str]
    expected: list[str]

    @property
    def commands(self) -> list[str]:
        """Without comments."""
        return [line for line in self.text if line and not line.startswith("#")]


def blocks(text: str) -> Iterator[Block]:
    """The blocks of a file."""
    for part in text.strip("\n").split("\n\n"):
        above, _, below = part.partition("----")
        yield Block(above.strip("\n").splitlines(), below.strip("\n").splitlines())


def played(text: str) -> str:
    """The file as it would be with what its commands lead to now."""
    group = Group()
    parts = []
    for block in blocks(text):
        lines = group.play(block.commands) if block.commands else []
        parts.append("\n".join([*block.text, *(["----", *lines] if block.commands else [])]))
    return "\n\n".join(parts) + "\n"
