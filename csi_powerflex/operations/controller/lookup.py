"""Finding volumes and snapshots on an array by the names that this driver gave them.

A name on the array follows from the CSI name, and the array keeps names unique. So a repeated call finds what
an earlier call created, without a journal.
"""

from __future__ import annotations

from csi_powerflex import names
from csi_powerflex.errors import NotFound
from csi_powerflex.model.array import Volume
from csi_powerflex.model.ports import Array


def find_volume_by_name(array: Array, name: str) -> Volume | None:
    """The volume or snapshot of that name, or None."""
    try:
        return array.volume(array.volume_id_by_name(name))
    except NotFound:
        return None


def is_snapshot(volume: Volume) -> bool:
    """Whether it is a snapshot: by the name that this driver gave it, else by being a copy."""
    kind = names.kind_of(volume.name)
    return volume.copied if kind is None else kind is not names.Kind.VOLUME


def is_group_member(snapshot: Volume) -> bool:
    """Whether it was taken as a member of a group snapshot."""
    return names.kind_of(snapshot.name) is names.Kind.GROUP_MEMBER and snapshot.group_id is not None
