"""The ports through which operations change a PowerFlex system; implemented by ``gateway``.

Every verb is one attempt at one change, or one look. All raise Unavailable, DeadlineExceeded, Busy,
Unauthenticated and PermissionDenied besides what they name.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from csi_powerflex.ids import NodeIdentity, VolumeHandle
from csi_powerflex.model.array import (
    Access,
    Condition,
    Copy,
    Host,
    Limits,
    Pool,
    PoolCapacity,
    Provisioning,
    Volume,
)
from csi_powerflex.model.qos import QosRequest


class Zone(Protocol):
    """The part of a system that lies in one zone: its pools by name or id, the ones to prefer first."""

    @property
    def name(self) -> str: ...
    @property
    def protection_domain(self) -> str | None: ...
    @property
    def storage_pools(self) -> Sequence[str]: ...


class Array(Protocol):
    """One PowerFlex system."""

    @property
    def zones(self) -> Sequence[Zone]:
        """Its zones, none where it lies in one place."""
        ...

    @property
    def approves_hosts(self) -> bool:
        """Whether this driver may approve hosts on it."""
        ...

    @property
    def label(self) -> str:
        """How the operator calls this system."""
        ...

    @property
    def is_reachable(self) -> bool:
        """Whether it served when it was last looked after; True where nobody looks."""
        ...

    def system_id(self) -> str:
        """The system's id, asked for once."""
        ...

    # --- pools -----------------------------------------------------------------------------------

    def pool(self, domain: str | None, pool: str | None) -> Pool:
        """The pool of that name or id, in the domain of that name or id; the configured ones by default.

        Raises:
            InvalidArgument: no such pool or domain, or the name is ambiguous.
        """
        ...

    def pool_by_id(self, pool_id: str) -> Pool:
        """The pool with that id.

        Raises:
            InvalidArgument: there is none.
        """
        ...

    def room(self, pool: Pool) -> PoolCapacity:
        """How much the pool can still take."""
        ...

    def condition(self, pool: Pool) -> Condition:
        """How well the pool can keep and serve data."""
        ...

    def largest_volume(self) -> int:
        """The size in bytes above which the array makes no volume."""
        ...

    # --- volumes ---------------------------------------------------------------------------------

    def create_volume(self, *, name: str, size: int, pool: Pool, provisioning: Provisioning) -> str:
        """Create a volume and return its id.

        Raises:
            NameInUse: a volume of that name exists.
            ResourceExhausted: the pool has no room, or a limit is reached.
        """
        ...

    def volume(self, volume_id: str) -> Volume:
        """The volume with this id.

        Raises:
            NotFound: it does not exist.
        """
        ...

    def volumes(self) -> Sequence[Volume]:
        """Every volume and snapshot of the system."""
        ...

    def volumes_by_id(self, volume_ids: Sequence[str]) -> Sequence[Volume]:
        """Several volumes at once.

        Raises:
            NotFound: one of them does not exist.
        """
        ...

    def volume_id_by_name(self, name: str) -> str:
        """The id of the volume with this name.

        Raises:
            NotFound: there is none.
        """
        ...

    def resize_volume(self, volume_id: str, size: int) -> None:
        """Grow the volume to ``size``, a multiple of its pool's granularity.

        Raises:
            NotFound: it does not exist.
            OutOfRange: the array refuses the size.
            ResourceExhausted: the pool has no room.
        """
        ...

    def remove_volume(self, volume_id: str) -> None:
        """Remove the volume alone, leaving what was copied from it.

        Raises:
            NotFound: it does not exist.
            VolumeMapped: it has mappings.
        """
        ...

    # --- copies ----------------------------------------------------------------------------------

    def take_snapshots(
        self, copies: Sequence[Copy], *, access: Access, retention_minutes: int
    ) -> Sequence[str]:
        """Cut all the volumes at one instant; the ids of the snapshots, in no order to rely on.

        Raises:
            NotFound: one of the volumes does not exist; none was cut.
            NameInUse: one of the names is taken; none was cut.
            TreeFull, ResourceExhausted: there is no room for one of them; none was cut.
        """
        ...

    def clone(self, copy: Copy) -> str:
        """Make a writable copy and return its id. Raises as ``take_snapshots``."""
        ...

    def remove_group(self, group_id: str) -> None:
        """Remove every snapshot of a consistency group.

        Raises:
            NotFound: there is no such group.
            VolumeMapped: one of them has mappings; none was removed.
        """
        ...

    def tree_members(self, tree_id: str) -> int:
        """How many volumes, snapshots and clones a volume's tree has."""
        ...

    # --- mappings --------------------------------------------------------------------------------

    def host(self, identity: NodeIdentity) -> Host:
        """The host that a node is.

        Raises:
            NotFound: the array knows no such host.
        """
        ...

    def hosts_by_id(self, needed: Collection[str]) -> Mapping[str, Host]:
        """The hosts that can be nodes, by id; ``needed`` are ids that have to be known, if the array does."""
        ...

    def approve(self, identity: NodeIdentity) -> None:
        """Approve a host in a restricted mode."""
        ...

    def map_volume(self, volume_id: str, host: Host, *, access: Access, shared: bool) -> None:
        """Make the volume visible to ``host``; ``shared`` allows mappings to several hosts.

        Raises:
            NotFound: no such volume.
            HostGone, AlreadyMapped, MappedElsewhere, HostNotApproved: as named.
            ResourceExhausted: the host has as many volumes as it may.
        """
        ...

    def limit_mapping(self, volume_id: str, host_id: str, limits: Limits) -> None:
        """Set what the mapping to a host may do.

        Raises:
            NotFound: no such volume.
            NotMapped: it is not mapped there.
        """
        ...

    def unmap_volume(self, volume_id: str, host: Host) -> None:
        """Take the volume away from ``host``.

        Raises:
            NotFound: no such volume.
            HostGone, NotMapped: as named.
        """
        ...

    def unmap_everywhere(self, volume_id: str) -> None:
        """Take the volume away from every host.

        Raises:
            NotFound: no such volume.
            NotMapped: it is mapped nowhere.
        """
        ...


class QosStore(Protocol):
    """What was asked for each volume's quality of service since it was made.

    A publish call brings no mutable parameters, so the wish has to be kept somewhere that outlives us.
    """

    def current(self, handle: VolumeHandle) -> QosRequest:
        """The present wish, of the volume's class and of what was asked since; empty where nobody asked.

        Raises:
            Unavailable: it cannot be told just now.
        """
        ...

    def begin(self, handle: VolumeHandle, qos_request: QosRequest) -> None:
        """Keep ``wish`` as the one of the volume's making; what was asked since counts more."""
        ...

    def remember(self, handle: VolumeHandle, qos_request: QosRequest) -> None:
        """Keep ``wish`` as the present one."""
        ...

    def forget(self, handle: VolumeHandle) -> None:
        """The volume is gone."""
        ...


class Fleet(Protocol):
    """The PowerFlex systems this controller serves."""

    def array(self, system_id: str) -> Array:
        """The system with this id.

        Raises:
            FailedPrecondition: it is not configured.
        """
        ...

    def choose(self, system: str | None) -> Array:
        """The system of that name or id; without one, the only one configured.

        Raises:
            InvalidArgument: no such system, or several and none was named.
        """
        ...

    def arrays(self) -> Sequence[Array]:
        """Every system."""
        ...
