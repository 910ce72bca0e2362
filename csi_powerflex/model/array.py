"""A PowerFlex system as the operations see it: its objects, and the port through which they change.

The port's one implementation is ``gateway.array``. Sizes are bytes, ids are the array's 16 hexadecimal
digits.
"""

from __future__ import annotations

import datetime
import enum
from dataclasses import dataclass
from typing import Protocol

from csi_powerflex.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    VolumeInUse,
)
from csi_powerflex.ids import NodeIdentity, VolumeHandle


class Provisioning(enum.StrEnum):
    """How a volume takes space from its pool. Snapshots are always thin."""

    THIN = "thin"
    THICK = "thick"


class Access(enum.StrEnum):
    """What a mapping allows its host."""

    READ_WRITE = "ReadWrite"
    READ_ONLY = "ReadOnly"


@dataclass(frozen=True, slots=True)
class Pool:
    """A storage pool. ``granularity`` is the size in bytes that volumes are allotted in."""

    id: str
    name: str
    domain_id: str
    granularity: int


@dataclass(frozen=True, slots=True)
class Host:
    """A host that volumes can be mapped to: an SDC."""

    id: str
    name: str | None
    identity: NodeIdentity
    connected: bool

    def __str__(self) -> str:
        return f"{self.name} ({self.identity})" if self.name else str(self.identity)


@dataclass(frozen=True, slots=True)
class Mapping:
    """A volume made visible to one host."""

    host_id: str
    host_name: str | None
    access: Access

    def __str__(self) -> str:
        return f"{self.host_name} (host id {self.host_id})" if self.host_name else f"host id {self.host_id}"


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume or snapshot as the array knows it."""

    handle: VolumeHandle
    name: str | None
    size: int
    pool_id: str
    provisioning: Provisioning
    access_limit: Access
    ancestor_id: str | None
    created: datetime.datetime
    mappings: tuple[Mapping, ...]

    def mapping_to(self, host: Host) -> Mapping | None:
        """The mapping to ``host``, or None."""
        return next((mapping for mapping in self.mappings if mapping.host_id == host.id), None)


class NameInUse(AlreadyExists):
    """Another volume of the system has this name."""


class VolumeMapped(VolumeInUse):
    """The volume has mappings, so the array does not remove it."""


class AlreadyMapped(AlreadyExists):
    """The volume is mapped to this host already."""


class MappedElsewhere(VolumeInUse):
    """The volume is mapped to another host, and sharing was not asked for."""


class NotMapped(FailedPrecondition):
    """The volume is not mapped to this host."""


class HostGone(NotFound):
    """The array does not know a host by the id we hold."""


class PoolGone(InvalidArgument):
    """The array does not know a pool or domain by the id we hold."""


class Array(Protocol):
    """One PowerFlex system.

    Every verb is one attempt at one change, or one look. All raise Unavailable, DeadlineExceeded,
    Unauthenticated and PermissionDenied besides what they name; none is repeated here after a change
    whose outcome is unknown.
    """

    def system_id(self) -> str:
        """The system's id, asked for once."""
        ...

    def pool(self, domain: str | None, pool: str | None) -> Pool:
        """The pool of that name or id, in the domain of that name or id; the configured ones by default.

        Raises:
            InvalidArgument: no such pool or domain, or the name is ambiguous.
        """
        ...

    def create_volume(self, *, name: str, size: int, pool: Pool, provisioning: Provisioning) -> str:
        """Create a volume and return its id.

        Raises:
            NameInUse: a volume of that name exists.
            ResourceExhausted: the pool has no room.
        """
        ...

    def volume(self, volume_id: str) -> Volume:
        """The volume with this id.

        Raises:
            NotFound: it does not exist, or is being removed.
        """
        ...

    def volume_id_by_name(self, name: str) -> str:
        """The id of the volume with this name.

        Raises:
            NotFound: there is none.
        """
        ...

    def remove_volume(self, volume_id: str) -> None:
        """Remove the volume alone, leaving its snapshots.

        Raises:
            NotFound: it does not exist.
            VolumeMapped: it has mappings.
        """
        ...

    def host(self, identity: NodeIdentity) -> Host:
        """The host that a node is.

        Raises:
            NotFound: the array knows no such host.
        """
        ...

    def map_volume(self, volume_id: str, host: Host, *, access: Access, shared: bool) -> None:
        """Make the volume visible to ``host``; ``shared`` allows mappings to several hosts.

        Raises:
            NotFound: no such volume or host.
            AlreadyMapped, MappedElsewhere: as named.
        """
        ...

    def unmap_volume(self, volume_id: str, host: Host) -> None:
        """Take the volume away from ``host``.

        Raises:
            NotFound: no such volume or host.
            NotMapped: it is not mapped there.
        """
        ...

    def unmap_everywhere(self, volume_id: str) -> None:
        """Take the volume away from every host.

        Raises:
            NotFound: no such volume.
            NotMapped: it is mapped nowhere.
        """
        ...


class Fleet(Protocol):
    """The PowerFlex systems this controller serves."""

    def array(self, system_id: str) -> Array:
        """The system with this id.

        Raises:
            NotFound: it is not configured.
        """
        ...

    def choose(self, system: str | None) -> Array:
        """The system of that name or id; without one, the only one configured.

        Raises:
            InvalidArgument: no such system, or several and none was named.
        """
        ...
