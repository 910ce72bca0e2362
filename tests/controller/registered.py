"""What nodes register: the topology that a real node service answers to NodeGetInfo."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

import grpc

from csi_powerflex.app import node
from csi_powerflex.config.node import NodeSettings, NodeZone, SdcSettings
from csi_powerflex.csi import server
from csi_powerflex.pb import csi_pb2, csi_pb2_grpc
from csi_powerflex.transport.registry import TransportRegistry
from tests.controller.topology import DRIVER
from tests.controller.world import World

_GUID = "B0E3BFB8-C20B-43BF-93C8-13339E85AA50"


def registered(world: World, *numbers: int, zone: str | None = None) -> dict[str, str]:
    """The topology of a node in that zone whose SDC is registered with these systems of the world."""
    systems = [world.simulator.gateways[number].array.system.id for number in numbers]
    return dict(node_info(systems, NodeZone(name=zone)).accessible_topology.segments)


def node_info(systems: Iterable[str], zone: NodeZone) -> csi_pb2.NodeGetInfoResponse:
    """The answer of a node in that zone whose SDC is registered with systems of these ids."""
    with tempfile.TemporaryDirectory(prefix="n-") as folder:
        tool = Path(folder) / "drv_cfg"
        mdms = "".join(f"MDM-ID {system} SDC ID 0000000000000001 IPs [0]-192.0.2.1\n" for system in systems)
        tool.write_text(f"#!/bin/sh\ncase $1 in --query_guid) echo {_GUID};; *) printf '{mdms}';; esac\n")
        tool.chmod(0o755)
        settings = NodeSettings(
            endpoint=f"unix://{folder}/csi.sock",
            driver_name=DRIVER,
            mount_roots=(Path(folder),),
            zone=zone,
            sdc=SdcSettings(drv_cfg=tool, control_device=Path(folder) / "scini", by_id=Path(folder)),
        )
        with (
            server.serving(
                settings.endpoint, [node.registration(settings, TransportRegistry.of(settings))]
            ) as socket,
            grpc.insecure_channel(f"unix:{socket}") as channel,
        ):
            return csi_pb2_grpc.NodeStub(channel).NodeGetInfo(csi_pb2.NodeGetInfoRequest(), timeout=30)
