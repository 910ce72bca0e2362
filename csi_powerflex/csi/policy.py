"""What the interceptor does around each RPC: one row for each RPC, grouped by service."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from google.protobuf.message import Message


def _no_lock(_request: Message) -> tuple[str, ...]:
    return ()


def _lock_by(field: str, noun: str, where: str = "") -> Callable[[Message], tuple[str, ...]]:
    """A function that reads the key of the lock from a field of the request, such as "volume 1-2"."""

    def keys(request: Message) -> tuple[str, ...]:
        return (f"{noun} {getattr(request, field)}{where}",)

    return keys


@dataclass(frozen=True, slots=True)
class Policy:
    """How the interceptor guards one RPC.

    Attributes:
        required: the fields that the request must set (specification, "REQUIRED" fields).
        locks: returns the keys that are held while the call runs.
        waits: whether the call may wait for the array, a device or a tool. Such a call needs one of the slots
            for calls that wait. These are limited, so that calls which do not wait always find a thread.
        changes: whether a failed call may have changed something. An unexpected error of such a call becomes
            ABORTED, which is repeated, and otherwise INTERNAL, which is final.
    """

    required: tuple[str, ...] = ()
    locks: Callable[[Message], tuple[str, ...]] = _no_lock
    waits: bool = True
    changes: bool = True


def _change(*required: str, locks: Callable[[Message], tuple[str, ...]]) -> Policy:
    return Policy(required=required, locks=locks)


def _read(*required: str) -> Policy:
    return Policy(required=required, changes=False)


_IN_MEMORY = Policy(waits=False, changes=False)

_volume = _lock_by("volume_id", "volume")
# A key of its own: if one process serves controller and node, a volume whose node call hangs can be unmapped.
_volume_on_node = _lock_by("volume_id", "volume", " on this node")

POLICIES: dict[str, Policy] = {
    # Identity
    "GetPluginInfo": _IN_MEMORY,
    "GetPluginCapabilities": _IN_MEMORY,
    "Probe": _IN_MEMORY,
    # Volumes, at the controller
    "ControllerGetCapabilities": _IN_MEMORY,
    "CreateVolume": _change("name", "volume_capabilities", locks=_lock_by("name", "name")),
    "DeleteVolume": _change("volume_id", locks=_volume),
    "ControllerPublishVolume": _change("volume_id", "node_id", "volume_capability", locks=_volume),
    "ControllerUnpublishVolume": _change("volume_id", locks=_volume),
    "ControllerExpandVolume": _change("volume_id", "capacity_range", locks=_volume),
    "ControllerModifyVolume": _change("volume_id", "mutable_parameters", locks=_volume),
    "ValidateVolumeCapabilities": _read("volume_id", "volume_capabilities"),
    "ListVolumes": _read(),
    "GetCapacity": _read(),
    "ControllerGetVolume": _read("volume_id"),
    "ControllerGetVolumeHealth": _read("volume_id"),
    "ControllerListVolumeHealth": _read(),
    # Snapshots, at the controller. On the array, a snapshot is a volume, so both have the same locks by id.
    "CreateSnapshot": _change("name", "source_volume_id", locks=_lock_by("name", "snapshot name")),
    "DeleteSnapshot": _change("snapshot_id", locks=_lock_by("snapshot_id", "volume")),
    "GetSnapshot": _read("snapshot_id"),
    "ListSnapshots": _read(),
    # Group snapshots, at the controller
    "GroupControllerGetCapabilities": _IN_MEMORY,
    "CreateVolumeGroupSnapshot": _change(
        "name", "source_volume_ids", locks=_lock_by("name", "group snapshot name")
    ),
    "DeleteVolumeGroupSnapshot": _change(
        "group_snapshot_id", locks=_lock_by("group_snapshot_id", "group snapshot")
    ),
    "GetVolumeGroupSnapshot": _read("group_snapshot_id"),
    # Node
    "NodeGetCapabilities": _IN_MEMORY,
    # It calls only local tools, but a tool may hang.
    "NodeGetInfo": _read(),
    "NodeStageVolume": _change(
        "volume_id", "staging_target_path", "volume_capability", locks=_volume_on_node
    ),
    "NodeUnstageVolume": _change("volume_id", "staging_target_path", locks=_volume_on_node),
    "NodePublishVolume": _change("volume_id", "target_path", "volume_capability", locks=_volume_on_node),
    "NodeUnpublishVolume": _change("volume_id", "target_path", locks=_volume_on_node),
    "NodeExpandVolume": _change("volume_id", "volume_path", locks=_volume_on_node),
    # They have no lock, because they must report a volume while another call for it hangs.
    "NodeGetVolumeStats": _read("volume_id", "volume_path"),
    "NodeGetVolumeHealth": _read("volume_id"),
    "NodeGetStorageHealth": _read(),
}

UNKNOWN = _IN_MEMORY
"""For an RPC without a row. The driver answers UNIMPLEMENTED to it."""
