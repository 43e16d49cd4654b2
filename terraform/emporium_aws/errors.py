"""What goes wrong, told to whoever has to mend it."""

from __future__ import annotations


class AwsError(Exception):
    """It can't go on; `remedy` says what to do about it, one thing a line."""

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(problem)
        self.remedy = remedy


class CommandError(AwsError):
    """A program failed; `output` is what it said last."""

    def __init__(self, problem: str, output: str, remedy: str = "") -> None:
        super().__init__(problem, remedy)
        self.output = output
