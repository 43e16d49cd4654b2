"""The one error of this room: something the person at the keyboard can act on."""

from __future__ import annotations


class LocalError(Exception):
    """What went wrong in one sentence, and in `hint` what helps. The CLI prints both, exit 1."""

    def __init__(self, message: str, hint: str = "") -> None:
        """`message` names the thing (file:line, port, replica); `hint` is a command or advice."""
        super().__init__(message)
        self.hint = hint
