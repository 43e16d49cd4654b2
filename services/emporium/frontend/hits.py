"""Hits in a frontend's own memory, answered before the request is looked at closely.

A request that was read once, found good and answered from a page needn't be read again: its URI, as
it was sent (what the path means depends on its escapes), stands for the key of a copy and the form
of the answer; no header changes a read. So a hit costs a look into two
tables. Whether the copy may be used is asked each time: only the holder decides that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from emporium.frontend.copies import Encoder, Page
from emporium.runtime.clock import SYSTEM
from emporium.runtime.web import ROUTE, Quick

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

REMEMBERED: Final = 4_096
HIT: Final = "emporium; hit"
URI: Final = "RAW_URI"  # gunicorn's and werkzeug's name for it

Known = tuple[str, str, str, Encoder]
"""Key of the copy, route, form, and how it is written."""


def _nowhere(_key: str) -> object | None:
    return None


class Hits:
    """A `Shortcut`. `get` gives a copy that may be used now, or None."""

    def __init__(self, get: Callable[[str], object | None] = _nowhere) -> None:
        """Nothing is known yet; without `get` nothing ever is."""
        self._get = get
        self._known: dict[str, Known] = {}

    def learn(self, environ: WSGIEnvironment, key: str, form: str, encode: Encoder) -> None:
        """This request was good, and asks for the copy `key` in this form."""
        uri = environ.get(URI, "")
        if self._get is _nowhere or not key or not uri or environ["REQUEST_METHOD"] != "GET":
            return
        if len(self._known) >= REMEMBERED:
            self._known.clear()  # they are learnt again soon, and strangers can't fill the memory
        self._known[uri] = (key, environ.get(ROUTE, "other"), form, encode)

    def __call__(self, environ: WSGIEnvironment) -> Quick | None:
        """The answer to a known request whose copy is here."""
        known = self._known.get(environ.get(URI, ""))
        if known is None or environ["REQUEST_METHOD"] != "GET":
            return None
        started = SYSTEM.now_ms()
        key, route, form, encode = known
        page = self._get(key)
        if not isinstance(page, Page):
            return None
        body = page.body(form, encode)
        headers = (
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            ("Cache-Status", HIT),
            ("Server-Timing", f"frontend;dur={SYSTEM.now_ms() - started:.3f}"),
        )
        return Quick(route, body, headers)
