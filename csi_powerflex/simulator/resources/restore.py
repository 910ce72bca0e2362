"""Restore: copy the data of one volume of a VTree to another one."""

from __future__ import annotations

from csi_powerflex.simulator.api_error import malformed, mdm_error, uncoded_error, unknown_id
from csi_powerflex.simulator.array import Array
from csi_powerflex.simulator.body import Body
from csi_powerflex.simulator.model import READ_ONLY_SNAPSHOT, Volume
from csi_powerflex.simulator.resources.removal import refuse_removed
from csi_powerflex.simulator.resources.resource_type import Action, Effect, View


def _source(array: Array, body: Body, *names: str) -> Volume:
    _, source_id = body.alternative(*names)
    source = array.volumes.get(source_id.lower())
    if source is None:
        raise unknown_id(source_id, mdm_error(79))
    refuse_removed(array, source)
    return source


def _copy(array: Array, target: Volume, source: Volume) -> View:
    if source.id == target.id:
        raise mdm_error(339)
    if source.vtree_id != target.vtree_id:
        raise mdm_error(198)
    if source.size_kb != target.size_kb:
        raise uncoded_error(
            f"The sizes differ: the source has {source.size_kb} KB, the target {target.size_kb} KB"
        )
    _refuse_protected(array, target)
    with array.lock_released(), array.paused({source.id, target.id}):
        array.plane.overwrite(source.id, target.id)
    array.change(target, restores=target.restores + 1)
    return {}


def _refuse_protected(array: Array, target: Volume) -> None:
    if target.type == READ_ONLY_SNAPSHOT:
        raise uncoded_error("A read-only snapshot cannot be overwritten")
    if target.secure_until > array.clock.now():
        raise uncoded_error("The snapshot is secure and its retention time has not passed")
    if target.mappings and not array.settings.overwrite_mapped:
        raise mdm_error(104)


def _overwrite(array: Array, target: Volume, body: Body) -> View:
    if target.locked and not body.flag("overwriteLockedAutoSnapshot"):
        raise uncoded_error("The snapshot is a locked auto snapshot")
    return _copy(array, target, _source(array, body, "srcVolumeId"))


def _restore(array: Array, target: Volume, body: Body) -> View:
    """The second generation's restore. One of the two volumes must be a snapshot of the other."""
    _refuse_first_generation(array, target)
    source = _source(array, body, "snapshotId", "srcVolumeId")
    if source.ancestor_id != target.id and target.ancestor_id != source.id:
        raise uncoded_error("The snapshot is not directly related to the volume")
    return _copy(array, target, source)


def _refresh(array: Array, target: Volume, body: Body) -> View:
    _refuse_first_generation(array, target)
    return _copy(array, target, _source(array, body, "snapshotId", "srcVolumeId"))


def _refuse_first_generation(array: Array, volume: Volume) -> None:
    if not array.is_erasure_coded(volume.pool_id):
        raise malformed("The operation is supported for volumes of erasure-coded Storage Pools only")


ACTIONS: dict[str, Action[Volume]] = {
    "overwriteVolumeContent": Action(_overwrite, Effect.SLOW),
    "restore": Action(_restore, Effect.SLOW),
    "refresh": Action(_refresh, Effect.SLOW),
}
