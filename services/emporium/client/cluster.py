"""The `Cluster` port: all that scenarios may do to a store besides plain HTTP.

An adapter knows how its substrate names, kills and starts processes (`local/cluster.py`: this
machine). What can be asked over HTTP is the same everywhere and stands here, in `HttpCluster`:
an adapter derives from it, says who its members are and does the drills that it names in
`drills()`. A scenario that needs another drill is "not shown".

A member's name is its role and id, `catalog-0`. Addresses are `host:port` of the public port.
"""

from __future__ import annotations

import http.client
import json
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import requests

KILL, PAUSE, LOSE_DISK, CUT = "kill", "pause", "lose-disk", "cut"
ROLES = ("frontend", "cache", "catalog", "order")
GROUPS = ("catalog", "order")
STATUS_TIMEOUT_S = 1.0
"""A paused process accepts connections and says nothing."""
FAULT_TIMEOUT_S = 5.0
POLL_S = 0.05
_EVENT = re.compile(r'^emporium_events_total\{.*event="([^"]*)".*\} ([0-9.e+]+)$', re.MULTILINE)


class DeadlinePassedError(AssertionError):
    """A condition didn't come true in time; the text says which."""


class DrillError(RuntimeError):
    """The substrate can't do what was asked, or a process didn't obey."""


@dataclass(frozen=True, slots=True)
class Member:
    """One process as the substrate knows it. `pid` is 0 while it doesn't run; on Kubernetes it is
    whatever changes with a new process (a pod's uid, as text, goes into `process`)."""

    name: str
    role: str
    replica: int
    address: str  # public host:port
    health: str  # health host:port
    pid: int
    process: str = ""

    @property
    def running(self) -> bool:
        """Whether there is a process."""
        return self.pid != 0 or bool(self.process)


@dataclass(frozen=True, slots=True)
class Replica:
    """One process with what it says of itself. `answers` is False when it said nothing; then the
    fields after it mean nothing."""

    name: str
    role: str
    replica: int
    address: str
    pid: int
    process: str
    answers: bool
    reigning: bool = False
    epoch: int = 0
    primary: int = -1
    voter: bool = False
    caught_up: bool = False
    serving: bool = False
    incarnation: str = ""
    commit: int = 0
    applied: int = 0
    released: int = 0
    last_index: int = 0
    group: str = ""
    message_version: int = 0  # the lowest that it speaks with anybody now

    @property
    def healthy(self) -> bool:
        """A replica of a group that is a voter, caught up and serves; any other role: answers."""
        if self.role not in GROUPS:
            return self.answers
        return self.answers and self.voter and self.caught_up and self.serving


class Cluster(Protocol):
    """What a scenario may do. Names are member names; times in seconds."""

    def drills(self) -> frozenset[str]:
        """Which of KILL, PAUSE, LOSE_DISK and CUT (which brings delays too) this cluster can do,
        and which words `drill` takes."""

    def frontends(self) -> list[str]:
        """Base URLs of all frontends, in id order, running or not."""

    def cache_mode(self) -> str:
        """Server, frontend or off (in lower case)."""

    def operator_token(self) -> str:
        """The bearer token for operator routes as it is now; empty where none is needed."""

    def replicas(self, role: str = "") -> list[Replica]:
        """Every process (of a role), by role and id, with its status asked just now."""

    def pods(self, role: str) -> dict[str, bool]:
        """What the substrate has of a role, known to the store or not: whether it has ever been
        started, by name. Raises DrillError."""

    def secret_generations(self) -> tuple[int, int]:
        """Which group secret and which operator token the store was told to use, counted from 1.
        Raises DrillError."""

    def reachable(self) -> bool:
        """Whether the substrate's own control (an API server) answers."""

    def kill(self, name: str, signal: int = 9) -> None:
        """Send a signal; with 9 the process is gone when this returns. Raises DrillError."""

    def kill_all(self, names: Sequence[str], signal: int = 9) -> None:
        """`kill` of all of them at once. Raises DrillError."""

    def start(self, name: str) -> None:
        """Have a process that was killed run again; returns before it serves. Where the substrate
        brings processes back by itself there is nothing to do. Raises DrillError."""

    def pause(self, name: str) -> None:
        """Stop a process from running, without its knowledge. Raises DrillError."""

    def resume(self, name: str) -> None:
        """Let a paused process run again. Raises DrillError."""

    def lose_disk(self, name: str) -> None:
        """Kill a process and delete its data folder; both are gone when this returns. Raises
        DrillError."""

    def drill(self, verb: str, **about: str) -> dict[str, Any]:
        """Do what only some substrate can (`client/hands.py` has the words), and give what was
        told of it. Raises DrillError."""

    def cut(self, source: str, target: str) -> None:
        """From now on nothing that `source` sends arrives at `target`. Raises DrillError."""

    def delay(self, source: str, target: str, milliseconds: float) -> None:
        """From now on what `source` sends to `target` arrives so much later. Raises DrillError."""

    def heal(self) -> None:
        """End all cuts and delays. Raises DrillError for those that it couldn't end, after it has
        tried all."""

    def logs(self, name: str) -> list[str]:
        """The operation log of a process since the store's first start, line by line. Raises
        DrillError when it can't be read."""

    def notes(self, name: str) -> dict[str, int]:
        """How often what has happened in a process, by event; empty when it doesn't answer."""

    def digest(self, name: str) -> dict[str, Any]:
        """The fields of the replica's StateDigest; `books` decoded. Raises DrillError."""

    def wait_until(self, condition: Callable[[], object], deadline_s: float, what: str) -> None:
        """Poll until the condition holds. Raises DeadlinePassedError, which names `what`."""


