"""The CustomResourceDefinitions: made from the types that read the objects."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from csi_powerflex.operator.definitions import DEFINITIONS
from csi_powerflex.operator.images.definition import ImageServer
from csi_powerflex.operator.schema import definition_object, schema_of

ROOT = Path(__file__).parents[2]


def test_the_files_of_the_chart_are_what_the_code_says() -> None:
    command = [sys.executable, "charts/definitions.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda item: item.kind)
def test_every_field_is_described_for_explain(definition: Any) -> None:
    version = definition_object(definition)["spec"]["versions"][0]
    schema = version["schema"]["openAPIV3Schema"]
    missing = [path for path, field in fields(schema) if not field.get("description")]
    assert [path for path in missing if path not in ("apiVersion", "kind", "metadata")] == []


def fields(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Each field below a schema with its path."""
    for name, field in schema.get("properties", {}).items():
        below = f"{path}.{name}".strip(".")
        yield below, field
        yield from fields(field, below)
        yield from fields(field.get("items", {}), f"{below}[]")


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda item: item.kind)
def test_each_column_shows_a_field_that_exists(definition: Any) -> None:
    version = definition_object(definition)["spec"]["versions"][0]
    known = {path for path, _ in fields(version["schema"]["openAPIV3Schema"])}
    known |= {"metadata.creationTimestamp"}
    shown = [
        column["jsonPath"].strip(".").replace("[*]", "[]") for column in version["additionalPrinterColumns"]
    ]
    assert [path for path in shown if path not in known] == []


def test_a_type_that_a_structural_schema_cannot_express_is_refused() -> None:
    class Wrong(msgspec.Struct):
        value: int | str

    with pytest.raises(TypeError, match="no union"):
        schema_of(Wrong)
    with pytest.raises(TypeError, match="cannot express"):
        schema_of(bytes)


def test_the_documented_files_are_yaml_of_one_object() -> None:
    folder = ROOT / "charts" / "csi-powerflex" / "files" / "crds"
    found = {path.name: yaml.safe_load(path.read_text()) for path in folder.glob("*.yaml")}
    assert set(found) == {f"{definition.plural}.yaml" for definition in DEFINITIONS}
    assert {item["kind"] for item in found.values()} == {"CustomResourceDefinition"}


@pytest.mark.parametrize(
    ("url", "accepted"),
    [
        ("https://images.example.org", True),
        ("http://[2001:db8::1]:8080/debian.qcow2?to=eva@example.org#x", True),
        ("https://eva:secret@images.example.org/debian.qcow2", False),
        ("https://eva@images.example.org", False),
        ("file:///etc/passwd", False),
        ("https:///debian.qcow2", False),
    ],
)
def test_the_url_of_an_image_has_a_host_and_no_password(url: str, accepted: bool) -> None:
    properties = schema_of(ImageServer)["properties"]
    assert bool(re.search(properties["url"]["pattern"], url)) == accepted
