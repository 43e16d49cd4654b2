#!/usr/bin/env python3
"""Checks the chart, without a cluster.

    charts/check.py check     every check; exit code 1 if one fails, after all of them
    charts/check.py render    write examples/ and README.md anew

`k8s-tests/tools.sh` builds the tools, once, into the user's cache folder. An example is what Helm
renders from one file of ci/, with the secrets masked, since they are made at each installation.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from difflib import unified_diff
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
CHART: Final = ROOT / "charts" / "emporium"
EXAMPLES: Final = CHART / "examples"
SUFFIX: Final = "-values.yaml"
RELEASE: Final = ("bookstore", "--namespace", "bookstore")
TOOL_S: Final = 3600
CHECK_S: Final = 300
SHOWN_LINES: Final = 60
MADE: Final = re.compile(r"(?m)^(  (?:internal|operator-token)(?:-[0-9]+)?): .*$")
# Kinds that Kubernetes' own description of its API doesn't hold.
FOREIGN_KINDS: Final = ("HTTPRoute", "PrometheusRule", "ServiceMonitor")
# What kube-score would have otherwise, and why the chart hasn't:
NOT_SCORED: Final = {
    "container-image-pull-policy": "images are named by version or digest; Always needs a registry"
    " for each restart, just when something is wrong",
    "service-type": "NodePort is one of the values of frontend.service.type; the default isn't",
}


class CheckFailedError(Exception):
    """A check failed; the text shows where."""


def run(*command: str | Path, timeout_s: float = CHECK_S, cwd: Path = ROOT) -> str:
    """What a program prints. Raises CheckFailedError with all of it."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    if done.returncode:
        raise CheckFailedError((done.stdout + done.stderr).strip())
    return done.stdout


@cache
def tool(name: str) -> Path:
    """The path of a tool, built if it isn't there yet."""
    printed = run(ROOT / "k8s-tests" / "tools.sh", name, timeout_s=TOOL_S)
    return Path(printed.strip().splitlines()[-1])


def values_files() -> list[Path]:
    """The files of values that have an example, sorted."""
    return sorted((CHART / "ci").glob(f"*{SUFFIX}"))


def example_of(values: Path) -> Path:
    """Where the rendering of a file of values is kept."""
    return EXAMPLES / f"{values.name.removesuffix(SUFFIX)}.yaml"


@cache
def rendered(values: Path) -> str:
    """What Helm makes of a file of values, with the secrets masked and no space at line ends."""
    text = run(tool("helm"), "template", RELEASE[0], CHART, *RELEASE[1:], "--values", values)
    masked = MADE.sub(r'\1: "bWFkZSBhdCBpbnN0YWxsYXRpb24="', text)
    return re.sub(r"(?m)[ \t]+$", "", masked)


def compare(path: Path, wanted: str) -> None:
    """Raise CheckFailedError when a file isn't what it should be."""
    there = path.read_text("utf-8") if path.exists() else ""
    if there != wanted:
        name = path.relative_to(ROOT).as_posix()
        lines = unified_diff(
            there.splitlines(), wanted.splitlines(), name, f"{name}, as made now", lineterm=""
        )
        difference = "\n".join(list(lines)[:SHOWN_LINES])
        raise CheckFailedError(f"{difference}\nmake chart-render writes it; review the difference")


# --- the checks, in their order ---


def check_lint() -> None:
    """helm lint, strict, with each file of values."""
    for values in values_files():
        run(tool("helm"), "lint", "--strict", CHART, "--values", values)


def check_examples() -> None:
    """The examples are what Helm renders, and there is none too many."""
    for values in values_files():
        compare(example_of(values), rendered(values))
    strays = set(EXAMPLES.glob("*")) - {example_of(values) for values in values_files()}
    if strays:
        raise CheckFailedError(f"of no file in ci/: {', '.join(sorted(map(str, strays)))}")


def check_schemas() -> None:
    """kubeconform, against the API's own description."""
    with tempfile.TemporaryDirectory(prefix="emporium-schemas-") as folder:
        swagger = tool("kubernetes-openapi")
        run(sys.executable, ROOT / "k8s-tests" / "schemas.py", swagger, folder)
        run(
            *(tool("kubeconform"), "-strict", "-summary", "-skip", ",".join(FOREIGN_KINDS)),
            *("-schema-location", f"{folder}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"),
            *(example_of(values) for values in values_files()),
        )


