"""The repository checks itself: where the arrows point, what may not be called, what is missing.

Each test states one rule; a failure lists every place that breaks it, and what to do instead.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable

import pytest

from emporium.replication import states
from emporium.runtime import settings_table
from tests import chart, repository
from tests.repository import ROOT, SERVICES, Module, modules, package_modules, shown

ROLES = ("catalog", "order", "cache", "frontend")
FUNCTION_LINES = 60
FILE_LINES = 500

# room -> the rooms whose modules it may import, besides its own. `requests` modules are the
# interface of a role and may be imported by every role; see MAY_IMPORT_MODULES for single ones.
ARROWS = {
    "replication": set[str](),
    "runtime": {"replication"},
    "catalog": {"replication", "runtime", "editions"},
    "order": {"replication", "runtime", "editions"},
    "cache": {"replication", "runtime", "editions"},
    "frontend": {"replication", "runtime", "editions"},
    "editions": {"replication", "runtime"},
    "client": {"runtime", "editions"},
    "local": {"replication", "runtime", "editions", "client"},
}
MAY_IMPORT_MODULES = {
    # Cache mode `frontend`: each frontend holds copies.
    "frontend": {"emporium.cache.holder", "emporium.cache.keeper"},
    # Order rebuilds itself from the catalog's ledger: the same chain, the same limits.
    "order": {"emporium.catalog.ledger", "emporium.catalog.limits"},
    # Verify and backup replay journals without a process.
    "local": {"emporium.catalog.state_machine", "emporium.order.state_machine"},
}
INTERFACES = {f"emporium.{role}.requests" for role in ROLES}
# These rooms may look into every interface, `local` for verify and backup.
USE_INTERFACES = {*ROLES, "editions", "local", "client"}

# Packages through which a program touches the world, or that give another answer each time.
WORLD = frozenset(
    "asyncio concurrent ctypes fcntl glob http mmap multiprocessing os pathlib pickle queue"
    " random requests secrets select selectors shutil signal socket socketserver sqlite3 ssl"
    " subprocess tempfile threading time urllib urllib3 uuid gunicorn prometheus_client"
    " kubernetes".split()
)
WEB = frozenset({"flask", "werkzeug"})
ADAPTERS = re.compile(r"(app|wsgi)\.py|routes.*\.py|problems\.py|pages\.py")
# What an adapter may use of the world: http.HTTPStatus. Editions read the files that they ship.
ADAPTERS_MAY = frozenset({"http"})
EDITIONS_MAY = frozenset({"pathlib"})
# A cache and a frontend are asked by many threads at once and guard their rules with a lock;
# catalog and order have a driver instead. Nobody but the runtime starts threads (BANNED).
LOCKS_MAY = frozenset({"threading"})

CLOCK = "runtime.clock"
# (rooms, or "tests"; the name that is called; what stands in for it)
BANNED = [
    (("tests",), "time.sleep", "tests.waiting.eventually or never"),
    (("runtime", *ROLES, "editions"), "time.sleep", f"{CLOCK}.SYSTEM.sleep_ms, or an Event's wait"),
    (("runtime", *ROLES, "editions"), "time.time", f"{CLOCK}.SYSTEM.stamp_ms"),
    (("runtime", *ROLES, "editions"), "time.time_ns", f"{CLOCK}.SYSTEM.stamp_ms"),
    (("runtime", *ROLES, "editions"), "time.monotonic", f"{CLOCK}.SYSTEM.now_ms"),
    (("runtime", *ROLES, "editions"), "time.monotonic_ns", f"{CLOCK}.SYSTEM.now_ms"),
    (("runtime", *ROLES, "editions"), "datetime.datetime.now", f"{CLOCK}.SYSTEM.stamp_ms"),
    (("replication", *ROLES), "hash", "hashlib: hash() differs in each process"),
    (("replication", *ROLES), "id", "a counter or a name: id() differs in each process"),
    (("replication", "runtime", *ROLES, "editions"), "print", "runtime.logs or the operation log"),
    (("runtime", *ROLES, "editions"), "logging.getLogger", "runtime.logs.logger"),
    ((*ROLES, "editions"), "threading.Thread", "runtime.driver or runtime.hub"),
    ((*ROLES, "editions"), "threading.Timer", "the tick of the driver or of the hub"),
    ((*ROLES, "editions"), "os.environ", "runtime.settings.read"),
    (("*",), "pickle.loads", "replication.wire: a message must not run code"),
    (("*",), "eval", "a parser"),
    (("*",), "exec", "a function"),
    (("*",), "os.system", "subprocess.run with a list"),
]
EXEMPT = {"emporium.runtime.clock", "emporium.runtime.logs", "tests.waiting"}

# Values of the chart that it hands on as they are, and those that its schema alone asks for.
PASSED_ON = {"resources", "probes", "acknowledge"}

# Files that are started, not imported.
ENTRY_POINTS = re.compile(r"(.*\.)?(__init__|__main__|conftest|wsgi)|.*\.test_[a-z0-9_]+")


def refuse(offenders: Iterable[str], rule: str) -> None:
    """Fail with all offenders, one per line, under the rule that they break."""
    found = sorted(set(offenders))
    if found:
        pytest.fail(f"{rule}\n  " + "\n  ".join(found), pytrace=False)


# --- arrows ---


def test_arrows_between_rooms_point_one_way() -> None:
    """Adapter -> pure rule -> protocol: each room imports only the rooms below it."""
    refuse(
        (
            f"{shown(module.path, found.line)} imports {found.module}"
            for module in package_modules(*ARROWS)
            for found in module.imports()
            if found.top == "emporium" and not may_import(module, found.module)
        ),
        "A room may import only what ARROWS in test_tidy.py lists:",
    )


def may_import(module: Module, name: str) -> bool:
    """May this file import that module of ours?"""
    if name == "emporium":
        return True
    room = name.split(".")[1]
    if room == module.room or room in ARROWS[module.room]:
        return True
    # The prefixes of an allowed module are seen too: `from emporium.cache import holder`.
    singles = MAY_IMPORT_MODULES.get(module.room, set[str]()) | (
        INTERFACES if module.room in USE_INTERFACES else set[str]()
    )
    if name == f"emporium.{room}":
        return any(single.startswith(f"{name}.") for single in singles)
    return any(name == single or name.startswith(f"{single}.") for single in singles)


def test_the_protocol_is_pure() -> None:
    """`replication/` imports the standard library only, and of that nothing with a side effect."""
    refuse(
        (
            f"{shown(module.path, found.line)} imports {found.module}"
            for module in package_modules("replication")
            for found in module.imports()
            if found.top != "emporium"
            and (found.top not in sys.stdlib_module_names or found.top in WORLD)
        ),
        "replication/ has no socket, file, thread, clock or random; the driver obeys its effects:",
    )


def test_roles_touch_the_world_through_the_runtime_alone() -> None:
    """No file of a role imports sockets, threads, clocks, files or processes."""
    refuse(
        (
            f"{shown(module.path, found.line)} imports {found.module}"
            for module in package_modules(*ROLES, "editions")
            for found in module.imports()
            if found.top in WORLD - allowed_world(module)
        ),
        "Roles do I/O, time and threads through runtime/ (clock, driver, hub, logs):",
    )


def test_only_adapters_know_the_web_framework() -> None:
    """Flask stays in app.py, wsgi.py, routes and problems; rules take and give records."""
    refuse(
        (
            f"{shown(module.path, found.line)} imports {found.module}"
            for module in package_modules(*ROLES, "editions", "replication")
            for found in module.imports()
            if found.top in WEB and not adapts(module)
        ),
        "A rule doesn't know about HTTP; move the Flask part into an adapter:",
    )


def allowed_world(module: Module) -> frozenset[str]:
    """What this file may use of the world after all."""
    allowed = ADAPTERS_MAY if adapts(module) else frozenset[str]()
    if module.room == "editions":
        return allowed | EDITIONS_MAY
    return allowed | LOCKS_MAY if module.room in {"cache", "frontend"} else allowed


def adapts(module: Module) -> bool:
    """Is this one of the thin HTTP files of a role?"""
    return bool(ADAPTERS.fullmatch(module.file))


# --- calls, sizes, leftovers ---


def test_banned_calls_have_replacements() -> None:
    """Calls that would bypass the clock, the logs or the settings name what to use instead."""
    refuse(
        (
            f"{shown(module.path, call.line)}: {banned} -> {instead}"
            for module in modules()
            if module.name not in EXEMPT
            for call in module.calls()
            for places, banned, instead in BANNED
            if call.name == banned and belongs(module, places)
        ),
        "Use the replacement:",
    )


def belongs(module: Module, places: tuple[str, ...]) -> bool:
    """Is the file in one of the rooms, a file of tests, or just anywhere?"""
    tests = module.file.startswith("test_") or module.file == "conftest.py"
    return "*" in places or module.room in places or ("tests" in places and tests)


def test_every_file_is_python() -> None:
    """A file with a syntax error would be invisible to the other rules."""
    refuse(
        (
            f"{shown(module.path, error.lineno or 0)}: {error.msg}"
            for module in modules()
            if (error := module.syntax_error())
        ),
        "Syntax errors:",
    )


def test_functions_are_short() -> None:
    """At most 60 lines each."""
    refuse(
        (
            f"{shown(module.path, function.line)}: {function.name} has {function.length} lines"
            for module in modules()
            for function in module.functions()
            if function.length > FUNCTION_LINES
        ),
        f"A function has at most {FUNCTION_LINES} lines; ifs up, fors down:",
    )


def test_files_are_short() -> None:
    """At most 500 lines of code each."""
    counts = [(module.path, len(module.text.splitlines())) for module in modules()]
    refuse(
        (f"{shown(path)}: {count} lines" for path, count in counts if count > FILE_LINES),
        f"A file has at most {FILE_LINES} lines; split it by its parts:",
    )


def test_no_file_is_dead() -> None:
    """Every module of the package is imported, named where programs are started, or starts."""
    imported = {found.module for module in modules() for found in module.imports()}
    places = [text for path, text in repository.texts() if starts_programs(path.name, path.suffix)]
    refuse(
        (
            shown(module.path)
            for module in package_modules()
            if module.name not in imported
            and module.file != "__init__.py"
            and not ENTRY_POINTS.fullmatch(module.name)
            and not any(re.search(rf"\b{re.escape(module.name)}\b", text) for text in places)
        ),
        "Nobody imports or starts these files; use or remove them:",
    )


def starts_programs(name: str, suffix: str) -> bool:
    """Can this kind of file start a module by its name?"""
    return name in {"Makefile", "Dockerfile", "Containerfile", "pyproject.toml"} or suffix in {
        ".py",
        ".sh",
        ".yaml",
        ".yml",
        ".tpl",
    }


def test_nothing_is_left_to_do_in_comments() -> None:
    """Open work is an issue, not a comment."""
    marks = re.compile(
        r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "X" * 3, "HA" + "CK"]) + r")\b"
    )
    refuse(
        (
            f"{shown(path, number)}: {line.strip()[:60]}"
            for path, text in repository.texts()
            if path.suffix in {".py", ".sh", ".tf", ".yaml", ".md", ".toml"}
            for number, line in enumerate(text.splitlines(), 1)
            if marks.search(line)
        ),
        "Do it, or write an issue:",
    )


def test_no_path_of_somebodys_machine_is_in_a_file() -> None:
    """What works only in one home folder works nowhere else."""
    home = re.compile(r"(?<![\w.])/(?:home|Users|root|work)/[A-Za-z0-9._-]+")
    allowed = re.compile(r"/home/(?:runner|emporium|app)\b")  # accounts of CI and of the images
    refuse(
        (
            f"{shown(path, number)}: {match.group()}"
            for path, text in repository.texts()
            for number, line in enumerate(text.splitlines(), 1)
            for match in home.finditer(line)
            if not allowed.match(match.group())
        ),
        "Make the path relative, or a setting:",
    )


# --- documents, settings, requirements ---


def test_links_in_documents_lead_somewhere() -> None:
    """Every relative link in a Markdown file names a file, and a heading in it."""
    refuse(
        (
            f"{shown(path)}: {target}"
            for path in repository.files(".md")
            for target in repository.broken_links(path, path.read_text(encoding="utf-8"))
        ),
        "Broken links:",
    )


def test_the_drawn_states_are_those_of_the_code() -> None:
    """docs/PROTOCOLS.md shows exactly the transitions that `replication/states.py` allows."""
    text = (ROOT / "docs" / "PROTOCOLS.md").read_text(encoding="utf-8")
    drawn = re.search(r"<!-- states -->\n```mermaid\n(.*?)\n```\n<!-- /states -->", text, re.DOTALL)
    if drawn is None or drawn.group(1) != states.diagram():
        pytest.fail(
            "Between <!-- states --> and <!-- /states --> docs/PROTOCOLS.md needs, as mermaid:\n"
            + states.diagram(),
            pytrace=False,
        )


def test_every_setting_is_documented() -> None:
    """docs/OPERATIONS.md names every setting."""
    operations = ROOT / "docs" / "OPERATIONS.md"
    named = settings_named(operations.read_text(encoding="utf-8"))
    refuse(settings_table.NAMES - named, "Not in docs/OPERATIONS.md:")


def test_every_setting_that_is_named_exists() -> None:
    """Documents, chart, images and code name no setting that isn't there."""
    refuse(
        (
            f"{shown(path)}: {name}"
            for path, text in repository.texts()
            if not path.is_relative_to(SERVICES / "tests")  # which name wrong ones on purpose
            for name in settings_named(text) - settings_table.NAMES
        ),
        "No such setting (services/emporium/runtime/settings_table.py has them all):",
    )


