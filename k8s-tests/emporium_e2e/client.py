"""kubectl and helm as subprocesses with deadlines, and HTTP of a service through a port-forward."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from emporium_e2e.errors import DeadlineError, E2eError

ASK_S: Final = 30.0
POLL_S: Final = 0.5
SHOWN_LINES: Final = 12
SHOWN_CHARACTERS: Final = 300
FORWARDED: Final = re.compile(rb"Forwarding from 127\.0\.0\.1:(\d+)")
FORWARD_S: Final = 20.0

Words = Sequence[str | Path]


def run(
    command: Words,
    deadline_s: float,
    *,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    show: bool = False,
) -> bytes:
    """Run a program to its end; what it prints. With `show`, its standard error is seen at once.

    Raises E2eError when it fails, DeadlineError when it doesn't end; then its group is gone.
    """
    words = [str(word) for word in command]
    try:
        child = subprocess.Popen(
            words,
            env={**os.environ, **(env or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if show else subprocess.PIPE,
            process_group=0,  # Ctrl-C is for us alone: what is broken has to be mended
        )
    except OSError as error:
        raise E2eError(f"the program {words[0]} can't be run: {error.strerror}") from error
    with child:
        try:
            out, err = child.communicate(stdin, deadline_s)
        except subprocess.TimeoutExpired:
            end_group(child)
            raise DeadlineError(f"not done within {deadline_s:g} s: {shown(words)}") from None
        except BaseException:
            end_group(child)
            raise
    if child.returncode:
        told = tail((err or b"").decode(errors="replace") or (out or b"").decode(errors="replace"))
        raise E2eError(f"failed ({child.returncode}): {shown(words)}{told}")
    return out or b""


def end_group(child: subprocess.Popen[bytes]) -> None:
    """Kill a child that leads its own process group, and wait for it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def shown(words: Sequence[str]) -> str:
    """A command as a user would recognise it, the program by its name."""
    text = " ".join([Path(words[0]).name, *words[1:]])
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]} ..."


def tail(text: str) -> str:
    """The last lines of a text, indented, on lines of their own."""
    lines = [f"    {line[:SHOWN_CHARACTERS]}" for line in text.splitlines() if line.strip()]
    return "".join(f"\n{line}" for line in lines[-SHOWN_LINES:])


def wait_until(
    what: str,
    deadline_s: float,
    condition: Callable[[], object],
    instead: Callable[[], str] = lambda: "",
) -> None:
    """Ask until the condition is true; an E2eError while asking counts as no. Raises DeadlineError
    with what there is `instead`."""
    end = time.monotonic() + deadline_s
    trouble = ""
    while True:
        try:
            if condition():
                return
            trouble = ""
        except E2eError as error:
            trouble = str(error)
        if time.monotonic() > end:
            detail = trouble or instead()
            raise DeadlineError(f"not within {deadline_s:g} s: {what}", detail)
        time.sleep(POLL_S)


