"""Modifying a volume by its VolumeAttributesClass: its QoS limits, and the pool that it is in.

Everything that can be refused is checked before anything is changed (specification, ControllerModifyVolume).
The limits come first, because they take effect at once; a move to another pool takes its time. While the
array moves the volume for another class, this one may still be refused. So its limits wait for the end.
"""

from __future__ import annotations

import contextlib

from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model.parameters import MutableParameters
from csi_powerflex.model.ports import Fleet
from csi_powerflex.model.qos import NOTHING_REQUESTED
from csi_powerflex.operations.controller.lookup import after_change
from csi_powerflex.operations.controller.moves import Moves
from csi_powerflex.operations.controller.qos import Qos


class Modification:
    """Modifies the volumes of a fleet."""

    def __init__(self, fleet: Fleet, qos: Qos, moves: Moves) -> None:
        self._fleet = fleet
        self._qos = qos
        self._moves = moves

    def modify(self, handle: VolumeHandle, wanted: MutableParameters) -> None:
        """Change what the class names. What it does not name stays as it is.

        Raises:
            NotFound: the volume does not exist.
            InvalidArgument, PoolFull: the volume cannot be moved; nothing was changed.
            FailedPrecondition: it cannot be moved now, or not have the limits; nothing was changed.
            Busy: the array moves the volume. The same call goes on with it.
        """
        array = self._fleet.array(handle.system_id)
        volume = array.volume(handle.volume_id)
        move = self._moves.plan(array, volume, wanted)
        limits = wanted.qos_request if move is None or move.certain else NOTHING_REQUESTED
        running = move is not None and move.change is None
        with after_change(f"the array moves volume {volume}") if running else contextlib.nullcontext():
            if limits:
                self._qos.modify(array, volume, limits)
        if move is None:
            return
        with after_change(f"volume {volume} has its new limits") if limits else contextlib.nullcontext():
            self._moves.run(array, move)