def wait_until(
    condition: Callable[[], object], deadline_s: float, what: str, poll_s: float = POLL_S
) -> None:
    """Poll until the condition is true. Raises DeadlinePassedError."""
    end = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > end:
            raise DeadlinePassedError(f"not within {deadline_s:g} s: {what}")
        time.sleep(poll_s)


def read_status(health: str, timeout_s: float = STATUS_TIMEOUT_S) -> dict[str, Any] | None:
    """What the process says at its health port, or None when it says nothing useful."""
    text = _read(health, "/status", timeout_s)
    try:
        told = json.loads(text)
    except ValueError:
        return None
    return told if isinstance(told, dict) else None


def read_notes(health: str, timeout_s: float = STATUS_TIMEOUT_S) -> dict[str, int]:
    """The process's count of events by name, from its metrics."""
    found = _EVENT.findall(_read(health, "/metrics", timeout_s))
    return {event: int(float(count)) for event, count in found}


def _read(health: str, path: str, timeout_s: float) -> str:
    """The body of a page of the health port, empty when there is none."""
    host, _, port = health.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=timeout_s)
    try:  # asked often while waiting: http.client costs a tenth of what requests does
        connection.request("GET", path)
        return connection.getresponse().read().decode("utf-8", "replace")
    except (OSError, http.client.HTTPException):
        return ""
    finally:
        connection.close()


def with_status(member: Member, told: Mapping[str, Any] | None) -> Replica:
    """A member together with what it told (None: nothing)."""
    plain = (member.name, member.role, member.replica, member.address, member.pid, member.process)
    if told is None:
        return Replica(*plain, answers=False)
    return Replica(
        *plain,
        answers=True,
        reigning=bool(told.get("reigning", False)),
        epoch=int(told.get("epoch", 0)),
        primary=int(told.get("primary", -1)),
        voter=bool(told.get("voter", False)),
        caught_up=bool(told.get("caught_up", False)),
        serving=bool(told.get("serving", False)),
        incarnation=str(told.get("incarnation", "")),
        commit=int(told.get("commit", 0)),
        applied=int(told.get("applied", 0)),
        released=int(told.get("released", 0)),
        last_index=int(told.get("last_index", 0)),
        group=str(told.get("group", "")),
        message_version=int(told.get("message_version", 0)),
    )


