"""Snapshots of single volumes.

To the array a snapshot is a volume. The first letter of its name says that it is a snapshot: a volume that
was restored from a snapshot, or cloned, has the name of a volume.
"""

from __future__ import annotations

import datetime

from csi_powerflex import names
from csi_powerflex.errors import AlreadyExists, DriverError, FailedPrecondition, NotFound, ResourceExhausted
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model.array import Copy, NameInUse, Pool, TreeFull, Volume, VolumeMapped
from csi_powerflex.model.other_users import OtherUsers
from csi_powerflex.model.parameters import SnapshotParameters
from csi_powerflex.model.ports import Array, Fleet
from csi_powerflex.observability.log import Log
from csi_powerflex.operations.controller.lookup import (
    after_change,
    find_volume_by_name,
    is_copy_of,
    is_snapshot,
    require_not_in_trash,
)
from csi_powerflex.operations.controller.ownership import Ownership
from csi_powerflex.operations.controller.size_errors import explained

log = Log(__name__)


class Snapshots:
    """The snapshots of one cluster on a fleet of systems."""

    def __init__(
        self,
        fleet: Fleet,
        ownership: Ownership,
        cluster_id: str,
        other_users: OtherUsers,
    ) -> None:
        self._fleet = fleet
        self._ownership = ownership
        self._cluster_id = cluster_id
        self._other_users = other_users

    def create(self, csi_name: str, source: VolumeHandle, parameters: SnapshotParameters) -> Volume:
        """The snapshot of that name, taken now if it does not exist.

        Raises:
            NotFound: the source does not exist.
            AlreadyExists: the name belongs to a snapshot of another volume.
            ResourceExhausted: the source's tree or its pool is full.
        """
        array = self._fleet.array(source.system_id)
        name = names.array_name(names.Kind.SNAPSHOT, self._cluster_id, csi_name)
        try:
            what = f"snapshot {csi_name} of volume {source} (on the array {name})"
            require_not_in_trash(array, [source.volume_id])
            with explained(array, lambda: pool_of(array, source.volume_id), what):
                made = array.take_snapshots(
                    [Copy(source.volume_id, name)],
                    access=parameters.access,
                    retention_minutes=parameters.retention_minutes,
                )
        except (NameInUse, NotFound, ResourceExhausted) as error:
            # The snapshot of an earlier call may be what filled the tree or the pool, and its source may have
            # been deleted since.
            snapshot = find_volume_by_name(array, name)
            if snapshot is None:
                if isinstance(error, TreeFull):
                    raise tree_full(array, source) from error
                raise
            if not is_copy_of(array, snapshot, source.volume_id):
                if isinstance(error, NotFound):
                    raise
                raise AlreadyExists(
                    f"snapshot {csi_name} exists already as {snapshot}, and was not taken of volume "
                    f"{source}; use another name"
                ) from None
            self._ownership.created(snapshot.handle, names.Kind.SNAPSHOT)
            return snapshot
        self._ownership.created(VolumeHandle(source.system_id, made[0]), names.Kind.SNAPSHOT)
        log.info("snapshot taken", snapshot=f"{source.system_id}-{made[0]}", source=source, array_name=name)
        with after_change(f"snapshot {csi_name} was taken"):
            return array.volume(made[0])

    def delete(self, handle: VolumeHandle) -> None:
        """Remove the snapshot. Returns without error if it does not exist.

        Raises:
            FailedPrecondition: it is mapped, its retention has not ended, a VolumeSnapshotContent needs it,
                or this cluster did not make it.
            InvalidArgument: it is a volume.
            Unavailable: it is not known whether a VolumeSnapshotContent needs it.
        """
        array = self._fleet.array(handle.system_id)
        try:
            self._ownership.require_snapshot(array, handle)
        except NotFound:
            log.info("snapshot did not exist", snapshot=handle)
            return
        users = self._other_users.of_snapshot(handle)
        if users:
            raise FailedPrecondition(
                f"snapshot {handle} is not deleted, because it is the snapshot of {', '.join(users)}, and "
                "each of them must be deleted with the deletion policy Delete. Delete the others first, or "
                "set the deletion policy of the one that is deleted to Retain to keep the snapshot"
            )
        self._remove(array, handle)
        self._ownership.forget(handle)

    @staticmethod
    def _remove(array: Array, handle: VolumeHandle) -> None:
        try:
            array.remove_volume(handle.volume_id)
        except NotFound:
            log.info("snapshot did not exist", snapshot=handle)
        except VolumeMapped as error:
            snapshot = array.volume(handle.volume_id)
            hosts = ", ".join(map(str, snapshot.mappings)) or "a host that was unmapped just now"
            raise VolumeMapped(
                f"snapshot {snapshot} is mapped to {hosts} and was not removed; unmap it first"
            ) from error
        except DriverError as error:
            # The array has no code for a retention that has not ended, so the snapshot is read again.
            if _still_exists(array, handle, error):
                raise
            log.info("snapshot removed, though the request failed", snapshot=handle)
        else:
            log.info("snapshot removed", snapshot=handle)

    def get(self, handle: VolumeHandle) -> Volume:
        """The snapshot.

        Raises:
            NotFound: it does not exist, or it is a volume.
        """
        array = self._fleet.array(handle.system_id)
        found = array.volume(handle.volume_id)
        self._ownership.seen(array, found)
        if not is_snapshot(found):
            raise NotFound(f"{found} is a volume, not a snapshot")
        return found


def tree_full(array: Array, source: VolumeHandle) -> TreeFull:
    """The error for a volume whose tree can have no further member."""
    volume = array.volume(source.volume_id)
    members = array.tree_members(volume.tree_id)
    return TreeFull(
        f"no snapshot of volume {volume} was taken: its tree {volume.tree_id} has {members} members "
        "(volume, snapshots and clones), as many as the array allows; delete some of them"
    )


def pool_of(array: Array, volume_id: str) -> Pool:
    """The pool of a volume."""
    return array.pool_by_id(array.volume(volume_id).pool_id)


def _still_exists(array: Array, handle: VolumeHandle, cause: DriverError) -> bool:
    """Whether a snapshot that could not be removed still exists.

    Raises:
        FailedPrecondition: it does, because its retention has not ended.
    """
    try:
        snapshot = array.volume(handle.volume_id)
    except NotFound:
        return False
    until = snapshot.locked_until
    if until is not None and until > datetime.datetime.now(tz=datetime.UTC):
        raise FailedPrecondition(
            f"snapshot {snapshot} is secure and cannot be removed before {until:%Y-%m-%d %H:%M} UTC"
        ) from cause
    return True
