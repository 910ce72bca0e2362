"""The recipes of CONTRIBUTING.md: a step that is forgotten fails here, if no other check finds it."""

from __future__ import annotations

import ast
import dataclasses
import functools
import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
import pytest

from csi_powerflex.cli import controller, node
from csi_powerflex.config.controller import ControllerSettings
from csi_powerflex.config.node import NodeSettings, SdcOnDemand, SdcSettings, VolumeLimit
from csi_powerflex.csi.controller import CAPABILITIES as CONTROLLER_CAPABILITIES, Controller
from csi_powerflex.csi.node import CAPABILITIES as NODE_CAPABILITIES, Node
from csi_powerflex.gateway.mapping import ACTIONS
from csi_powerflex.host import filesystem, run
from csi_powerflex.ids import InitiatorKind
from csi_powerflex.model.parameters import SnapshotParameters, VolumeParameters
from csi_powerflex.model.transport import TRANSPORTS
from csi_powerflex.observability import metrics
from csi_powerflex.pb import csi_pb2
from csi_powerflex.transport import registry

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "csi_powerflex"
CHART = ROOT / "charts" / "csi-powerflex"


@functools.cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def sources(*folders: str) -> list[Path]:
    return [path for folder in folders for path in (PACKAGE / folder).rglob("*.py")]


def reads(paths: Iterable[Path]) -> set[tuple[str, str]]:
    """What the code reads: the name of a variable or attribute, and an attribute of it."""
    return {
        (getattr(part.value, "id", "") or getattr(part.value, "attr", ""), part.attr)
        for path in paths
        for part in ast.walk(tree(path))
        if isinstance(part, ast.Attribute) and isinstance(part.ctx, ast.Load)
    }


# --- parameters of classes -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", [VolumeParameters, SnapshotParameters])
def test_each_parameter_of_a_class_is_used(kind: type[Any]) -> None:
    used = {name for owner, name in reads(sources("operations")) if owner == "parameters"}
    used |= {name for owner, name in reads([PACKAGE / "model" / "parameters.py"]) if owner == "self"}
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


# --- options of the commands ---------------------------------------------------------------------

COMMANDS = {"controller": controller, "node": node}
OF_EVERY_COMMAND = {"log_level", "log_format"}
SETTINGS = (ControllerSettings, NodeSettings, SdcSettings, SdcOnDemand, VolumeLimit)