@dataclass(frozen=True, slots=True)
class Kubectl:
    """kubectl for one namespace of one cluster. An empty `context` is the kubeconfig's own."""

    program: Path
    namespace: str
    kubeconfig: Path | None = None
    context: str = ""
    cache: Path | None = None

    @property
    def env(self) -> Mapping[str, str]:
        """What kubectl and helm are told by the environment."""
        return {"KUBECONFIG": str(self.kubeconfig)} if self.kubeconfig else {}

    def command(self, *words: str) -> list[str]:
        """A whole command line."""
        options = [f"--context={self.context}"] if self.context else []
        options += [f"--cache-dir={self.cache}"] if self.cache else []
        return [str(self.program), *options, f"--namespace={self.namespace}", *words]

    def raw(self, *words: str, deadline_s: float = ASK_S, stdin: bytes = b"") -> bytes:
        """What a command prints. Raises E2eError."""
        return run(self.command(*words), deadline_s, stdin=stdin, env=self.env)

    def text(self, *words: str, deadline_s: float = ASK_S, stdin: bytes = b"") -> str:
        """The same as text, without the last line end."""
        return self.raw(*words, deadline_s=deadline_s, stdin=stdin).decode().rstrip("\n")

    def get(self, *words: str) -> dict[str, Any]:
        """An object, or a list with `items`. Raises E2eError."""
        told = json.loads(self.raw("get", *words, "--output=json"))
        if not isinstance(told, dict):
            raise E2eError(f"kubectl get {' '.join(words)} gives no object")
        return told

    def items(self, *words: str) -> list[dict[str, Any]]:
        """The objects of a list."""
        return list(self.get(*words)["items"])

    def find(self, *words: str) -> dict[str, Any] | None:
        """One object, or None when there is none of that name."""
        told = self.raw("get", *words, "--ignore-not-found", "--output=json")
        return dict(json.loads(told)) if told.strip() else None

    def apply(self, *objects: Mapping[str, Any]) -> None:
        """Create or change objects."""
        lines = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        self.raw("apply", "--filename=-", stdin=lines.encode())

    def execute(self, pod: str, *words: str, deadline_s: float = ASK_S) -> bytes:
        """Run something in a pod; what it prints."""
        return self.raw("exec", pod, "--", *words, deadline_s=deadline_s)

    def start(self, *words: str, errors_too: bool = False) -> subprocess.Popen[bytes]:
        """Start a command that goes on; its output is a pipe. The caller ends it."""
        return subprocess.Popen(
            self.command(*words),
            env={**os.environ, **self.env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if errors_too else subprocess.DEVNULL,
            process_group=0,
        )

    @contextlib.contextmanager
    def forward(self, target: str, port: int) -> Iterator[str]:
        """The base URL of a port of `service/NAME` or `pod/NAME` while the block runs."""
        with self.start("port-forward", target, f":{port}", errors_too=True) as child:
            try:
                yield f"http://127.0.0.1:{_forwarded_port(child, target)}"
            finally:
                end_group(child)


def _forwarded_port(child: subprocess.Popen[bytes], target: str) -> int:
    """The port of this machine that a started port-forward tells of."""
    output = child.stdout
    if output is None:
        raise E2eError("port-forward was started without a pipe")
    end, told = time.monotonic() + FORWARD_S, b""
    while not (found := FORWARDED.search(told)):
        ready, _, _ = select.select([output], [], [], max(0.0, end - time.monotonic()))
        piece = os.read(output.fileno(), 4096) if ready else b""
        if not piece:
            said = tail(told.decode(errors="replace"))
            raise DeadlineError(f"{target} can't be reached by a port-forward{said}")
        told += piece
    return int(found[1])


@dataclass(frozen=True, slots=True)
class Helm:
    """One release, in the namespace and cluster of a kubectl."""

    program: Path
    kubectl: Kubectl
    release: str
    chart: Path

    def raw(self, *words: str, deadline_s: float = ASK_S) -> bytes:
        """What a command prints. Raises E2eError."""
        context = [f"--kube-context={self.kubectl.context}"] if self.kubectl.context else []
        command = [str(self.program), *context, f"--namespace={self.kubectl.namespace}", *words]
        return run(command, deadline_s, env=self.kubectl.env)

    def install(self, *words: str, wait_s: float) -> None:
        """Install the chart and wait until everything is ready."""
        self._wait("install", self.release, str(self.chart), *words, wait_s=wait_s)

    def upgrade(self, *words: str, wait_s: float) -> int:
        """Upgrade with the values of before and these; the revision, once all is ready."""
        self._wait(
            *("upgrade", self.release, str(self.chart), "--reuse-values", *words), wait_s=wait_s
        )
        return self.revision()

    def begin_upgrade(self, *words: str) -> None:
        """The same without the wait: what comes of it is seen by the pods."""
        self.raw(*("upgrade", self.release, str(self.chart), "--reuse-values", *words))

    def rollback(self, *, wait_s: float) -> int:
        """Back to the values before; the revision that this makes, once all is ready."""
        self._wait("rollback", self.release, wait_s=wait_s)
        return self.revision()

    def test(self, wait_s: float) -> str:
        """Run the chart's own tests; what they say."""
        told = self.raw("test", self.release, f"--timeout={wait_s:g}s", deadline_s=wait_s + ASK_S)
        return told.decode()

    def uninstall(self, wait_s: float) -> None:
        """Remove the release and wait until its objects are gone."""
        self._wait("uninstall", self.release, wait_s=wait_s)

    def revision(self) -> int:
        """The newest revision."""
        return max(int(one["revision"]) for one in self.history())

    def history(self) -> list[dict[str, Any]]:
        """Every revision, the oldest first."""
        return list(json.loads(self.raw("history", self.release, "--output=json")))

    def values(self, revision: int) -> dict[str, Any]:
        """The values that were given to a revision."""
        told = self.raw("get", "values", self.release, f"--revision={revision}", "--output=json")
        return json.loads(told) or {}

    def _wait(self, *words: str, wait_s: float) -> None:
        self.raw(*words, "--wait", f"--timeout={wait_s:g}s", deadline_s=wait_s + ASK_S)
