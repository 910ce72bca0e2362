"""Creating volumes as copies of a volume or a snapshot.

A copy is in the pool and the volume tree of its source. It is found by its name, as in ``creation``.
"""

from __future__ import annotations

from csi_powerflex.errors import OutOfRange, ResourceExhausted
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model.array import Copy, NameInUse, Pool, TreeFull, Volume
from csi_powerflex.model.ports import Array, Fleet
from csi_powerflex.observability.log import Log
from csi_powerflex.operations.controller.lookup import find_volume_by_name
from csi_powerflex.operations.controller.matching import CreatedVolume, VolumeRequest, require_copy, size_for
from csi_powerflex.operations.controller.placement import Placement

log = Log(__name__)


class Copies:
    """Creates writable copies."""

    def __init__(self, fleet: Fleet, placement: Placement) -> None:
        self._fleet = fleet
        self._placement = placement

    def create(self, request: VolumeRequest, source: VolumeHandle, name: str) -> CreatedVolume:
        """The copy with that name on the array, created if it does not exist.

        Raises as ``Volumes.create``.
        """
        array = self._fleet.array(source.system_id)
        original = array.volume(source.volume_id)
        pool = array.pool_by_id(original.pool_id)
        candidate = self._placement.candidate_for_copy(array, pool, request.parameters, request.requirement)
        try:
            volume_id, size = _create(array, request, original, pool, name)
        except (NameInUse, OutOfRange, ResourceExhausted):
            # An earlier call may have created the copy. Since then the source was grown, or the tree or the
            # pool became full.
            existing = find_volume_by_name(array, name)
            if existing is None:
                raise
            require_copy(existing, request, original)
            volume_id, size = existing.handle.volume_id, _grown(array, request, existing, pool)
        handle = VolumeHandle(source.system_id, volume_id)
        log.info("volume copied", volume=handle, source=source, array_name=name, size=size)
        return CreatedVolume(handle=handle, size=size, copied=True, zone=candidate.zone)


def _create(array: Array, request: VolumeRequest, source: Volume, pool: Pool, name: str) -> tuple[str, int]:
    """Create the copy. Returns its id and its size in bytes."""
    size = size_for(request, pool, at_least=source.size)
    if request.parameters.max_tree_members:
        _require_tree_below(array, source, request.parameters.max_tree_members)
    try:
        volume_id = array.clone(Copy(source.handle.volume_id, name))
    except TreeFull as error:
        members = array.tree_members(source.tree_id)
        raise TreeFull(
            f"volume {source.handle} cannot be copied: its tree {source.tree_id} has {members} members "
            "(volume, snapshots and clones), as many as the array allows; delete some of them"
        ) from error
    if source.size < size:
        array.resize_volume(volume_id, size)
    return volume_id, size


def _grown(array: Array, request: VolumeRequest, copy: Volume, pool: Pool) -> int:
    """The size of a copy that an earlier call created. It is grown if that call was interrupted before."""
    if copy.size >= request.required:
        return copy.size
    size = size_for(request, pool, at_least=copy.size)
    array.resize_volume(copy.handle.volume_id, size)
    return size


def _require_tree_below(array: Array, source: Volume, limit: int) -> None:
    members = array.tree_members(source.tree_id)
    if members >= limit:
        raise TreeFull(
            f"volume {source.handle} is not copied: its tree {source.tree_id} has {members} members, and "
            f"maxVtreeMembers is {limit}; delete some of its snapshots or clones, or raise it"
        )
