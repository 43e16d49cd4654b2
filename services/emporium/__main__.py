"""`python -m emporium`: the `emporium` command."""

from __future__ import annotations

import sys

from emporium.local.cli import main

if __name__ == "__main__":
    sys.exit(main())
