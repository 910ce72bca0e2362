"""The Node service: each call converts, runs its operation, and builds its answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import grpc

from csi_powerflex.csi import convert
from csi_powerflex.errors import InvalidArgument, NotFound
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model.array import Access
from csi_powerflex.model.capability import AccessMode
from csi_powerflex.model.node import ORIGIN_KEY, NodeTransport, Origin, Ticket
from csi_powerflex.operations.publishing import Publishing, PublishRequest
from csi_powerflex.operations.staging import StageRequest, Staging
from csi_powerflex.pb import csi_pb2, csi_pb2_grpc

_Rpc = csi_pb2.NodeServiceCapability.RPC

CAPABILITIES = (
    _Rpc.STAGE_UNSTAGE_VOLUME,
    _Rpc.SINGLE_NODE_MULTI_WRITER,
)

FORMAT_OPTIONS_KEY = "mkfsFormatOption"
"""The key of the volume context that holds options for making the filesystem."""


@dataclass(frozen=True, slots=True)
class NodeOperations:
    """What the service calls."""

    transport: NodeTransport
    staging: Staging
    publishing: Publishing


class Node(csi_pb2_grpc.NodeServicer):
    """Volumes on this host, through the operations."""

    def __init__(self, driver_name: str, operations: NodeOperations, *, max_volumes: int) -> None:
        self._driver_name = driver_name
        self._operations = operations
        self._max_volumes = max_volumes

    def NodeStageVolume(
        self, request: csi_pb2.NodeStageVolumeRequest, context: grpc.ServicerContext
    ) -> csi_pb2.NodeStageVolumeResponse:
        """Bring the volume to its staging path."""
        handle = VolumeHandle.parse(request.volume_id)
        capability = convert.capability(request.volume_capability)
        capability.check()
        self._operations.staging.stage(
            StageRequest(
                ticket=Ticket.from_context(handle, request.publish_context),
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
        capability = convert.capability(request.volume_capability)
        capability.check()
        ticket = Ticket.from_context(handle, request.publish_context)
        self._operations.publishing.publish(
            PublishRequest(
                ticket=ticket,
                staging=request.staging_target_path,
                target=request.target_path,
                use=capability.use,
                read_only=request.readonly or ticket.read_only or capability.mode.access is Access.READ_ONLY,
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

    def NodeGetInfo(
        self, request: csi_pb2.NodeGetInfoRequest, context: grpc.ServicerContext
    ) -> csi_pb2.NodeGetInfoResponse:
        """Who this host is, and which systems it reaches. Asks the SDC alone."""
        systems = self._operations.transport.systems()
        segments = {
            key: "true" for system in systems for key in convert.topology(self._driver_name, system).segments
        }
        return csi_pb2.NodeGetInfoResponse(
            node_id=str(self._operations.transport.identity()),
            max_volumes_per_node=self._max_volumes,
            accessible_topology=csi_pb2.Topology(segments=segments),
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
