"""The repository as its own tests see it: files, Python modules, imports, calls, functions, links.

`test_tidy` states the rules; here is only what they look at.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
SERVICES: Final = ROOT / "services"
PACKAGE: Final = "emporium"
# Folders that hold nothing of ours: made by tools, or by running a store.
SKIPPED: Final = frozenset(
    ".git .venv .emporium .hypothesis .mypy_cache .pytest_cache .ruff_cache .terraform"
    " __pycache__ build data dist node_modules output".split()
)
# ... but these are ours in spite of their names.
KEPT: Final = frozenset({SERVICES / PACKAGE / "editions" / "data"})
BINARY: Final = frozenset({".png", ".jpg", ".gif", ".ico", ".tgz", ".gz", ".db", ".pdf", ".lock"})


def files(*suffixes: str) -> list[Path]:
    """Our files, all or those with one of the suffixes, sorted."""
    return [path for path in _all_files() if not suffixes or path.suffix in suffixes]


@cache
def _all_files() -> tuple[Path, ...]:
    """One walk over the tree."""
    found: list[Path] = []
    for folder, folders, names in os.walk(ROOT):
        here = Path(folder)
        folders[:] = [
            name
            for name in folders
            if here / name in KEPT or not (name in SKIPPED or name.endswith(".egg-info"))
        ]
        found.extend(here / name for name in names if not (here / name).is_symlink())
    return tuple(sorted(found))


def texts() -> Iterator[tuple[Path, str]]:
    """Every text file of ours with its text."""
    for path in files():
        if path.suffix not in BINARY:
            try:
                yield path, path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                continue


def shown(path: Path, line: int = 0) -> str:
    """How a place is printed: from the root, with the line where there is one."""
    name = path.relative_to(ROOT).as_posix()
    return f"{name}:{line}" if line else name


@dataclass(frozen=True)
class Import:
    """One imported module, by its full name, and where."""

    module: str
    line: int

    @property
    def top(self) -> str:
        """The package that it belongs to."""
        return self.module.partition(".")[0]


@dataclass(frozen=True)
class Call:
    """A name with dots as it stands in the code, imports resolved: time.sleep."""

    name: str
    line: int


@dataclass(frozen=True)
class Function:
    """A function or method and its length, decorators not counted."""

    name: str
    line: int
    length: int


@dataclass(frozen=True)
class Module:
    """One Python file."""

    path: Path

    @property
    def name(self) -> str:
        """Its dotted name from services/; for a file elsewhere, from the root."""
        base = SERVICES if self.path.is_relative_to(SERVICES) else ROOT
        parts = list(self.path.relative_to(base).with_suffix("").parts)
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @property
    def room(self) -> str:
        """The part of the package: replication, runtime, catalog ...; empty outside of it."""
        parts = self.name.split(".")
        return parts[1] if parts[0] == PACKAGE and len(parts) > 1 else ""

    @property
    def file(self) -> str:
        """Its file name."""
        return self.path.name

    @cached_property
    def text(self) -> str:
        """Its source."""
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        """Its syntax tree; an empty one when it has a syntax error, see `syntax_error`."""
        try:
            return ast.parse(self.text, str(self.path))
        except SyntaxError:
            return ast.Module([], [])

    def syntax_error(self) -> SyntaxError | None:
        """What is wrong with its text, if anything."""
        try:
            ast.parse(self.text, str(self.path))
        except SyntaxError as error:
            return error
        return None

    def imports(self) -> list[Import]:
        """Everything that it imports, wherever in the file: `from a import b` is a and a.b."""
        found = []
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                found += [Import(alias.name, node.lineno) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                base = self._base(node)
                found.append(Import(base, node.lineno))
                found += [Import(f"{base}.{alias.name}", node.lineno) for alias in node.names]
        return found

    def calls(self) -> list[Call]:
        """Every use of a dotted or built-in name, with the imported names resolved."""
        known = self._imported_names()
        found = []
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Load):
                name = dotted(node)
                if name:
                    first, dot, rest = name.partition(".")
                    found.append(Call(known.get(first, first) + dot + rest, node.lineno))
        return found

    def functions(self) -> list[Function]:
        """Every function and method."""
        return [
            Function(node.name, node.lineno, (node.end_lineno or node.lineno) - node.lineno + 1)
            for node in ast.walk(self.tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        ]

    def _base(self, node: ast.ImportFrom) -> str:
        """The module after `from`, a relative one made full."""
        if not node.level:
            return node.module or ""
        parts = self.name.split(".")
        up = node.level - (1 if self.file == "__init__.py" else 0)
        kept = parts[: len(parts) - up] if up else parts
        return ".".join([*kept, *([node.module] if node.module else [])])

    def _imported_names(self) -> dict[str, str]:
        """Local name -> full name."""
        known: dict[str, str] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    if alias.asname:
                        known[alias.asname] = alias.name
            elif isinstance(node, ast.ImportFrom):
                base = self._base(node)
                for alias in node.names:
                    known[alias.asname or alias.name] = f"{base}.{alias.name}"
        return known


def dotted(node: ast.expr) -> str:
    """a.b.c as a text; empty when it isn't only names."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        base = dotted(node.value)
        return f"{base}.{node.attr}" if base else ""
    return ""


@cache
def modules() -> tuple[Module, ...]:
    """All Python files."""
    return tuple(Module(path) for path in files(".py"))


def package_modules(*rooms: str) -> list[Module]:
    """The files of the package, all or those of some rooms."""
    ours = [module for module in modules() if module.name.split(".")[0] == PACKAGE]
    return [module for module in ours if not rooms or module.room in rooms]


_LINK: Final = re.compile(r"(?<!\\)!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
_FENCE: Final = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
_HEADING: Final = re.compile(r"^#{1,6}\s+(.*?)\s*#*$", re.MULTILINE)


def links(text: str) -> list[str]:
    """The targets of a Markdown text's links that lead into this repository."""
    found = _LINK.findall(_FENCE.sub("", text))
    return [target for target in found if not re.match(r"[a-z][a-z0-9+.-]*:|//", target)]


def anchors(text: str) -> set[str]:
    """The names under which a Markdown text's headings can be linked to."""
    made: set[str] = set()
    for heading in _HEADING.findall(_FENCE.sub("", text)):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower()
        slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        number = 0
        while (name := f"{slug}-{number}" if number else slug) in made:
            number += 1
        made.add(name)
    return made


def broken_links(path: Path, text: str) -> list[str]:
    """The links of a Markdown file whose file or heading doesn't exist."""
    broken = []
    for target in links(text):
        name, _, anchor = target.partition("#")
        aim = (path.parent / name) if name else path
        missing = not aim.exists()
        if not missing and anchor and aim.suffix == ".md":
            missing = anchor not in anchors(aim.read_text(encoding="utf-8"))
        if missing:
            broken.append(target)
    return broken
