"""Options and checks that several commands share."""

from __future__ import annotations

import argparse
from typing import Any

from emporium.local.folder import DataFolder, default_root

Commands = Any
"""What `ArgumentParser.add_subparsers` gives; its class has no public name."""


def add_data(parser: argparse.ArgumentParser) -> None:
    """`--data DIR`."""
    parser.add_argument(
        "--data", metavar="DIR", default="", help=f"the data folder (default: {default_root()})"
    )


def folder_of(arguments: argparse.Namespace) -> DataFolder:
    """The data folder that the command line means."""
    return DataFolder.at(arguments.data)


def add_names(parser: argparse.ArgumentParser) -> None:
    """ROLE-ID, once or more."""
    parser.add_argument("names", metavar="ROLE-ID", nargs="+", help="for example catalog-0")


def whole(least: int, most: int) -> Any:
    """A type for argparse: a whole number in a range."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{value} isn't between {least} and {most}")
        return value

    return parse
