"""CSI messages to the driver's values, and back.

Each response has one builder, for new and existing objects alike: two would answer a repeat differently.
"""

from __future__ import annotations

from collections.abc import Iterable

from csi_powerflex.errors import InvalidArgument
from csi_powerflex.model.array import Volume
from csi_powerflex.model.capability import DEFAULT_FILESYSTEM, AccessMode, Capability
from csi_powerflex.model.node import ORIGIN_KEY, Filesystem, Origin, RawBlock, Use
from csi_powerflex.model.parameters import VolumeParameters
from csi_powerflex.operations.volumes import VolumeRequest
from csi_powerflex.pb import csi_pb2


def capability(message: csi_pb2.VolumeCapability) -> Capability:
    """A volume capability.

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
            type=message.mount.fs_type or DEFAULT_FILESYSTEM,
            mount_options=tuple(message.mount.mount_flags),
        )
    return Capability(use=use, mode=mode)


def capabilities(messages: Iterable[csi_pb2.VolumeCapability]) -> tuple[Capability, ...]:
    """Several capabilities; raises as ``capability``."""
    return tuple(capability(message) for message in messages)


def volume_request(request: csi_pb2.CreateVolumeRequest) -> VolumeRequest:
    """What CreateVolume asks for.

    Raises:
        InvalidArgument: capabilities or parameters that cannot be read, or a source, which is not offered.
    """
    if request.HasField("volume_content_source"):
        raise InvalidArgument("this driver cannot create a volume from another volume or a snapshot")
    if request.mutable_parameters:
        raise InvalidArgument(
            f"mutable parameters are not known: {', '.join(sorted(request.mutable_parameters))}"
        )
    return VolumeRequest(
        name=request.name,
        required=request.capacity_range.required_bytes,
        limit=request.capacity_range.limit_bytes,
        capabilities=capabilities(request.volume_capabilities),
        parameters=VolumeParameters.parse(request.parameters),
    )


def volume(volume: Volume, driver_name: str) -> csi_pb2.Volume:
    """A volume, as every answer that names one gives it."""
    return csi_pb2.Volume(
        volume_id=str(volume.handle),
        capacity_bytes=volume.size,
        volume_context={ORIGIN_KEY: Origin.EMPTY.value},
        accessible_topology=[topology(driver_name, volume.handle.system_id)],
    )


def topology(driver_name: str, system_id: str) -> csi_pb2.Topology:
    """The topology segment of the nodes that reach a system."""
    return csi_pb2.Topology(segments={f"{driver_name}/{system_id}": "true"})
