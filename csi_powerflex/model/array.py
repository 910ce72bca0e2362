"""The objects of a PowerFlex system as frozen values, and the errors of requests to it.

Sizes are bytes. Ids are the array's 16 hexadecimal digits. Times are in UTC.
"""

from __future__ import annotations

import collections.abc
import datetime
import enum
from dataclasses import dataclass
from typing import Protocol

from csi_powerflex.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    OutOfRange,
    ResourceExhausted,
    VolumeInUse,
)
from csi_powerflex.ids import Initiator, InitiatorKind, VolumeHandle
from csi_powerflex.model.access import Access as Access, Limits as Limits, Provisioning as Provisioning  # noqa: PLC0414 - they belong to these objects too
from csi_powerflex.model.nvme import Portal


@dataclass(frozen=True, slots=True)
class Pool:
    """A storage pool.

    Attributes:
        granularity: the size of a volume is a multiple of this number of bytes.
        erasure_coded: whether it is a Gen2 pool of PowerFlex 5, with other actions for snapshots and clones.
        compressible: whether volumes in it can be compressed.
        zero_padded: whether a new volume reads as zeros. Otherwise it may show data of deleted volumes.
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
        total: the capacity of the pool.
        unused: the capacity that is not written yet.
        provisioned: the sum of the sizes of its volumes, written or not.
        largest_thick: the size of the largest thick volume that the array would create now.
        largest_thin: the size of the largest thin volume that the array would create now.
    """

    total: int
    unused: int
    provisioned: int
    largest_thick: int
    largest_thin: int


class DomainState(enum.StrEnum):
    """The state of a protection domain."""

    ACTIVE = "active"
    ACTIVATING = "activating"
    """It becomes active."""
    INACTIVE = "inactive"
    """No data is served. A state that this driver does not know counts as this one."""
    INACTIVATING = "inactivating"
    """It becomes inactive."""


class PoolState(enum.Enum):
    """The state of a pool's data."""

    HEALTHY = enum.auto()
    DEGRADED = enum.auto()
    """Some data has lost a copy. It is served from the others."""
    FAILED = enum.auto()
    """Some data has no copy that can be read."""
    INACTIVE = enum.auto()
    """The protection domain of the pool is not active, so no data is served."""


@dataclass(frozen=True, slots=True)
class PoolReport:
    """What a check of a system finds about a pool.

    Attributes:
        domain_state: the state of its protection domain.
        thresholds: the shares of its size at which the array raises alerts, by level: high and critical.
    """

    pool: Pool
    state: PoolState
    domain_state: DomainState
    capacity: PoolCapacity
    thresholds: collections.abc.Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Host:
    """A host that volumes can be mapped to: an SDC or an NVMe host.

    Attributes:
        connected: whether the host is connected to the array now.
        disconnected: whether the array says that it is not. For an NVMe host it says neither.
    """

    id: str
    name: str | None
    initiator: Initiator
    connected: bool
    disconnected: bool = False

    @property
    def lost(self) -> bool:
        """Whether the array says that it has no connection to this SDC.

        An NVMe host may connect only when its first volume is staged, so it is never lost.
        """
        return self.disconnected and self.initiator.kind is InitiatorKind.SDC

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
class Sdt:
    """A part of the array to which NVMe hosts connect.

    Attributes:
        portals: where it listens for hosts. Addresses that only serve storage are not in it.
        state: its states in words, such as "Normal, Joined, NoMaintenance, Connected".
        in_order: whether each state is the one of a target that serves.
        unusable: what the array says about it that cannot be an address or a port.
    """

    id: str
    name: str
    domain_id: str
    portals: tuple[Portal, ...]
    state: str
    in_order: bool
    unusable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Mapping:
    """The mapping of a volume to one host."""

    host_id: str
    host_name: str | None
    host_kind: InitiatorKind
    access: Access
    limits: Limits

    def __str__(self) -> str:
        return f"{self.host_name} (host id {self.host_id})" if self.host_name else f"host id {self.host_id}"


