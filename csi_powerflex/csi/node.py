"""The Node service: each call converts, runs its operation, and builds its answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import grpc

from csi_powerflex.csi.convert import controller
from csi_powerflex.errors import InvalidArgument, NotFound
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model.array import Access
from csi_powerflex.model.capability import AccessMode, Capability
from csi_powerflex.model.node import ORIGIN_KEY, Origin, PublishContext
from csi_powerflex.operations.node.expansion import ExpandRequest, Expansion
from csi_powerflex.operations.node.health import Health, Severity
from csi_powerflex.operations.node.info import NodeInfoReader
from csi_powerflex.operations.node.publishing import Publishing, PublishRequest
from csi_powerflex.operations.node.staging import StageRequest, Staging
from csi_powerflex.operations.node.stats import DeviceSize, Stats, Usage
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

FILESYSTEM_KEY = "fstype"
"""The key of the volume context that holds the filesystem for claims that name none."""
FORMAT_OPTIONS_KEY = "mkfsFormatOption"
"""The key of the volume context that holds options for making the filesystem."""


@dataclass(frozen=True, slots=True)
class NodeOperations:
    """What the service calls."""

    staging: Staging
    publishing: Publishing
    expansion: Expansion
    stats: Stats
    health: Health
    facts: NodeInfoReader


class Node(csi_pb2_grpc.NodeServicer):
    """Volumes on this host, through the operations."""

    def __init__(self, driver_name: str, operations: NodeOperations) -> None:
        self._driver_name = driver_name
        self._operations = operations

    def NodeStageVolume(
        self, request: csi_pb2.NodeStageVolumeRequest, context: grpc.ServicerContext
    ) -> csi_pb2.NodeStageVolumeResponse:
        """Bring the volume to its staging path."""
        handle = VolumeHandle.parse(request.volume_id)
        capability = _capability(request)
        capability.check()
        self._operations.staging.stage(
            StageRequest(
                publish_context=PublishContext.from_context(handle, request.publish_context),
                path=request.staging_target_path,
                use=capability.use,
                origin=_origin(request.volume_context),
                read_only=capability.mode.access is Access.READ_ONLY,
                format_options=request.volume_context.get(FORMAT_OPTIONS_KEY, ""),
            )
        )
        return csi_pb2.NodeStageVolumeResponse()

    def NodeUnstageVolume(
        self, request: csi_pb2.NodeUnstageVolumeRequest, context: grpc.ServicerContext
    ) -> csi_pb2.NodeUnstageVolumeResponse:
        """Take the volume from its staging path."""
        self._operations.staging.unstage(_handle(request.volume_id), request.staging_target_path)
        return csi_pb2.NodeUnstageVolumeResponse()

    def NodePublishVolume(
        self, request: csi_pb2.NodePublishVolumeRequest, context: grpc.ServicerContext
    ) -> csi_pb2.NodePublishVolumeResponse:
        """Bring the staged volume to a pod."""
        handle = VolumeHandle.parse(request.volume_id)
        capability = _capability(request)
        capability.check()
        publish_context = PublishContext.from_context(handle, request.publish_context)
        self._operations.publishing.publish(
            PublishRequest(
                publish_context=publish_context,
                staging=request.staging_target_path,
                target=request.target_path,
                use=capability.use,
                read_only=request.readonly
                or publish_context.read_only
                or capability.mode.access is Access.READ_ONLY,
                exclusive=capability.mode is AccessMode.SINGLE_NODE_SINGLE_WRITER,
            )
        )
        return csi_pb2.NodePublishVolumeResponse()

    def NodeUnpublishVolume(
        self, request: csi_pb2.NodeUnpublishVolumeRequest, context: grpc.ServicerContext
    ) -> csi_pb2.NodeUnpublishVolumeResponse:
        """Take the volume from a pod."""
        self._operations.publishing.unpublish(_handle(request.volume_id), request.target_path)
        return csi_pb2.NodeUnpublishVolumeResponse()

    def NodeExpandVolume(
        self, request: csi_pb2.NodeExpandVolumeRequest, context: grpc.ServicerContext
    ) -> csi_pb2.NodeExpandVolumeResponse:
        """Grow the volume to what the array gives it."""
        known = request.HasField("volume_capability")
        size = self._operations.expansion.expand(
            ExpandRequest(
                handle=VolumeHandle.parse(request.volume_id),
                path=request.volume_path,
                staging=request.staging_target_path,
                required=request.capacity_range.required_bytes,
                limit=request.capacity_range.limit_bytes,
                use=controller.capability(request.volume_capability).use if known else None,
            )
        )
        return csi_pb2.NodeExpandVolumeResponse(capacity_bytes=size)

    def NodeGetVolumeStats(
        self, request: csi_pb2.NodeGetVolumeStatsRequest, context: grpc.ServicerContext
    ) -> csi_pb2.NodeGetVolumeStatsResponse:
        """How full the volume is."""
        usage = self._operations.stats.usage(VolumeHandle.parse(request.volume_id), request.volume_path)
        return csi_pb2.NodeGetVolumeStatsResponse(usage=_usage(usage))

    def NodeGetVolumeHealth(
        self, request: csi_pb2.NodeGetVolumeHealthRequest, context: grpc.ServicerContext
    ) -> csi_pb2.NodeGetVolumeHealthResponse:
        """What is wrong with the volume."""
        conditions = self._operations.health.of_volume(VolumeHandle.parse(request.volume_id))
        return csi_pb2.NodeGetVolumeHealthResponse(
            volume_health=csi_pb2.VolumeHealth(
                volume_id=request.volume_id,
                health_statuses=[
                    csi_pb2.VolumeHealth.VolumeHealthEntry(
                        status=csi_pb2.VolumeHealthErrorType.Value(condition.severity.name),
                        reason=condition.reason,
                        message=condition.message,
                    )
                    for condition in conditions
                ],
            )
        )

    def NodeGetStorageHealth(
        self, request: csi_pb2.NodeGetStorageHealthRequest, context: grpc.ServicerContext
    ) -> csi_pb2.NodeGetStorageHealthResponse:
        """What is wrong with this host's way to its storage."""
        return csi_pb2.NodeGetStorageHealthResponse(
            backend_health=[
                csi_pb2.NodeGetStorageHealthResponse.StorageBackendHealth(
                    status=_STORAGE_STATUS[condition.severity],
                    reason=condition.reason,
                    message=condition.message,
                )
                for condition in self._operations.health.of_storage()
            ]
        )

    def NodeGetInfo(
        self, request: csi_pb2.NodeGetInfoRequest, context: grpc.ServicerContext
    ) -> csi_pb2.NodeGetInfoResponse:
        """Who this host is, and which systems it reaches."""
        info = self._operations.facts.info()
        topology = csi_pb2.Topology()
        for system in info.systems:
            topology.MergeFrom(controller.topology(self._driver_name, system))
        return csi_pb2.NodeGetInfoResponse(
            node_id=str(info.identity), max_volumes_per_node=info.max_volumes, accessible_topology=topology
        )

    def NodeGetCapabilities(
        self, request: csi_pb2.NodeGetCapabilitiesRequest, context: grpc.ServicerContext
    ) -> csi_pb2.NodeGetCapabilitiesResponse:
        """Exactly what this service does."""
        return csi_pb2.NodeGetCapabilitiesResponse(
            capabilities=[
                csi_pb2.NodeServiceCapability(rpc=csi_pb2.NodeServiceCapability.RPC(type=kind))
                for kind in CAPABILITIES
            ]
        )


