"""Migration of VTrees to other pools. It takes time, needs capacity, waits in a queue, and can pause.

A pool lets some of its VTrees migrate at the same time; the others wait. A migration pauses by itself while
the target has no free capacity, a protection domain is inactive, or a pool has lost data. It continues by
itself.
"""

from __future__ import annotations

import math

from csi_powerflex.simulator.api_error import ApiError, malformed, mdm_error, uncoded_error
from csi_powerflex.simulator.array import Array, MigrationsSeen
from csi_powerflex.simulator.body import Body
from csi_powerflex.simulator.capacity import Capacity, pool_capacity
from csi_powerflex.simulator.model import (
    DEGRADED,
    FAILED,
    FINE,
    MEDIUM,
    THICK,
    THIN,
    Migration,
    StoragePool,
    Volume,
    VTree,
)
from csi_powerflex.simulator.resources.resource_type import Action, View

PENDING = "PendingMigration"
NORMAL = "MigrationNormal"
PAUSED = "Paused"

_BY_USER = "UserInitiated"
_CONVERSIONS = ("NoConversion", "ThinToThick", "ThickToThin")
_HEAD, _TAIL = "Head", "Tail"


def _migrate(array: Array, volume: Volume, body: Body) -> View:
    tree = array.vtrees[volume.vtree_id]
    target = _target(array, body)
    conversion = body.choice("volTypeConversion", _CONVERSIONS) or "NoConversion"
    position = body.choice("queuePosition", (_HEAD, _TAIL)) or _TAIL
    if tree.migration is not None:
        return _redirect(array, tree, tree.migration, target)
    source = array.pools[tree.pool_id]
    if target.id == tree.pool_id:
        raise mdm_error(718)
    compression = _compression(target, body)
    _refuse_pools(array, source, target)
    _refuse_conversion(array, tree, target, conversion)
    ignore = bool(body.flag("ignoreDestinationCapacity"))
    if not ignore:
        _refuse_capacity(array, tree, target, conversion)
    _refuse_crowded_domain(array, source, target)
    during_rebuild = bool(body.flag("allowDuringRebuild"))
    array.change(
        tree,
        migration=Migration(
            target_pool_id=target.id,
            status=PENDING,
            since=array.clock.now(),
            conversion=conversion,
            compression=compression,
            during_rebuild=during_rebuild,
            order=_order(array, tree.pool_id, position),
        ),
    )
    advance(array)
    return {}


def _target(array: Array, body: Body) -> StoragePool:
    target = array.pools.get(body.required("destSPId").lower())
    if target is None:
        raise mdm_error(171)
    return target


def _redirect(array: Array, tree: VTree, running: Migration, target: StoragePool) -> View:
    """Roll back a paused migration if ``target`` is the pool where the VTree is; refuse everything else.

    What has moved already moves back in the same time.
    """
    if target.id == running.target_pool_id:
        raise mdm_error(717)
    if running.status != PAUSED or target.id != tree.pool_id:
        raise mdm_error(719)
    back = Migration(
        target_pool_id=tree.pool_id,
        status=PENDING,
        since=array.clock.now(),
        duration=running.done_seconds,
        order=_order(array, tree.pool_id, _HEAD),
    )
    array.change(tree, migration=back)
    advance(array)
    return {}


# --- rules -------------------------------------------------------------------------------------------


def _compression(target: StoragePool, body: Body) -> str | None:
    method = body.choice("compressionMethod", ("None", "Normal"))
    if method == "Normal" and target.layout != FINE:
        raise malformed(f"compressionMethod Normal is not supported with {target.layout} data layout")
    return method


