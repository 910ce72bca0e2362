"""Deleting volumes: at once, or into the trash. A volume leaves its snapshot policy before that."""

from __future__ import annotations

import contextlib
import dataclasses
from dataclasses import dataclass

from csi_powerflex.errors import FailedPrecondition, NotFound, Unavailable
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model.array import Volume, VolumeMapped
from csi_powerflex.model.other_users import OtherUsers
from csi_powerflex.model.ports import Array, Fleet
from csi_powerflex.observability.log import Log
from csi_powerflex.operations.controller.cluster_nodes import STALE_MAPPING, ClusterNodes
from csi_powerflex.operations.controller.lookup import after_change
from csi_powerflex.operations.controller.new_volumes import NewVolumes
from csi_powerflex.operations.controller.ownership import Ownership
from csi_powerflex.operations.controller.policy_departure import PolicyDeparture
from csi_powerflex.operations.controller.trash import Trash

log = Log(__name__)


@dataclass(frozen=True, slots=True)
class Removal:
    """Removes one volume: from its snapshot policy, and then at once or into the trash."""

    trash: Trash
    departure: PolicyDeparture

    def remove(
        self, array: Array, handle: VolumeHandle, volume: Volume | None, *, unmapped: bool = False
    ) -> None:
        """Remove it.

        Args:
            array: has the volume.
            handle: of the volume.
            volume: as it was read in this call, if it was.
            unmapped: whether its mappings were removed since it was read.

        Raises:
            VolumeMapped: it is mapped.
            NotFound: it does not exist.
        """
        if not self.departure.leave(array, handle, volume):
            self.trash.remove(array, handle, None if unmapped else volume)
            return
        with after_change(f"volume {handle} has left its snapshot policy"), contextlib.suppress(NotFound):
            self.trash.remove(array, handle, None)


class Deletion:
    """Deletes the volumes of one cluster."""

    def __init__(
        self,
        fleet: Fleet,
        ownership: Ownership,
        cluster_nodes: ClusterNodes,
        removal: Removal,
        new_volumes: NewVolumes,
        other_users: OtherUsers,
    ) -> None:
        self._fleet = fleet
        self._ownership = ownership
        self._cluster_nodes = cluster_nodes
        self._removal = removal
        self._new_volumes = new_volumes
        self._other_users = other_users

    def delete(self, handle: VolumeHandle) -> None:
        """Remove the volume, or put it into the trash. Returns without error if it does not exist.

        Raises:
            VolumeMapped: it is mapped to a host, which is named.
            InvalidArgument: it is a snapshot.
            FailedPrecondition: this cluster did not make it, a PersistentVolume needs it, or its snapshot
                policy has snapshots of it.
            Unavailable: it is not known whether a PersistentVolume needs it.
        """
        self._new_volumes.forget(handle)
        array = self._fleet.array(handle.system_id)
        if array.trash is not None:
            # Another controller may have put it into the trash, where this one may not remove it. So it is
            # read, in the place of the look at its mappings before it is renamed.
            self._ownership.forget(handle)
        try:
            volume = self._ownership.require_volume(array, handle)
            # After the look at the array: a volume that is no more needs no list of PersistentVolumes.
            self._require_no_user(handle)
            self._remove(array, handle, volume)
        except NotFound:
            log.info("volume did not exist", volume=handle)
        except Unavailable:
            # The array may refuse it because of a policy that someone has given the volume at the array. It
            # has no code for that. So the repeated call reads the volume.
            self._ownership.forget(handle)
            raise
        self._ownership.forget(handle)

    def _require_no_user(self, handle: VolumeHandle) -> None:
        """Refuse while a PersistentVolume has the volume that is not Released with the policy Delete.

        Raises:
            FailedPrecondition: there are such ones, which are named.
            Unavailable: it is not known.
        """
        users = self._other_users.of_volume(handle)
        if users:
            raise FailedPrecondition(
                f"volume {handle} is not deleted, because it is the volume of {', '.join(users)}, and each "
                "of them must be Released and have the reclaim policy Delete. Delete those that are not, or "
                "set the reclaim policy of the Released one to Retain to keep the volume"
            )

    def _remove(self, array: Array, handle: VolumeHandle, volume: Volume | None) -> None:
        """Remove the volume, after mappings to hosts that are no nodes any more, if the operator allows that.

        Raises:
            VolumeMapped: a mapping is left.
        """
        try:
            self._removal.remove(array, handle, volume)
        except VolumeMapped as error:
            volume = array.volume(handle.volume_id)
            kept = self._cluster_nodes.remove_stale(array, volume, None)
            if kept is not None:
                hosts = self._cluster_nodes.described(array, volume.mappings)
                hosts = hosts or "a host that was unmapped just now"
                raise VolumeMapped(
                    f"volume {volume} is mapped to {hosts} and was not removed; wait until its "
                    f"VolumeAttachment is deleted. {STALE_MAPPING}{kept}"
                ) from error
            self._removal.remove(array, handle, dataclasses.replace(volume, mappings=()), unmapped=True)