# Options that the chart's templates do not pass, and why. Users can give them in extraArgs.
NOT_IN_THE_CHART = {
    "controller": {
        "--state-file": "in Kubernetes, PersistentVolumes and VolumeAttributesClasses hold the limits",
        "--kubeconfig": "the controller's pod has a ServiceAccount",
    },
    "node": {
        "--mount-root": "volumes are mounted below the kubelet's folder; others are rare",
        "--max-volumes-file": "its file comes from the operator, with a volume for it",
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


def leaves() -> list[str]:
    spec = importlib.util.spec_from_file_location("reference", ROOT / "charts" / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    reference = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = reference  # its dataclasses look for their module there
    spec.loader.exec_module(reference)
    text = (CHART / "values.yaml").read_text(encoding="utf-8")
    return [value.path for value in reference.leaves(reference.read(text))]


def test_each_value_of_the_chart_is_used_by_a_template() -> None:
    assert [path for path in leaves() if not is_used(path)] == []


def test_a_value_that_no_template_uses_is_found() -> None:
    assert is_used("node.sdcOnDemand.mdms")
    assert is_used("sidecars.resizer.image")
    assert not is_used("node.timeout")
    assert not is_used("sidecars.resizer.replicas")


# --- filesystems ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", filesystem.KINDS)
def test_the_image_and_the_chart_have_each_filesystem(name: str) -> None:
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    packages = {run.PACKAGES[tool] for tool in filesystem.kind(name).tools}
    assert packages <= set(re.findall(r"[\w-]+", dockerfile))
    schema = (CHART / "values.schema.json").read_text(encoding="utf-8")
    choices = re.findall(r'"enum": (\[\s*"ext4"[^\]]*\])', schema)
    assert len(choices) == 2
    assert all(f'"{name}"' in choice for choice in choices)


# --- RPCs ----------------------------------------------------------------------------------------

_Controller = csi_pb2.ControllerServiceCapability.RPC
_Node = csi_pb2.NodeServiceCapability.RPC

# By capability the RPCs that it announces. The others are REQUIRED of every plugin, or have a flag only.
CONTROLLER_RPCS: dict[int, set[str]] = {
    _Controller.CREATE_DELETE_VOLUME: {"CreateVolume", "DeleteVolume"},
    _Controller.PUBLISH_UNPUBLISH_VOLUME: {"ControllerPublishVolume", "ControllerUnpublishVolume"},
    _Controller.EXPAND_VOLUME: {"ControllerExpandVolume"},
    _Controller.MODIFY_VOLUME: {"ControllerModifyVolume"},
    _Controller.CREATE_DELETE_SNAPSHOT: {"CreateSnapshot", "DeleteSnapshot"},
    _Controller.GET_SNAPSHOT: {"GetSnapshot"},
    _Controller.LIST_SNAPSHOTS: {"ListSnapshots"},
    _Controller.LIST_VOLUMES: {"ListVolumes"},
    _Controller.GET_VOLUME: {"ControllerGetVolume"},
    _Controller.GET_CAPACITY: {"GetCapacity"},
    _Controller.GET_VOLUME_HEALTH: {"ControllerGetVolumeHealth"},
    _Controller.LIST_VOLUME_HEALTH: {"ControllerListVolumeHealth"},
}
NODE_RPCS: dict[int, set[str]] = {
    _Node.STAGE_UNSTAGE_VOLUME: {"NodeStageVolume", "NodeUnstageVolume"},
    _Node.GET_VOLUME_STATS: {"NodeGetVolumeStats"},
    _Node.EXPAND_VOLUME: {"NodeExpandVolume"},
    _Node.GET_VOLUME_HEALTH: {"NodeGetVolumeHealth"},
    _Node.GET_STORAGE_HEALTH: {"NodeGetStorageHealth"},
}
ALWAYS = {
    *("ControllerGetCapabilities", "ValidateVolumeCapabilities", "NodeGetCapabilities", "NodeGetInfo"),
    *("NodePublishVolume", "NodeUnpublishVolume"),
}


@pytest.mark.parametrize(
    ("servicer", "announced", "by_capability"),
    [(Controller, CONTROLLER_CAPABILITIES, CONTROLLER_RPCS), (Node, NODE_CAPABILITIES, NODE_RPCS)],
)
def test_the_capabilities_announce_each_rpc_that_is_implemented_and_no_other(
    servicer: type[Any], announced: tuple[int, ...], by_capability: dict[int, set[str]]
) -> None:
    implemented = {name for name in vars(servicer) if name[0].isupper()} - ALWAYS
    assert implemented == {rpc for each in announced for rpc in by_capability.get(each, ())}


# --- transports ----------------------------------------------------------------------------------


def test_each_transport_has_all_its_rows() -> None:
    assert {name: transport.name for name, transport in TRANSPORTS.items()} == {
        name: name for name in TRANSPORTS
    }
    assert list(registry._FACTORIES) == list(TRANSPORTS)
    settings = NodeSettings(endpoint="unix:///csi.sock", driver_name="csi.example.org")
    assert [make(settings).type for make in registry._FACTORIES.values()] == list(TRANSPORTS.values())
    assert set(InitiatorKind) == ACTIONS.keys()


def test_the_metric_of_hosts_names_each_transport() -> None:
    (labels,) = (row.labels for row in metrics.TABLE if row.name == "csi_powerflex_hosts_connected")
    assert set(re.findall(r"\w+", labels["transport"])) - {"or"} == TRANSPORTS.keys()


# --- background tasks ----------------------------------------------------------------------------


def task_names() -> set[str]:
    """The first words of the names that are given to ``Loop``, by the constants and texts in its calls."""
    calls = [
        (path, part)
        for path in PACKAGE.rglob("*.py")
        for part in ast.walk(tree(path))
        if isinstance(part, ast.Call) and isinstance(part.func, ast.Name) and part.func.id == "Loop"
    ]
    return {_text(path, call.args[0]).split()[0] for path, call in calls}


def _text(path: Path, node: ast.expr) -> str:
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=[ast.Constant(value=str(text)), *_]):
            return text
        case ast.Name(id=name):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            return str(getattr(importlib.import_module(module), name))
    raise AssertionError(f"the name of a background task is no text: {ast.unparse(node)} in {path}")


def test_the_metric_of_background_errors_names_each_task() -> None:
    (labels,) = (row.labels for row in metrics.TABLE if row.name == "csi_powerflex_background_errors_total")
    assert set(re.findall(r"\w+", labels["task"])) - {"or"} == task_names()
