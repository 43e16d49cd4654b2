"""A role of a program of other message versions: `other_version.py NEWEST OLDEST ROLE`.

The program is this one; only what it says of itself differs, which is enough as long as no message
has changed its form.
"""

from __future__ import annotations

import os
import sys

from emporium.replication import wire
from emporium.runtime import serve

if __name__ == "__main__":
    wire.NEWEST_MESSAGE_VERSION = int(sys.argv[1])
    wire.OLDEST_MESSAGE_VERSION = int(sys.argv[2])
    sys.exit(serve.main(sys.argv[3:], dict(os.environ)))
