#!/usr/bin/env python3
"""Makes JSON schemas for kubeconform from Kubernetes' own description of its API.

    k8s-tests/schemas.py SWAGGER FOLDER

reads the swagger.json that comes with Kubernetes' source (`k8s-tests/tools.sh kubernetes-openapi`)
and writes one strict schema for each kind as KIND-GROUP-VERSION.json, in lower case, as kubeconform
asks for them. Every reference is replaced by what it names, so that each file stands alone.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

KINDS: Final = "x-kubernetes-group-version-kind"
PREFIX: Final = "#/definitions/"
# Types that JSON writes in more than one way; the description knows only one.
LOOSE: Final = {
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {
        "oneOf": [{"type": "string"}, {"type": "integer"}]
    },
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {
        "oneOf": [{"type": "string"}, {"type": "number"}]
    },
}

Schema = dict[str, Any]


class Writer:
    """Expands definitions. What a definition expands to is remembered."""

    def __init__(self, definitions: dict[str, Schema]) -> None:
        """`definitions` as in the description."""
        self._definitions = definitions
        self._done: dict[str, Schema] = {}

    def kinds(self) -> dict[str, Schema]:
        """The schema of each kind that has a group and version, by file name."""
        found: dict[str, Schema] = {}
        for name, definition in self._definitions.items():
            kinds = definition.get(KINDS, [])
            if len(kinds) == 1:  # those with many are pieces of others, such as DeleteOptions
                found[_file_name(kinds[0])] = self._of_kind(name, kinds[0])
        return found

    def _of_kind(self, name: str, kind: dict[str, str]) -> Schema:
        """A definition whose apiVersion and kind can be nothing else."""
        schema = dict(self._named(name, ()))
        version = "/".join(part for part in (kind["group"], kind["version"]) if part)
        schema["properties"] = {
            **schema.get("properties", {}),
            "apiVersion": {"type": "string", "enum": [version]},
            "kind": {"type": "string", "enum": [kind["kind"]]},
        }
        schema["required"] = sorted({*schema.get("required", []), "apiVersion", "kind"})
        return {"$schema": "http://json-schema.org/draft-07/schema#", **schema}

    def _named(self, name: str, above: tuple[str, ...]) -> Schema:
        """What a definition stands for; one that holds itself is left open at that point."""
        if name in LOOSE:
            return LOOSE[name]
        if name in above:
            return {}
        if name not in self._done:
            expanded = self._object(self._definitions[name], (*above, name))
            if above:
                return expanded  # may be open somewhere, for what is above here
            self._done[name] = expanded
        return self._done[name]

    def _object(self, schema: Schema, above: tuple[str, ...]) -> Schema:
        """One schema with all below it. `properties` is read as a list of names: a property may
        be called $ref or type."""
        reference = schema.get("$ref")
        if isinstance(reference, str):
            return self._named(reference.removeprefix(PREFIX), above)
        kept = ("type", "format", "enum", "required", "pattern")
        out: Schema = {key: schema[key] for key in kept if key in schema}
        if "properties" in schema:
            required = schema.get("required", [])
            out["properties"] = {
                name: self._property(below, above, optional=name not in required)
                for name, below in schema["properties"].items()
            }
            out["additionalProperties"] = False
        if isinstance(schema.get("additionalProperties"), dict):
            out["additionalProperties"] = self._object(schema["additionalProperties"], above)
        if "items" in schema:
            out["items"] = self._object(schema["items"], above)
        return out

    def _property(self, schema: Schema, above: tuple[str, ...], *, optional: bool) -> Schema:
        """One property. One that may be left out may as well be null."""
        out = self._object(schema, above)
        if optional and isinstance(out.get("type"), str):
            out = {**out, "type": [out["type"], "null"]}
        return out


def _file_name(kind: dict[str, str]) -> str:
    """As kubeconform asks: the first part of the group, and the version."""
    group = kind["group"].partition(".")[0]
    parts = (kind["kind"], group, kind["version"])
    return "-".join(part for part in parts if part).lower() + ".json"


def main(arguments: list[str]) -> int:
    """The command line."""
    if len(arguments) != 2:  # noqa: PLR2004 (the two of the usage line)
        sys.stderr.write("usage: schemas.py SWAGGER FOLDER\n")
        return 2
    described = json.loads(Path(arguments[0]).read_text("utf-8"))
    folder = Path(arguments[1])
    folder.mkdir(parents=True, exist_ok=True)
    schemas = Writer(described["definitions"]).kinds()
    for name, schema in schemas.items():
        (folder / name).write_text(json.dumps(schema, separators=(",", ":")), "utf-8")
    sys.stdout.write(f"{len(schemas)} schemas in {folder}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
