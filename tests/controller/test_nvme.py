"""Publishing volumes to nodes that reach them over NVMe/TCP."""

from __future__ import annotations

import pytest

from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model.nvme import NvmeTarget, Portal
from csi_powerflex.simulator.model import Host
from tests.controller.driver import Driver
from tests.controller.world import World

UUID = "4c4c4544-0043-3610-8052-b4c04f4a5631"
NQN = f"nqn.2014-08.org.nvmexpress:uuid:{UUID}"
NODE = f"nqn:{NQN}"

with_nvme = pytest.mark.parametrize("world", ["4.5", "5.0"], indirect=True)


def nvme_hosts(world: World) -> list[Host]:
    """The NVMe hosts of the array."""
    return [host for host in world.array.hosts.values() if host.nqn is not None]


@with_nvme
def test_a_volume_is_published_to_a_node_by_its_nqn(world: World, driver: Driver) -> None:
    volume = driver.create()
    context = driver.publish(volume, NODE)
    handle = VolumeHandle.parse(volume.volume_id)
    target = NvmeTarget.parse(handle, context)
    assert target == NvmeTarget(
        nqn=f"nqn.1988-11.com.dell:powerflex:00:{handle.system_id}",
        portals=(Portal("203.0.1.1", 4420, 8009), Portal("203.0.1.2", 4420, 8009)),
        nguid=f"{handle.volume_id}64b94e{handle.system_id[6:]}",
    )
    assert context == {
        "transport": "nvme",
        "sizeBytes": str(volume.capacity_bytes),
        "readOnly": "false",
        **target.details(),
    }
    (host,) = nvme_hosts(world)
    (mapping,) = world.volume(volume.volume_id).mappings
    assert mapping.host_id == host.id
    assert host.nqn == NQN
    assert (host.name or "").endswith("8052b4c04f4a5631")
    assert len(host.name or "") == 31
