"""A stand-in for a role: two processes in one group, as gunicorn's master and worker are, that
listen where the role would and say at the health port what a healthy role says.

What it shall be is in its environment, as for a real role. `STAND_IN` in the first word of the
command may be `deaf` (ignores SIGTERM) or `broken` (ends at once with a message).
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import FrameType
from typing import Any

ROLE, ID = os.environ["EMPORIUM_ROLE"], int(os.environ["EMPORIUM_ID"])


def _answer(path: str) -> Any:
    if path == "/status":
        return {
            "role": ROLE,
            "id": ID,
            "epoch": 1,
            "reigning": ID == 0,
            "voter": True,
            "caught_up": True,
            "serving": True,
            "commit": 7,
            "applied": 7 - ID,
            "incarnation": "a",
            "group": "g",
        }
    if path == "/v1/cluster":
        return {"replicas": [{"role": role, "reigning": True} for role in ("catalog", "order")]}
    return {"items": [{"item": "1"}]}


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps(_answer(self.path)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        pass


def _work() -> None:
    host, port = os.environ["EMPORIUM_HOST"], int(os.environ["EMPORIUM_PORT"])
    data = os.environ.get("EMPORIUM_DATA_DIR")
    if data:
        (Path(data) / "journal").touch()
    for offset in (0, 1000, 2000):
        server = ThreadingHTTPServer((host, port + offset), _Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdout.write(f"{ROLE}-{ID} listens\n")
    sys.stdout.flush()
    while True:
        time.sleep(0.5)


def main() -> None:
    """Fork the worker, wait for it."""
    if "broken" in sys.argv:
        sys.stdout.write("nothing works here\n")
        sys.exit(4)
    if "deaf" in sys.argv:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # A worker that answers already must not make anybody signal a master that isn't ready yet.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    worker = os.fork()
    if worker == 0:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        _work()

    def stop(_number: int, _frame: FrameType | None) -> None:
        os.kill(worker, signal.SIGKILL)
        sys.exit(0)

    if "deaf" not in sys.argv:
        signal.signal(signal.SIGTERM, stop)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    os.waitpid(worker, 0)


if __name__ == "__main__":
    main()