def _refuse_pools(array: Array, source: StoragePool, target: StoragePool) -> None:
    if array.is_erasure_coded(source.id) or array.is_erasure_coded(target.id):
        raise malformed("VTree migration is not supported for erasure-coded Storage Pools")
    if source.layout == target.layout == MEDIUM and source.zero_padding != target.zero_padding:
        raise uncoded_error("The Storage Pools differ in zero padding")
    if source.layout == MEDIUM and target.layout == FINE and not source.zero_padding:
        raise uncoded_error("The source Storage Pool must be zero padded")
    if any(array.domains[pool.domain_id].state != "Active" for pool in (source, target)):
        raise mdm_error(213)


def _refuse_conversion(array: Array, tree: VTree, target: StoragePool, conversion: str) -> None:
    thick = any(_type_after(volume, conversion) == THICK for volume in array.volumes_of_vtree(tree.id))
    if thick and target.layout != MEDIUM:
        raise malformed(f"{THICK} volumes are not supported with {target.layout} data layout")


def _type_after(volume: Volume, conversion: str) -> str:
    if conversion == "ThinToThick" and volume.type == THIN:
        return THICK
    if conversion == "ThickToThin" and volume.type == THICK:
        return THIN
    return volume.type


def _refuse_capacity(array: Array, tree: VTree, target: StoragePool, conversion: str) -> None:
    """Refuse a target without free capacity for the tree and for those that are on their way to it."""
    if target.full:
        raise mdm_error(346)
    capacity = pool_capacity(array, target)
    coming = [(other, other.migration) for other in map(array.vtrees.__getitem__, array.migrating)]
    needs = [_needs(array, tree, conversion)]
    needs += [
        _needs(array, other, moving.conversion)
        for other, moving in coming
        if moving is not None and moving.target_pool_id == target.id and other.pool_id != target.id
    ]
    if not _fits(capacity, sum(need[0] for need in needs), sum(need[1] for need in needs)):
        raise mdm_error(309)


def _needs(array: Array, tree: VTree, conversion: str) -> tuple[int, int]:
    """The size of a tree's base volumes, and the capacity that its data take at once. Both are KiB."""
    written = array.plane.allocated()
    provisioned = data = 0
    for volume in array.volumes_of_vtree(tree.id):
        kind = _type_after(volume, conversion)
        if kind in (THIN, THICK) and volume.ancestor_id is None:
            provisioned += volume.size_kb
        data += volume.size_kb if kind == THICK else written.get(volume.id, 0) // 1024
    return provisioned, data


def _fits(capacity: Capacity, provisioned: int, data: int) -> bool:
    limit = capacity.allocation_limit
    return (limit is None or provisioned <= limit) and data <= capacity.free


def _refuse_crowded_domain(array: Array, source: StoragePool, target: StoragePool) -> None:
    if source.domain_id == target.domain_id:
        return
    pools = [array.totals[pool.id] for pool in array.pools_of_domain(target.domain_id)]
    if sum(part.count[THIN] + part.count[THICK] for part in pools) >= array.settings.max_volumes_per_domain:
        raise mdm_error(96)


# --- the queue ---------------------------------------------------------------------------------------


def _order(array: Array, pool_id: str, position: str) -> int:
    orders = [moving.order for _, moving in _of_pool(array, pool_id)]
    if not orders:
        return 0
    return min(orders) - 1 if position == _HEAD else max(orders) + 1


def _of_pool(array: Array, pool_id: str) -> list[tuple[VTree, Migration]]:
    """The migrations out of a pool, in the order of its queue."""
    trees = [array.vtrees[tree_id] for tree_id in array.migrating]
    found = [
        (tree, tree.migration) for tree in trees if tree.migration is not None and tree.pool_id == pool_id
    ]
    return sorted(found, key=lambda item: item[1].order)


def _position(array: Array, tree: VTree) -> int:
    """The place in the queue; 0 for a migration that runs or is paused."""
    waiting = [other.id for other, moving in _of_pool(array, tree.pool_id) if moving.status == PENDING]
    return waiting.index(tree.id) + 1 if tree.id in waiting else 0


# --- time --------------------------------------------------------------------------------------------


