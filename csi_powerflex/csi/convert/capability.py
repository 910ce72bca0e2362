"""Volume capabilities, as both the controller and the node read them."""

from __future__ import annotations

from collections.abc import Iterable

from csi_powerflex.errors import InvalidArgument
from csi_powerflex.model.capability import (
    DEFAULT_FILESYSTEM,
    AccessMode,
    Capability,
    Filesystem,
    RawBlock,
    Use,
)
from csi_powerflex.pb import csi_pb2


def capability(message: csi_pb2.VolumeCapability, filesystem: str | None = None) -> Capability:
    """A volume capability.

    Args:
        message: the capability of a request.
        filesystem: the filesystem of the StorageClass, for claims that name none.

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
    """Several capabilities. Arguments and errors are those of ``capability``."""
    return tuple(capability(message, filesystem) for message in messages)
