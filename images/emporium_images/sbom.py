"""What is in an image, as SPDX 2.3 JSON: Debian's packages, the locked Python ones, and ours."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any, Final

from emporium_images.source import Source, requirements

LICENCE: Final = "Apache-2.0"
_PIN: Final = re.compile(r"(?m)^([a-z0-9.-]+)==(\S+)")


def document(role: str, source: Source, digest: str, dpkg_status: str) -> dict[str, Any]:
    """The document for one image."""
    image = {
        **_package(f"emporium-{role}", source.version, f"pkg:oci/emporium-{role}@{digest}"),
        "SPDXID": "SPDXRef-image",
        "licenseDeclared": LICENCE,
        "primaryPackagePurpose": "CONTAINER",
    }
    parts = [*_debian(dpkg_status), *_python(requirements(role).read_text("utf-8"))]
    packages = [image, *parts]
    total = hashlib.sha256(json.dumps(packages, sort_keys=True).encode()).hexdigest()
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": f"emporium-{role}-{source.version}",
        "documentNamespace": f"urn:emporium:sbom:{role}:{total[:32]}",
        "creationInfo": {"created": source.created, "creators": ["Tool: emporium-make-sbom"]},
        "packages": packages,
        "relationships": [
            _relation("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-image"),
            *(_relation("SPDXRef-image", "CONTAINS", part["SPDXID"]) for part in parts),
        ],
    }


def write(folder: Path, role: str, text: dict[str, Any]) -> Path:
    """Write a document as ROLE.spdx.json."""
    path = folder / f"{role}.spdx.json"
    path.write_text(json.dumps(text, indent=1) + "\n", "utf-8")
    return path


def _debian(status: str) -> list[dict[str, Any]]:
    """One for each paragraph of dpkg's status that is of an installed package."""
    found = []
    for paragraph in status.split("\n\n"):
        fields = dict(re.findall(r"(?m)^([A-Z][A-Za-z-]*): (.*)$", paragraph))
        if "installed" in fields.get("Status", "").split():
            name, version, machine = fields["Package"], fields["Version"], fields["Architecture"]
            link = f"pkg:deb/debian/{name}@{version}?arch={machine}"
            found.append(_package(name, version, link))
    return found


def _python(lock: str) -> list[dict[str, Any]]:
    """One for each pin of a requirements file."""
    return [
        _package(name, version, f"pkg:pypi/{name}@{version}")
        for name, version in _PIN.findall(lock)
    ]


def _package(name: str, version: str, link: str) -> dict[str, Any]:
    kind = link.removeprefix("pkg:").partition("/")[0]
    return {
        "SPDXID": f"SPDXRef-{kind}-{re.sub(r'[^A-Za-z0-9.-]', '-', name)}",
        "name": name,
        "versionInfo": version,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": "NOASSERTION",
        "copyrightText": "NOASSERTION",
        "externalRefs": [
            {
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": link,
            }
        ],
    }


def _relation(one: str, kind: str, other: str) -> dict[str, str]:
    return {"spdxElementId": one, "relationshipType": kind, "relatedSpdxElement": other}
