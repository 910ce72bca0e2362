"""CSI messages to the driver's values, and back.

Each response has one builder, for new and existing objects alike: two would answer a repeat differently.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from csi_powerflex.errors import InvalidArgument
from csi_powerflex.ids import GroupHandle, NodeIdentity, VolumeHandle
from csi_powerflex.model.array import Volume
from csi_powerflex.model.capability import DEFAULT_FILESYSTEM, AccessMode, Capability
from csi_powerflex.model.node import ORIGIN_KEY, Filesystem, Origin, RawBlock, Use
from csi_powerflex.model.parameters import VolumeParameters
from csi_powerflex.operations.controller.attachment import PublishRequest
from csi_powerflex.operations.controller.group_snapshots import Group
from csi_powerflex.operations.controller.health import VolumeHealth
from csi_powerflex.operations.controller.placement import TopologyRequirement
from csi_powerflex.operations.controller.snapshots import is_group_member
from csi_powerflex.operations.controller.volumes import CreatedVolume, VolumeRequest
from csi_powerflex.pb import csi_pb2


def capability(message: csi_pb2.VolumeCapability, filesystem: str | None = None) -> Capability:
    """A volume capability; ``filesystem`` is what its class names for claims that name none.

    Raises:
        InvalidArgument: access type or mode is missing or unknown.
    """
    kind = message.WhichOneof("access_type")
    if kind is None:
        raise InvalidArgument("volume_capability must say block or mount")
    number = message.access_mode.mode
    if not message.HasField("access_mode") or number == csi_pb2.VolumeCapability.AccessMode.UNKNOWN:
        raise InvalidArgument("volume_capability must name an access mode")
    try:
        mode = AccessMode[csi_pb2.VolumeCapability.AccessMode.Mode.Name(number)]
    except (KeyError, ValueError) as error:
        raise InvalidArgument(f"access mode {number} is not known") from error
    use: Use = RawBlock()
    if kind == "mount":
        use = Filesystem(
            type=message.mount.fs_type or filesystem or DEFAULT_FILESYSTEM,
            mount_options=tuple(message.mount.mount_flags),
        )
    return Capability(use=use, mode=mode)


def capabilities(
    messages: Iterable[csi_pb2.VolumeCapability], filesystem: str | None = None
) -> tuple[Capability, ...]:
    """Several capabilities; arguments and errors as of ``capability``."""
    return tuple(capability(message, filesystem) for message in messages)


def volume_request(request: csi_pb2.CreateVolumeRequest) -> VolumeRequest:
    """What CreateVolume asks for.

    Raises:
        InvalidArgument: capabilities, parameters or source that cannot be read.
        NotFound: a source that cannot exist.
    """
    parameters = VolumeParameters.parse(request.parameters)
    return VolumeRequest(
        name=request.name,
        required=request.capacity_range.required_bytes,
        limit=request.capacity_range.limit_bytes,
        capabilities=capabilities(request.volume_capabilities, parameters.filesystem),
        parameters=parameters,
        source=_source(request.volume_content_source) if request.HasField("volume_content_source") else None,
        requirement=_requirement(request.accessibility_requirements),
    )


def _source(message: csi_pb2.VolumeContentSource) -> VolumeHandle:
    kind = message.WhichOneof("type")
    if kind == "snapshot":
        return VolumeHandle.parse(message.snapshot.snapshot_id)
    if kind == "volume":
        return VolumeHandle.parse(message.volume.volume_id)
    raise InvalidArgument("volume_content_source must name a snapshot or a volume")


def _requirement(message: csi_pb2.TopologyRequirement) -> TopologyRequirement:
    """Preferred topologies in their order, then the other requisite ones (specification)."""
    ordered: list[dict[str, str]] = []
    for topology in (*message.preferred, *message.requisite):
        segments = dict(topology.segments)
        if segments not in ordered:
            ordered.append(segments)
    return TopologyRequirement(tuple(ordered))


def publish_request(request: csi_pb2.ControllerPublishVolumeRequest) -> PublishRequest:
    """What ControllerPublishVolume asks for.

    Raises:
        InvalidArgument: a capability that cannot be read.
        NotFound: a volume or node that cannot exist.
    """
    return PublishRequest(
        handle=VolumeHandle.parse(request.volume_id),
        node=NodeIdentity.parse(request.node_id),
        capability=capability(request.volume_capability),
        read_only=request.readonly,
        context=request.volume_context,
    )


def created_volume(
    made: CreatedVolume, request: csi_pb2.CreateVolumeRequest, segments: Mapping[str, str]
) -> csi_pb2.Volume:
    """The answer to CreateVolume. The context holds what node and publish need, and is fixed for life."""
    parameters = VolumeParameters.parse(request.parameters)
    context = (
        volume_context(copied=made.copied) | parameters.for_node() | parameters.qos_request.to_parameters()
    )
    return csi_pb2.Volume(
        volume_id=str(made.handle),
        capacity_bytes=made.size,
        volume_context=context,
        content_source=request.volume_content_source if request.HasField("volume_content_source") else None,
        accessible_topology=[csi_pb2.Topology(segments=segments)],
    )


def topology(driver_name: str, system_id: str) -> csi_pb2.Topology:
    """The topology segment of the nodes that reach a system."""
    return csi_pb2.Topology(segments={f"{driver_name}/{system_id}": "true"})


def listed_volume(found: Volume, segments: Mapping[str, str]) -> csi_pb2.Volume:
    """A volume as lists show it: what the array can tell, without what only its creation knew."""
    return csi_pb2.Volume(
        volume_id=str(found.handle),
        capacity_bytes=found.size,
        volume_context=volume_context(copied=found.copied),
        accessible_topology=[csi_pb2.Topology(segments=segments)],
    )


def volume_health(health: VolumeHealth) -> csi_pb2.VolumeHealth:
    """A volume and what is wrong with it."""
    return csi_pb2.VolumeHealth(
        volume_id=str(health.handle),
        health_statuses=[
            csi_pb2.VolumeHealth.VolumeHealthEntry(
                status=csi_pb2.VolumeHealthErrorType.Value(finding.trouble.name),
                reason=finding.reason,
                message=finding.message,
            )
            for finding in health.findings
        ],
    )


def volume_context(*, copied: bool) -> dict[str, str]:
    """The part of a volume's context that the array itself can tell."""
    return {ORIGIN_KEY: (Origin.COPY if copied else Origin.EMPTY).value}


def snapshot(found: Volume) -> csi_pb2.Snapshot:
    """A snapshot, as every answer that names one gives it."""
    system_id = found.handle.system_id
    # A snapshot outlives its source; the field may not be empty, so it then names no volume.
    source = VolumeHandle(system_id, found.ancestor_id or "0" * 16)
    answer = csi_pb2.Snapshot(
        snapshot_id=str(found.handle),
        source_volume_id=str(source),
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