def advance(array: Array) -> None:
    """Bring all migrations to the current time, in the order in which they end."""
    if not array.migrating:
        return
    now = array.clock.now()
    if _is_seen(array, now):
        return
    _pause_and_continue(array, now)
    _start_waiting(array, now)
    while (ending := _next_to_end(array)) is not None and ending[2] <= now:
        tree, moving, end = ending
        pool_id = tree.pool_id
        _arrive(array, tree, moving)
        _start_waiting(array, end, pool_id)
    until = math.inf if ending is None else ending[2]
    array.migrations_seen = MigrationsSeen(array.changes, array.plane.allocated(), until)


def _is_seen(array: Array, now: float) -> bool:
    """Whether nothing has happened to any migration since it was looked at."""
    seen = array.migrations_seen
    if seen is None or seen.changes != array.changes or now >= seen.until:
        return False
    written = array.plane.allocated()
    return written is seen.written or written == seen.written


def _next_to_end(array: Array) -> tuple[VTree, Migration, float] | None:
    """The running migration that ends first, with the time when it ends."""
    running = [
        (tree, moving, moving.since + _duration(array, tree, moving) - moving.done_seconds)
        for tree in [array.vtrees[tree_id] for tree_id in array.migrating]
        if (moving := tree.migration) is not None and moving.status == NORMAL
    ]
    return min(running, key=lambda item: item[2], default=None)


def _start_waiting(array: Array, now: float, pool_id: str | None = None) -> None:
    """Start the first waiting migrations of a pool, or of all pools, as far as they may run together."""
    pools = {array.vtrees[tree_id].pool_id for tree_id in array.migrating} if pool_id is None else {pool_id}
    for each in pools:
        queue = _of_pool(array, each)
        places = array.settings.migrations_at_once - sum(moving.status == NORMAL for _, moving in queue)
        waiting = [(tree, moving) for tree, moving in queue if moving.status == PENDING]
        for tree, moving in waiting[: max(0, places)]:
            reason = _obstacle(array, tree, moving)
            moving.status, moving.pause_reason = (PAUSED, reason) if reason else (NORMAL, None)
            moving.since = now
            array.change(tree)


def _pause_and_continue(array: Array, now: float) -> None:
    """Pause what has an obstacle now, and let what had one wait for its turn again."""
    for tree_id in list(array.migrating):
        tree = array.vtrees[tree_id]
        moving = tree.migration
        if moving is None or moving.pause_reason == _BY_USER:
            continue
        reason = _obstacle(array, tree, moving)
        if moving.status == NORMAL and reason is not None and not _has_ended(array, tree, moving, now):
            _stop(moving, now, reason)
            array.change(tree)
        elif moving.status == PAUSED and reason != moving.pause_reason:
            moving.status, moving.pause_reason = (PAUSED, reason) if reason else (PENDING, None)
            array.change(tree)


def _has_ended(array: Array, tree: VTree, moving: Migration, now: float) -> bool:
    return moving.done_seconds + now - moving.since >= _duration(array, tree, moving)


def _stop(moving: Migration, now: float, reason: str) -> None:
    if moving.status == NORMAL:
        moving.done_seconds += now - moving.since
    moving.status = PAUSED
    moving.pause_reason = reason


def _obstacle(array: Array, tree: VTree, moving: Migration) -> str | None:
    """Why a migration cannot go on now, as the array names it; None if it can."""
    source, target = array.pools[tree.pool_id], array.pools[moving.target_pool_id]
    if any(array.domains[pool.domain_id].state != "Active" for pool in (source, target)):
        return "InactiveProtectionDomain"
    if source.health == FAILED:
        return "UnavailableCapacityInSourceStoragePool"
    if DEGRADED in (source.health, target.health) and not moving.during_rebuild:
        return "DegradedCapacityInProtectionDomain"
    if target.id == source.id:
        return None
    _, data = _needs(array, tree, moving.conversion)
    if target.full or data > pool_capacity(array, target).free:
        return "NoSpaceInDestinationStoragePool"
    return None


