"""Modifying a volume by its VolumeAttributesClass: QoS limits, snapshot policy, and pool.

Everything that can be refused is checked before anything is changed (specification, ControllerModifyVolume).
Limits and policy come first, because they take effect at once; a move to another pool takes its time.
"""

from __future__ import annotations

import contextlib

from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model.parameters import MutableParameters
from csi_powerflex.model.ports import Fleet
from csi_powerflex.operations.controller.lookup import after_change
from csi_powerflex.operations.controller.moves import Moves
from csi_powerflex.operations.controller.qos import Qos
from csi_powerflex.operations.controller.snapshot_policies import SnapshotPolicies


class Modification:
    """Modifies the volumes of a fleet."""

    def __init__(self, fleet: Fleet, qos: Qos, moves: Moves, policies: SnapshotPolicies) -> None:
        self._fleet = fleet
        self._qos = qos
        self._moves = moves
        self._policies = policies

    def modify(self, handle: VolumeHandle, wanted: MutableParameters) -> None:
        """Change what the class names. What it does not name stays as it is.

        Raises:
            NotFound: the volume does not exist.
            InvalidArgument, FailedPrecondition, PoolFull: the volume cannot be moved, or cannot be in that
                snapshot policy; nothing was changed.
            Busy: the array moves the volume. The same call goes on with it.
        """
        array = self._fleet.array(handle.system_id)
        volume = array.volume(handle.volume_id)
        change = self._policies.plan(array, volume, wanted.snapshot_policy)
        move = self._moves.plan(array, volume, wanted)
        with contextlib.ExitStack() as rest:
            if wanted.qos_request:
                self._qos.modify(array, volume, wanted.qos_request)
                rest.enter_context(after_change(f"volume {volume} has its new limits"))
            if change is not None:
                self._policies.run(array, change)
                rest.enter_context(after_change(f"volume {volume} has its new snapshot policy"))
            if move is not None:
                self._moves.run(array, move)
