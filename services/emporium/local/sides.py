"""Sides to be measured: a bare endpoint, a store, and the load generator that asks them.

Everything runs as processes of its own on free ports of loopback and is gone afterwards.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import emporium
from emporium.local.cluster import HOST, LocalCluster
from emporium.local.errors import LocalError
from emporium.local.ports import free_base
from emporium.local.readiness import POLL_S, get

GENERATOR = "emporium.local.generator"
BARE = "emporium.local.bare_app"
START_S = 15.0
STOP_S = 10.0
ANSWER_S = 300.0  # the longest order to the generator, with room
LOOKUP = "/lookup?item_number=1"

ITEMS = """\
init,1,9000000,10,distributed systems,How to get a good grade in 677 in 20 minutes a day
init,2,9000000,20,distributed systems,RPCs for Dummies
init,3,9000000,5,graduate school,Xen and the Art of Surviving Graduate School
init,4,9000000,15,graduate school,Cooking for the Impatient Graduate Student
init,5,9000000,15,graduate school,How to finish Project 3 on time
init,6,9000000,15,graduate school,Why theory classes are so hard
init,7,9000000,15,travel,Spring in the Pioneer Valley
"""
"""The seeds' books, with enough of each."""
BOOKS = [str(number) for number in range(1, 8)]
TOPICS = ["distributed+systems", "graduate+school", "travel"]


@dataclass(frozen=True, slots=True)
class Side:
    """Somebody to be asked. `what` is as the generator wants it."""

    name: str
    address: str
    what: dict[str, list[str]]


@dataclass(frozen=True, slots=True)
class Sample:
    """What the generator saw. `timings` are the answers' `Server-Timing`, when asked for."""

    seconds: float
    latencies_ms: list[float]
    failed: int
    timings: list[str] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Good answers per second."""
        return len(self.latencies_ms) / self.seconds if self.seconds else 0.0


def environment(**settings: str) -> dict[str, str]:
    """Ours without its settings, with the package to be found, and `settings`."""
    ours = {k: v for k, v in os.environ.items() if not k.startswith("EMPORIUM_")}
    package = str(Path(emporium.__file__).resolve().parent.parent)
    ours["PYTHONPATH"] = os.pathsep.join(filter(None, (package, ours.get("PYTHONPATH", ""))))
    return ours | {f"EMPORIUM_{name}": value for name, value in settings.items()}


# --- the generator ---


def generate(order: dict[str, Any]) -> dict[str, Any]:
    """Let a generator do what `order` says. Raises LocalError."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", GENERATOR],
            input=json.dumps(order) + "\n",
            capture_output=True,
            text=True,
            env=environment(),
            timeout=ANSWER_S,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        raise LocalError(f"the load generator failed: {error.stderr[-400:]}") from None
    except subprocess.TimeoutExpired:
        raise LocalError(f"the load generator isn't done after {ANSWER_S:g} s") from None
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def measure(side: Side, clients: int, **more: Any) -> Sample:
    """Ask one side: `seconds` or `requests`, `warm`, `timings`. Raises LocalError."""
    order = {"mode": "measure", "address": side.address, "what": side.what, "clients": clients}
    told = generate(order | more)
    sample = Sample(told["seconds"], told["latencies_ms"], told["failed"], told["timings"])
    if not sample.latencies_ms:
        raise LocalError(f"{side.name}: none of {sample.failed} requests was answered")
    return sample


class Watch:
    """A generator that buys all the time, until `end`."""

    def __init__(self, addresses: list[str], clients: int, pause_s: float) -> None:
        """Starts at once."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", GENERATOR],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        order = {
            "mode": "watch",
            "addresses": addresses,
            "what": {"buy": BOOKS},
            "clients": clients,
            "pause": pause_s,
        }
        if self._process.stdin is not None:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()

    def end(self) -> dict[str, Any]:
        """The times of successful buys, and the failures. Raises LocalError."""
        try:
            told, _ = self._process.communicate("stop\n", timeout=START_S + STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise LocalError("the load generator doesn't stop") from None
        result: dict[str, Any] = json.loads(told)
        return result

    def kill(self) -> None:
        """When nobody wants to know any more."""
        self._process.kill()
        self._process.wait()


# --- who is asked ---


@contextmanager
def bare_endpoint(threads: int = 16) -> Iterator[str]:
    """A bare Flask endpoint under gunicorn; its address. Raises LocalError."""
    port = free_base(HOST, (0,))
    process = subprocess.Popen(
        [sys.executable, "-m", BARE],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(ROLE="client", HOST=HOST, PORT=str(port), THREADS=str(threads)),
    )
    try:
        deadline = time.monotonic() + START_S
        while not get(HOST, port, LOOKUP)[0]:
            if process.poll() is not None or time.monotonic() > deadline:
                raise LocalError("the bare endpoint doesn't start")
            time.sleep(POLL_S)
        yield f"{HOST}:{port}"
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def store(
    replicas: int, cache_mode: str, frontends: int = 1, **settings: str
) -> Iterator[LocalCluster]:
    """A fresh store with so many replicas of catalog and order. Raises LocalError."""
    counts = {"frontend": frontends, "catalog": replicas, "order": replicas}
    given = tuple(settings.items())
    with LocalCluster.fresh(
        counts, items=ITEMS, cache_mode=cache_mode, faults=False, settings=given
    ) as cluster:
        yield cluster


def frontends_of(cluster: LocalCluster) -> list[str]:
    """The public addresses of the frontends."""
    return [place.address for place in cluster.launcher.plan.of("frontend")]


@contextmanager
def all_of(*contexts: Any) -> Iterator[list[Any]]:
    """Enter several; leave them in the other order."""
    with ExitStack() as stack:
        yield [stack.enter_context(context) for context in contexts]


# --- the machine ---


def machine() -> dict[str, str]:
    """The shape of this machine, as far as it matters to a ratio."""
    return {
        "cores": str(os.cpu_count() or 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }


def machine_line() -> str:
    """The same in one line."""
    shape = machine()
    cores = f"{shape['cores']} core" + ("" if shape["cores"] == "1" else "s")
    return f"{cores}, {shape['system']}, {shape['python']}"
