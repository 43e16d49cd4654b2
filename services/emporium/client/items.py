"""The items that the scenarios sell: the seeds' seven books and, behind them, the topic `load`.

    python3 -m emporium.client.items     print them, as an items file

The store under test is started with `scenario_items(...)`, in the seeds' `init` format, so that
scenarios 1-8 find the books as the seeds have them and 9-16 have a million copies of everything
that the background load buys, plus one scarce item.
"""

from __future__ import annotations

import sys

LOAD_TOPIC = "load"
LOAD_COPIES = 1_000_000
LOAD_ITEMS = tuple(str(number) for number in range(101, 109))
SCARCE_ITEM = "109"
SCARCE_COPIES = 40

SEED_ITEMS = """\
init,1,3,10,distributed systems,How to get a good grade in 677 in 20 minutes a day
init,2,3,20,distributed systems,RPCs for Dummies
init,3,3,5,graduate school,Xen and the Art of Surviving Graduate School
init,4,6,15,graduate school,Cooking for the Impatient Graduate Student
init,5,3,15,graduate school,How to finish Project 3 on time
init,6,3,15,graduate school,Why theory classes are so hard
init,7,3,15,travel,Spring in the Pioneer Valley
"""


def load_items() -> str:
    """The `init` lines of the topic `load`, cost 7 each."""
    lines = [f"init,{item},{LOAD_COPIES},7,{LOAD_TOPIC},Load book {item}" for item in LOAD_ITEMS]
    lines.append(f"init,{SCARCE_ITEM},{SCARCE_COPIES},7,{LOAD_TOPIC},The scarce book")
    return "\n".join(lines) + "\n"


def scenario_items(seed_items: str = SEED_ITEMS) -> str:
    """The whole items file for a store that the scenarios run against."""
    return seed_items.rstrip("\n") + "\n" + load_items()


if __name__ == "__main__":
    sys.stdout.write(scenario_items())
