"""Questions to AWS, and its answers, through its command line."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final

from emporium_aws.commands import ASK_S, Done, Runner
from emporium_aws.errors import CommandError

CODE: Final = re.compile(r"An error occurred \(([A-Za-z0-9.]+)\)")
GONE: Final = re.compile(r"404|NoSuch\w*|\w*NotFound\w*|\w*\.NotFound|NoSuchEntity")
WAIT_S: Final = 3600
"""AWS's command line gives up after 10 to 40 minutes, by what is waited for."""


@dataclass(frozen=True, slots=True)
class Cloud:
    """AWS in the region of the settings, which the environment of `runner` names."""

    runner: Runner

    def ask(self, *words: str, sample: Any = None) -> Any:
        """What AWS answers, as plain JSON. Raises CommandError."""
        printed = self.runner.ask("aws", *words, "--output", "json", sample=json.dumps(sample))
        return json.loads(printed or "null")

    def find(self, *words: str, sample: Any = None) -> Any:
        """As `ask`; None when AWS says that there is no such thing. Raises CommandError."""
        done = self.runner.attempt("aws", *words, "--output", "json", sample=json.dumps(sample))
        if done.code == 0:
            return json.loads(done.output or "null")
        if is_gone(done):
            return None
        raise CommandError(f"aws {' '.join(words)[:200]}\n{done.errors.strip()}", done.errors)

    def remove(self, *words: str) -> bool:
        """Delete something; whether it went or was gone already. A refusal is printed, where AWS
        calls it an error: what is left is found again at the end, by its tag."""
        return self._try(*words, timeout_s=ASK_S)

    def wait(self, service: str, what: str, *words: str) -> bool:
        """Wait till something is as `what` says; whether it came to that. If not, it is printed."""
        return self._try(service, "wait", what, *words, timeout_s=WAIT_S)

    def _try(self, *words: str, timeout_s: float) -> bool:
        done = self.runner.attempt("aws", *words, timeout_s=timeout_s)
        if done.code == 0 or is_gone(done):
            return True
        self.runner.say(f"  {done.errors.strip()}")
        return False


def is_gone(done: Done) -> bool:
    """Whether an error means that there is no such thing."""
    found = CODE.search(done.errors)
    return found is not None and GONE.fullmatch(found[1]) is not None
