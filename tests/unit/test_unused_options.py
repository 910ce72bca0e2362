"""An option of a command has an effect, and the chart passes it. A value of the chart has an effect."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import inspect
import re
import sys
from typing import Any

import click
import pytest
import yaml

from csi_powerflex.cli import controller, node
from csi_powerflex.config.controller import ControllerSettings
from csi_powerflex.config.node import NodeSettings, NodeZone, SdcOnDemand, SdcSettings, VolumeLimit
from tests.source_code import PACKAGE, ROOT, reads

CHART = ROOT / "charts" / "csi-powerflex"

COMMANDS = {"controller": controller, "node": node}
OF_EVERY_COMMAND = {"log_level", "log_format"}
SETTINGS = (ControllerSettings, NodeSettings, SdcSettings, SdcOnDemand, VolumeLimit, NodeZone)

# Options that the chart's templates do not pass, and why. Users can give them in extraArgs.
NOT_IN_THE_CHART = {
    "controller": {
        "--state-file": "in Kubernetes, PersistentVolumes and VolumeAttributesClasses hold the limits",
        "--kubeconfig": "the controller's pod has a ServiceAccount",
    },
    "node": {
        "--mount-root": "volumes are mounted below the kubelet's folder; others are rare",
        "--zone": "each node has its own, so the chart gives a file",
        "--systemctl": "the default finds it in the host's mount namespace",
    },
}


def options(role: str) -> set[str]:
    return {option.opts[0] for option in COMMANDS[role].command.params if isinstance(option, click.Option)}


def passed(role: str) -> set[str]:
    """The options that the chart's template for the role gives to the driver's container."""
    template = (CHART / "templates" / f"{role}.yaml").read_text(encoding="utf-8")
    arguments = re.search(rf"^ +- {role}\n(.*?)\.extraArgs", template, flags=re.DOTALL | re.MULTILINE)
    assert arguments is not None
    return set(re.findall(r"--[a-z][a-z-]*", arguments[1]))


@pytest.mark.parametrize("role", COMMANDS)
def test_each_option_becomes_a_setting(role: str) -> None:
    taken = inspect.signature(COMMANDS[role].settings_from).parameters
    given = {option.name for option in COMMANDS[role].command.params}
    assert given - taken.keys() - OF_EVERY_COMMAND == set()


@pytest.mark.parametrize("kind", SETTINGS)
def test_each_setting_is_used(kind: type[Any]) -> None:
    paths = [
        path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts[0] not in ("cli", "config")
    ]
    used = {name for _, name in reads(paths)}
    assert [field.name for field in dataclasses.fields(kind) if field.name not in used] == []


@pytest.mark.parametrize("role", COMMANDS)
def test_the_chart_passes_each_option_or_the_reason_is_here(role: str) -> None:
    assert options(role) - passed(role) == NOT_IN_THE_CHART[role].keys()
    assert passed(role) - options(role) == set()


# --- values of the chart -------------------------------------------------------------------------

_ALIAS = re.compile(r"\{\{-? \$(\w+) := (\$?[\w.]+) -?\}\}")


@functools.cache
def templates() -> str:
    paths = sorted(path for path in (CHART / "templates").rglob("*") if path.is_file())
    return "\n".join(_without_aliases(path.read_text(encoding="utf-8")) for path in paths)


def _without_aliases(text: str) -> str:
    """A template with the value itself in place of a variable that only stands for a value."""
    while (alias := _ALIAS.search(text)) is not None:
        text = re.sub(rf"\${alias[1]}\b", alias[2], text.replace(alias[0], ""))
    return text


def is_used(path: str) -> bool:
    """Whether a template reads the value: by its path, or by its key from an object around it."""
    used = set(re.findall(r"\.Values\.([\w.]+)", templates()))
    if path in used:
        return True
    first, *rest = path.split(".")
    while rest and first not in used:
        first = f"{first}.{rest.pop(0)}"
    # Templates get an object as ".", or in a dictionary as "sidecar" or "image".
    return first in used and all(
        re.search(rf"(?<!\w)(?:\.(?:sidecar|image))?\.{key}\b", templates()) for key in rest
    )


def leaves(*, empty: bool = False) -> list[str]:
    """The paths in values.yaml that have a value; with ``empty``, those whose default is empty or false."""
    spec = importlib.util.spec_from_file_location("reference", ROOT / "charts" / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    reference = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = reference  # its dataclasses look for their module there
    spec.loader.exec_module(reference)
    text = (CHART / "values.yaml").read_text(encoding="utf-8")
    return [value.path for value in reference.leaves(reference.read(text)) if not (empty and value.default)]


def test_each_value_of_the_chart_is_used_by_a_template() -> None:
    assert [path for path in leaves() if not is_used(path)] == []


def test_a_value_that_no_template_uses_is_found() -> None:
    assert is_used("node.sdcOnDemand.mdms")
    assert is_used("sidecars.resizer.image")
    assert not is_used("node.timeout")
    assert not is_used("sidecars.resizer.replicas")


def test_values_that_are_empty_by_default_are_rendered_by_a_test() -> None:
    """Else no test sees whether the template that uses them makes valid objects."""
    names = sorted((ROOT / "tests" / "chart" / "values").glob("*.yaml"))
    files = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in names]
    settings = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests" / "chart").glob("*.py"))
    # One helper renders every image, and the driver's image has a tag and a digest in these files.
    unseen = [
        path
        for path in leaves(empty=True)
        if path not in settings and not any(_has(file, path) for file in files) and "image." not in path
    ]
    assert unseen == []


def _has(file: Any, path: str) -> bool:
    value = file
    for part in path.split("."):
        if not isinstance(value, dict) or part not in value:
            return False
        value = value[part]
    return True
