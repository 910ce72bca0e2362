"""A volume over NVMe/TCP from its creation to its deletion: controller, simulated array, node and kernel.

The array's portals listen, so the node asks its real discovery service. The kernel of these tests follows the
mappings of the array, and loop devices stand in for its devices.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model.nvme import NvmeTarget
from csi_powerflex.model.publish_context import PublishContext
from csi_powerflex.simulator.initial_state import DomainPlan, InitialState
from csi_powerflex.simulator.simulator import SystemPlan
from csi_powerflex.units import GIB
from tests.controller.conftest import MakeWorld, authority, make_world
from tests.controller.world import World
from tests.node.client import Kubelet, filesystem, refused
from tests.node.loophost import LoopHost
from tests.node.nvme_host import NvmeHost, serving
from tests.node.nvme_kernel import HOST, FakeArray, FakeKernel, FakePortal, FakeVolume, running
from tests.simulator.nvme import SEVERAL

__all__ = ["authority", "make_world"]

pytestmark = pytest.mark.needs("devices", "xfs")

XFS = filesystem("xfs")


@dataclass(frozen=True)
class Published:
    """A volume with the publish context that the controller returned."""

    handle: VolumeHandle
    size: int
    context: dict[str, str]

    def publish_context(self, *, read_only: bool = False) -> PublishContext:
        assert not read_only
        return PublishContext.parse(self.handle, self.context)


@dataclass
class Whole:
    """The world of the controller, and a host whose kernel follows the mappings of its array."""

    world: World
    host: NvmeHost
    kubelet: Kubelet
    seen: dict[str, FakeVolume]

    def follow(self) -> None:
        """Let the kernel see the mappings and sizes of the array."""
        world, kernel = self.world, self.host.kernel
        (array,) = kernel.arrays.values()
        target = world.simulator.nvme_targets[world.array.system.name]
        array.portals = {f"{portal.ip}:{portal.port}": FakePortal() for portal in target.io_portals}
        own = {one.id for one in world.array.hosts.values() if one.nqn and one.nqn.lower() == HOST}
        mapped = {
            volume.id: volume.size_kb * 1024
            for volume in world.array.volumes.values()
            if volume.removed_at is None and any(item.host_id in own for item in volume.mappings)
        }
        for volume_id, size in mapped.items():
            handle = VolumeHandle(world.array.system.id, volume_id)
            if volume_id not in self.seen:
                self.seen[volume_id] = self.host.mapped(handle, size, nqn=array.nqn)
            elif self.seen[volume_id].size != size:
                self.host.grow(self.seen[volume_id], size)
        for volume_id in self.seen.keys() - mapped.keys():
            self.host.unmap(self.seen.pop(volume_id), nqn=array.nqn)


@pytest.fixture
def whole(
    make_world: MakeWorld,
    host: LoopHost,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Whole]:
    state = InitialState(domains=(DomainPlan(sdts=SEVERAL),))
    world = make_world(SystemPlan("5.0", state))
    system = world.array.system.id
    nqn = f"nqn.1988-11.com.dell:powerflex:00:{system}"
    with running(FakeKernel(tmp_path / "kernel"), monkeypatch, plain_files=False) as kernel:
        kernel.arrays = {nqn: FakeArray(nqn)}
        nvme_host = NvmeHost(host, kernel)
        settings = nvme_host.settings(
            tmp_path, systems=(system,), discovery_seconds=10.0, device_seconds=20.0
        )
        with serving(settings, host.kubelet) as kubelet:
            whole = Whole(world, nvme_host, kubelet, {})
            whole.follow()
            yield whole


def staged(whole: Whole, node_id: str) -> Published:
    """A new volume, published by the controller and staged by the node."""
    driver = whole.world.driver
    created = driver.create(capabilities=[XFS])
    handle = VolumeHandle.parse(created.volume_id)
    volume = Published(handle, created.capacity_bytes, driver.publish(created, node_id, XFS))
    whole.follow()
    whole.kubelet.stage(volume, XFS)
    return volume


def test_a_volume_is_used_from_its_creation_to_its_deletion(whole: Whole) -> None:
    driver, kubelet = whole.world.driver, whole.kubelet
    node_id = kubelet.info().node_id
    volume = staged(whole, node_id)
    target = kubelet.publish(volume, XFS)
    (target / "file").write_text("data")
    assert kubelet.health(volume) == {}
    planned = {(line["traddr"], line["trsvcid"]) for line in whole.host.kernel.lines}
    listed = NvmeTarget.parse(volume.handle, volume.context).portals
    assert planned == {(portal.address, str(portal.nvme_port)) for portal in listed}

    driver.expand(str(volume.handle), gib=16)
    whole.follow()
    assert kubelet.expand(volume, required=16 * GIB) == 16 * GIB
    assert (target / "file").read_text() == "data"

    kubelet.unpublish(volume)
    kubelet.unstage(volume)
    driver.unpublish(str(volume.handle), node_id)
    whole.follow()
    driver.delete(str(volume.handle))
    assert whole.host.loop.mounts() == []
    assert whole.host.kernel.heads() == []
    assert len(whole.host.kernel.controllers()) == len(planned)


def test_a_volume_that_was_unmapped_elsewhere_can_be_removed_from_the_node(whole: Whole) -> None:
    driver, kubelet = whole.world.driver, whole.kubelet
    node_id = kubelet.info().node_id
    volume = staged(whole, node_id)
    kubelet.publish(volume, XFS)
    driver.unpublish(str(volume.handle), node_id)
    whole.follow()
    assert kubelet.health(volume) == {"DeviceMissing": "INACCESSIBLE"}
    with refused(grpc.StatusCode.UNAVAILABLE, "this host has no device for volume"):
        kubelet.usage(volume)
    kubelet.unpublish(volume)
    kubelet.unstage(volume)
    assert whole.host.loop.mounts() == []
