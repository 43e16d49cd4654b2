#!/usr/bin/env python3
"""Emporium on AWS; `aws.py --help` lists what it can do, and the aws-* targets of make call it.

Needs Python 3.11 and nothing but its standard library.
"""

from __future__ import annotations

import sys
from pathlib import Path

if sys.version_info < (3, 11):  # noqa: UP036 - this may be any python3
    sys.exit("aws: needs Python 3.11 or newer; make aws-... PYTHON=/path/to/python3")

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))

from emporium_aws.cli import main  # noqa: E402 - its folder has to be on the path first

if __name__ == "__main__":
    sys.exit(main())
