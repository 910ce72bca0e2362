"""Whether a volume may be moved to another pool, checked before anything is sent to the array.

The array moves the whole tree of a volume: the volume with its snapshots and clones. The rules about pools
are those of the array, as other drivers know them (protocol notes, 2.9). What would only fail in the middle
of a move, or would take other claims along, is refused here in words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from csi_powerflex import names, units
from csi_powerflex.errors import FailedPrecondition, InvalidArgument, Unavailable
from csi_powerflex.hints import first_of
from csi_powerflex.ids import InitiatorKind
from csi_powerflex.model.array import Access, Pool, PoolCapacity, PoolFull, Provisioning, Volume
from csi_powerflex.model.hold import Holds
from csi_powerflex.model.moves import Conversion, TreeMember, TreeUsage
from csi_powerflex.model.ports import Array
from csi_powerflex.operations.controller.lookup import is_named_snapshot
from csi_powerflex.operations.controller.placement import zones_of

COPY_INSTEAD = "create a claim with the StorageClass of the other pool and copy the data (docs/moving.md)"

# The most members of a tree that a message names.
_MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class Change:
    """What a move changes besides the pool. ``compressed`` is None where the array's default applies."""

    conversion: Conversion = Conversion.NONE
    compressed: bool | None = None


UNCHANGED = Change()
"""For a tree that is sent back to its pool."""


@dataclass(frozen=True, slots=True)
class Content:
    """What is in a tree.

    Attributes:
        members: every volume, snapshot and clone.
        deleted: those that this cluster has deleted and keeps in the trash, and that no host uses.
    """

    members: tuple[TreeMember, ...]
    deleted: tuple[Volume, ...]


def content_of(members: Sequence[TreeMember], cluster_id: str) -> Content:
    """What is in a tree with these members, as the cluster sees it."""
    found = ((member.volume, names.trashed(member.volume.name)) for member in members)
    deleted = (
        volume
        for volume, name in found
        if name is not None and name.cluster_id == cluster_id and not volume.mappings
    )
    return Content(tuple(members), tuple(deleted))


def require_here(volume: Volume, pool: Pool, wanted: Provisioning | None) -> None:
    """Check that a volume that is in the requested pool takes space as requested.

    Raises:
        InvalidArgument: it does not. The array converts a tree only while it moves it.
    """
    if wanted is not None and volume.provisioning not in (wanted, None):
        raise InvalidArgument(
            f"volume {volume} is {volume.provisioning} in pool {pool}, and provisioning={wanted} was asked "
            "for in the same pool; the array converts a volume only while it moves it, so name another pool"
        )
    if wanted is Provisioning.THICK and volume.copied:
        raise _always_thin(volume)


def require_mirrored(array: Array, volume: Volume, source: Pool, target: Pool) -> None:
    """Check that the array can move volumes between pools of these kinds, if they are two.

    Raises:
        InvalidArgument: one of them is erasure-coded, as all are in PowerFlex 5.
    """
    for pool in (source, target):
        if pool.erasure_coded and source.id != target.id:
            raise InvalidArgument(
                f"{_from_to(volume, source, target)}: {pool} of system {array.label} is erasure-coded "
                f"(PowerFlex 5), and the array moves no volumes from or to such pools; {COPY_INSTEAD}"
            )


def require_pools_fit(array: Array, volume: Volume, source: Pool, target: Pool) -> None:
    """Check the zero padding and the zones of the two pools.

    Raises:
        InvalidArgument: the array does not move volumes between them, the volume could show data of deleted
            volumes, or nodes that reach the volume may not reach the other pool.
    """
    difference = _padding_difference(source, target)
    if difference:
        raise InvalidArgument(
            f"{_from_to(volume, source, target)}: {difference}; choose another pool, or {COPY_INSTEAD}"
        )
    missing = set(zones_of(array, source)) - set(zones_of(array, target))
    if missing:
        zones = ", ".join(sorted(f"zone {zone}" if zone else "no zone" for zone in missing))
        raise InvalidArgument(
            f"{_from_to(volume, source, target)}: pool {source} is in {zones} of system {array.label}, and "
            f"pool {target} is not, so nodes that use the volume may not reach it; choose a pool that the "
            "systems file lists in the same zones"
        )


def _from_to(volume: Volume, source: Pool, target: Pool) -> str:
    return f"volume {volume} cannot be moved from pool {source} to pool {target}"


def _padding_difference(source: Pool, target: Pool) -> str:
    """Why the padding of the pools does not allow the move; empty if it does."""
    if target.compressible:
        if source.compressible or source.zero_padded:
            return ""
        return f"{target} has fine granularity and takes only volumes of pools with zero padding"
    if source.compressible and not target.zero_padded:
        return f"{target} has no zero padding, so the volume could show data of deleted volumes"
    if source.compressible or source.zero_padded is target.zero_padded:
        return ""
    return "one of them has zero padding, and the other one has none"


def change_for(
    volume: Volume, members: Sequence[TreeMember], target: Pool, wanted: Provisioning | None
) -> Change:
    """How the tree takes space in the other pool.

    Args:
        volume: is to be moved.
        members: of its tree.
        target: the other pool.
        wanted: what the class asks for; None to keep it as it is.

    Raises:
        InvalidArgument: the other pool has no such volumes.
    """
    kept = next((item.volume.provisioning for item in members if not item.volume.copied), None)
    result = wanted or kept
    if wanted is Provisioning.THICK and volume.copied:
        raise _always_thin(volume)
    if result is Provisioning.THICK and target.compressible:
        raise InvalidArgument(
            f"volume {volume} cannot be moved to pool {target} as thick: the pool has thin volumes only; "
            "use provisioning=thin in the class"
        )
    if result is Provisioning.COMPRESSED and not target.compressible:
        raise InvalidArgument(
            f"volume {volume} cannot be moved to pool {target} as compressed: the pool cannot compress "
            "single volumes; use provisioning=thin in the class"
        )
    thick = kept is Provisioning.THICK, result is Provisioning.THICK
    conversions = {(True, False): Conversion.TO_THIN, (False, True): Conversion.TO_THICK}
    return Change(
        conversion=conversions.get(thick, Conversion.NONE),
        compressed=result is Provisioning.COMPRESSED if target.compressible and result is not None else None,
    )


