"""Nodes that reach volumes over NVMe/TCP, and what the simulated array knows of them."""

from __future__ import annotations

from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model.nvme import NvmeTarget
from csi_powerflex.pb import csi_pb2
from csi_powerflex.simulator.inprocess import Client
from csi_powerflex.simulator.model import Host
from tests.controller.world import World

UUID = "4c4c4544-0043-3610-8052-b4c04f4a5631"
NQN = f"nqn.2014-08.org.nvmexpress:uuid:{UUID}"
NODE = f"nqn:{NQN}"
HOST_NAME = "csi-544004336108052b4c04f4a5631"


def nvme_hosts(world: World) -> list[Host]:
    """The NVMe hosts of the array."""
    return [host for host in world.array.hosts.values() if host.nqn is not None]


def create_nvme_host(world: World, name: str = "n1", nqn: str = NQN) -> str:
    """Create an NVMe host on the array, as another driver would. Returns its id."""
    return str(
        Client(world.simulator.gateway).post("/api/types/Host/instances", {"nqn": nqn, "name": name})["id"]
    )


def map_to(world: World, volume: csi_pb2.Volume, host_id: str, *, several: bool = False) -> None:
    """Map a volume, as an operator or another driver would."""
    volume_id = volume.volume_id.partition("-")[2]
    multiple = "TRUE" if several else "FALSE"
    Client(world.simulator.gateway).act(
        "Volume", volume_id, "addMappedHost", hostId=host_id, allowMultipleMappings=multiple
    )


def target_of(volume: csi_pb2.Volume, context: dict[str, str]) -> NvmeTarget:
    """The target in a publish context."""
    return NvmeTarget.parse(VolumeHandle.parse(volume.volume_id), context)


def mapped_to(world: World, volume: csi_pb2.Volume) -> list[str | None]:
    """The names of the hosts that the volume is mapped to."""
    return [world.array.hosts[item.host_id].name for item in world.volume(volume.volume_id).mappings]
