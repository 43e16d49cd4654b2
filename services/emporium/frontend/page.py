"""The page for people: its HTML, and the headers that keep it to itself.

One file without anything from elsewhere; its script and its style may run because the content
security policy names their hashes, and nothing else may.
"""

from __future__ import annotations

import base64
import hashlib
import re
from importlib import resources
from typing import Final

HTML: Final = (resources.files(__package__) / "page.html").read_text(encoding="utf-8")


def _hashes(tag: str) -> str:
    """The policy's names of all inline `tag` elements."""
    found = re.findall(rf"<{tag}>(.*?)</{tag}>", HTML, re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(each.encode()).digest()).decode() for each in found]
    return " ".join([f"'sha256-{digest}'" for digest in digests])


HEADERS: Final = {
    "Content-Security-Policy": (
        f"default-src 'none'; script-src {_hashes('script')}; style-src {_hashes('style')};"
        " connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none';"
        " frame-ancestors 'none'"
    ),
    "Cache-Control": "no-cache",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
