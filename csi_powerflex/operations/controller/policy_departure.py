"""A volume that is deleted leaves its snapshot policy first.

The snapshots that the policy has taken of it decide. Those that someone needs stay on the array, as ordinary
snapshots: locked, secure and mapped ones, and those that Kubernetes has. If there are others, they are
deleted if the class of the volume says so; else the volume is not deleted.

They are removed before the volume leaves the policy. So if the call is interrupted, the repeated one still
sees which they are.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from csi_powerflex.errors import DriverError, FailedPrecondition, NotFound, Unavailable
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model.array import Volume, VolumeMapped
from csi_powerflex.model.ports import Array
from csi_powerflex.model.snapshot_policy import DELETE_POLICY_SNAPSHOTS, NeededHandles, PolicyNeeds
from csi_powerflex.observability.log import Log
from csi_powerflex.operations.controller.snapshot_policies import settle

log = Log(__name__)


class PolicyDeparture:
    """Takes volumes that are deleted out of their snapshot policies.

    Args:
        needs: what the classes of volumes say.
        needed: the handles that Kubernetes has. It is called only if auto snapshots are to be deleted.
    """

    def __init__(self, needs: PolicyNeeds, needed: NeededHandles) -> None:
        self._needs = needs
        self._needed = needed

    def leave(self, array: Array, handle: VolumeHandle, volume: Volume | None) -> bool:
        """Let the volume leave its policy, if it is in one. Returns whether something was changed.

        Args:
            array: its system.
            handle: the volume.
            volume: the volume, if it was read just before. Else it is read only if a class names a policy.

        Raises:
            NotFound: it does not exist.
            VolumeMapped: it is mapped. Nothing was changed.
            FailedPrecondition: the policy has taken snapshots of it, and its class does not say that they are
                deleted. Nothing was changed.
            Unavailable: the classes or the snapshots that Kubernetes has are not known now.
        """
        if volume is None:
            if not self._needs.names_policy(handle):
                return False
            volume = array.volume(handle.volume_id)
        if volume.policy_id is None:
            return False
        if volume.mappings:
            raise VolumeMapped(f"volume {volume} is mapped and was not taken out of its snapshot policy")
        # Before the snapshots: another controller that deletes the volume removes it from what is known last.
        deletes = self._needs.deletes_policy_snapshots(handle)
        found = [item for item in _auto_snapshots(array, volume) if not _stays(item)]
        if found:
            if not deletes:
                raise _snapshots_left(array, volume, len(found))
            needed = self._needed_handles()
            for snapshot in found:
                if str(snapshot.handle) not in needed:
                    _remove(array, snapshot)
        settle(array, handle.volume_id, None, volume.policy_id)
        log.info("volume left its snapshot policy", volume=handle, policy=volume.policy_id)
        return True

    def _needed_handles(self) -> frozenset[str]:
        try:
            return frozenset(self._needed())
        except DriverError as error:
            raise Unavailable(
                f"it is not known which snapshots Kubernetes has, so none was deleted: {error}; try again"
            ) from error


def _auto_snapshots(array: Array, volume: Volume) -> Sequence[Volume]:
    """The snapshots that policies have taken of the volume itself."""
    try:
        members = array.tree_volumes(volume.tree_id)
    except NotFound as error:
        array.volume(volume.handle.volume_id)  # raises NotFound if the volume does not exist either
        raise Unavailable(f"the tree of volume {volume} was not found: {error}; try again") from error
    return [
        member.volume
        for member in members
        if member.volume.taken_by is not None
        and member.volume.ancestor_id == volume.handle.volume_id
        and not member.volume.reparented
    ]


def _stays(snapshot: Volume) -> bool:
    """Whether the array or someone keeps the snapshot."""
    until = snapshot.locked_until
    secure = until is not None and until > datetime.datetime.now(tz=datetime.UTC)
    return snapshot.policy_locked or secure or bool(snapshot.mappings)


def _remove(array: Array, snapshot: Volume) -> None:
    """Remove an auto snapshot. One that has been locked or mapped meanwhile stays."""
    try:
        array.remove_volume(snapshot.handle.volume_id)
    except NotFound:
        return  # its policy or another controller was faster
    except DriverError:
        # The array has no code for a locked snapshot, so it is read again.
        try:
            found = array.volume(snapshot.handle.volume_id)
        except NotFound:
            return
        if not _stays(found):
            raise
        log.info("auto snapshot is in use and was kept", snapshot=snapshot.handle)
    else:
        log.info("auto snapshot removed with its volume", snapshot=snapshot.handle, policy=snapshot.taken_by)


def _snapshots_left(array: Array, volume: Volume, count: int) -> FailedPrecondition:
    policy = next((item for item in array.snapshot_policies() if item.id == volume.policy_id), None)
    return FailedPrecondition(
        f"volume {volume} was not deleted: its snapshot policy {policy or volume.policy_id} has taken "
        f"{count} snapshots of it that nothing keeps. Lock those that you need with csi-powerflex snapshots "
        "import --yes. Then take the volume out of the policy at the array, and choose there to remove the "
        f"others. Or use a StorageClass with {DELETE_POLICY_SNAPSHOTS}=true for further volumes"
    )
