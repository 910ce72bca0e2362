"""A parameter of a class has an effect, and reaches the code that it is for."""

from __future__ import annotations

import ast
import dataclasses
from typing import Any

import pytest

from csi_powerflex.model.parameters import SnapshotParameters, VolumeParameters, travelling
from csi_powerflex.model.volume_context import VolumeContext
from tests.source_code import PACKAGE, ROOT, reads, sources, texts, tree


@pytest.mark.parametrize("kind", [VolumeParameters, SnapshotParameters])
def test_each_parameter_of_a_class_is_used(kind: type[Any]) -> None:
    used = {name for owner, name in reads(sources("operations")) if owner == "parameters"}
    # The operations read the QoS as a whole. Their module makes it of the parameters.
    own = reads([PACKAGE / "model" / "parameters.py"])
    used |= {name for owner, name in own if owner in ("self", "parameters")}
    unused = [
        field.metadata["key"]
        for field in dataclasses.fields(kind)
        if field.name not in used and not field.metadata["travels"]
    ]
    assert unused == [], "no operation reads these parameters"


def requests() -> list[tuple[str, str, str]]:
    """Each field of a request of an operation: the half, the class and the field."""
    return [
        ("/".join(path.relative_to(PACKAGE).parts[:2]), item.name, statement.target.id)
        for path in sources("operations")
        for item in tree(path).body
        if isinstance(item, ast.ClassDef) and item.name.endswith("Request")
        for statement in item.body
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)
    ]


@pytest.mark.parametrize(("half", "request_type", "field"), requests())
def test_each_field_of_a_request_is_used_by_an_operation(half: str, request_type: str, field: str) -> None:
    used = {name for owner, name in reads(sources(half)) if owner == "request"}
    assert field in used, f"no operation reads {request_type}.{field}"


@pytest.mark.parametrize("kind", [VolumeParameters, SnapshotParameters])
def test_hostile_requests_have_each_parameter(kind: type[Any]) -> None:
    keys = {field.metadata["key"] for field in dataclasses.fields(kind)}
    assert keys - texts([ROOT / "tests" / "hostile" / "test_controller.py"]) == set()


def test_hostile_requests_to_the_node_have_each_parameter_that_travels() -> None:
    keys = {field.metadata["key"] for field in travelling()}
    # The publish context has a key of the same name, and its values are used.
    assert keys - {"transport"} - texts([ROOT / "tests" / "hostile" / "test_node.py"]) == set()


def test_the_generated_volume_contexts_have_each_field() -> None:
    calls = [
        part
        for part in ast.walk(tree(ROOT / "tests" / "unit" / "test_volume_context.py"))
        if isinstance(part, ast.Call) and part.args and ast.unparse(part.args[0]) == "VolumeContext"
    ]
    given = {keyword.arg for call in calls for keyword in call.keywords}
    assert {field.name for field in dataclasses.fields(VolumeContext)} - given == set()
