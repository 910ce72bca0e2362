"""Messages of the node service to the driver's values, and back."""

from __future__ import annotations

from csi_powerflex.csi.convert.capability import capability
from csi_powerflex.errors import NotFound
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model.access import Access
from csi_powerflex.model.capability import AccessMode
from csi_powerflex.model.publish_context import PublishContext
from csi_powerflex.model.volume_context import VolumeContext
from csi_powerflex.operations.node.expansion import ExpandRequest
from csi_powerflex.operations.node.publishing import PublishRequest
from csi_powerflex.operations.node.staging import StageRequest
from csi_powerflex.operations.node.stats import DeviceSize, Usage
from csi_powerflex.pb import csi_pb2


def stage_request(request: csi_pb2.NodeStageVolumeRequest) -> StageRequest:
    """What NodeStageVolume asks for.

    Raises:
        InvalidArgument: the capability or a context cannot be read, or can never work.
        NotFound: the volume cannot exist.
    """
    handle = VolumeHandle.parse(request.volume_id)
    volume_context = VolumeContext.parse(request.volume_context)
    asked = capability(request.volume_capability, volume_context.filesystem)
    asked.check()
    return StageRequest(
        publish_context=PublishContext.parse(handle, request.publish_context),
        path=request.staging_target_path,
        use=asked.use,
        origin=volume_context.require_origin(),
        read_only=asked.mode.access is Access.READ_ONLY,
        format_options=volume_context.mkfs_options or "",
    )


def publish_request(request: csi_pb2.NodePublishVolumeRequest) -> PublishRequest:
    """What NodePublishVolume asks for. Raises as ``stage_request``."""
    handle = VolumeHandle.parse(request.volume_id)
    volume_context = VolumeContext.parse(request.volume_context)
    asked = capability(request.volume_capability, volume_context.filesystem)
    asked.check()
    publish_context = PublishContext.parse(handle, request.publish_context)
    stage = None
    if volume_context.origin is not None:
        stage = StageRequest(
            publish_context=publish_context,
            path=request.staging_target_path,
            use=asked.use,
            origin=volume_context.origin,
            read_only=asked.mode.access is Access.READ_ONLY,
            format_options=volume_context.mkfs_options or "",
        )
    return PublishRequest(
        publish_context=publish_context,
        staging=request.staging_target_path,
        target=request.target_path,
        use=asked.use,
        read_only=request.readonly or publish_context.read_only or asked.mode.access is Access.READ_ONLY,
        exclusive=asked.mode is AccessMode.SINGLE_NODE_SINGLE_WRITER,
        stage=stage,
    )


def expand_request(request: csi_pb2.NodeExpandVolumeRequest) -> ExpandRequest:
    """What NodeExpandVolume asks for.

    Raises:
        InvalidArgument: the capability cannot be read.
        NotFound: the volume cannot exist.
    """
    has_capability = request.HasField("volume_capability")
    return ExpandRequest(
        handle=VolumeHandle.parse(request.volume_id),
        path=request.volume_path,
        staging=request.staging_target_path,
        required=request.capacity_range.required_bytes,
        limit=request.capacity_range.limit_bytes,
        use=capability(request.volume_capability).use if has_capability else None,
    )


def handle_to_remove(volume_id: str) -> VolumeHandle | None:
    """The handle, or None for an id that cannot be one: unmounting has to work whatever the id is."""
    try:
        return VolumeHandle.parse(volume_id)
    except NotFound:
        return None


def volume_usage(usage: Usage | DeviceSize) -> list[csi_pb2.VolumeUsage]:
    """The usage of a volume, one entry for each unit."""
    if isinstance(usage, DeviceSize):
        return [csi_pb2.VolumeUsage(unit=csi_pb2.VolumeUsage.BYTES, total=usage.total)]
    amounts = [(csi_pb2.VolumeUsage.BYTES, usage.capacity), (csi_pb2.VolumeUsage.INODES, usage.inodes)]
    return [
        csi_pb2.VolumeUsage(unit=unit, total=amount.total, used=amount.used, available=amount.available)
        for unit, amount in amounts
        if amount is not None
    ]
