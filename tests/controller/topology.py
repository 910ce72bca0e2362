"""Topologies of several systems: what a request asks for, and where its volume was created."""

from __future__ import annotations

from csi_powerflex.pb import csi_pb2
from tests.controller.world import World

DRIVER = "csi.powerflex.dev"


def reach(world: World, *numbers: int, **more: str) -> dict[str, str]:
    """The topology of a node that reaches these systems."""
    systems = [gateway.array.system.id for gateway in world.simulator.gateways]
    return {f"{DRIVER}/{systems[number]}": "true" for number in numbers} | {
        f"{DRIVER}/{key}": value for key, value in more.items()
    }


def requirement(
    *requisite: dict[str, str], preferred: tuple[dict[str, str], ...] = ()
) -> csi_pb2.TopologyRequirement:
    """The topologies that a volume must be reachable from, as CreateVolume takes them."""
    return csi_pb2.TopologyRequirement(
        requisite=[csi_pb2.Topology(segments=segments) for segments in requisite],
        preferred=[csi_pb2.Topology(segments=segments) for segments in preferred],
    )


def either_system(world: World) -> csi_pb2.TopologyRequirement:
    """The first system is preferred, and the second is allowed."""
    return requirement(preferred=(reach(world, 0), reach(world, 1)))


def system_of(world: World, volume: csi_pb2.Volume) -> int:
    """The number of the system that has the volume."""
    systems = [gateway.array.system.id for gateway in world.simulator.gateways]
    return systems.index(volume.volume_id.partition("-")[0])