class HttpCluster:
    """The part of `Cluster` that goes over HTTP. An adapter gives `members()`, the processes'
    drills, `cache_mode()`, `operator_token()` and `logs()`."""

    def members(self) -> Iterable[Member]:
        """Every process of the store, by role and id, running or not."""
        raise NotImplementedError

    def operator_token(self) -> str:
        """No token unless the adapter has one."""
        return ""

    def member(self, name: str) -> Member:
        """The member of that name. Raises DrillError."""
        for member in self.members():
            if member.name == name:
                return member
        raise DrillError(f"there is no {name} in this store")

    def frontends(self) -> list[str]:
        """Base URLs of all frontends."""
        return [f"http://{m.address}" for m in self.members() if m.role == "frontend"]

    def replicas(self, role: str = "") -> list[Replica]:
        """Every process (of a role) with its status asked just now."""
        chosen = [m for m in self.members() if role in ("", m.role)]
        if not chosen:
            return []
        with ThreadPoolExecutor(len(chosen)) as pool:  # a paused one delays nobody else
            told = pool.map(lambda m: read_status(m.health) if m.running else None, chosen)
            return [with_status(m, each) for m, each in zip(chosen, told, strict=True)]

    def pods(self, role: str) -> dict[str, bool]:
        """The members that run."""
        return {m.name: True for m in self.members() if m.role == role and m.running}

    def secret_generations(self) -> tuple[int, int]:
        """There are none by default."""
        raise DrillError("this store's secrets have no generations")

    def reachable(self) -> bool:
        """Where nothing lies between."""
        return True

    def kill(self, name: str, signal: int = 9) -> None:
        """The adapter's."""
        raise NotImplementedError

    def kill_all(self, names: Sequence[str], signal: int = 9) -> None:
        """Each `kill` in a thread of its own: no blow waits for the end of another process."""
        with ThreadPoolExecutor(len(names)) as pool:
            list(pool.map(lambda name: self.kill(name, signal), names))

    def drill(self, verb: str, **about: str) -> dict[str, Any]:
        """There is nothing more that can be done by default."""
        raise DrillError(f"this cluster can't {verb} {about}")

    def cut(self, source: str, target: str) -> None:
        """Tell `source` to drop what it sends to `target`."""
        self._fault(source, "POST", {"to": target, "cut": True})

    def delay(self, source: str, target: str, milliseconds: float) -> None:
        """Tell `source` to hold back what it sends to `target`."""
        self._fault(source, "POST", {"to": target, "delay_ms": milliseconds})

    def heal(self) -> None:
        """Tell every running process to drop and hold back nothing any more."""
        trouble = []
        for member in self.members():
            if member.role in GROUPS and member.running:
                try:
                    self._fault(member.name, "DELETE", None)
                except DrillError as error:
                    trouble.append(str(error))
        if trouble:
            raise DrillError("; ".join(trouble))

    def notes(self, name: str) -> dict[str, int]:
        """From the metrics of the health port."""
        return read_notes(self.member(name).health)

    def digest(self, name: str) -> dict[str, Any]:
        """`GET /v1/digest` of one replica."""
        url = f"http://{self.member(name).address}/v1/digest"
        try:
            answer = requests.get(url, headers=self._headers(), timeout=10.0)
            told: dict[str, Any] = answer.json()
        except (requests.RequestException, ValueError) as error:
            raise DrillError(f"{name} gives no digest: {error}") from error
        if answer.status_code != requests.codes.ok or "digest" not in told:
            raise DrillError(f"{name} gives no digest: {answer.status_code} {answer.text[:200]}")
        if isinstance(told.get("books"), str):
            told["books"] = json.loads(told["books"] or "{}")
        return told

    def wait_until(self, condition: Callable[[], object], deadline_s: float, what: str) -> None:
        """See `wait_until` of this module."""
        wait_until(condition, deadline_s, what)

    def _headers(self) -> dict[str, str]:
        token = self.operator_token()
        return {"Authorization": f"Bearer {token}"} if token else {}

    def _fault(self, name: str, method: str, body: dict[str, Any] | None) -> None:
        url = f"http://{self.member(name).address}/v1/faults"
        try:
            answer = requests.request(
                method, url, json=body, headers=self._headers(), timeout=FAULT_TIMEOUT_S
            )
        except requests.RequestException as error:
            raise DrillError(f"{name} takes no fault: {error}") from error
        if not answer.ok:
            raise DrillError(f"{name} takes no fault: {answer.status_code} {answer.text[:200]}")