class VolumeOutline(Protocol):
    """What lists tell of a volume, clone or snapshot. A ``Volume`` has all of it."""

    @property
    def volume_id(self) -> str:
        """The id on its system."""
        ...

    @property
    def name(self) -> str | None:
        """The name on the array."""
        ...

    @property
    def size(self) -> int:
        """In bytes."""
        ...

    @property
    def pool_id(self) -> str:
        """The pool that it is in."""
        ...

    @property
    def copied(self) -> bool:
        """As ``Volume.copied``."""
        ...

    @property
    def ancestor_id(self) -> str | None:
        """As of a ``Volume``."""
        ...

    @property
    def group_id(self) -> str | None:
        """As of a ``Volume``."""
        ...

    @property
    def created(self) -> datetime.datetime:
        """When it was created."""
        ...

    @property
    def host_ids(self) -> tuple[str, ...]:
        """The ids of the hosts that it is mapped to."""
        ...


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume, clone or snapshot. To the array, they are all volumes.

    Attributes:
        provisioning: None for a copy of another volume, even if that volume does not exist any more.
        mappable: whether the array maps it to hosts. It does not map snapshots in an erasure-coded pool.
        ancestor_id: the volume that it is a copy of, while that volume exists.
        group_id: the consistency group of the call that created the copy.
        reparented: whether its source was removed, so that ``ancestor_id`` is the source of that one.
        locked_until: the end of a secure snapshot's retention.
        replicated: whether it is replicated to another system. False in a list: only the answer for a single
            volume says it.
        policy_id: the snapshot policy that takes snapshots of it.
        taken_by: the snapshot policy that has taken it. It is an auto snapshot then.
        policy_locked: whether it is an auto snapshot that its policy must not remove.
    """

    handle: VolumeHandle
    name: str | None
    size: int
    pool_id: str
    tree_id: str
    provisioning: Provisioning | None
    erasure_coded: bool
    mappable: bool
    access_limit: Access
    ancestor_id: str | None
    group_id: str | None
    reparented: bool
    created: datetime.datetime
    locked_until: datetime.datetime | None
    mappings: tuple[Mapping, ...]
    replicated: bool = False
    policy_id: str | None = None
    taken_by: str | None = None
    policy_locked: bool = False

    def __str__(self) -> str:
        """For messages: the CSI id, and the name by which the array's tools show it."""
        return f"{self.handle} (on the array {self.name})" if self.name else str(self.handle)

    @property
    def volume_id(self) -> str:
        """The id on its system."""
        return self.handle.volume_id

    @property
    def host_ids(self) -> tuple[str, ...]:
        """The ids of the hosts that it is mapped to."""
        return tuple(mapping.host_id for mapping in self.mappings)

    @property
    def copied(self) -> bool:
        """Whether it was created as a copy of another volume."""
        return self.provisioning is None

    @property
    def orphaned(self) -> bool:
        """Whether it is a copy whose source does not exist any more."""
        return self.copied and (self.reparented or self.ancestor_id is None)

    def check_allows(self, access: Access) -> None:
        """Check that the array allows this access.

        Raises:
            InvalidArgument: the array does not map it, or ``access`` includes writing, and the volume is
                read-only on the array.
        """
        if not self.mappable:
            raise InvalidArgument(
                f"{self} is a snapshot in an erasure-coded pool, and the array maps none to nodes; "
                "create a volume from it"
            )
        if access is Access.READ_WRITE and self.access_limit is Access.READ_ONLY:
            raise InvalidArgument(
                f"volume {self} is read-only on the array, as snapshots are; use a read-only access "
                "mode, or create a volume from it"
            )

    def mapping_to(self, host: Host) -> Mapping | None:
        """The mapping to ``host``, or None."""
        return next((mapping for mapping in self.mappings if mapping.host_id == host.id), None)


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy that is to be created: the id of the source, and the name of the copy."""

    volume_id: str
    name: str


class NameInUse(AlreadyExists):
    """Another volume of the system has this name."""


class InTrash(NotFound):
    """The volume was deleted, and the array keeps it in the trash."""


class VolumeMapped(VolumeInUse):
    """The volume has mappings, so the array does not remove it."""


class AlreadyMapped(AlreadyExists):
    """The volume is mapped to this host already."""


class MappedElsewhere(VolumeInUse):
    """The volume is mapped to another host, and a mapping to several hosts was not requested."""


class NotMapped(FailedPrecondition):
    """The volume is not mapped to this host."""


class HostNotFound(NotFound):
    """The array has no host with this id: it was removed, or added again with another id."""


class HostNameInUse(AlreadyExists):
    """Another host of the system has this name."""


class NoNvme(FailedPrecondition):
    """The system has no NVMe/TCP for this volume. The message says why."""


class PoolNotFound(InvalidArgument):
    """The array has no pool or protection domain with this id."""


class PoolFull(ResourceExhausted):
    """The pool has no free capacity for this, or as much is provisioned in it as the array allows."""


class SizeTooLarge(OutOfRange):
    """The array has no volumes of this size."""


class TreeFull(ResourceExhausted):
    """The volume's tree has as many members (volume, snapshots, clones) as the array allows."""


class HostNotApproved(FailedPrecondition):
    """The array is in a restricted SDC mode and has not approved this SDC."""
