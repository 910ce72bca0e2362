"""What is declared in several tables has a row in each: filesystems, RPCs, transports, background tasks."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
from pathlib import Path
from typing import Any, cast

import grpc
import pytest

from csi_powerflex import csi
from csi_powerflex.config.node import NodeSettings
from csi_powerflex.csi import policy
from csi_powerflex.csi.controller import CAPABILITIES as CONTROLLER_CAPABILITIES, Controller
from csi_powerflex.csi.identity import Identity
from csi_powerflex.csi.node import CAPABILITIES as NODE_CAPABILITIES, Node
from csi_powerflex.gateway.mapping import ACTIONS
from csi_powerflex.host import filesystem, run
from csi_powerflex.ids import InitiatorKind
from csi_powerflex.model.transport import TRANSPORTS
from csi_powerflex.observability import metrics
from csi_powerflex.pb import csi_pb2, csi_pb2_grpc
from csi_powerflex.transport import registry
from tests import tools
from tests.controller.calls import CALLS
from tests.source_code import PACKAGE, ROOT, reads, texts, tree

CHART = ROOT / "charts" / "csi-powerflex"
NO_CONTEXT = cast("grpc.ServicerContext", None)

# --- filesystems -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", filesystem.KINDS)
def test_the_image_and_the_chart_have_each_filesystem(name: str) -> None:
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    packages = {run.PACKAGES[tool] for tool in filesystem.kind(name).tools}
    assert packages <= set(re.findall(r"[\w-]+", dockerfile))
    schema = (CHART / "values.schema.json").read_text(encoding="utf-8")
    choices = re.findall(r'"enum": (\[\s*"ext4"[^\]]*\])', schema)
    assert len(choices) == 4
    assert all(f'"{name}"' in choice for choice in choices)


# Tests that have to run with each filesystem.
FOR_EACH_FILESYSTEM = (
    "node/test_format_safety.py",
    "node/test_interrupted_calls.py",
    "node/test_mounting.py",
    "hostile/test_node.py",
)


@pytest.mark.parametrize("name", filesystem.KINDS)
@pytest.mark.parametrize("path", FOR_EACH_FILESYSTEM)
def test_these_tests_use_each_filesystem(path: str, name: str) -> None:
    assert name in texts([ROOT / "tests" / path])


@pytest.mark.parametrize("name", filesystem.KINDS)
def test_the_tools_of_each_filesystem_are_installed_for_the_tests(name: str) -> None:
    assert set(filesystem.kind(name).tools) <= tools.PACKAGES["test"].keys()


# --- RPCs ------------------------------------------------------------------------------------------


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


# By service the capability of the plugin that announces it. The others are REQUIRED of every plugin.
_Service = csi_pb2.PluginCapability.Service
SERVICES = {
    "ControllerServicer": _Service.CONTROLLER_SERVICE,
    "GroupControllerServicer": _Service.GROUP_CONTROLLER_SERVICE,
    "SnapshotMetadataServicer": _Service.SNAPSHOT_METADATA_SERVICE,
}


def servicers() -> dict[str, type[Any]]:
    """The driver's servicer of each service that it implements."""
    for module in pkgutil.iter_modules(csi.__path__, "csi_powerflex.csi."):
        importlib.import_module(module.name)
    bases = [value for name, value in vars(csi_pb2_grpc).items() if name.endswith("Servicer")]
    return {
        base.__name__: servicer
        for base in bases
        for servicer in base.__subclasses__()
        if servicer.__module__.startswith("csi_powerflex.csi.")
    }


def test_the_plugin_announces_each_service() -> None:
    answer = Identity("csi.example.org").GetPluginCapabilities(
        csi_pb2.GetPluginCapabilitiesRequest(), NO_CONTEXT
    )
    announced = {each.service.type for each in answer.capabilities if each.HasField("service")}
    expected = {SERVICES[name] for name in servicers() if name in SERVICES}
    assert announced - {_Service.VOLUME_ACCESSIBILITY_CONSTRAINTS} == expected


def test_each_call_of_the_controller_that_changes_something_is_interrupted_by_a_test() -> None:
    changing = {name for name, row in policy.POLICIES.items() if row.changes and not name.startswith("Node")}
    assert {call.split()[0] for call in CALLS} == changing


def test_each_rpc_of_each_service_has_a_policy() -> None:
    rpcs = {name for servicer in servicers().values() for name in vars(servicer) if name[0].isupper()}
    assert rpcs == policy.POLICIES.keys()


# --- transports ------------------------------------------------------------------------------------


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


# --- background tasks ------------------------------------------------------------------------------


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


# Modules that start threads of another kind, and what for.
THREADS = {
    "background.py": "loops",
    "csi/workers.py": "calls",
    "host/inotify.py": "closing a descriptor, which may take long",
    "host/run.py": "a command that was left running",
    "host/time_limit.py": "a read that may hang",
    "observability/endpoint.py": "requests for metrics",
    "operations/controller/doctor.py": "a look-up in the DNS, which has no time limit",
    "transport/nvme/connect.py": "connecting to a portal, which does not end with the call",
}


def test_work_in_the_background_is_a_loop() -> None:
    driver = [path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts[0] != "simulator"]
    found = {
        path.relative_to(PACKAGE).as_posix() for path in driver if ("threading", "Thread") in reads([path])
    }
    assert found - THREADS.keys() == set(), "use background.Loop, or state the reason here"
