"""A role that does next to nothing, for the tests of how every role is served.

`python -m tests.local.stub_role ROLE` serves it as `emporium.runtime.serve` would serve the real
one. STUB_FAILS names an error with which it can't be built; STUB_LINGER_MS and STUB_ARRIVAL_MS
shorten what would take seconds.
"""

from __future__ import annotations

import os
import sys
import threading
import types
from collections.abc import Callable, Iterable
from typing import Any

from emporium.runtime import errors, logs, serve, worker
from emporium.runtime.lifecycle import PROCESS, leave_at_once

Start = Callable[[str, list[tuple[str, str]]], object]


def build(_settings: object) -> Callable[[dict[str, Any], Start], Iterable[bytes]]:
    """The application, and a good-bye that asks to be waited for."""
    failure = os.environ.get("STUB_FAILS")
    if failure:
        raise getattr(errors, failure)("as the test wants it")
    log = logs.logger("stub")
    handed_over = threading.Event()

    def leave() -> None:
        log.info("hand-over begins")
        handed_over.wait(20)
        log.info("hand-over ends")

    PROCESS.on_leave(leave)
    PROCESS.on_stop(lambda: log.info("everything is closed"))

    def application(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        text = ""
        match environ["PATH_INFO"]:
            case "/pid":
                text = f"{os.getpid()}"
            case "/leaving":
                text = f"{PROCESS.leaving}"
            case "/hand-over":
                handed_over.set()
            case "/echo":
                text = environ["wsgi.input"].read().decode()
            case "/die":
                leave_at_once("the journal can't be trusted", 3)
        start("200 OK", [("Content-Length", str(len(text)))])
        return [text.encode()]

    return application


def main() -> int:
    """Serve the stub in the place of the role."""
    role = sys.argv[1]
    module: Any = types.ModuleType(f"emporium.{role}.wsgi")
    module.build = build
    sys.modules[module.__name__] = module
    worker.FrontendWorker.linger_ms = float(os.environ.get("STUB_LINGER_MS", "3000"))
    worker.ARRIVAL_MS = float(os.environ.get("STUB_ARRIVAL_MS", "10000"))
    return serve.main(sys.argv[1:], dict(os.environ))


if __name__ == "__main__":
    sys.exit(main())