def _duration(array: Array, tree: VTree, moving: Migration) -> float:
    if moving.duration is not None:
        return moving.duration
    size = sum(volume.size_kb for volume in array.volumes_of_vtree(tree.id))
    return size / array.settings.migration_kb_per_second


def progress(array: Array, tree: VTree) -> int:
    """How much of the migration is done, in percent; 0 without a migration."""
    moving = tree.migration
    if moving is None:
        return 0
    done = moving.done_seconds
    if moving.status == NORMAL:
        done += array.clock.now() - moving.since
    duration = _duration(array, tree, moving)
    return min(99, int(100 * done / duration)) if duration else 0


def _arrive(array: Array, tree: VTree, moving: Migration) -> None:
    target = array.pools[moving.target_pool_id]
    if target.id != tree.pool_id:
        compression = (moving.compression or target.compression) if target.layout == FINE else None
        for volume in array.volumes_of_vtree(tree.id):
            kind = _type_after(volume, moving.conversion)
            array.change(volume, pool_id=target.id, type=kind, compression=compression)
    array.change(tree, pool_id=target.id, migration=None)


# --- actions on a migration ----------------------------------------------------------------------------


def _running(array: Array, volume: Volume) -> tuple[VTree, Migration]:
    tree = array.vtrees[volume.vtree_id]
    if tree.migration is None:
        raise _not_migrating()
    return tree, tree.migration


def _not_migrating() -> ApiError:
    return uncoded_error("The VTree is not migrating")


def _pause(array: Array, volume: Volume, body: Body) -> View:
    body.choice("pauseType", ("Gracefully", "Forcefully", "WithoutWaiting"))
    tree, moving = _running(array, volume)
    _stop(moving, array.clock.now(), _BY_USER)
    array.change(tree)
    advance(array)
    return {}


def _resume(array: Array, volume: Volume, _: Body) -> View:
    tree, moving = _running(array, volume)
    if moving.status == PAUSED:
        moving.status, moving.pause_reason = PENDING, None
        array.change(tree)
        advance(array)
    return {}


def _set_position(array: Array, volume: Volume, body: Body) -> View:
    body.required("queuePosition")
    position = body.choice("queuePosition", (_HEAD, _TAIL)) or _TAIL
    tree, moving = _running(array, volume)
    moving.order = _order(array, tree.pool_id, position)
    array.change(tree)
    return {}


def refuse_target(array: Array, pool: StoragePool) -> None:
    """Refuse a change of a pool that VTrees are migrating to.

    Raises:
        ApiError: there are such VTrees.
    """
    trees = [array.vtrees[tree_id].migration for tree_id in array.migrating]
    if any(moving is not None and moving.target_pool_id == pool.id for moving in trees):
        raise uncoded_error("VTrees are migrating to the Storage Pool")


def view(array: Array, tree: VTree) -> View:
    """``vtreeMigrationInfo`` of a tree."""
    moving = tree.migration
    if moving is None:
        return {
            "sourceStoragePoolId": None,
            "destinationStoragePoolId": None,
            "migrationStatus": "NotInMigration",
            "migrationPauseReason": None,
            "migrationQueuePosition": 0,
            "thicknessConversionType": "NoConversion",
        }
    return {
        "sourceStoragePoolId": tree.pool_id,
        "destinationStoragePoolId": moving.target_pool_id,
        "migrationStatus": moving.status,
        "migrationPauseReason": moving.pause_reason,
        "migrationQueuePosition": _position(array, tree),
        "thicknessConversionType": moving.conversion,
    }


ACTIONS: dict[str, Action[Volume]] = {
    "migrateVTree": Action(_migrate),
    "pauseVTreeMigration": Action(_pause),
    "resumeVTreeMigration": Action(_resume),
    "setVtreeMigrationQueuePosition": Action(_set_position),
    "setVTreeMigrationQueuePosition": Action(_set_position),
}
