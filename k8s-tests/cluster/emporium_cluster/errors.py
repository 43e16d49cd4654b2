"""The one error of this tool: what happened, and what to do about it."""

from __future__ import annotations


class ClusterError(Exception):
    """Something that the user is told in plain words, without a traceback."""

    def __init__(self, what: str, remedy: str = "") -> None:
        """`what` happened; `remedy` says what to do, when there is something to do."""
        super().__init__(what)
        self.what = what
        self.remedy = remedy

    def __str__(self) -> str:
        """Both, on lines of their own."""
        return f"{self.what}\n  {self.remedy}" if self.remedy else self.what
