"""simulator.enabled, without a cluster: the containers' own commands, with the files of the chart's Secrets.

What the chart makes up has to fit together: certificate and address, password, the folder by which a node
becomes a host of the array, and the paths at which either looks.
"""

from __future__ import annotations

import base64
import contextlib
import os
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from csi_powerflex.demo import leftovers
from csi_powerflex.demo.orchestrator import Client
from csi_powerflex.demo.processes import Process, ended
from csi_powerflex.pb import csi_pb2
from tests.chart import helm as chart
from tests.chart.arguments import parsed
from tests.chart.helm import Case, Manifest
from tests.commands import output_of

_WRITER = csi_pb2.VolumeCapability.AccessMode.SINGLE_NODE_WRITER
_GIB = 2**30


@dataclass(frozen=True, slots=True)
class Installed:
    """The chart's containers as processes on this machine, below ``folder``."""

    folder: Path
    manifests: list[Manifest]
    environment: dict[str, str]

    def words(self, component: str, name: str) -> list[str]:
        """Command and arguments of a container, its paths below the folder and its variables filled in."""
        container = next(
            item
            for place, each, item in chart.containers(self.manifests)
            if (place, each) == (component, name)
        )
        words = [*container.get("command", ()), *container["args"]]
        places = {
            "/etc/powerflex-simulator": str(self.folder / "simulator-secret"),
            "/etc/powerflex/": f"{self.folder / 'systems-secret'}/",
            "/csi/csi.sock": str(self.folder / f"{component}.sock"),
            **{f"$({variable})": value for variable, value in self.environment.items()},
        }
        for found, put in places.items():
            words = [word.replace(found, put) for word in words]
        return words

    def process(self, component: str, name: str = "driver") -> Process:
        """A container that serves."""
        return Process(component, self.words(component, name), self.folder / f"{component}.log")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short name, as a kubelet's is: a socket's path must not be long."""
    with tempfile.TemporaryDirectory(prefix="chart-") as name:
        yield Path(name)


@pytest.fixture
def installed(helm: str, folder: Path) -> Iterator[Installed]:
    """The chart, rendered with a simulated array on this machine."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    case = Case(
        "simulator",
        "1.33",  # before VolumeAttributesClasses, for which the controller would ask a cluster
        settings=(
            'simulator.existingSecret=""',
            'simulator.address="127.0.0.1"',
            f"simulator.port={port}",
            f'simulator.stateDir="{folder}/state"',
            f'kubeletDir="{folder}/kubelet"',
            "metrics.enabled=false",
        ),
    )
    manifests = chart.rendered(helm, case)
    (folder / "kubelet").mkdir()
    keys = chart.named(manifests, "Secret", "-simulator")["data"]
    files = {name: base64.b64decode(text) for name, text in keys.items()}
    _write(folder / "simulator-secret", files)
    systems = chart.named(manifests, "Secret", "-systems")["stringData"]
    moved = {
        name: text.replace("/etc/powerflex-simulator", f"{folder}/simulator-secret")
        for name, text in systems.items()
    }
    _write(folder / "systems-secret", {name: text.encode() for name, text in moved.items()})
    environment = {
        "NODE_NAME": "node-1.example.org",
        "POWERFLEX_CSI_SIMULATE_PASSWORD": files["password"].decode(),
    }
    yield Installed(folder, manifests, environment)
    left = leftovers.below(folder)
    if left:
        leftovers.take_away(left)
    assert not left


def _write(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)


@contextlib.contextmanager
def running(installed: Installed) -> Iterator[tuple[Client, Client]]:
    """Controller and node, with the array below them; ended in reverse order."""
    controller, node = (Client(installed.folder / f"{name}.sock") for name in ("controller", "node"))
    port = int(parsed(installed.words("simulator", "simulator"))["port"])
    with contextlib.ExitStack() as stack:
        for client in (controller, node):
            stack.callback(client.close)
        simulator = stack.enter_context(ended(installed.process("simulator", "simulator")))
        with mock.patch.dict(os.environ, installed.environment):
            simulator.start(lambda: _listens(port))
        join = installed.words("node", "join-simulator")
        output_of(join)
        stack.enter_context(ended(installed.process("controller"))).start(controller.answers)
        stack.enter_context(ended(installed.process("node"))).start(node.answers)
        yield controller, node


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@pytest.mark.needs("devices")
def test_a_volume_lives_on_the_array_that_the_chart_brings(installed: Installed) -> None:
    capability = csi_pb2.VolumeCapability(
        mount=csi_pb2.VolumeCapability.MountVolume(fs_type="ext4"),
        access_mode=csi_pb2.VolumeCapability.AccessMode(mode=_WRITER),
    )
    staging, target = (installed.folder / "kubelet" / name for name in ("staging", "target"))
    staging.mkdir()
    with running(installed) as (controller, node):
        made = controller.call(
            controller.controller.CreateVolume,
            csi_pb2.CreateVolumeRequest(
                name="pvc-of-the-test",
                capacity_range=csi_pb2.CapacityRange(required_bytes=8 * _GIB),
                volume_capabilities=[capability],
            ),
        ).volume
        about: dict[str, Any] = {"volume_id": made.volume_id}
        node_id = node.call(node.node.NodeGetInfo, csi_pb2.NodeGetInfoRequest()).node_id
        context = controller.call(
            controller.controller.ControllerPublishVolume,
            csi_pb2.ControllerPublishVolumeRequest(
                **about, node_id=node_id, volume_capability=capability, volume_context=made.volume_context
            ),
        ).publish_context
        here: dict[str, Any] = {
            **about,
            "publish_context": context,
            "staging_target_path": str(staging),
            "volume_capability": capability,
            "volume_context": made.volume_context,
        }
        node.call(node.node.NodeStageVolume, csi_pb2.NodeStageVolumeRequest(**here))
        node.call(
            node.node.NodePublishVolume, csi_pb2.NodePublishVolumeRequest(**here, target_path=str(target))
        )
        assert os.path.ismount(target)
        (target / "file").write_text("on the simulated array")

        node.call(
            node.node.NodeUnpublishVolume,
            csi_pb2.NodeUnpublishVolumeRequest(**about, target_path=str(target)),
        )
        node.call(
            node.node.NodeUnstageVolume,
            csi_pb2.NodeUnstageVolumeRequest(**about, staging_target_path=str(staging)),
        )
        controller.call(
            controller.controller.ControllerUnpublishVolume,
            csi_pb2.ControllerUnpublishVolumeRequest(**about, node_id=node_id),
        )
        controller.call(controller.controller.DeleteVolume, csi_pb2.DeleteVolumeRequest(**about))
