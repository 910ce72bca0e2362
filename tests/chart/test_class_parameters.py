"""The chart and the driver agree about the parameters of classes: what one takes, the other takes too."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from csi_powerflex.errors import InvalidArgument
from csi_powerflex.model.parameters import (
    SIDECAR_PREFIX,
    MutableParameters,
    SnapshotParameters,
    VolumeParameters,
    parse_mutable,
)
from tests.chart.helm import CHART

SCHEMA = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))["properties"]
NUMBERS = yaml.safe_load((CHART / "files" / "numbers.yaml").read_text(encoding="utf-8"))
READERS = {
    "storageClasses": VolumeParameters.parse,
    "volumeSnapshotClasses": SnapshotParameters.parse,
    "volumeGroupSnapshotClasses": SnapshotParameters.parse_group,
    "volumeAttributesClasses": parse_mutable,
}


def properties(value: str) -> dict[str, Any]:
    """The schema of each parameter that a class in this value may have, without those of the sidecars."""
    found = SCHEMA[value]["items"]["properties"]["parameters"]["properties"]
    return {key: shape for key, shape in found.items() if not key.startswith(SIDECAR_PREFIX)}


def choices() -> Iterator[tuple[str, str, str]]:
    """Each value and key, with each choice that the schema allows for it."""
    for value in READERS:
        for key, shape in properties(value).items():
            for option in shape.get("enum", ()):
                yield value, key, str(option).lower() if isinstance(option, bool) else option


@pytest.mark.parametrize(("value", "key", "option"), list(choices()))
def test_the_driver_takes_each_choice_of_the_chart(value: str, key: str, option: str) -> None:
    READERS[value]({key: option})


def test_the_chart_has_the_keys_of_the_driver() -> None:
    keys = {field.metadata["key"] for field in dataclasses.fields(VolumeParameters)}
    assert set(properties("storageClasses")) == keys
    keys = {field.metadata["key"] for field in dataclasses.fields(MutableParameters)}
    assert set(properties("volumeAttributesClasses")) == keys
    keys = {field.metadata["key"] for field in dataclasses.fields(SnapshotParameters)}
    for value in ("volumeSnapshotClasses", "volumeGroupSnapshotClasses"):
        assert set(properties(value)) == keys


def takes(key: str, number: int) -> bool:
    """Whether the driver takes the number, in the class that has the key."""
    (read, *_) = [READERS[value] for value in READERS if key in properties(value)]
    try:
        read({key: str(number)})
    except InvalidArgument:
        return False
    return True


@pytest.mark.parametrize("key", sorted(NUMBERS))
def test_the_numbers_of_the_chart_are_those_of_the_driver(key: str) -> None:
    rule = {"least": 1, "step": 1, "most": 999_999_999} | NUMBERS[key]
    least = -(-rule["least"] // rule["step"]) * rule["step"]
    assert takes(key, 0)
    assert takes(key, least)
    assert least == 1 or not takes(key, least - 1)
    assert takes(key, least + rule["step"])
    assert rule["step"] == 1 or not takes(key, least + rule["step"] - 1)
    if "most" in NUMBERS[key]:
        assert takes(key, rule["most"])
        assert not takes(key, rule["most"] + 1)


def test_each_number_of_the_schema_has_a_rule() -> None:
    numbers = {
        key
        for value in READERS
        for key, shape in properties(value).items()
        if any(each.get("type") == "integer" for each in shape.get("anyOf", ()))
    }
    assert numbers == NUMBERS.keys()
