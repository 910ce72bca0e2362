"""Looking a volume or snapshot up by its name on the array: the journal that a repeated call reads."""

from __future__ import annotations

from csi_powerflex.errors import NotFound
from csi_powerflex.model.array import Volume
from csi_powerflex.model.ports import Array


def find_volume_by_name(array: Array, name: str) -> Volume | None:
    """The volume or snapshot of that name, or None."""
    try:
        return array.volume(array.volume_id_by_name(name))
    except NotFound:
        return None