def settings_named(text: str) -> set[str]:
    """The names with our prefix in a text; `EMPORIUM_TLS_*` and the like stand for several."""
    return set(re.findall(r"\bEMPORIUM_[A-Z][A-Z0-9_]*[A-Z0-9]\b(?![_*{])", text))


def test_every_setting_is_a_value_of_the_chart() -> None:
    """The chart tells every setting to the roles that read it; `_settings.tpl` has them all."""
    template = chart.CHART / "templates" / "_settings.tpl"
    named = settings_named(template.read_text(encoding="utf-8"))
    refuse(settings_table.NAMES - named, "Not in charts/emporium/templates/_settings.tpl:")


def test_values_and_their_schema_agree() -> None:
    """Every value has a line in the schema, and the schema knows no other."""
    described, given = chart.described_values(), chart.given_values()
    refuse(given - described, "Not in charts/emporium/values.schema.json:")
    refuse(described - given, "Described there, and not in charts/emporium/values.yaml:")


def test_every_value_of_the_chart_is_used() -> None:
    """A value that no template reads does nothing, and looks as if it did."""
    templates = "\n".join(
        path.read_text(encoding="utf-8") for path in sorted(chart.CHART.glob("templates/**/*.*"))
    )
    refuse(
        (
            path
            for path in chart.given_values()
            if not set(path.split(".")) & PASSED_ON
            and not re.search(rf'[."]{path.rpartition(".")[2]}\b', templates)
        ),
        "No template reads these values:",
    )


