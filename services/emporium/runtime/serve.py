"""`python -m emporium.runtime.serve ROLE`: one role as a gunicorn process of its own.

Settings come from the environment and are checked before anything starts. There is exactly one
worker, whatever happens: two would be two replicas, or two caches, behind one port (PROTOCOL 5.2).
It is never restarted: when it ends, the master ends too, and whoever started the master sees it
(PROTOCOL 5.3). The role's own `wsgi` module builds the application after the fork, because threads
and sockets don't survive one.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping
from typing import Any, Final

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer
from gunicorn.glogging import Logger

from emporium.runtime import logs, settings
from emporium.runtime.errors import EmporiumError, FatalError, SettingsError
from emporium.runtime.lifecycle import leave_at_once
from emporium.runtime.worker import EmporiumWorker, FrontendWorker

SERVED: Final = ("frontend", "cache", "catalog", "order")
KEEP_ALIVE_S: Final = 75
GRACE_S: Final = 8
"""From SIGTERM to the end: hand-over or linger, answers under way, kept connections."""
REQUEST_LINE_BYTES: Final = 4_094
HEADER_FIELDS: Final = 50
HEADER_BYTES: Final = 4_096
BACKLOG: Final = 512
SWITCH_INTERVAL_S: Final = 0.001
"""How long a thread may compute before another that waits gets its turn: a fifth of Python's own,
so that the driver isn't kept from its heartbeats by busy request threads."""


class OneWorkerArbiter(Arbiter):  # type: ignore[misc]
    """gunicorn's master, with one worker that is never replaced."""

    _spawned = False

    def manage_workers(self) -> None:
        """Start the worker once; leave with it."""
        if self._spawned and not self.WORKERS:
            raise HaltServer("the worker has ended", FatalError.exit_code)
        super().manage_workers()
        self._spawned = True

    def handle_hup(self) -> None:
        """Refused: a reload would make a second worker."""
        self.log.warning("reload is off: restart the role instead")

    handle_ttin = handle_ttou = handle_usr2 = handle_hup


class LineLogger(Logger):  # type: ignore[misc]
    """gunicorn's own messages, as lines like all others."""

    def setup(self, cfg: Any) -> None:
        """Put our handler in the place of gunicorn's."""
        super().setup(cfg)
        role, _, replica = cfg.proc_name.rpartition("-")
        self.error_log.handlers = [logs.handler(role, int(replica))]


class RoleServer(BaseApplication):  # type: ignore[misc]
    """A role under gunicorn."""

    def __init__(self, found: settings.Settings) -> None:
        """`found` are the role's settings."""
        self.found = found
        super().__init__(prog=found.name)

    def load_config(self) -> None:
        """Everything is said here: no file, no command line, no environment of gunicorn's."""
        for name, value in options(self.found).items():
            self.cfg.set(name, value)
        check(self.cfg)

    def load(self) -> Any:
        """Build the application, in the worker. What can't be built ends the process with one
        line."""
        found = self.found
        logs.configure(found.role, found.replica, found.log_level)
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        try:
            return importlib.import_module(f"emporium.{found.role}.wsgi").build(found)
        except FatalError as error:
            leave_at_once(f"{error.title}: {error.detail}", error.exit_code)
        except EmporiumError as error:
            leave_at_once(f"{error.title}: {error.detail}", FatalError.exit_code)

    def run(self) -> None:
        """Serve until stopped."""
        OneWorkerArbiter(self).run()


def options(found: settings.Settings) -> dict[str, Any]:
    """gunicorn's settings for a role."""
    worker = FrontendWorker if found.role == "frontend" else EmporiumWorker
    host = f"[{found.host}]" if ":" in found.host else found.host
    return {
        "bind": [f"{host}:{found.port}"],
        "proc_name": found.name,
        "workers": 1,
        "threads": found.threads,
        "worker_class": f"{worker.__module__}.{worker.__qualname__}",
        "worker_connections": 1_000,
        "backlog": BACKLOG,
        "keepalive": KEEP_ALIVE_S,
        # The master's own watchdog is off: it would kill a replica that a SIGSTOP or a slow disk
        # held up, and the health port watches the driver better than it can.
        "timeout": 0,
        "graceful_timeout": GRACE_S,
        "limit_request_line": REQUEST_LINE_BYTES,
        "limit_request_fields": HEADER_FIELDS,
        "limit_request_field_size": HEADER_BYTES,
        "max_requests": 0,
        "reload": False,
        "preload_app": False,
        "control_socket_disable": True,
        "logger_class": LineLogger,
        "loglevel": "warning",
    }


def check(cfg: Any) -> None:
    """Start-up asserts what must not be changed (PROTOCOL 5.2). Raises SettingsError."""
    if cfg.workers != 1:
        raise SettingsError(f"one gunicorn worker is needed, not {cfg.workers}")
    if cfg.max_requests or cfg.reload or cfg.preload_app:
        raise SettingsError("max_requests, reload and preload_app of gunicorn must be off")


def main(arguments: list[str], environ: Mapping[str, str]) -> int:
    """Serve the role that the one argument, or EMPORIUM_ROLE, names."""
    role = arguments[0] if arguments else environ.get("EMPORIUM_ROLE", "")
    if len(arguments) > 1 or role not in SERVED:
        sys.stderr.write(f"usage: python -m emporium.runtime.serve {'|'.join(SERVED)}\n")
        return 2
    # gunicorn would take these two for its own.
    for name in ("WEB_CONCURRENCY", "GUNICORN_CMD_ARGS"):
        os.environ.pop(name, None)
    try:
        found = settings.read(environ, role)
    except SettingsError as error:
        sys.stderr.write(f"{role}: {error.detail}\n")
        return FatalError.exit_code
    logs.configure(found.role, found.replica, found.log_level)
    RoleServer(found).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], dict(os.environ)))