def check_units() -> None:
    """The chart's own tests."""
    run(tool("helm-unittest"), "--color=false", CHART)


def job_name(values: Sequence[str]) -> str:
    """What the scenario job is called when these values are set."""
    given = [part for value in ("client.job.enabled=true", *values) for part in ("--set", value)]
    text = run(tool("helm"), "template", RELEASE[0], CHART, *RELEASE[1:], *given)
    return re.findall(r"(?m)^  name: (.*-client-[0-9a-f]{8})$", text)[0]


def check_job() -> None:
    """A Job can't be changed: what it runs is in its name. Other values leave a running one be."""
    first = job_name(())
    for values, another in (
        (("image.tags.catalog=v2", "catalog.resources.limits.memory=1Gi"), False),
        (("logLevel=debug", "requests.timeoutMs=4000", "secrets.generation=2"), False),
        (("podAnnotations.a=b", "client.smoke.deadlineSeconds=9", "spread=nodes"), False),
        (("image.tag=v2",), True),
        (("image.tags.client=v2",), True),
        (("client.job.args={--all}",), True),
        (("client.job.nodeSelector.a=b",), True),
        (("order.replicas=5",), True),
    ):
        if (job_name(values) != first) is not another:
            what = "stays" if another else "is replaced"
            raise CheckFailedError(f"with {', '.join(values)} the scenario job {what}")


def check_score() -> None:
    """kube-score; NOT_SCORED has the exceptions."""
    ignored = [part for name in NOT_SCORED for part in ("--ignore-test", name)]
    run(
        *(tool("kube-score"), "score", "--output-format", "ci", "--ignore-container-cpu-limit"),
        *ignored,
        # The others turn off on purpose what is scored.
        *(EXAMPLES / f"{name}.yaml" for name in ("bookstore", "everything", "frontend-cache")),
    )


def readme() -> str:
    """The README that helm-docs makes from values.yaml and README.md.gotmpl."""
    with tempfile.TemporaryDirectory(prefix="emporium-docs-") as folder:
        copy = Path(folder) / CHART.name
        shutil.copytree(CHART, copy)
        run(tool("helm-docs"), "--chart-search-root", copy, "--sort-values-order", "file")
        return (copy / "README.md").read_text("utf-8")


def check_readme() -> None:
    """README.md tells of every value."""
    compare(CHART / "README.md", readme())


def check_images() -> None:
    """Two clones of the last commit give the same images. Where nothing is cached it takes as long
    as two builds and a base image: about 3 minutes, and later 1 to 2."""
    # It is said, too, when there was nothing to compare.
    print(run(sys.executable, ROOT / "images" / "build.py", "compare", timeout_s=TOOL_S).strip())


CHECKS: Final[dict[str, Callable[[], None]]] = {
    "helm lint --strict": check_lint,
    "examples": check_examples,
    "kubeconform": check_schemas,
    "helm-unittest": check_units,
    "job": check_job,
    "kube-score": check_score,
    "README": check_readme,
    "images of two clones": check_images,
}


def check(names: Sequence[str]) -> int:
    """Run the checks, or those whose names begin with one of `names`."""
    failed = []
    for name, action in CHECKS.items():
        if names and not name.startswith(tuple(names)):
            continue
        print(f"== {name}", flush=True)
        try:
            action()
        except CheckFailedError as failure:
            print("\n".join(str(failure).splitlines()[:SHOWN_LINES]))
            failed.append(name)
    print(f"chart-check: failed: {', '.join(failed)}" if failed else "chart-check: all good")
    return 1 if failed else 0


def render() -> int:
    """Write the examples and the README anew."""
    texts = {example_of(values): rendered(values) for values in values_files()}
    EXAMPLES.mkdir(exist_ok=True)
    for path in set(EXAMPLES.glob("*")) - set(texts):
        path.unlink()
    for path, text in texts.items():
        path.write_text(text, "utf-8")
        print(path.relative_to(ROOT))
    (CHART / "README.md").write_text(readme(), "utf-8")
    print((CHART / "README.md").relative_to(ROOT))
    return 0


def main(arguments: Sequence[str]) -> int:
    """The command line."""
    match list(arguments):
        case ["check", *names]:
            return check(names)
        case ["render"]:
            try:
                return render()
            except CheckFailedError as failure:
                print(failure)
                return 1
        case _:
            sys.stderr.write("usage: check.py check [NAME ...] | render\n")
            return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
