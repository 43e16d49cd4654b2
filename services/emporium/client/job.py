"""`python -m emporium.client.job`: the scenario job, in a pod of the store's namespace.

It waits until the store is whole, runs the scenarios against it, deletes pods on the way, checks
the books and what every client saw, and reports: each step as a line, at the end the report between
two marker lines, all files in the report's folder. The exit code is the verdict. What a pod may not
do it asks of hands outside, when there are some (`--hands`; see `client/hands.py`); a scenario that
needs more is not shown, and says what was missing.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from emporium.client import hands
from emporium.client.cluster import DrillError
from emporium.client.kubernetes_cluster import InPodApi, KubernetesCluster
from emporium.client.report import Report
from emporium.client.scenarios import runner
from emporium.client.scenarios.stage import Options
from emporium.client.smoke import DEADLINE_S, getter, wait_until_whole
from emporium.runtime import settings
from emporium.runtime.errors import SettingsError

NAMESPACE: Final = "STORE_NAMESPACE"
STORE: Final = "STORE_NAME"
BEGIN, END = "--- report ---", "--- end of report ---"
KNOWN: Final = (*runner.SCENARIOS, *runner.KUBERNETES)
MOST_REPEATS, MOST_PURCHASES, MOST_GAP_S = 1000, 1_000_000, 600
MALFORMED: Final = 2
"""Exit code for arguments and settings that can't be meant."""


def _whole(lowest: int, highest: int) -> Callable[[str], int]:
    """A parser of whole numbers within bounds."""

    def parse(text: str) -> int:
        if not (text.isdecimal() and lowest <= int(text) <= highest):
            raise argparse.ArgumentTypeError(f"{text!r} is no number from {lowest} to {highest}")
        return int(text)

    return parse


def _verbs(text: str) -> tuple[str, ...]:
    """A list of what the hands can do."""
    found = tuple(part for part in text.split(",") if part)
    for verb in found:
        if verb not in hands.VERBS:
            known = ", ".join(hands.VERBS)
            raise argparse.ArgumentTypeError(f"{verb!r} is no work for hands; there are: {known}")
    return found


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= MOST_GAP_S:
        raise argparse.ArgumentTypeError(f"{text!r} is no time from 0 to {MOST_GAP_S} s")
    return seconds


def _arguments(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="emporium.client.job", description=__doc__)
    add = parser.add_argument
    add("names", nargs="*", metavar="NAME", help="names, numbers, 9-16; none: all")
    add("--list", action="store_true", help="only say which there are")
    add("--hands", type=_verbs, default=(), metavar="LIST", help="what is done from outside")
    add("--repeats", type=_whole(1, MOST_REPEATS), default=3, metavar="N", help="of a blow (3)")
    rounds = "of it all, after the first without those that want a fresh store (1)"
    add("--rounds", type=_whole(1, MOST_REPEATS), default=1, metavar="N", help=rounds)
    add("--purchases", type=_whole(1, MOST_PURCHASES), default=500, metavar="N", help="each (500)")
    add("--longest-gap", type=_seconds, default=0.0, metavar="S", help="without a buy (0: any)")
    add("--next-tag", default="", metavar="TAG", help="of images with a higher message version")
    add("--output", type=Path, default=Path(hands.REPORT), metavar="DIR", help="for the report")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """0: all passed, 1: not, 2: the arguments or the surroundings are wrong."""
    chosen = _arguments(arguments)
    if chosen.list:
        for number, name, summary in runner.catalogue(KNOWN):
            print(f"{number:2} {name}: {summary}")
        return os.EX_OK
    try:
        runner.choose(chosen.names, KNOWN)
        cluster = connect(os.environ, chosen.output, chosen.hands)
    except (SettingsError, ValueError, OSError) as error:
        print(f"emporium.client.job: {error}", file=sys.stderr)
        return MALFORMED
    for place in cluster.frontends():
        lacks = wait_until_whole(getter(place), DEADLINE_S)
        if lacks:
            print(f"emporium.client.job: the store isn't whole: {'; '.join(lacks)}")
            return 1
    passed = True
    for number in range(1, chosen.rounds + 1):
        output = chosen.output / f"round-{number:02}" if chosen.rounds > 1 else chosen.output
        report = runner.run(
            cluster, chosen.names, output, _say, _options(chosen), KNOWN, again=number > 1
        )
        passed = passed and (report.passed or _none_is_left(report))
        _tell(report)
        _have_collected(cluster)  # a pod that has ended gives nothing any more
    return os.EX_OK if passed else 1


def _none_is_left(report: Report) -> bool:
    """A later round of scenarios that are played once only."""
    return not report.results and bool(report.left_out)


def connect(environ: Mapping[str, str], output: Path, able: Sequence[str]) -> KubernetesCluster:
    """The store around this pod. Raises SettingsError, ValueError and OSError."""
    found = _settings(environ)
    missing = [name for name in (NAMESPACE, STORE) if not environ.get(name)]
    if missing:
        raise ValueError(f"{', '.join(missing)} isn't set; the chart's scenario job sets it")
    api = InPodApi(environ[NAMESPACE])
    mailbox = hands.Mailbox(output)

    def token() -> str:
        return _settings(environ).operator_token

    return KubernetesCluster(api, found, environ[STORE], mailbox, able, token)


def _settings(environ: Mapping[str, str]) -> settings.ClientSettings:
    """Read anew, the files that they name too."""
    found = settings.read(environ, "client")
    if not isinstance(found, settings.ClientSettings):
        raise TypeError("the settings of a client are ClientSettings")
    return found


def _options(chosen: argparse.Namespace) -> Options:
    return Options(
        purchases=chosen.purchases,
        healthy_s=180.0,
        takeover_s=60.0,
        load_s=180.0,
        settle_s=60.0,
        longest_gap_s=chosen.longest_gap,
        repeats=chosen.repeats,
        next_tag=chosen.next_tag,
    )


def _say(line: str) -> None:
    print(line, flush=True)


def _tell(report: Report) -> None:
    """The report, where a program finds it in the pod's log."""
    _say(BEGIN)
    _say(report.to_text())
    _say(END)


def _have_collected(cluster: KubernetesCluster) -> None:
    """Have the report's folder fetched while this pod still runs."""
    if hands.COLLECT in cluster.drills():
        try:
            cluster.drill(hands.COLLECT)
        except DrillError as error:
            print(f"emporium.client.job: nobody has fetched the report: {error}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
