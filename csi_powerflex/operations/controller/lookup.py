"""Finding volumes and snapshots on an array by the names that this driver gave them.

A name on the array follows from the CSI name, and the array keeps names unique. So a repeated call finds what
an earlier call created, without a journal.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from csi_powerflex import names
from csi_powerflex.errors import DriverError, NotFound, Unavailable, is_final
from csi_powerflex.model.array import InTrash, Volume, VolumeOutline
from csi_powerflex.model.ports import Array


def find_volume_by_name(array: Array, name: str) -> Volume | None:
    """The volume or snapshot of that name, or None.

    Raises:
        Unavailable: it got another name between the two requests, so another call may be removing it.
    """
    try:
        found = array.volume(array.volume_id_by_name(name))
    except NotFound:
        return None
    if found.name != name:
        raise Unavailable(f"volume {found} was called {name} until just now; try again")
    return found


def is_copy_of(array: Array, copy: Volume, source_id: str) -> bool:
    """Whether ``copy``, which has the requested name, was created from the volume with the id ``source_id``.

    If the source does not exist any more, the array shows another ancestor or none. Then the name decides.
    """
    if copy.ancestor_id == source_id:
        return True
    return copy.orphaned and not exists(array, source_id)


def volume_or_trashed(array: Array, volume_id: str) -> Volume:
    """The volume with that id, also if it is in the trash. Only then it costs a second request.

    A volume that was mapped just before it was renamed is in the trash and mapped. Its mappings are removed
    as those of any other volume.

    Raises:
        NotFound: it does not exist.
    """
    try:
        return array.volume(volume_id)
    except InTrash:
        (found,) = array.volumes_by_id([volume_id])
        return found


def exists(array: Array, volume_id: str) -> bool:
    """Whether the array has a volume or snapshot with that id."""
    try:
        array.volume(volume_id)
    except NotFound:
        return False
    return True


def require_not_in_trash(array: Array, volume_ids: Sequence[str]) -> None:
    """Check that the sources of snapshots are not in the trash. The array would take the snapshots.

    It costs a request, but none on a system without a trash.

    Raises:
        InTrash: one of them is.
        NotFound: one of them does not exist.
    """
    if array.trash is None:
        return
    for volume in array.volumes_by_id(volume_ids):
        if names.trashed(volume.name) is not None:
            raise InTrash(f"volume {volume} was deleted and is in the trash")


@contextlib.contextmanager
def after_change(done: str) -> Iterator[None]:
    """The rest of a call that has changed the array. A final error would make its caller forget the change.

    ``done`` is what was done, as the beginning of a sentence.

    Raises:
        Unavailable: in place of each final error.
    """
    try:
        yield
    except DriverError as error:
        if is_final(error):
            raise Unavailable(f"{done}, and then: {error}; try again") from error
        raise


def is_snapshot(volume: VolumeOutline) -> bool:
    """Whether it is a snapshot: by the name that this driver gave it, else by being a copy."""
    return is_snapshot_of_kind(volume, names.kind_of(volume.name))


def is_snapshot_of_kind(volume: VolumeOutline, kind: names.Kind | None) -> bool:
    """``is_snapshot`` of a volume whose name is of this kind."""
    return volume.copied if kind is None else kind is not names.Kind.VOLUME


def is_named_snapshot(volume: Volume) -> bool:
    """Whether this driver, in any cluster, took it as a snapshot."""
    return names.kind_of(volume.name) in (names.Kind.SNAPSHOT, names.Kind.GROUP_MEMBER)


def is_taken_snapshot(volume: Volume) -> bool:
    """Whether this driver, in any cluster, took it as a snapshot, or a snapshot policy of the array did."""
    return is_named_snapshot(volume) or volume.taken_by is not None


def is_group_member(snapshot: VolumeOutline) -> bool:
    """Whether it was taken as a member of a group snapshot."""
    return names.kind_of(snapshot.name) is names.Kind.GROUP_MEMBER and snapshot.group_id is not None
