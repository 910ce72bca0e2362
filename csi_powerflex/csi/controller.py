"""The Controller service: each call converts, runs its operation, and builds its answer."""

from __future__ import annotations

from dataclasses import dataclass

import grpc
from google.protobuf.wrappers_pb2 import Int64Value

from csi_powerflex.csi.convert import controller as convert
from csi_powerflex.csi.convert.capability import capabilities
from csi_powerflex.csi.convert.health import volume_health
from csi_powerflex.csi.shared_pages import SharedPages
from csi_powerflex.errors import InvalidArgument, NotFound
from csi_powerflex.ids import NodeIdentity, VolumeHandle
from csi_powerflex.model.parameters import SnapshotParameters, parse_mutable
from csi_powerflex.model.topology import Topology
from csi_powerflex.model.volume_context import Origin
from csi_powerflex.observability.log import Log
from csi_powerflex.operations.controller.attachment import Attachment
from csi_powerflex.operations.controller.capacity import Capacity
from csi_powerflex.operations.controller.deletion import Deletion
from csi_powerflex.operations.controller.expansion import Expansion
from csi_powerflex.operations.controller.health import Health
from csi_powerflex.operations.controller.holding import Holding
from csi_powerflex.operations.controller.listing import Listing
from csi_powerflex.operations.controller.modification import Modification
from csi_powerflex.operations.controller.qos import Qos
from csi_powerflex.operations.controller.snapshots import Snapshots
from csi_powerflex.operations.controller.volumes import Volumes
from csi_powerflex.pb import csi_pb2, csi_pb2_grpc

log = Log(__name__)

MAX_PAGE_ENTRIES = 4000
"""The most entries of a page of a list. By default, a gRPC client accepts messages of at most 4 MiB. An entry
has some 150 bytes, and 40 more for each further node."""

_Rpc = csi_pb2.ControllerServiceCapability.RPC

CAPABILITIES = (
    _Rpc.CREATE_DELETE_VOLUME,
    _Rpc.PUBLISH_UNPUBLISH_VOLUME,
    _Rpc.PUBLISH_READONLY,
    _Rpc.SINGLE_NODE_MULTI_WRITER,
    _Rpc.CLONE_VOLUME,
    _Rpc.EXPAND_VOLUME,
    _Rpc.MODIFY_VOLUME,
    _Rpc.CREATE_DELETE_SNAPSHOT,
    _Rpc.GET_SNAPSHOT,
    _Rpc.LIST_SNAPSHOTS,
    _Rpc.LIST_VOLUMES,
    _Rpc.LIST_VOLUMES_PUBLISHED_NODES,
    _Rpc.GET_VOLUME,
    _Rpc.GET_CAPACITY,
    _Rpc.GET_VOLUME_HEALTH,
    _Rpc.LIST_VOLUME_HEALTH,
)


@dataclass(frozen=True, slots=True)
class ControllerOperations:
    """The operations that the controller service calls."""

    volumes: Volumes
    deletion: Deletion
    attachment: Attachment
    expansion: Expansion
    qos: Qos
    modification: Modification
    snapshots: Snapshots
    listing: Listing
    capacity: Capacity
    health: Health
    holding: Holding


