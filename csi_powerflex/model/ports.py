"""The ports of the controller's operations: to PowerFlex systems, to requested QoS limits and to the nodes.

``gateway`` implements ``Fleet`` and ``Array``, ``qos_store`` implements ``QosStore``, and ``kube`` implements
``NodeRegistry``.

Each method reads something, or attempts one change. Besides the errors that it names, each method may raise
Unavailable, DeadlineExceeded, Busy, Unauthenticated and PermissionDenied.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from csi_powerflex.ids import Initiator, InitiatorKind, NodeIdentity, VolumeHandle
from csi_powerflex.model.array import (
    Access,
    Copy,
    Host,
    Limits,
    Mapping as VolumeMapping,
    Pool,
    PoolCapacity,
    PoolState,
    Provisioning,
    Volume,
    VolumeOutline,
)
from csi_powerflex.model.claim import ClaimNames
from csi_powerflex.model.moves import Conversion, Tree, TreeMember, TreeUsage
from csi_powerflex.model.nvme import NvmeTarget
from csi_powerflex.model.qos import QosRequest
from csi_powerflex.model.snapshot_policy import PolicyNeeds, SnapshotPolicy
from csi_powerflex.model.trash import TrashRules


class Zone(Protocol):
    """The part of a system that is in one zone: its pools by name or id, the preferred ones first."""

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
        """Its zones; empty for a system without zones."""
        ...

    @property
    def has_nvme_hosts(self) -> bool:
        """Whether it has NVMe hosts, as far as is known without a request."""
        ...

    @property
    def approves_hosts(self) -> bool:
        """Whether this driver may approve SDCs on it."""
        ...

    @property
    def adopted_volumes(self) -> Sequence[str]:
        """The beginnings of names of volumes of another driver that this driver may delete."""
        ...

    @property
    def adopted_snapshots(self) -> Sequence[str]:
        """The beginnings of names of snapshots of another driver that this driver may delete."""
        ...

    @property
    def trash(self) -> TrashRules | None:
        """How it keeps deleted volumes; None if they are removed at once."""
        ...

    @property
    def time(self) -> float | None:
        """The time there in seconds since 1970, as of its last answer; None if it does not say it."""
        ...

    @property
    def label(self) -> str:
        """The name of the system in the configuration, or its id."""
        ...

    @property
    def is_reachable(self) -> bool:
        """Whether the system answered the last check; True before the first check."""
        ...

    def system_id(self) -> str:
        """The system's id. At most one request is sent for it."""
        ...

    # --- pools -----------------------------------------------------------------------------------

    def pool(self, domain: str | None, pool: str | None) -> Pool:
        """The pool with that name or id, in the domain with that name or id; by default the configured ones.

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

    def pools(self) -> Sequence[Pool]:
        """Every pool."""
        ...

    def pool_capacity(self, pool: Pool) -> PoolCapacity:
        """How full the pool is, and which volumes still fit in it.

        Changes by others may be missing for some seconds, changes by this driver never.
        """
        ...

    def pool_state(self, pool: Pool) -> PoolState:
        """The state of the pool's data."""
        ...

    def largest_volume(self) -> int:
        """The size in bytes of the largest volume that the array can create."""
        ...

    # --- volumes ---------------------------------------------------------------------------------

    def create_volume(
        self, *, name: str, size: int, pool: Pool, provisioning: Provisioning, claim: ClaimNames
    ) -> str:
        """Create a volume and return its id.

        The array is told the names of the claim, and may ignore them.

        Raises:
            NameInUse: a volume with that name exists.
            ResourceExhausted: the pool is full, or a limit is reached.
        """
        ...

    def volume(self, volume_id: str) -> Volume:
        """The volume with this id.

        Raises:
            NotFound: it does not exist, or is in the trash of any cluster.
        """
        ...

    def volumes(self) -> Sequence[Volume]:
        """Every volume and snapshot of the system, ordered by id, also those in the trash.

        There may be more than 100,000. Each becomes an object when it is read, so go through them once.
        """
        ...

    def outlines(self) -> Sequence[VolumeOutline]:
        """As ``volumes``, with less of each volume and in much less time."""
        ...

    def volumes_by_id(self, volume_ids: Sequence[str]) -> Sequence[Volume]:
        """Several volumes at once, also those in the trash.

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
            ResourceExhausted: the pool is full.
        """
        ...

    def rename_volume(self, volume_id: str, name: str) -> None:
        """Give the volume another name.

        Raises:
            NotFound: it does not exist.
            NameInUse: another volume has that name.
        """
        ...

    def overwrite_volume(self, volume_id: str, source_id: str) -> None:
        """Replace the data of the volume by those of another one of its tree and size, such as a snapshot.

        The array does not check that the volume is not in use. The request is not sent again after its answer
        was lost, so an error that is not final leaves the outcome open.

        Raises:
            NotFound: one of them does not exist.
            DriverError: the array refuses it.
        """
        ...

    def remove_volume(self, volume_id: str) -> None:
        """Remove only the volume. Its snapshots and clones are kept.

        Raises:
            NotFound: it does not exist.
            VolumeMapped: it has mappings.
        """
        ...

    # --- copies ----------------------------------------------------------------------------------

    def take_snapshots(
        self, copies: Sequence[Copy], *, access: Access, retention_minutes: int
    ) -> Sequence[str]:
        """Take a snapshot of each volume at the same point in time. Return the new ids, in any order.

        If it raises an error, no snapshot was taken.

        Raises:
            NotFound: one of the volumes does not exist.
            NameInUse: one of the names is in use.
            TreeFull, ResourceExhausted: there is no free capacity, or a limit is reached.
        """
        ...

    def clone(self, copy: Copy) -> str:
        """Create a writable copy and return its id. Raises as ``take_snapshots``."""
        ...

    def remove_group(self, group_id: str) -> None:
        """Remove every snapshot of a consistency group.

        Raises:
            NotFound: there is no such group.
            VolumeMapped: one of the snapshots has mappings. No snapshot was removed.
        """
        ...

    def tree_members(self, tree_id: str) -> int:
        """The number of volumes, snapshots and clones in a volume tree."""
        ...

    # --- moves -----------------------------------------------------------------------------------

    def tree(self, tree_id: str) -> Tree:
        """A volume tree, and the move that the array makes with it.

        Raises:
            NotFound: it does not exist.
        """
        ...

    def tree_volumes(self, tree_id: str) -> Sequence[TreeMember]:
        """Every volume, snapshot and clone in a volume tree."""
        ...

    def tree_usage(self, tree_id: str) -> TreeUsage:
        """The data of a volume tree. Pools of PowerFlex 5 do not report it."""
        ...

    def move_tree(
        self, volume_id: str, pool: Pool, *, conversion: Conversion, compressed: bool | None
    ) -> None:
        """Begin to move the tree of the volume to the pool, or back to its pool if its move is paused.

        Args:
            volume_id: any volume of the tree.
            pool: the pool.
            conversion: what changes about the tree's first volume.
            compressed: whether the tree is compressed there; None for the array's default.

        Raises:
            NotFound: the volume does not exist.
            MoveRunning, InPoolAlready: see these classes.
            PoolFull: the pool has no free capacity for it.
        """
        ...

    def pause_move(self, volume_id: str) -> None:
        """Pause the move of the volume's tree. The array may need some time for it.

        Raises:
            NotFound: the volume does not exist.
        """
        ...

    # --- snapshot policies -----------------------------------------------------------------------

    def snapshot_policies(self) -> Sequence[SnapshotPolicy]:
        """Every snapshot policy."""
        ...

    def join_policy(self, volume_id: str, policy_id: str) -> None:
        """Put the volume into the policy.

        The array refuses it if the volume is in a policy already, also in this one. It has no code for that.
        So after any error the caller reads the volume.

        Raises:
            DriverError: the array refuses it, or there was no answer.
        """
        ...

    def leave_policy(self, volume_id: str, policy_id: str) -> None:
        """Take the volume out of the policy. Its snapshots stay, as ordinary ones.

        Raises as ``join_policy``.
        """
        ...

    def lock_auto_snapshot(self, volume_id: str) -> None:
        """Let a policy keep a snapshot that it has taken. Raises as ``join_policy``."""
        ...

    def unlock_auto_snapshot(self, volume_id: str) -> None:
        """Let a policy remove a locked snapshot when it expires. Raises as ``join_policy``."""
        ...

    # --- mappings --------------------------------------------------------------------------------

    def hosts_of(
        self, node: NodeIdentity, *, mapped: Collection[str] = (), fresh: bool = False
    ) -> Sequence[Host]:
        """The hosts of a node on this system, one for each of its initiators that the array knows.

        Args:
            node: the node.
            mapped: ids of hosts. If one of them is not known, the array is asked now.
            fresh: whether the array is asked now. Otherwise the hosts may be as they were some minutes ago.

        Raises:
            NotFound: the array knows none of the initiators.
        """
        ...

    def hosts_by_id(self, needed: Collection[str]) -> Mapping[str, Host]:
        """The hosts that can be nodes, by id.

        Args:
            needed: ids that must be in the result, if the array has them.
        """
        ...

    def hosts_now(self) -> Mapping[str, Host]:
        """The hosts that can be nodes, by id, as the array reports them now."""
        ...

    def create_nvme_host(self, initiator: Initiator, name: str) -> Host:
        """Create an NVMe host.

        Args:
            initiator: its NQN. The array may already have a host with it, in any case of letters: that is
                refused with any error.
            name: at most 31 characters.

        Raises:
            HostNameInUse: another host has that name.
            ResourceExhausted: the system has as many NVMe hosts as it allows.
        """
        ...

    def nvme_target(self, volume: Volume) -> NvmeTarget:
        """How an NVMe host reaches the volume: at most one request, and none if it was asked lately.

        Raises:
            NoNvme: no NVMe host can, and why.
        """
        ...

    def approve(self, host: Host) -> None:
        """Approve an SDC on an array in a restricted SDC mode."""
        ...

    def map_volume(self, volume_id: str, host: Host, *, access: Access, shared: bool) -> None:
        """Map the volume to ``host``.

        Args:
            volume_id: the volume.
            host: the host.
            access: the maximum access of the host.
            shared: whether the volume may be mapped to several hosts.

        Raises:
            NotFound: the volume does not exist.
            HostNotFound, AlreadyMapped, MappedElsewhere, HostNotApproved: see these classes.
            ResourceExhausted: the host has as many volumes as the array allows.
        """
        ...

    def limit_mapping(self, volume_id: str, mapping: VolumeMapping, limits: Limits) -> None:
        """Set the QoS limits of a mapping.

        Raises:
            NotFound: the volume does not exist.
            NotMapped: it is not mapped to that host.
            Unsupported: the array has no limits for this kind of host.
        """
        ...

    def unmap_volume(self, volume_id: str, host: Host) -> None:
        """Remove the mapping of the volume to ``host``.

        Raises:
            NotFound: the volume does not exist.
            HostNotFound, NotMapped: see these classes.
        """
        ...

    def unmap_everywhere(self, volume_id: str, kind: InitiatorKind) -> None:
        """Remove the mappings of the volume to every host of this kind.

        Raises:
            NotFound: the volume does not exist.
            NotMapped: it is mapped to no host of this kind.
        """
        ...


