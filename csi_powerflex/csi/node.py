"""The Node service: each method converts its request, runs one operation and builds the answer."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import grpc

from csi_powerflex.csi.convert import node as convert
from csi_powerflex.csi.convert.health import storage_health, volume_health
from csi_powerflex.errors import DriverError, NotFound
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model.topology import Topology
from csi_powerflex.operations.node.expansion import Expansion
from csi_powerflex.operations.node.health import Health
from csi_powerflex.operations.node.info import NodeInfoReader
from csi_powerflex.operations.node.publishing import Publishing
from csi_powerflex.operations.node.staging import Staging
from csi_powerflex.operations.node.stats import Stats
from csi_powerflex.pb import csi_pb2, csi_pb2_grpc

_Rpc = csi_pb2.NodeServiceCapability.RPC

CAPABILITIES = (
    _Rpc.STAGE_UNSTAGE_VOLUME,
    _Rpc.GET_VOLUME_STATS,
    _Rpc.EXPAND_VOLUME,
    _Rpc.SINGLE_NODE_MULTI_WRITER,
    _Rpc.GET_VOLUME_HEALTH,
    _Rpc.GET_STORAGE_HEALTH,
)


@dataclass(frozen=True, slots=True)
class NodeOperations:
    """The operations that the node service calls."""

    staging: Staging
    publishing: Publishing
    expansion: Expansion
    stats: Stats
    health: Health
    info: NodeInfoReader


@contextlib.contextmanager
def naming(volume_id: str) -> Iterator[None]:
    """An error in the block names the volume of the call: that of a tool or a device knows only the device.

    An invalid id is left out.
    """
    try:
        yield
    except DriverError as error:
        with contextlib.suppress(NotFound):
            handle = str(VolumeHandle.parse(volume_id))
            if handle not in str(error):
                error.args = (f"volume {handle}: {error}",)
        raise


class Node(csi_pb2_grpc.NodeServicer):
    """Volumes on this host, through the operations."""

    def __init__(self, topology: Topology, operations: NodeOperations) -> None:
        self._topology = topology
        self._operations = operations

    def NodeStageVolume(
        self, request: csi_pb2.NodeStageVolumeRequest, context: grpc.ServicerContext
    ) -> csi_pb2.NodeStageVolumeResponse:
        """Mount the volume at its staging path; for a block volume, wait for its device."""
        with naming(request.volume_id):
            self._operations.staging.stage(convert.stage_request(request))
        return csi_pb2.NodeStageVolumeResponse()

    def NodeUnstageVolume(
        self, request: csi_pb2.NodeUnstageVolumeRequest, context: grpc.ServicerContext
    ) -> csi_pb2.NodeUnstageVolumeResponse:
        """Unmount the volume from its staging path."""
        handle = convert.handle_to_remove(request.volume_id)
        with naming(request.volume_id):
            self._operations.staging.unstage(handle, request.staging_target_path)
        return csi_pb2.NodeUnstageVolumeResponse()

    def NodePublishVolume(
        self, request: csi_pb2.NodePublishVolumeRequest, context: grpc.ServicerContext
    ) -> csi_pb2.NodePublishVolumeResponse:
        """Make the staged volume appear at a pod's target path."""
        with naming(request.volume_id):
            self._operations.publishing.publish(convert.publish_request(request))
        return csi_pb2.NodePublishVolumeResponse()

    def NodeUnpublishVolume(
        self, request: csi_pb2.NodeUnpublishVolumeRequest, context: grpc.ServicerContext
    ) -> csi_pb2.NodeUnpublishVolumeResponse:
        """Remove the volume from a pod's target path."""
        handle = convert.handle_to_remove(request.volume_id)
        with naming(request.volume_id):
            self._operations.publishing.unpublish(handle, request.target_path)
        return csi_pb2.NodeUnpublishVolumeResponse()

    def NodeExpandVolume(
        self, request: csi_pb2.NodeExpandVolumeRequest, context: grpc.ServicerContext
    ) -> csi_pb2.NodeExpandVolumeResponse:
        """Grow the filesystem of the volume to the size that the array gave to the volume."""
        with naming(request.volume_id):
            size = self._operations.expansion.expand(convert.expand_request(request))
        return csi_pb2.NodeExpandVolumeResponse(capacity_bytes=size)

    def NodeGetVolumeStats(
        self, request: csi_pb2.NodeGetVolumeStatsRequest, context: grpc.ServicerContext
    ) -> csi_pb2.NodeGetVolumeStatsResponse:
        """How full the volume is."""
        with naming(request.volume_id):
            usage = self._operations.stats.usage(VolumeHandle.parse(request.volume_id), request.volume_path)
        return csi_pb2.NodeGetVolumeStatsResponse(usage=convert.volume_usage(usage))

    def NodeGetVolumeHealth(
        self, request: csi_pb2.NodeGetVolumeHealthRequest, context: grpc.ServicerContext
    ) -> csi_pb2.NodeGetVolumeHealthResponse:
        """The health issues of the volume on this node."""
        health = self._operations.health.of_volume(VolumeHandle.parse(request.volume_id))
        return csi_pb2.NodeGetVolumeHealthResponse(volume_health=volume_health(health))

    def NodeGetStorageHealth(
        self, request: csi_pb2.NodeGetStorageHealthRequest, context: grpc.ServicerContext
    ) -> csi_pb2.NodeGetStorageHealthResponse:
        """The health issues of this node's connection to its storage."""
        issues = self._operations.health.of_storage()
        return csi_pb2.NodeGetStorageHealthResponse(backend_health=map(storage_health, issues))

    def NodeGetInfo(
        self, request: csi_pb2.NodeGetInfoRequest, context: grpc.ServicerContext
    ) -> csi_pb2.NodeGetInfoResponse:
        """The node id of this host, which systems it reaches, and its zone."""
        info = self._operations.info.read()
        return csi_pb2.NodeGetInfoResponse(
            node_id=str(info.identity),
            max_volumes_per_node=info.max_volumes,
            accessible_topology=csi_pb2.Topology(segments=self._topology.of_node(info.systems, info.zone)),
        )

    def NodeGetCapabilities(
        self, request: csi_pb2.NodeGetCapabilitiesRequest, context: grpc.ServicerContext
    ) -> csi_pb2.NodeGetCapabilitiesResponse:
        """The RPCs that this service implements."""
        return csi_pb2.NodeGetCapabilitiesResponse(
            capabilities=[
                csi_pb2.NodeServiceCapability(rpc=csi_pb2.NodeServiceCapability.RPC(type=kind))
                for kind in CAPABILITIES
            ]
        )