@pytest.mark.parametrize("name", ["runtime", "client", "dev", "aws-stand-in", "checkov"])
def test_requirements_are_locked_by_hash(name: str) -> None:
    """Every line pins a version with its hashes, and no line names a host to get it from."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
    entries = re.split(r"\n(?=\S)", re.sub(r"(?m)^\s*#.*\n", "", text).strip())
    refuse(
        (
            f"requirements/{name}.txt: {entry.splitlines()[0]}"
            for entry in entries
            if not re.match(r"[a-z0-9.\[\],-]+==[\w.+!]+", entry)
            or "--hash=sha256:" not in entry
            or "://" in entry
        ),
        "Lock again with `make lock`:",
    )


def test_locked_sets_agree() -> None:
    """A package has the same version in runtime, client and dev."""
    pins: dict[str, set[str]] = {}
    for name in ("runtime", "client", "dev"):
        text = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
        for package, version in re.findall(r"(?m)^([a-z0-9.-]+)==(\S+) \\$", text):
            pins.setdefault(package, set()).add(version)
    refuse(
        (f"{package}: {sorted(found)}" for package, found in pins.items() if len(found) > 1),
        "Lock again with `make lock`:",
    )


def test_every_make_target_explains_itself() -> None:
    """`make help` shows each target that a person can call."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = set(re.findall(r"(?m)^\.PHONY: (\S+)$", text))
    explained = set(re.findall(r"(?m)^([a-z][a-z-]*):.*## \S", text))
    refuse(phony - explained, "Add `## what it does` to these targets:")


def test_shell_scripts_stop_at_the_first_error() -> None:
    """bash, strict, executable."""
    scripts = [
        (path, text)
        for path, text in repository.texts()
        if path.suffix == ".sh" or text.startswith(("#!/usr/bin/env bash", "#!/bin/bash"))
    ]
    refuse(
        (
            shown(path)
            for path, text in scripts
            if "set -euo pipefail" not in text or not path.stat().st_mode & 0o100
        ),
        "Needs `set -euo pipefail` and the executable bit:",
    )