_STORAGE_STATUS = {
    Severity.DEGRADED: csi_pb2.STORAGE_DEGRADED,
    Severity.INACCESSIBLE: csi_pb2.STORAGE_UNREACHABLE,
}


def _usage(usage: Usage | DeviceSize) -> list[csi_pb2.VolumeUsage]:
    if isinstance(usage, DeviceSize):
        return [csi_pb2.VolumeUsage(unit=csi_pb2.VolumeUsage.BYTES, total=usage.total)]
    amounts = [(csi_pb2.VolumeUsage.BYTES, usage.capacity), (csi_pb2.VolumeUsage.INODES, usage.inodes)]
    return [
        csi_pb2.VolumeUsage(unit=unit, total=amount.total, used=amount.used, available=amount.available)
        for unit, amount in amounts
        if amount is not None
    ]


def _handle(volume_id: str) -> VolumeHandle | None:
    """The handle, or None for what cannot be one: taking away must work whatever the id."""
    try:
        return VolumeHandle.parse(volume_id)
    except NotFound:
        return None


def _origin(context: Mapping[str, str]) -> Origin:
    """Where the volume's data come from. An unknown origin is never taken for an empty one."""
    text = context.get(ORIGIN_KEY, "")
    try:
        return Origin(text)
    except ValueError as error:
        raise InvalidArgument(
            f"volume_context says {ORIGIN_KEY}={text!r}; it must be the one that CreateVolume returned "
            f"({ORIGIN_KEY} is one of {', '.join(Origin)})"
        ) from error


def _capability(request: csi_pb2.NodeStageVolumeRequest | csi_pb2.NodePublishVolumeRequest) -> Capability:
    """How the volume is to be used; the context names the filesystem where the claim does not."""
    return controller.capability(request.volume_capability, request.volume_context.get(FILESYSTEM_KEY))
