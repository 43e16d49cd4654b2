"""The one error of these tests' machinery: what happened, and what to do about it."""

from __future__ import annotations


class E2eError(Exception):
    """Something that the user is told in plain words, without a traceback."""

    def __init__(self, what: str, remedy: str = "") -> None:
        """`what` happened; `remedy` says what to do, when there is something to do."""
        super().__init__(f"{what}\n  {remedy}" if remedy else what)
        self.what = what
        self.remedy = remedy


class DeadlineError(E2eError):
    """Something didn't happen in time; the text says what, and what there was instead."""
