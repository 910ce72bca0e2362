"""Writes what is in the driver's image as a CycloneDX document: Python's packages, and those of Debian.

The Dockerfile's target ``sbom`` runs it. cyclonedx-py has written the document of Python's packages. This
script adds the Debian packages of the image's dpkg database, and says
what the document is about. ``--validate`` checks the result against the schema; it needs the package
cyclonedx-python-lib.

Sources: CycloneDX 1.6, https://cyclonedx.org/docs/1.6/json/; package URLs of the type deb,
https://github.com/package-url/purl-spec.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

_IMAGE = "csi-powerflex-image"
_INSTALLED = "install ok installed"


def debian_packages(status: str, release: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """The installed packages of a dpkg database as components, in the order of the database.

    Args:
        status: the text of /var/lib/dpkg/status.
        release: the keys of /etc/os-release.
    """
    system = f"{release.get('ID', 'debian')}-{release.get('VERSION_ID', '')}".rstrip("-")
    for paragraph in status.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in paragraph.splitlines() if _is_field(line))
        if fields.get("Status") != _INSTALLED:
            continue
        name, version, architecture = (fields[key] for key in ("Package", "Version", "Architecture"))
        purl = (
            f"pkg:deb/{release.get('ID', 'debian')}/{name}@{quote(version, safe='.-~')}"
            f"?arch={architecture}&distro={system}"
        )
        yield {
            "type": "library",
            "bom-ref": purl,
            "name": name,
            "version": version,
            "purl": purl,
            "description": fields.get("Description", ""),
            # A security notice of Debian names the source package.
            "properties": [{"name": "debian:source", "value": fields.get("Source", name)}],
        }


def _is_field(line: str) -> bool:
    return not line.startswith(" ") and ": " in line


def os_release(text: str) -> dict[str, str]:
    """The keys of an os-release file."""
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line)
    return {key: value.strip('"') for key, value in pairs}


def document(
    python: dict[str, Any], debian: list[dict[str, Any]], *, version: str, revision: str, base: str
) -> dict[str, Any]:
    """One document of both, about the image.

    Args:
        python: the document of cyclonedx-py.
        debian: the components of ``debian_packages``.
        version: the driver's version.
        revision: the git commit of the sources.
        base: the reference of the base image.
    """
    components = [*python.get("components", ()), *debian]
    image = {
        "type": "container",
        "bom-ref": _IMAGE,
        "name": "csi-powerflex",
        "version": version,
        "properties": [
            {"name": "git:revision", "value": revision},
            {"name": "image:base", "value": base},
        ],
    }
    depends = [each for each in python.get("dependencies", ()) if each["ref"] != _IMAGE]
    known = {each["ref"] for each in depends}
    depends += [{"ref": each["bom-ref"]} for each in components if each["bom-ref"] not in known]
    whole = {"ref": _IMAGE, "dependsOn": [each["bom-ref"] for each in components]}
    metadata = {**python.get("metadata", {}), "component": image}
    return {**python, "metadata": metadata, "components": components, "dependencies": [whole, *depends]}


def _require_valid(text: str) -> None:
    """Check the document against the schema of CycloneDX.

    Raises:
        SystemExit: it does not fit.
    """
    from cyclonedx.schema import SchemaVersion  # noqa: PLC0415 - only with --validate
    from cyclonedx.validation.json import JsonStrictValidator  # noqa: PLC0415

    problem = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if problem is not None:
        sys.exit(f"the document is not CycloneDX 1.6: {problem}")


def main() -> None:
    """Read the two sources and write the document."""
    parser = argparse.ArgumentParser(prog="sbom.py")
    parser.add_argument("python", type=Path, help="the document of cyclonedx-py")
    parser.add_argument("root", type=Path, help="the image's root folder, or a copy of its dpkg database")
    parser.add_argument("output", type=Path)
    for name in ("version", "revision", "base"):
        parser.add_argument(f"--{name}", default="unknown")
    parser.add_argument("--validate", action="store_true")
    asked = parser.parse_args()
    release = os_release((asked.root / "etc/os-release").read_text(encoding="utf-8"))
    status = (asked.root / "var/lib/dpkg/status").read_text(encoding="utf-8")
    made = document(
        json.loads(asked.python.read_text(encoding="utf-8")),
        list(debian_packages(status, release)),
        version=asked.version,
        revision=asked.revision,
        base=asked.base,
    )
    text = json.dumps(made, indent=2) + "\n"
    if asked.validate:
        _require_valid(text)
    asked.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
