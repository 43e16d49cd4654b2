"""For tests of an upgrade only: a copy of the source that speaks a message version more.

Nothing but the number differs: the messages of the version added are those of the newest. It is
enough to see that replicas of two versions understand each other, there and back.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from emporium_images.errors import BuildError

WIRE: Final = Path("services/emporium/replication/wire.py")
_NEWEST: Final = re.compile(r"(?m)^(NEWEST_MESSAGE_VERSION(?:: \S+)? = )([0-9]+)$")


def raise_message_version(folder: Path) -> int:
    """Raise the newest message version of a copy of the source by one; the new one. Raises
    BuildError."""
    path = folder / WIRE
    text = path.read_text("utf-8")
    found = _NEWEST.findall(text)
    if len(found) != 1:
        raise BuildError(
            f"{WIRE}: one line NEWEST_MESSAGE_VERSION = NUMBER expected, {len(found)} found"
        )
    raised = int(found[0][1]) + 1
    path.write_text(_NEWEST.sub(rf"\g<1>{raised}", text), "utf-8")
    return raised
