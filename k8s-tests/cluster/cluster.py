#!/usr/bin/env python3
"""A real Kubernetes on this machine; `cluster.py --help` lists what it can do.

Needs Python 3.11 and nothing but its standard library; see README.md for what else.
"""

from __future__ import annotations

import sys
from pathlib import Path

if sys.version_info < (3, 11):  # noqa: UP036 - this may be any python3
    sys.exit("cluster: needs Python 3.11 or newer; make cluster-up PYTHON=/path/to/python3")

sys.dont_write_bytecode = True  # runs as root: leave nothing in the user's checkout
sys.path.insert(0, str(Path(__file__).resolve().parent))

from emporium_cluster.cli import main  # noqa: E402 - its folder has to be on the path first

if __name__ == "__main__":
    sys.exit(main())
