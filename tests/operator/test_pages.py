"""The examples of the pages: each is a whole object that the operator can read."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from csi_powerflex.operator.api import API_VERSION
from csi_powerflex.operator.definitions import DEFINITIONS
from csi_powerflex.operator.schedules import reconciler
from csi_powerflex.operator.schedules.definition import SnapshotSchedule
from csi_powerflex.operator.schema import definition_object
from tests.operator.clock import Clock
from tests.operator.pages import DOCS, on_page

PAGES = (
    "snapshot-schedule.md",
    "volume-copy.md",
    "volume-export.md",
    "volume-image.md",
    "volume-move.md",
    "volume-revert.md",
)
KINDS = {definition.kind: definition for definition in DEFINITIONS}


def examples() -> list[dict[str, Any]]:
    return [item for page in PAGES for item in on_page(page) if item["kind"] in KINDS]


def unknown(item: Any, schema: dict[str, Any], path: str = "") -> list[str]:
    """The keys of an object that its schema does not have. The API server would drop them without a word."""
    if isinstance(item, list):
        return [name for part in item for name in unknown(part, schema["items"], f"{path}[]")]
    if not isinstance(item, dict) or "properties" not in schema:
        return []
    found = [f"{path}.{key}" for key in item if key not in schema["properties"]]
    known = {key: value for key, value in item.items() if key in schema["properties"]}
    for key, value in known.items():
        found += unknown(value, schema["properties"][key], f"{path}.{key}")
    return found


@pytest.mark.parametrize("example", examples(), ids=lambda item: item["metadata"]["name"])
def test_each_example_is_an_object_that_the_operator_reads(example: dict[str, Any]) -> None:
    definition = KINDS[example["kind"]]
    assert example["apiVersion"] == API_VERSION
    schema = definition_object(definition)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert unknown(example["spec"], schema["properties"]["spec"]) == []
    msgspec.convert(example, definition.resource)


def test_each_resource_has_an_example() -> None:
    assert {example["kind"] for example in examples()} == set(KINDS)


def test_the_schedules_of_the_examples_can_be_used() -> None:
    for example in examples():
        if example["kind"] == "SnapshotSchedule":
            found = msgspec.convert(example, SnapshotSchedule)
            assert reconciler.decide(found, Clock()()).step is reconciler.Step.ARM


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda item: item.kind)
def test_each_field_of_a_specification_is_on_its_page(definition: Any) -> None:
    page = next(
        DOCS / page for page in PAGES if (DOCS / page).read_text().startswith(f"# {definition.kind}\n")
    )
    text = page.read_text(encoding="utf-8")
    fields = msgspec.structs.fields(definition.resource)
    spec = next(field for field in fields if field.name == "spec").default
    missing = [
        field.encode_name for field in msgspec.structs.fields(type(spec)) if field.encode_name not in text
    ]
    assert missing == []
