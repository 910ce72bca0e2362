"""Creating volumes as copies of a volume or a snapshot.

A copy is in the pool and the volume tree of its source. It is found by its name, as in ``creation``.

The array grows a copy in a second request. If it refuses that for good, the copy that this call created is
removed, because no caller would ever delete it. Another controller may have the same request at the same
time: it finds the copy by name, grows it and answers OK. So the two follow these rules, and the copy that one
of them answered OK for is never removed:

- Only a copy that the call itself created is removed, never one that it found.
- Before its removal the copy gets another name. From then on, no other call can find it. If another call has
  grown or mapped it before that, it gets its name back and stays.
- A call that grows a copy which it found by name reads its name again before it answers.

The other name follows from the first one and from the size of the copy before it was grown. So if the process
ends between renaming and removal, the repeated call finds what is left, before it creates another copy. It
removes it if it has that size still, is a copy of the same source and is not mapped: no call that grows a
copy can have answered for it. A copy that was grown gets its name back. This look costs a request, which only
calls that grow a copy make.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from csi_powerflex import names, units
from csi_powerflex.errors import (
    DriverError,
    InvalidArgument,
    NotFound,
    OutOfRange,
    ResourceExhausted,
    Unavailable,
    is_final,
)
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model.array import Copy, NameInUse, Pool, TreeFull, Volume, VolumeMapped
from csi_powerflex.model.ports import Array, Fleet, QosStore
from csi_powerflex.observability.log import Log
from csi_powerflex.operations.controller.create_history import CreateHistory, UngrownCopy
from csi_powerflex.operations.controller.lookup import find_volume_by_name, is_named_snapshot, is_snapshot
from csi_powerflex.operations.controller.matching import CreatedVolume, VolumeRequest, require_copy, size_for
from csi_powerflex.operations.controller.placement import Candidate, Placement
from csi_powerflex.operations.controller.size_errors import explained
from csi_powerflex.operations.controller.snapshot_policies import RequestedPolicy

log = Log(__name__)


class Copies:
    """Creates writable copies."""

    def __init__(self, fleet: Fleet, placement: Placement, store: QosStore, cluster_id: str) -> None:
        self._fleet = fleet
        self._store = store
        self._placement = placement
        self._cluster_id = cluster_id
        self._history = CreateHistory()

    def create(
        self, request: VolumeRequest, source: VolumeHandle, name: str, wanted: RequestedPolicy
    ) -> CreatedVolume:
        """The copy with that name on the array, created if it does not exist.

        Raises as ``Volumes.create``.
        """
        array = self._fleet.array(source.system_id)
        left = self._history.ungrown(array.label, name)
        if left is not None:
            self._remove(array, name, left)
        try:
            original = array.volume(source.volume_id)
        except NotFound as error:
            return self._created_before(array, request, source, name, error)
        _require_kind(original, request)
        pool = array.pool_by_id(original.pool_id)
        candidate = self._candidate(array, pool, request, source, name)
        wanted.require(array, name)
        policy_id, new = None, True
        try:
            what = f"volume {request.name}, a copy of volume {original} (on the array {name})"
            with explained(array, lambda: pool, what):
                volume_id, size = self._create(array, request, original, pool, name)
        except NotFound as error:
            return self._created_before(array, request, source, name, error)
        except (NameInUse, OutOfRange, ResourceExhausted):
            # An earlier call may have created the copy. Since then the source was grown, or the tree or the
            # pool became full.
            existing = find_volume_by_name(array, name)
            if existing is None:
                raise
            require_copy(existing, request, original)
            volume_id, size = existing.handle.volume_id, _grown(array, request, existing, pool)
            policy_id, new = existing.policy_id, False
        handle = VolumeHandle(source.system_id, volume_id)
        log.info("volume copied", volume=handle, source=source, array_name=name, size=size)
        return CreatedVolume(handle, size, copied=True, zone=candidate.zone, policy_id=policy_id, new=new)

    def _candidate(
        self, array: Array, pool: Pool, request: VolumeRequest, source: VolumeHandle, name: str
    ) -> Candidate:
        """The candidate for the copy. Raises as ``Placement.candidate_for_copy``.

        A copy that exists may have been moved with its tree. Then the request names the former pool.
        """
        parameters, requirement = request.parameters, request.requirement
        try:
            return self._placement.candidate_for_copy(array, pool, parameters, requirement)
        except InvalidArgument:
            existing = find_volume_by_name(array, name)
            # A copy that was created while its source moved is not among the volumes that were to be moved.
            handles = () if existing is None else (existing.handle, source)
            if not any(self._store.may_have_moved(handle) for handle in handles):
                raise
            return self._placement.candidate_for_copy(array, pool, parameters, requirement, moved=True)

    def _created_before(
        self, array: Array, request: VolumeRequest, source: VolumeHandle, name: str, missing: NotFound
    ) -> CreatedVolume:
        """The copy that an earlier call created from a source that was deleted since, or is in the trash.

        Raises:
            NotFound: there is none. It is ``missing``.
        """
        existing = find_volume_by_name(array, name)
        if existing is None or not (existing.orphaned or existing.ancestor_id == source.volume_id):
            raise missing
        require_copy(existing, request, None)
        pool = array.pool_by_id(existing.pool_id)
        candidate = self._candidate(array, pool, request, source, name)
        size = _grown(array, request, existing, pool)
        log.info("copy of a deleted source found", volume=existing.handle, array_name=name, size=size)
        return CreatedVolume(
            handle=existing.handle,
            size=size,
            copied=True,
            zone=candidate.zone,
            policy_id=existing.policy_id,
        )

    def _create(
        self, array: Array, request: VolumeRequest, source: Volume, pool: Pool, name: str
    ) -> tuple[str, int]:
        """Create the copy. Returns its id and its size in bytes."""
        size = size_for(request, pool, at_least=source.size)
        if source.size < size:
            self._settle_left(array, name, source)
            _require_possible(array, size)
        if request.parameters.max_tree_members:
            _require_tree_below(array, source, request.parameters.max_tree_members)
        try:
            volume_id = array.clone(Copy(source.handle.volume_id, name))
        except TreeFull as error:
            members = array.tree_members(source.tree_id)
            raise TreeFull(
                f"volume {source} cannot be copied: its tree {source.tree_id} has {members} members "
                "(volume, snapshots and clones), as many as the array allows; delete some of them"
            ) from error
        if source.size < size:
            self._grow_new(array, name, UngrownCopy(volume_id, source.size), size)
        return volume_id, size

    def _grow_new(self, array: Array, name: str, copy: UngrownCopy, size: int) -> None:
        """Grow a copy that was created just now. If the array refuses that for good, remove the copy."""
        try:
            array.resize_volume(copy.volume_id, size)
        except DriverError as error:
            if not is_final(error):
                raise
            self._history.record_ungrown(array.label, name, copy)
            if isinstance(error, NotFound) or not self._remove(array, name, copy):
                raise Unavailable(
                    f"copy {copy.volume_id} was created, and another call has grown or removed it; try again"
                ) from error
            raise

    def _remove(self, array: Array, name: str, copy: UngrownCopy) -> bool:
        """Remove a copy that this process created and could not grow. Returns whether it is removed now.

        Raises:
            Unavailable: it may still exist.
        """
        try:
            removed = _remove_unless_used(array, copy, name, self._other_names(name, copy))
        except NotFound:
            removed = True
        except DriverError as error:
            raise Unavailable(
                f"copy {copy.volume_id} was created and cannot be grown, and it was not removed: {error}; "
                "try again"
            ) from error
        self._history.forget_ungrown(array.label, name)
        log.warning("copy that cannot be grown", volume=copy.volume_id, array_name=name, removed=removed)
        return removed

    def _other_names(self, name: str, copy: UngrownCopy) -> tuple[str, str]:
        """Names for a copy that is to be removed: one that a repeated call looks for, and one of its own."""
        texts = (f"{name} of {copy.size} bytes is removed", f"{copy.volume_id} is removed")
        first, own = (names.array_name(names.Kind.VOLUME, self._cluster_id, text) for text in texts)
        return first, own

    def _settle_left(self, array: Array, name: str, source: Volume) -> None:
        """Remove what an earlier call left when its process ended between renaming and removal of a copy."""
        other, _ = self._other_names(name, UngrownCopy("", source.size))
        left = find_volume_by_name(array, other)
        if left is None:
            return
        if left.ancestor_id != source.handle.volume_id or (left.mappings and left.size == source.size):
            log.warning("copy with a temporary name was kept", volume=left.handle, array_name=other)
        elif left.size == source.size:
            # Another call may remove it at the same time, or an operator may map it.
            with contextlib.suppress(NotFound, VolumeMapped):
                array.remove_volume(left.handle.volume_id)
                log.warning("copy that an earlier call left was removed", volume=left.handle, array_name=name)
        else:
            with contextlib.suppress(NotFound, NameInUse):
                array.rename_volume(left.handle.volume_id, name)


def _require_kind(source: Volume, request: VolumeRequest) -> None:
    """Check that the source is what the request takes it for.

    Raises:
        NotFound: there is no such snapshot, or no such volume.
    """
    if request.of_snapshot and not is_snapshot(source):
        raise NotFound(f"{source} is a volume, not a snapshot")
    if not request.of_snapshot and is_named_snapshot(source):
        raise NotFound(f"{source} is a snapshot, not a volume")


def _remove_unless_used(array: Array, copy: UngrownCopy, name: str, others: Sequence[str]) -> bool:
    """Remove the copy, unless another call has grown or mapped it. Returns whether it was removed."""
    found = _renamed(array, copy, others)
    if found.size == copy.size and not found.mappings:
        array.remove_volume(copy.volume_id)
        return True
    with contextlib.suppress(NameInUse):  # Yet another call has created a copy of that name.
        array.rename_volume(copy.volume_id, name)
    return False


def _renamed(array: Array, copy: UngrownCopy, others: Sequence[str]) -> Volume:
    """The copy with one of these names, the first that no other volume has.

    Raises:
        NameInUse: other volumes have all of them.
    """
    for other in others:
        with contextlib.suppress(NameInUse):  # An earlier attempt has renamed it, or another volume has it.
            array.rename_volume(copy.volume_id, other)
        found = array.volume(copy.volume_id)
        if found.name == other:
            return found
    raise NameInUse(f"other volumes have the names {', '.join(others)}")


def _require_possible(array: Array, size: int) -> None:
    """Check the size before a copy is created.

    Raises:
        OutOfRange: the array has no volumes of this size.
    """
    largest = array.largest_volume()
    if size > largest:
        raise OutOfRange(
            f"{units.readable(size)} were asked for, and the largest volume of system {array.label} has "
            f"{units.readable(largest)}"
        )


def _grown(array: Array, request: VolumeRequest, copy: Volume, pool: Pool) -> int:
    """The size of a copy that an earlier call created. It is grown if that call was interrupted before.

    Raises:
        Unavailable: it cannot be grown, or another call is removing it. It is not this call's to remove, so
            the error must not be final.
    """
    if copy.size >= request.required:
        return copy.size
    size = size_for(request, pool, at_least=copy.size)
    try:
        array.resize_volume(copy.handle.volume_id, size)
        current = array.volume(copy.handle.volume_id)
    except DriverError as error:
        if not is_final(error):
            raise
        raise Unavailable(
            f"volume {copy} was created by an earlier call with {units.readable(copy.size)} and "
            f"cannot be grown to {units.readable(size)}: {error}; try again"
        ) from error
    if current.name != copy.name:
        raise Unavailable(f"volume {copy} is being removed by another call; try again")
    return size


def _require_tree_below(array: Array, source: Volume, limit: int) -> None:
    members = array.tree_members(source.tree_id)
    if members >= limit:
        raise TreeFull(
            f"volume {source} is not copied: its tree {source.tree_id} has {members} members, and "
            f"maxVtreeMembers is {limit}; delete some of its snapshots or clones, or raise it"
        )
