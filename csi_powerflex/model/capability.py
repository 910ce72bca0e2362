"""How a volume is used: with a filesystem or as a block device, and by how many nodes.

The access modes are those of CSI (specification, VolumeCapability.AccessMode). The rules about them are those
of the driver. The calls that create, validate, publish and stage volumes all use them.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from csi_powerflex.errors import InvalidArgument
from csi_powerflex.model import format_options, mount_options
from csi_powerflex.model.access import Access

FILESYSTEMS = ("ext4", "xfs", "btrfs")
DEFAULT_FILESYSTEM = "ext4"


@dataclass(frozen=True, slots=True)
class Filesystem:
    """A volume that is used with a filesystem: the type of the filesystem, and the user's mount options."""

    type: str
    mount_options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RawBlock:
    """A volume that is used as a block device."""


Use = Filesystem | RawBlock


class AccessMode(enum.Enum):
    """CSI's access modes, with CSI's names."""

    SINGLE_NODE_WRITER = enum.auto()
    SINGLE_NODE_READER_ONLY = enum.auto()
    MULTI_NODE_READER_ONLY = enum.auto()
    MULTI_NODE_SINGLE_WRITER = enum.auto()
    MULTI_NODE_MULTI_WRITER = enum.auto()
    SINGLE_NODE_SINGLE_WRITER = enum.auto()
    SINGLE_NODE_MULTI_WRITER = enum.auto()

    @property
    def shared(self) -> bool:
        """Whether several nodes may use the volume at the same time."""
        return self.name.startswith("MULTI_NODE")

    @property
    def access(self) -> Access:
        """What a mapping for this mode must allow."""
        readers = (AccessMode.SINGLE_NODE_READER_ONLY, AccessMode.MULTI_NODE_READER_ONLY)
        return Access.READ_ONLY if self in readers else Access.READ_WRITE


@dataclass(frozen=True, slots=True)
class Capability:
    """One way to use a volume."""

    use: Use
    mode: AccessMode

    def check(self) -> None:
        """Check that a PowerFlex volume can be used like this.

        Raises:
            InvalidArgument: the filesystem or a mount option is not supported, or the access mode would
                corrupt data.
        """
        if not isinstance(self.use, Filesystem):
            return
        if self.use.type not in FILESYSTEMS:
            raise InvalidArgument(
                f"filesystem {self.use.type!r} is not supported; use one of {', '.join(FILESYSTEMS)}"
            )
        if self.mode.shared and self.mode.access is Access.READ_WRITE:
            raise InvalidArgument(
                f"access mode {self.mode.name} with a filesystem would let several nodes write to one "
                f"{self.use.type}, which destroys it; use volumeMode: Block, or an access mode of one node"
            )
        mount_options.checked(self.use.mount_options)

    def check_format(self, options: str | None) -> None:
        """Check that the filesystem can be made with these options for mkfs, on a volume that is empty.

        Raises:
            InvalidArgument: a node would refuse them.
        """
        if options is not None and isinstance(self.use, Filesystem):
            format_options.parse(self.use.type, options)
