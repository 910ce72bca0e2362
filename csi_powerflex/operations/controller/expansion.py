"""Expanding volumes on the array."""

from __future__ import annotations

import dataclasses

from csi_powerflex import units
from csi_powerflex.errors import InvalidArgument, OutOfRange
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model.ports import Fleet
from csi_powerflex.observability.log import Log
from csi_powerflex.operations.controller.lookup import after_change, is_taken_snapshot
from csi_powerflex.operations.controller.new_volumes import NewVolumes
from csi_powerflex.operations.controller.qos import Qos
from csi_powerflex.operations.controller.size_errors import explained

log = Log(__name__)


class Expansion:
    """Makes volumes larger. A volume never becomes smaller."""

    def __init__(self, fleet: Fleet, qos: Qos, new_volumes: NewVolumes) -> None:
        self._fleet = fleet
        self._new_volumes = new_volumes
        self._qos = qos

    def expand(self, handle: VolumeHandle, *, required: int, limit: int) -> int:
        """Expand the volume to at least ``required`` bytes, and at most ``limit`` where that is not 0.

        Returns the size in bytes that it then has. A volume that is large enough is not changed.

        Raises:
            NotFound: it does not exist.
            InvalidArgument: it is a snapshot.
            OutOfRange: no size is within the range, or the volume is already larger than ``limit``.
            ResourceExhausted: the pool is full.
        """
        units.check_range(required=required, limit=limit)
        self._new_volumes.forget(handle)
        array = self._fleet.array(handle.system_id)
        volume = array.volume(handle.volume_id)
        if is_taken_snapshot(volume):
            raise InvalidArgument(f"{volume} is a snapshot and was not expanded; create a volume from it")
        if limit and volume.size > limit:
            raise OutOfRange(
                f"volume {volume} has {units.readable(volume.size)}, more than the limit of "
                f"{units.readable(limit)}; a volume cannot shrink"
            )
        if volume.size >= required:
            # An earlier call may have been interrupted after the array had expanded the volume.
            self._qos.reapply_after_growth(array, volume)
            return volume.size
        pool = array.pool_by_id(volume.pool_id)
        size = units.size_within(
            required=required, limit=limit, granularity=pool.granularity, default=volume.size
        )
        with explained(array, lambda: pool, f"{units.readable(size)} for volume {volume}"):
            array.resize_volume(handle.volume_id, size)
        log.info("volume expanded", volume=handle, before=volume.size, size=size)
        with after_change(f"volume {handle} was expanded to {units.readable(size)}"):
            self._qos.reapply_after_growth(array, dataclasses.replace(volume, size=size))
        return size
