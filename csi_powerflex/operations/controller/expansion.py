"""Growing volumes on the array."""

from __future__ import annotations

import dataclasses

from csi_powerflex import units
from csi_powerflex.errors import OutOfRange
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model.ports import Fleet
from csi_powerflex.observability.log import Log
from csi_powerflex.operations.controller.qos import Qos

log = Log(__name__)


class Expansion:
    """Makes volumes larger; nothing makes them smaller."""

    def __init__(self, fleet: Fleet, qos: Qos) -> None:
        self._fleet = fleet
        self._qos = qos

    def expand(self, handle: VolumeHandle, *, required: int, limit: int) -> int:
        """Grow the volume to at least ``required`` bytes, at most ``limit`` where that is not 0.

        Returns the size in bytes it then has; one that is large enough already is left as it is.

        Raises:
            NotFound: it does not exist.
            OutOfRange: no size within the range, or it is larger than ``limit`` already.
            ResourceExhausted: the pool has no room.
        """
        array = self._fleet.array(handle.system_id)
        volume = array.volume(handle.volume_id)
        if limit and volume.size > limit:
            raise OutOfRange(
                f"volume {handle} has {units.readable(volume.size)}, more than the limit of "
                f"{units.readable(limit)}; a volume cannot shrink"
            )
        if volume.size >= required:
            # An earlier attempt may have been cut after the array had grown the volume.
            self._qos.reapply(array, volume)
            return volume.size
        pool = array.pool_by_id(volume.pool_id)
        size = units.size_within(
            required=required, limit=limit, granularity=pool.granularity, default=volume.size
        )
        array.resize_volume(handle.volume_id, size)
        log.info("volume grown", volume=handle, before=volume.size, size=size)
        self._qos.reapply(array, dataclasses.replace(volume, size=size))
        return size