class Controller(csi_pb2_grpc.ControllerServicer):
    """Volumes and mappings, through the operations."""

    def __init__(self, topology: Topology, operations: ControllerOperations) -> None:
        self._topology = topology
        self._operations = operations
        self._pages = SharedPages()

    def CreateVolume(
        self, request: csi_pb2.CreateVolumeRequest, context: grpc.ServicerContext
    ) -> csi_pb2.CreateVolumeResponse:
        """Create the volume, or return it if it exists and fits."""
        mutable = parse_mutable(request.mutable_parameters)
        asked = convert.volume_request(request, mutable)
        qos = asked.parameters.qos_request.merged_with(mutable.qos_request)
        created = self._operations.volumes.create(asked)
        self._operations.qos.record_initial(created.handle, qos)
        segments = self._topology.of_volume(
            created.handle.system_id,
            created.zone,
            asked.parameters.transport,
            asked.requirement.topologies,
        )
        return csi_pb2.CreateVolumeResponse(volume=convert.created_volume(created, asked, request, segments))

    def DeleteVolume(
        self, request: csi_pb2.DeleteVolumeRequest, context: grpc.ServicerContext
    ) -> csi_pb2.DeleteVolumeResponse:
        """Delete the volume. An id that cannot be a volume's is answered as deleted."""
        try:
            handle = VolumeHandle.parse(request.volume_id)
        except NotFound as error:
            log.info("nothing to delete", reason=error)
        else:
            self._operations.deletion.delete(handle)
            self._operations.qos.delete(handle)
        return csi_pb2.DeleteVolumeResponse()

    def ControllerPublishVolume(
        self, request: csi_pb2.ControllerPublishVolumeRequest, context: grpc.ServicerContext
    ) -> csi_pb2.ControllerPublishVolumeResponse:
        """Map the volume to the node."""
        asked = convert.publish_request(request)
        self._operations.holding.require_not_held(asked.handle)
        publish_context = self._operations.attachment.publish(asked)
        return csi_pb2.ControllerPublishVolumeResponse(publish_context=publish_context.to_dict())

    def ControllerUnpublishVolume(
        self, request: csi_pb2.ControllerUnpublishVolumeRequest, context: grpc.ServicerContext
    ) -> csi_pb2.ControllerUnpublishVolumeResponse:
        """Unmap the volume from the node, or from every node if none is named."""
        try:
            handle = VolumeHandle.parse(request.volume_id)
        except NotFound as error:
            log.info("nothing to unmap", reason=error)
        else:
            self._unpublish(handle, request.node_id)
        return csi_pb2.ControllerUnpublishVolumeResponse()

    def _unpublish(self, handle: VolumeHandle, node_id: str) -> None:
        if not node_id:
            self._operations.attachment.unpublish(handle, None)
            return
        try:
            node = NodeIdentity.parse(node_id)
        except NotFound:
            self._operations.attachment.require_unmapped(handle, node_id)
        else:
            self._operations.attachment.unpublish(handle, node)

    def ValidateVolumeCapabilities(
        self, request: csi_pb2.ValidateVolumeCapabilitiesRequest, context: grpc.ServicerContext
    ) -> csi_pb2.ValidateVolumeCapabilitiesResponse:
        """Confirm the capabilities, or say why not."""
        capabilities(request.volume_capabilities)  # They must be readable.
        volume = self._operations.volumes.get(VolumeHandle.parse(request.volume_id))
        try:
            told = convert.context_to_validate(request)
            parse_mutable(request.mutable_parameters)
            empty = not volume.copied if told.origin is None else told.origin is Origin.EMPTY
            for capability in capabilities(request.volume_capabilities, told.filesystem):
                capability.check()
                if empty:
                    capability.check_format(told.mkfs_options)
                volume.check_allows(capability.mode.access)
        except InvalidArgument as error:
            return csi_pb2.ValidateVolumeCapabilitiesResponse(message=str(error))
        return csi_pb2.ValidateVolumeCapabilitiesResponse(
            confirmed=csi_pb2.ValidateVolumeCapabilitiesResponse.Confirmed(
                volume_context=request.volume_context,
                volume_capabilities=request.volume_capabilities,
                parameters=request.parameters,
                mutable_parameters=request.mutable_parameters,
            )
        )

    def ControllerExpandVolume(
        self, request: csi_pb2.ControllerExpandVolumeRequest, context: grpc.ServicerContext
    ) -> csi_pb2.ControllerExpandVolumeResponse:
        """Grow the volume; a filesystem on it then has to be grown on the node."""
        handle = VolumeHandle.parse(request.volume_id)
        self._operations.holding.require_resizable(handle)
        size = self._operations.expansion.expand(
            handle,
            required=request.capacity_range.required_bytes,
            limit=request.capacity_range.limit_bytes,
        )
        return csi_pb2.ControllerExpandVolumeResponse(
            capacity_bytes=size, node_expansion_required=not request.volume_capability.HasField("block")
        )

    def ControllerModifyVolume(
        self, request: csi_pb2.ControllerModifyVolumeRequest, context: grpc.ServicerContext
    ) -> csi_pb2.ControllerModifyVolumeResponse:
        """Change the limits and the pool of the volume, mapped or not."""
        wanted = parse_mutable(request.mutable_parameters)
        self._operations.modification.modify(VolumeHandle.parse(request.volume_id), wanted)
        return csi_pb2.ControllerModifyVolumeResponse()

    def CreateSnapshot(
        self, request: csi_pb2.CreateSnapshotRequest, context: grpc.ServicerContext
    ) -> csi_pb2.CreateSnapshotResponse:
        """Take a snapshot now, or return the snapshot of that name."""
        found = self._operations.snapshots.create(
            request.name,
            VolumeHandle.parse(request.source_volume_id),
            SnapshotParameters.parse(request.parameters),
        )
        return csi_pb2.CreateSnapshotResponse(snapshot=convert.snapshot(found))

    def DeleteSnapshot(
        self, request: csi_pb2.DeleteSnapshotRequest, context: grpc.ServicerContext
    ) -> csi_pb2.DeleteSnapshotResponse:
        """Delete the snapshot. An id that cannot be a snapshot's is answered as deleted."""
        try:
            handle = VolumeHandle.parse(request.snapshot_id)
        except NotFound as error:
            log.info("nothing to delete", reason=error)
        else:
            self._operations.snapshots.delete(handle)
        return csi_pb2.DeleteSnapshotResponse()

    def GetSnapshot(
        self, request: csi_pb2.GetSnapshotRequest, context: grpc.ServicerContext
    ) -> csi_pb2.GetSnapshotResponse:
        """One snapshot."""
        found = self._operations.snapshots.get(VolumeHandle.parse(request.snapshot_id))
        return csi_pb2.GetSnapshotResponse(snapshot=convert.snapshot(found))

    def ListVolumes(
        self, request: csi_pb2.ListVolumesRequest, context: grpc.ServicerContext
    ) -> csi_pb2.ListVolumesResponse:
        """A page of the cluster's volumes, with the nodes that they are published to."""
        page = self._operations.listing.volumes(
            token=request.starting_token, max_entries=_page(request.max_entries)
        )
        return self._pages.answer(page, lambda page: convert.volume_page(page, self._topology))

    def ControllerGetVolume(
        self, request: csi_pb2.ControllerGetVolumeRequest, context: grpc.ServicerContext
    ) -> csi_pb2.ControllerGetVolumeResponse:
        """One volume, with the nodes that it is published to."""
        item = self._operations.listing.volume(VolumeHandle.parse(request.volume_id))
        return convert.listed_volume(item, self._topology)

    def ListSnapshots(
        self, request: csi_pb2.ListSnapshotsRequest, context: grpc.ServicerContext
    ) -> csi_pb2.ListSnapshotsResponse:
        """A page of the cluster's snapshots."""
        page = self._operations.listing.snapshots(
            token=request.starting_token,
            max_entries=_page(request.max_entries),
            snapshot_id=request.snapshot_id,
            source_id=request.source_volume_id,
        )
        return self._pages.answer(page, convert.snapshot_page)

    def GetCapacity(
        self, request: csi_pb2.GetCapacityRequest, context: grpc.ServicerContext
    ) -> csi_pb2.GetCapacityResponse:
        """How much more can be provisioned."""
        parameters = convert.capacity_parameters(request)
        for capability in capabilities(request.volume_capabilities, parameters.filesystem):
            capability.check()
            capability.check_format(parameters.mkfs_options)
        left = self._operations.capacity.available(
            request.parameters, dict(request.accessible_topology.segments)
        )
        return csi_pb2.GetCapacityResponse(
            available_capacity=left.total,
            maximum_volume_size=Int64Value(value=left.largest),
            minimum_volume_size=Int64Value(value=left.smallest),
        )

    def ControllerGetVolumeHealth(
        self, request: csi_pb2.ControllerGetVolumeHealthRequest, context: grpc.ServicerContext
    ) -> csi_pb2.ControllerGetVolumeHealthResponse:
        """The health issues of one volume."""
        health = self._operations.health.of(VolumeHandle.parse(request.volume_id))
        return csi_pb2.ControllerGetVolumeHealthResponse(volume_health=volume_health(health))

    def ControllerListVolumeHealth(
        self, request: csi_pb2.ControllerListVolumeHealthRequest, context: grpc.ServicerContext
    ) -> csi_pb2.ControllerListVolumeHealthResponse:
        """A page of the volumes that have a health issue."""
        page = self._operations.health.unhealthy(
            token=request.starting_token, max_entries=_page(request.max_entries)
        )
        return self._pages.answer(page, convert.health_page)

    def ControllerGetCapabilities(
        self, request: csi_pb2.ControllerGetCapabilitiesRequest, context: grpc.ServicerContext
    ) -> csi_pb2.ControllerGetCapabilitiesResponse:
        """The RPCs that this service implements."""
        return csi_pb2.ControllerGetCapabilitiesResponse(
            capabilities=[
                csi_pb2.ControllerServiceCapability(rpc=csi_pb2.ControllerServiceCapability.RPC(type=kind))
                for kind in CAPABILITIES
            ]
        )


def _page(max_entries: int) -> int:
    """The most entries of a page. It may have fewer than the caller allows (specification, ListVolumes)."""
    return min(max_entries, MAX_PAGE_ENTRIES) or MAX_PAGE_ENTRIES
