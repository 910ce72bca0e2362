"""Modifying a volume by its VolumeAttributesClass: QoS limits, snapshot policy, and pool.

Everything that can be refused is checked before anything is changed (specification, ControllerModifyVolume).
Limits and policy come first, because they take effect at once; a move to another pool takes its time. While
the array moves the volume for another class, this one may still be refused. So they wait for the end.
"""

from __future__ import annotations

import contextlib

from csi_powerflex.errors import InvalidArgument
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model.array import Volume
from csi_powerflex.model.parameters import MutableParameters
from csi_powerflex.model.ports import Array, Fleet
from csi_powerflex.model.qos import QosRequest
from csi_powerflex.operations.controller.lookup import after_change, is_taken_snapshot
from csi_powerflex.operations.controller.moves import Moves
from csi_powerflex.operations.controller.qos import Qos
from csi_powerflex.operations.controller.snapshot_policies import PolicyChange, SnapshotPolicies


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
            InvalidArgument, PoolFull: the volume cannot be moved, or is a snapshot; nothing was changed.
            FailedPrecondition: it cannot be moved now, or not have the limits or the snapshot policy; nothing
                was changed.
            Busy: the array moves the volume. The same call goes on with it.
        """
        array = self._fleet.array(handle.system_id)
        volume = array.volume(handle.volume_id)
        _require_volume(volume, wanted)
        change = self._policies.plan(array, volume, wanted.snapshot_policy)
        move = self._moves.plan(array, volume, wanted)
        running = move is not None and move.change is None
        with contextlib.ExitStack() as rest:
            if move is None or move.certain:
                with (
                    after_change(f"the array moves volume {volume}") if running else contextlib.nullcontext()
                ):
                    self._change_at_once(array, volume, wanted.qos_request, change, rest)
            if move is not None:
                self._moves.run(array, move)

    def _change_at_once(
        self,
        array: Array,
        volume: Volume,
        limits: QosRequest,
        change: PolicyChange | None,
        rest: contextlib.ExitStack,
    ) -> None:
        """Set the limits and the policy. ``rest`` then guards what follows, see ``after_change``."""
        if limits:
            self._qos.modify(array, volume, limits)
            rest.enter_context(after_change(f"volume {volume} has its new limits"))
        if change is not None:
            self._policies.run(array, change)
            rest.enter_context(after_change(f"volume {volume} has its new snapshot policy"))


def _require_volume(volume: Volume, wanted: MutableParameters) -> None:
    """Check that a class with a pool or a policy is for a volume. Limits may be those of a mapped snapshot.

    Raises:
        InvalidArgument: it is a snapshot. The array would move the volume that it was taken of.
    """
    if wanted.qos_only or not is_taken_snapshot(volume):
        return
    raise InvalidArgument(
        f"{volume} is a snapshot, and only volumes are moved or put into snapshot policies; nothing was "
        "changed. Use a class without such keys, or create a volume from the snapshot"
    )
