"""Deleting a volume into the trash: the array keeps it under another name, until it is due.

The name says when it is due, and has 85 bits of the name before (``names.TrashName``). From then on the
volume does not exist for any call: ``Array.volume`` does not find it, it is not listed, and its old name is
free.

The array would rename a volume that is in use. So its mappings are read just before. If it is mapped between
this look and the renaming, it stays in the trash while it is mapped: the array does not remove it.
"""

from __future__ import annotations

import time

from csi_powerflex import names
from csi_powerflex.errors import Unavailable
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model.array import NameInUse, Volume, VolumeMapped
from csi_powerflex.model.ports import Array
from csi_powerflex.model.trash import VolumeNeeds
from csi_powerflex.observability.log import Log

log = Log(__name__)

# Another volume of the same name may have been deleted within the same second.
_ATTEMPTS = 4


class Trash:
    """Where the deleted volumes of one cluster go."""

    def __init__(self, cluster_id: str, needs: VolumeNeeds) -> None:
        self._cluster_id = cluster_id
        self._needs = needs

    def remove(self, array: Array, handle: VolumeHandle, volume: Volume | None) -> None:
        """Remove the volume, or put it into the trash if its class or its system says so.

        Args:
            array: its system.
            handle: the volume.
            volume: the volume, if it was read just before and not changed since.

        Raises:
            NotFound: it does not exist, or is in the trash.
            VolumeMapped: it has mappings.
            Unavailable: the class of the volume is not known now.
        """
        rules = array.trash
        if rules is not None:
            wanted = self._needs.delete_after(handle)
            seconds = rules.keep if wanted is None else wanted
            if seconds:
                self._put(array, volume or array.volume(handle.volume_id), seconds)
                return
        array.remove_volume(handle.volume_id)
        log.info("volume removed", volume=handle)

    def _put(self, array: Array, volume: Volume, seconds: int) -> None:
        handle = volume.handle
        if volume.mappings:
            raise VolumeMapped(f"volume {volume} is mapped and was not put into the trash")
        # A clock that is slow must not shorten the time.
        due = round(max(time.time(), array.time or 0)) + seconds
        for number in range(_ATTEMPTS):
            name = str(names.trash_name(volume.name, self._cluster_id, due + number))
            try:
                array.rename_volume(handle.volume_id, name)
            except NameInUse:
                # If an answer was lost, the name is in use by this volume. Another call may have renamed it.
                (found,) = array.volumes_by_id([handle.volume_id])
                if names.trashed(found.name) is None:
                    continue
            log.info("volume put into the trash", volume=handle, before=volume.name, array_name=name)
            return
        raise Unavailable(
            f"volume {volume} was not put into the trash: its names there are in use; try again"
        )
