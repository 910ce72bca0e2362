"""Migration of a VTree to another pool. It takes time, as on a real system."""

from __future__ import annotations

from csi_powerflex.simulator.api_error import malformed, mdm_error, uncoded_error
from csi_powerflex.simulator.array import Array
from csi_powerflex.simulator.body import Body
from csi_powerflex.simulator.capacity import pool_capacity
from csi_powerflex.simulator.model import (
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

NORMAL = "MigrationNormal"
PAUSED = "Paused"
_CONVERSIONS = ("NoConversion", "ThinToThick", "ThickToThin")


def _migrate(array: Array, volume: Volume, body: Body) -> View:
    tree = array.vtrees[volume.vtree_id]
    advance_tree(array, tree)
    target = _target(array, body)
    conversion = body.choice("volTypeConversion", _CONVERSIONS) or "NoConversion"
    running = tree.migration
    if running is not None:
        return _redirect(array, tree, running, target)
    if target.id == tree.pool_id:
        raise mdm_error(718)
    _refuse_pools(array, array.pools[tree.pool_id], target)
    if not body.flag("ignoreDestinationCapacity"):
        _refuse_capacity(array, tree, target)
    array.change(
        tree,
        migration=Migration(
            target_pool_id=target.id, status=NORMAL, since=array.clock.now(), conversion=conversion
        ),
    )
    return {}


def _redirect(array: Array, tree: VTree, running: Migration, target: StoragePool) -> View:
    """Roll back a paused migration if ``target`` is the pool where the VTree is; refuse everything else."""
    if running.status == PAUSED and target.id == tree.pool_id:
        array.change(tree, migration=None)
        return {}
    raise mdm_error(717 if target.id == running.target_pool_id else 719)


def _target(array: Array, body: Body) -> StoragePool:
    target = array.pools.get(body.required("destSPId").lower())
    if target is None:
        raise mdm_error(171)
    return target


def _refuse_pools(array: Array, source: StoragePool, target: StoragePool) -> None:
    if array.is_erasure_coded(source.id) or array.is_erasure_coded(target.id):
        raise malformed("VTree migration is not supported for erasure-coded Storage Pools")
    if source.layout == target.layout == MEDIUM and source.zero_padding != target.zero_padding:
        raise uncoded_error("The Storage Pools differ in zero padding")
    if source.layout == MEDIUM and target.layout == FINE and not source.zero_padding:
        raise uncoded_error("The source Storage Pool must be zero padded")


def _refuse_capacity(array: Array, tree: VTree, target: StoragePool) -> None:
    limit = pool_capacity(array, target).allocation_limit
    base = sum(
        volume.size_kb
        for volume in map(array.volumes.__getitem__, tree.volume_ids)
        if volume.type in (THIN, THICK)
    )
    if limit is not None and base > limit:
        raise mdm_error(309)


def advance_tree(array: Array, tree: VTree) -> None:
    """Update a tree's migration to the current time. It ends when all bytes have moved."""
    running = tree.migration
    if running is None or running.status != NORMAL:
        return
    if running.done_seconds + array.clock.now() - running.since >= _duration(array, tree):
        _arrive(array, tree, running)


def advance(array: Array) -> None:
    """Update all migrations to the current time."""
    for tree_id in list(array.migrating):
        advance_tree(array, array.vtrees[tree_id])


def _duration(array: Array, tree: VTree) -> float:
    size = sum(array.volumes[volume_id].size_kb for volume_id in tree.volume_ids)
    return size / array.settings.migration_kb_per_second


def _arrive(array: Array, tree: VTree, running: Migration) -> None:
    target = array.pools[running.target_pool_id]
    for volume_id in tree.volume_ids:
        volume = array.volumes[volume_id]
        volume_type = volume.type
        if running.conversion == "ThinToThick" and volume_type == THIN:
            volume_type = THICK
        elif running.conversion == "ThickToThin" and volume_type == THICK:
            volume_type = THIN
        compression = target.compression if target.layout == FINE else None
        array.change(volume, pool_id=target.id, type=volume_type, compression=compression)
    array.change(tree, pool_id=target.id, migration=None)


def _running(array: Array, volume: Volume) -> tuple[VTree, Migration]:
    tree = array.vtrees[volume.vtree_id]
    advance_tree(array, tree)
    if tree.migration is None:
        raise uncoded_error("The VTree is not migrating")
    return tree, tree.migration


def _pause(array: Array, volume: Volume, body: Body) -> View:
    body.choice("pauseType", ("Gracefully", "Forcefully", "WithoutWaiting"))
    tree, running = _running(array, volume)
    if running.status != PAUSED:
        running.done_seconds += array.clock.now() - running.since
        running.status = PAUSED
        running.pause_reason = "UserInitiated"
        array.change(tree)
    return {}


def _resume(array: Array, volume: Volume, _: Body) -> View:
    tree, running = _running(array, volume)
    if running.status == PAUSED:
        running.status = NORMAL
        running.pause_reason = None
        running.since = array.clock.now()
        array.change(tree)
    return {}


def _set_position(array: Array, volume: Volume, body: Body) -> View:
    body.choice("queuePosition", ("Head", "Tail"))
    _running(array, volume)
    return {}


def view(array: Array, tree: VTree) -> View:
    """``vtreeMigrationInfo`` of a tree."""
    advance_tree(array, tree)
    running = tree.migration
    if running is None:
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
        "destinationStoragePoolId": running.target_pool_id,
        "migrationStatus": running.status,
        "migrationPauseReason": running.pause_reason,
        "migrationQueuePosition": 0,
        "thicknessConversionType": running.conversion,
    }


ACTIONS: dict[str, Action[Volume]] = {
    "migrateVTree": Action(_migrate),
    "pauseVTreeMigration": Action(_pause),
    "resumeVTreeMigration": Action(_resume),
    "setVtreeMigrationQueuePosition": Action(_set_position),
    "setVTreeMigrationQueuePosition": Action(_set_position),
}
