"""What a PowerFlex system holds, as frozen values, and what it can say no to.

Sizes are bytes, ids are the array's 16 hexadecimal digits, times are in UTC.
"""

from __future__ import annotations

import datetime
import enum
from dataclasses import dataclass

from csi_powerflex.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    VolumeInUse,
)
from csi_powerflex.ids import Initiator, InitiatorKind, VolumeHandle


class Provisioning(enum.StrEnum):
    """How a volume takes space from its pool. Snapshots and copies are always thin."""

    THIN = "thin"
    THICK = "thick"
    COMPRESSED = "compressed"


class Access(enum.StrEnum):
    """What a mapping allows its host, or a volume any mapping."""

    READ_WRITE = "ReadWrite"
    READ_ONLY = "ReadOnly"


@dataclass(frozen=True, slots=True)
class Pool:
    """A storage pool.

    Attributes:
        granularity: volumes are allotted in multiples of this many bytes.
        erasure_coded: a pool of PowerFlex 5 (Gen2), which makes snapshots and clones by actions of their own.
        compressible: volumes in it can be compressed.
        zero_padded: a new volume reads as zeros; without, it may show what the space held before.
    """

    id: str
    name: str
    domain_id: str
    domain_name: str
    granularity: int
    erasure_coded: bool
    compressible: bool
    zero_padded: bool

    def __str__(self) -> str:
        return f"{self.domain_name}/{self.name}"


@dataclass(frozen=True, slots=True)
class PoolCapacity:
    """How full a pool is, in bytes of user data.

    Attributes:
        total: what it can hold.
        unused: what is not written yet.
        provisioned: the sizes of all its volumes, however much of them is written.
        largest_thick, largest_thin: the largest volume of that kind that the array would create now.
    """

    total: int
    unused: int
    provisioned: int
    largest_thick: int
    largest_thin: int


class PoolState(enum.Enum):
    """How well a pool keeps and serves data."""

    HEALTHY = enum.auto()
    DEGRADED = enum.auto()
    """Some data has lost a copy, and is served from the others."""
    FAILED = enum.auto()
    """Some data has no copy that can be read."""
    INACTIVE = enum.auto()
    """Its protection domain serves nothing at present."""


@dataclass(frozen=True, slots=True)
class Host:
    """A host that volumes can be mapped to: an SDC or an NVMe host.

    Attributes:
        connected: whether the array sees the host now.
        approved: False for an SDC that a restricted array does not serve yet.
    """

    id: str
    name: str | None
    initiator: Initiator
    connected: bool
    approved: bool

    @property
    def kind(self) -> InitiatorKind:
        """How the host reaches its volumes."""
        return self.initiator.kind

    def new_mapping(self) -> Mapping:
        """A mapping to this host as the array creates it: without limits."""
        return Mapping(self.id, self.name, self.kind, Access.READ_WRITE, Limits())

    def __str__(self) -> str:
        return f"{self.name} ({self.initiator})" if self.name else str(self.initiator)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one mapping may do; 0 is unlimited."""

    iops: int = 0
    bandwidth_kbps: int = 0


@dataclass(frozen=True, slots=True)
class Mapping:
    """A volume made visible to one host."""

    host_id: str
    host_name: str | None
    host_kind: InitiatorKind
    access: Access
    limits: Limits

    def __str__(self) -> str:
        return f"{self.host_name} (host id {self.host_id})" if self.host_name else f"host id {self.host_id}"


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume, clone or snapshot: to the array they are one kind of thing.

    Attributes:
        provisioning: None for what was copied from another volume, whatever became of that.
        ancestor_id: the volume it was copied from, while that exists.
        group_id: the consistency group of the call that made the copy.
        locked_until: the end of a secure snapshot's retention.
    """

    handle: VolumeHandle
    name: str | None
    size: int
    pool_id: str
    tree_id: str
    provisioning: Provisioning | None
    erasure_coded: bool
    access_limit: Access
    ancestor_id: str | None
    group_id: str | None
    created: datetime.datetime
    locked_until: datetime.datetime | None
    mappings: tuple[Mapping, ...]

    @property
    def copied(self) -> bool:
        """Whether it began with another volume's bytes."""
        return self.provisioning is None

    def check_allows(self, access: Access) -> None:
        """Whether the array lets anyone use it so.

        Raises:
            InvalidArgument: writing is asked of what the array keeps read-only.
        """
        if access is Access.READ_WRITE and self.access_limit is Access.READ_ONLY:
            raise InvalidArgument(
                f"volume {self.handle} is read-only on the array, as snapshots are; use a read-only access "
                "mode, or make a volume from it"
            )

    def mapping_to(self, host: Host) -> Mapping | None:
        """The mapping to ``host``, or None."""
        return next((mapping for mapping in self.mappings if mapping.host_id == host.id), None)


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy to be made: of which volume, under which name."""

    volume_id: str
    name: str


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


class HostNotFound(NotFound):
    """The array does not know a host by the id we hold."""


class PoolNotFound(InvalidArgument):
    """The array does not know a pool or domain by the id we hold."""


class TreeFull(ResourceExhausted):
    """The volume's tree has as many members (volume, snapshots, clones) as the array allows."""


class HostNotApproved(FailedPrecondition):
    """The array runs in a restricted mode and has not approved this SDC."""
