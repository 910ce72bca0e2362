"""Messages of the controller and group controller services to the driver's values, and back.

Each answer has one builder, for new and existing objects alike. So a repeated call gets the same answer.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping

from csi_powerflex.csi.convert.capability import capabilities, capability
from csi_powerflex.csi.convert.health import volume_health
from csi_powerflex.errors import InvalidArgument
from csi_powerflex.ids import GroupHandle, NodeIdentity, VolumeHandle
from csi_powerflex.model.array import Volume, VolumeOutline
from csi_powerflex.model.claim import ClaimNames
from csi_powerflex.model.health import VolumeHealth
from csi_powerflex.model.parameters import MutableParameters, VolumeParameters
from csi_powerflex.model.topology import Topology
from csi_powerflex.model.volume_context import Origin, VolumeContext
from csi_powerflex.operations.controller.attachment import PublishRequest
from csi_powerflex.operations.controller.group_snapshots import Group
from csi_powerflex.operations.controller.listing import ListedSnapshot, ListedVolume
from csi_powerflex.operations.controller.lookup import is_group_member
from csi_powerflex.operations.controller.matching import CreatedVolume, VolumeRequest
from csi_powerflex.operations.controller.pagination import Page
from csi_powerflex.operations.controller.placement import TopologyRequirement
from csi_powerflex.pb import csi_pb2

# The source of a snapshot whose volume was deleted: the field must not be empty (specification, Snapshot).
_NO_VOLUME_ID = "0" * 16


def volume_request(request: csi_pb2.CreateVolumeRequest, mutable: MutableParameters) -> VolumeRequest:
    """What CreateVolume asks for, with the pool of its mutable parameters if they name one.

    Raises:
        InvalidArgument: capabilities, parameters or source cannot be read.
        NotFound: the source cannot exist.
    """
    parameters = mutable.over(VolumeParameters.parse(request.parameters))
    return VolumeRequest(
        name=request.name,
        required=request.capacity_range.required_bytes,
        limit=request.capacity_range.limit_bytes,
        capabilities=capabilities(request.volume_capabilities, parameters.filesystem),
        parameters=parameters,
        of_snapshot=request.volume_content_source.WhichOneof("type") == "snapshot",
        source=_source(request.volume_content_source) if request.HasField("volume_content_source") else None,
        requirement=_requirement(request.accessibility_requirements),
        claim=ClaimNames.parse(request.parameters),
    )


def context_to_validate(request: csi_pb2.ValidateVolumeCapabilitiesRequest) -> VolumeContext:
    """The volume context to validate: the one of the request, with what its parameters say besides.

    Raises:
        InvalidArgument: the context or the parameters cannot be read.
    """
    parameters = VolumeParameters.parse(request.parameters)
    context = VolumeContext.parse(request.volume_context)
    return dataclasses.replace(
        context,
        filesystem=context.filesystem or parameters.filesystem,
        mkfs_options=context.mkfs_options or parameters.mkfs_options,
    )


def capacity_parameters(request: csi_pb2.GetCapacityRequest) -> VolumeParameters:
    """The parameters of GetCapacity; the defaults if they cannot be read, because no pool fits them then."""
    try:
        return VolumeParameters.parse(request.parameters)
    except InvalidArgument:
        return VolumeParameters()


def _source(message: csi_pb2.VolumeContentSource) -> VolumeHandle:
    kind = message.WhichOneof("type")
    if kind == "snapshot":
        return VolumeHandle.parse(message.snapshot.snapshot_id)
    if kind == "volume":
        return VolumeHandle.parse(message.volume.volume_id)
    raise InvalidArgument("volume_content_source must name a snapshot or a volume")


def _requirement(message: csi_pb2.TopologyRequirement) -> TopologyRequirement:
    """The preferred topologies in their order, then the other requisite ones (specification)."""
    ordered: list[dict[str, str]] = []
    for topology in (*message.preferred, *message.requisite):
        segments = dict(topology.segments)
        if segments not in ordered:
            ordered.append(segments)
    return TopologyRequirement(tuple(ordered))


def created_volume(
    created: CreatedVolume,
    asked: VolumeRequest,
    request: csi_pb2.CreateVolumeRequest,
    segments: Mapping[str, str],
) -> csi_pb2.Volume:
    """The answer to CreateVolume."""
    origin = Origin.COPY if created.copied else Origin.EMPTY
    return csi_pb2.Volume(
        volume_id=str(created.handle),
        capacity_bytes=created.size,
        volume_context=VolumeContext.of_new_volume(origin, asked.parameters).to_dict(),
        content_source=request.volume_content_source if request.HasField("volume_content_source") else None,
        accessible_topology=[csi_pb2.Topology(segments=segments)],
    )


def volume_page(page: Page[ListedVolume], topology: Topology) -> csi_pb2.ListVolumesResponse:
    """A page of volumes: what the array knows of each, without its class parameters."""
    answer = csi_pb2.ListVolumesResponse(next_token=page.next_token)
    for item in page:
        _fill(answer.entries.add(), item, topology)
    return answer


def listed_volume(item: ListedVolume, topology: Topology) -> csi_pb2.ControllerGetVolumeResponse:
    """The answer to ControllerGetVolume, which has what a list has."""
    entry = csi_pb2.ListVolumesResponse.Entry()
    _fill(entry, item, topology)
    return csi_pb2.ControllerGetVolumeResponse(
        volume=entry.volume,
        status=csi_pb2.ControllerGetVolumeResponse.VolumeStatus(
            published_node_ids=entry.status.published_node_ids
        ),
    )


def _fill(entry: csi_pb2.ListVolumesResponse.Entry, item: ListedVolume, topology: Topology) -> None:
    entry.MergeFromString(_entry_template(item.volume.copied, item.system_id, item.node_ids, topology))
    volume = entry.volume
    volume.volume_id = f"{item.system_id}-{item.volume.volume_id}"
    volume.capacity_bytes = item.volume.size


@functools.lru_cache(maxsize=1024)
def _entry_template(copied: bool, system_id: str, node_ids: tuple[str, ...], topology: Topology) -> bytes:
    """What the volumes of one node have in common. To make it for each would take most of a list's time.

    The topology of an existing volume is its system. Only the answer to its creation has its zone.
    """
    context = VolumeContext(Origin.COPY if copied else Origin.EMPTY)
    entry = csi_pb2.ListVolumesResponse.Entry(
        volume=csi_pb2.Volume(
            volume_context=context.to_dict(),
            accessible_topology=[csi_pb2.Topology(segments=topology.segments([system_id]))],
        ),
        status=csi_pb2.ListVolumesResponse.VolumeStatus(published_node_ids=node_ids),
    )
    return entry.SerializeToString()


def publish_request(request: csi_pb2.ControllerPublishVolumeRequest) -> PublishRequest:
    """What ControllerPublishVolume asks for.

    Raises:
        InvalidArgument: the capability or the volume context cannot be read.
        NotFound: the volume or the node cannot exist.
    """
    return PublishRequest(
        handle=VolumeHandle.parse(request.volume_id),
        node=NodeIdentity.parse(request.node_id),
        capability=capability(request.volume_capability),
        read_only=request.readonly,
        volume_context=VolumeContext.parse(request.volume_context),
    )


def snapshot_page(page: Page[ListedSnapshot]) -> csi_pb2.ListSnapshotsResponse:
    """A page of snapshots."""
    return csi_pb2.ListSnapshotsResponse(
        entries=[
            csi_pb2.ListSnapshotsResponse.Entry(snapshot=_snapshot(item.system_id, item.snapshot))
            for item in page
        ],
        next_token=page.next_token,
    )


def health_page(page: Page[VolumeHealth]) -> csi_pb2.ControllerListVolumeHealthResponse:
    """A page of volumes and their issues."""
    return csi_pb2.ControllerListVolumeHealthResponse(
        entries=[volume_health(health) for health in page], next_token=page.next_token
    )


def snapshot(found: Volume) -> csi_pb2.Snapshot:
    """A snapshot that is not in a list."""
    return _snapshot(found.handle.system_id, found)


def _snapshot(system_id: str, found: VolumeOutline) -> csi_pb2.Snapshot:
    """A snapshot, in every answer that has one."""
    answer = csi_pb2.Snapshot(
        snapshot_id=f"{system_id}-{found.volume_id}",
        source_volume_id=f"{system_id}-{found.ancestor_id or _NO_VOLUME_ID}",
        size_bytes=found.size,
        ready_to_use=True,
        group_snapshot_id=str(GroupHandle(system_id, found.group_id or "")) if is_group_member(found) else "",
    )
    answer.creation_time.FromDatetime(found.created)
    return answer


def group_snapshot(group: Group) -> csi_pb2.VolumeGroupSnapshot:
    """A group snapshot."""
    answer = csi_pb2.VolumeGroupSnapshot(
        group_snapshot_id=str(group.handle),
        snapshots=[snapshot(member) for member in group.snapshots],
        ready_to_use=True,
    )
    answer.creation_time.FromDatetime(max(member.created for member in group.snapshots))
    return answer