class QosStore(PolicyNeeds, Protocol):
    """What was requested for each volume: its QoS limits, whether it was moved, and its snapshot policies.

    ControllerPublishVolume does not name the limits that were changed after CreateVolume, and a repeated
    CreateVolume names the pool that the volume had then. So this is kept outside of the controller's process.
    """

    def start(self, changed: Callable[[VolumeHandle], None]) -> None:
        """Begin to follow changes that are made elsewhere. Call it once, before the other methods.

        Args:
            changed: called in a thread of the store with each volume whose class has changed.
        """
        ...

    def close(self) -> None:
        """Stop following changes, and free what the store holds."""
        ...

    def current(self, handle: VolumeHandle) -> QosRequest:
        """The limits that are requested now; no limits if none were ever requested.

        Raises:
            Unavailable: they are not known now.
        """
        ...

    def set_initial(self, handle: VolumeHandle, qos_request: QosRequest) -> None:
        """Keep what CreateVolume requested. It replaces nothing that was requested later.

        Raises:
            Unavailable: it cannot be kept now.
        """
        ...

    def set(self, handle: VolumeHandle, qos_request: QosRequest) -> None:
        """Keep what is requested now.

        Raises:
            Unavailable: it cannot be kept now.
        """
        ...

    def record_move(self, handles: Collection[VolumeHandle]) -> None:
        """Keep that these volumes are moved to another pool.

        Raises:
            Unavailable: it cannot be kept now.
        """
        ...

    def record_policy(self, handle: VolumeHandle, *, deletes_snapshots: bool) -> None:
        """Keep that the volume is or was in a snapshot policy.

        Args:
            handle: the volume.
            deletes_snapshots: whether its class wants the snapshots of policies to be deleted with it. False
                replaces nothing.

        Raises:
            Unavailable: it cannot be kept now.
        """
        ...

    def may_have_moved(self, handle: VolumeHandle) -> bool:
        """Whether the volume may have another pool and provisioning than at its creation.

        Raises:
            Unavailable: it is not known now.
        """
        ...

    def delete(self, handle: VolumeHandle) -> None:
        """Remove what is kept for a volume that was deleted. It returns without error if nothing is kept.

        Raises:
            Unavailable: it cannot be removed now.
        """
        ...


