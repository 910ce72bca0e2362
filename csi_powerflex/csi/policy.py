"""What the interceptor does around each RPC: one row per RPC, the reason beside what is unusual.

``required`` names the request fields that must be set (specification, "REQUIRED" fields), ``locks`` gives
the keys held while the call runs, ``waits`` says that the call may wait for the array or a device and so
takes one of the limited places for slow calls.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from google.protobuf.message import Message


def _no_lock(_request: Message) -> tuple[str, ...]:
    return ()


def _by(field: str, noun: str, where: str = "") -> Callable[[Message], tuple[str, ...]]:
    def keys(request: Message) -> tuple[str, ...]:
        return (f"{noun} {getattr(request, field)}{where}",)

    return keys


_volume = _by("volume_id", "volume")
# Apart from the controller's, where one process serves both: what hangs on a node can still be unmapped.
_volume_here = _by("volume_id", "volume", " on this node")


@dataclass(frozen=True, slots=True)
class Policy:
    """How one RPC is guarded. ``changes`` tells whether a failed call may have changed something."""

    required: tuple[str, ...] = ()
    locks: Callable[[Message], tuple[str, ...]] = _no_lock
    waits: bool = True
    changes: bool = True


_QUICK = Policy(waits=False, changes=False)
_LOOK = Policy(changes=False)

POLICIES: dict[str, Policy] = {
    # Identity: answered from memory, even while every slow place is taken.
    "GetPluginInfo": _QUICK,
    "GetPluginCapabilities": _QUICK,
    "Probe": _QUICK,
    # Controller
    "CreateVolume": Policy(required=("name", "volume_capabilities"), locks=_by("name", "name")),
    "DeleteVolume": Policy(required=("volume_id",), locks=_volume),
    "ControllerPublishVolume": Policy(required=("volume_id", "node_id", "volume_capability"), locks=_volume),
    "ControllerUnpublishVolume": Policy(required=("volume_id",), locks=_volume),
    "ValidateVolumeCapabilities": Policy(required=("volume_id", "volume_capabilities"), changes=False),
    "ControllerGetCapabilities": _QUICK,
    "ControllerExpandVolume": Policy(required=("volume_id", "capacity_range"), locks=_volume),
    "ControllerModifyVolume": Policy(required=("volume_id", "mutable_parameters"), locks=_volume),
    "CreateSnapshot": Policy(required=("name", "source_volume_id"), locks=_by("name", "snapshot name")),
    "DeleteSnapshot": Policy(required=("snapshot_id",), locks=_by("snapshot_id", "volume")),
    "GetSnapshot": Policy(required=("snapshot_id",), changes=False),
    # Lists and looks change nothing, so they need no lock.
    "ListVolumes": _LOOK,
    "ListSnapshots": _LOOK,
    "GetCapacity": _LOOK,
    "ControllerGetVolume": Policy(required=("volume_id",), changes=False),
    "ControllerGetVolumeHealth": Policy(required=("volume_id",), changes=False),
    "ControllerListVolumeHealth": _LOOK,
    # Group controller
    "GroupControllerGetCapabilities": _QUICK,
    "CreateVolumeGroupSnapshot": Policy(
        required=("name", "source_volume_ids"), locks=_by("name", "group snapshot name")
    ),
    "DeleteVolumeGroupSnapshot": Policy(
        required=("group_snapshot_id",), locks=_by("group_snapshot_id", "group snapshot")
    ),
    "GetVolumeGroupSnapshot": Policy(required=("group_snapshot_id",), changes=False),
    # Node
    "NodeStageVolume": Policy(
        required=("volume_id", "staging_target_path", "volume_capability"), locks=_volume_here
    ),
    "NodeUnstageVolume": Policy(required=("volume_id", "staging_target_path"), locks=_volume_here),
    "NodePublishVolume": Policy(
        required=("volume_id", "target_path", "volume_capability"), locks=_volume_here
    ),
    "NodeUnpublishVolume": Policy(required=("volume_id", "target_path"), locks=_volume_here),
    "NodeExpandVolume": Policy(required=("volume_id", "volume_path"), locks=_volume_here),
    # They only look, and must work while another call for the volume hangs.
    "NodeGetVolumeStats": Policy(required=("volume_id", "volume_path"), changes=False),
    "NodeGetVolumeHealth": Policy(required=("volume_id",), changes=False),
    "NodeGetStorageHealth": Policy(changes=False),
    "NodeGetCapabilities": _QUICK,
    # Asks local tools only, but a tool may hang.
    "NodeGetInfo": Policy(changes=False),
}

UNKNOWN = _QUICK
"""For an RPC without a row: it is not implemented, and answers so."""
