"""`python -m tests.simulation --seeds N [--seed S] [--trace] [--plants]`, run in services/."""

from __future__ import annotations

import sys

from tests.simulation.command import main

sys.exit(main(sys.argv[1:]))
