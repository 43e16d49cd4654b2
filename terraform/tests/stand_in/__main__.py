"""Starts the stand-in; see the package."""

from __future__ import annotations

import logging
import os
import sys
import threading

# moto reads this when it is imported. Without it, no policy of AWS's own can be attached.
os.environ["MOTO_IAM_LOAD_MANAGED_POLICIES"] = "true"

from werkzeug.serving import make_server

from stand_in import mended_moto
from stand_in.app import StandIn


def main() -> None:
    """Serve on a free port of loopback, until whoever started it closes our standard input."""
    mended_moto.mend()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server("127.0.0.1", 0, StandIn(), threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
