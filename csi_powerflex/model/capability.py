"""How a volume will be used: through what, and by how many nodes.

The access modes are CSI's (specification, VolumeCapability.AccessMode); the rules about them are ours, in
one place for the calls that create, check, publish and stage.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from csi_powerflex.errors import InvalidArgument
from csi_powerflex.model.array import Access

FILESYSTEMS = ("ext4", "xfs", "btrfs")
DEFAULT_FILESYSTEM = "ext4"


@dataclass(frozen=True, slots=True)
class Filesystem:
    """A volume used through a filesystem: its type, and the mount options that the user gave."""

    type: str
    mount_options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RawBlock:
    """A volume used as a block device."""


Use = Filesystem | RawBlock


class AccessMode(enum.Enum):
    """CSI's access modes, under CSI's names."""

    SINGLE_NODE_WRITER = enum.auto()
    SINGLE_NODE_READER_ONLY = enum.auto()
    MULTI_NODE_READER_ONLY = enum.auto()
    MULTI_NODE_SINGLE_WRITER = enum.auto()
    MULTI_NODE_MULTI_WRITER = enum.auto()
    SINGLE_NODE_SINGLE_WRITER = enum.auto()
    SINGLE_NODE_MULTI_WRITER = enum.auto()

    @property
    def shared(self) -> bool:
        """Whether several nodes may have the volume at once."""
        return self.name.startswith("MULTI_NODE")

    @property
    def access(self) -> Access:
        """What a mapping for this mode must allow."""
        readers = (AccessMode.SINGLE_NODE_READER_ONLY, AccessMode.MULTI_NODE_READER_ONLY)
        return Access.READ_ONLY if self in readers else Access.READ_WRITE


@dataclass(frozen=True, slots=True)
class Capability:
    """One way a volume is to be used."""

    use: Use
    mode: AccessMode

    def check(self) -> None:
        """Refuse what no PowerFlex volume can do.

        Raises:
            InvalidArgument: the combination would corrupt data or is not known.
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
