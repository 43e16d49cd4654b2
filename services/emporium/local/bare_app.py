"""The other side of every ratio: the plainest endpoint that Flask and gunicorn can serve.

`python -m emporium.local.bare_app` answers one constant JSON document of a book, under gunicorn's
own threaded worker and otherwise the same options as every role: one worker, as many threads, the
same keep-alive. It looks nothing up and knows nothing of the store; what it takes is what Flask
and gunicorn take on this machine.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from flask import Flask, Response
from gunicorn.app.base import BaseApplication

from emporium.runtime import serve, settings

BOOK = (
    b'{"result":{"cost":"10","item_number":"1","stock":3,'
    b'"title":"How to get a good grade in 677 in 20 minutes a day","type":"distributed systems"}}'
)


def create_app() -> Flask:
    """One route, the same answer for everybody."""
    app = Flask(__name__, static_folder=None)

    @app.get("/lookup")
    def look_up() -> Response:
        return Response(BOOK, content_type="application/json")

    return app


class BareServer(BaseApplication):  # type: ignore[misc]
    """gunicorn with the options of a role, but its own worker."""

    def __init__(self, found: settings.Settings) -> None:
        """`found` are the settings of a client, of which host, port and threads are used."""
        self.found = found
        super().__init__(prog="bare")

    def load_config(self) -> None:
        """As a role, but for the worker and the log."""
        for name, value in serve.options(self.found).items():
            if name not in {"worker_class", "logger_class"}:
                self.cfg.set(name, value)
        self.cfg.set("worker_class", "gthread")

    def load(self) -> Any:
        """The app, in the worker."""
        return create_app()


def main() -> int:
    """Serve until stopped."""
    BareServer(settings.read(dict(os.environ), "client")).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