def _always_thin(volume: Volume) -> InvalidArgument:
    return InvalidArgument(
        f"volume {volume} is a copy of another volume, and copies are always thin; use a class without "
        "provisioning=thick"
    )


def require_movable(volume: Volume, content: Content, *, whole_tree: bool) -> None:
    """Check what else is in the tree.

    Volumes that this cluster has deleted and keeps in the trash belong to no claim, so they move along.

    Raises:
        FailedPrecondition: the array replicates a member, or a member is not this volume's and the class does
            not allow to take it along.
    """
    replicated = [member.volume for member in content.members if member.replicated]
    if replicated:
        raise FailedPrecondition(
            f"volume {volume} cannot be moved: the array replicates {_named(replicated)} in its tree; remove "
            "the replication at the array first"
        )
    others = [
        member.volume
        for member in content.members
        if member.volume not in content.deleted and not _belongs_to(member.volume, volume)
    ]
    if others and not whole_tree:
        raise FailedPrecondition(
            f"volume {volume} is not moved: the array moves its whole tree {volume.tree_id}, and these "
            f"members are not its own snapshots: {_named(others)}; delete them, or set migrateTree=true in "
            "the class to take them along"
        )


def require_paths(volume: Volume, members: Sequence[TreeMember], source: Pool, target: Pool) -> None:
    """Check that no host loses its paths to a member.

    An NVMe host reaches a volume by the SDTs of the volume's protection domain, which ControllerPublishVolume
    has told it. An SDC reaches every protection domain.

    Raises:
        FailedPrecondition: an NVMe host has a member, and the other pool is in another protection domain.
    """
    if source.domain_id == target.domain_id:
        return
    for member in members:
        hosts = [each for each in member.volume.mappings if each.host_kind is InitiatorKind.NVME]
        if hosts:
            raise FailedPrecondition(
                f"{_from_to(volume, source, target)} now: {member.volume} is mapped to "
                f"{', '.join(map(str, hosts))}, an NVMe host, which reaches it by the SDTs of protection "
                f"domain {source.domain_name} and would lose its paths; stop the pods that use it until it "
                "has moved, or choose a pool in that protection domain"
            )


def require_not_held(volume: Volume, members: Sequence[TreeMember], holds: Holds) -> None:
    """Check that no one holds a member, see ``model.hold``. No array is asked.

    Raises:
        FailedPrecondition: one is held. The text says who holds it and why.
        Unavailable: it is not known now.
    """
    for member in members:
        hold = holds.hold_on(member.volume.handle)
        if hold:
            raise FailedPrecondition(
                f"volume {volume} is not moved now: {member.volume} is held: {hold}. The move begins when "
                "the hold ends. If no one works on it any more, remove the annotation that ends with /hold "
                "from its PersistentVolume"
            )


def _belongs_to(member: Volume, volume: Volume) -> bool:
    """Whether a member of the tree is the volume itself, or a snapshot of it that no host uses."""
    if member.handle == volume.handle:
        return True
    if member.reparented or member.ancestor_id != volume.handle.volume_id:
        return False
    if names.kind_of(member.name) is not None:
        return is_named_snapshot(member)
    # A snapshot policy of the array has made it, or another program.
    made = member.taken_by is not None or member.access_limit is Access.READ_ONLY
    return made and not member.mappings


def _named(volumes: Sequence[Volume]) -> str:
    return first_of([str(volume) for volume in volumes], most=_MOST_NAMED)


def require_capacity(
    volume: Volume,
    content: Content,
    usage: TreeUsage,
    target: Pool,
    capacity: PoolCapacity,
    *,
    conversion: Conversion,
) -> None:
    """Check that the tree fits into the other pool, with what is in the trash.

    Raises:
        PoolFull: it does not.
        Unavailable: the array did not say how large the pool is.
    """
    if not capacity.total:
        # Figures that are missing are read as 0, and must not become a final error.
        raise Unavailable(f"the array reports no capacity for pool {target} now; try again")
    first = [item.volume for item in content.members if not item.volume.copied]
    also = f"; deleted volumes in the trash count too: {_named(content.deleted)}" if content.deleted else ""
    provisioned = sum(item.size for item in first)
    thick = conversion is Conversion.TO_THICK or (
        conversion is Conversion.NONE and any(item.provisioning is Provisioning.THICK for item in first)
    )
    kind, largest = ("thick", capacity.largest_thick) if thick else ("thin", capacity.largest_thin)
    if provisioned > largest:
        raise PoolFull(
            f"volume {volume} is not moved: its tree has {units.readable(provisioned)} as {kind}, and pool "
            f"{target} takes at most {units.readable(largest)} more; free capacity in the pool, or choose "
            f"another one{also}"
        )
    if usage.used > capacity.unused:
        raise PoolFull(
            f"volume {volume} is not moved: its tree has {units.readable(usage.used)} of data, and pool "
            f"{target} has {units.readable(capacity.unused)} free; free capacity in the pool, or choose "
            f"another one{also}"
        )
