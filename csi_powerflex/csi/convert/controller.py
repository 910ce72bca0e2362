"""Messages of the controller and group controller services to the driver's values, and back.

Each answer has one builder, for new and existing objects alike. So a repeated call gets the same answer.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping

from csi_powerflex.csi.convert.capability import capabilities, capability
from csi_powerflex.errors import InvalidArgument
from csi_powerflex.ids import GroupHandle, NodeIdentity, VolumeHandle
from csi_powerflex.model.array import Volume
from csi_powerflex.model.claim import ClaimNames
from csi_powerflex.model.parameters import MutableParameters, VolumeParameters
from csi_powerflex.model.volume_context import Origin, VolumeContext
from csi_powerflex.operations.controller.attachment import PublishRequest
from csi_powerflex.operations.controller.group_snapshots import Group
from csi_powerflex.operations.controller.lookup import is_group_member
from csi_powerflex.operations.controller.matching import CreatedVolume, VolumeRequest
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


def listed_volume(volume: Volume, segments: Mapping[str, str]) -> csi_pb2.Volume:
    """A volume in a list: what the array knows of it, without its class parameters."""
    origin = Origin.COPY if volume.copied else Origin.EMPTY
    answer = csi_pb2.Volume(volume_id=str(volume.handle), capacity_bytes=volume.size)
    answer.MergeFrom(_listed_template(origin, tuple(segments.items())))
    return answer


@functools.lru_cache(maxsize=256)
def _listed_template(origin: Origin, segments: tuple[tuple[str, str], ...]) -> csi_pb2.Volume:
    """What the volumes of one system have in common. To make it for each would take most of a list's time."""
    return csi_pb2.Volume(
        volume_context=VolumeContext(origin).to_dict(),
        accessible_topology=[csi_pb2.Topology(segments=dict(segments))],
    )


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


def snapshot(found: Volume) -> csi_pb2.Snapshot:
    """A snapshot, in every answer that has one."""
    system_id = found.handle.system_id
    answer = csi_pb2.Snapshot(
        snapshot_id=str(found.handle),
        source_volume_id=str(VolumeHandle(system_id, found.ancestor_id or _NO_VOLUME_ID)),
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