class NodeRegistry(Protocol):
    """The nodes of the cluster, and the volumes that are to be attached to them."""

    def nodes_of(self, node: NodeIdentity) -> Sequence[str]:
        """The names of the nodes that have registered one of these initiators, sorted.

        They are those that are known now, without a request. It is empty while they are not known.
        """
        ...

    def identity_of(self, initiator: Initiator) -> NodeIdentity | None:
        """The whole node id of the node that has registered the initiator; None if it is not one node."""
        ...

    def former_initiators(self, node: NodeIdentity) -> Sequence[Initiator]:
        """The initiators that a node had before it changed its transport.

        They are of kinds that the node does not have now, at most one of each. No other node has had them.
        """
        ...

    def describe(self, initiator: Initiator) -> str:
        """Which node has the initiator, or has had it, in words and without a request; empty if not known."""
        ...

    def doubt(self, handle: VolumeHandle, hosts: Collection[Initiator], node: NodeIdentity | None) -> str:
        """Why one of the hosts may still need the volume, read from the cluster now; empty if none does.

        It raises no error: a cluster that cannot be read is such a reason.

        Args:
            handle: the volume.
            hosts: the hosts that it is mapped to. Each must have been a node of this cluster.
            node: the node that may want the volume; None if no node may want it.
        """
        ...


class Fleet(Protocol):
    """The PowerFlex systems that this controller uses."""

    def array(self, system_id: str) -> Array:
        """The system with this id.

        Raises:
            FailedPrecondition: it is not configured.
            DriverError: a system whose id is not known yet did not answer, and may be the one.
        """
        ...

    def choose(self, system: str | None) -> Array:
        """The system with that name or id; for None, the only configured system.

        Raises:
            InvalidArgument: there is no such system, or there are several and ``system`` is None.
            DriverError: it is asked for by its id, as ``array``.
        """
        ...

    def arrays(self) -> Sequence[Array]:
        """Every system."""
        ...
