"""Volumes in the trash: listing them, and bringing one back.

An undeleted volume gets a new name of this cluster, so the driver can delete it again. Its id stays.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Sequence
from dataclasses import dataclass

from csi_powerflex import names
from csi_powerflex.errors import FailedPrecondition, InvalidArgument, NotFound, Unavailable
from csi_powerflex.model.array import NameInUse, Volume
from csi_powerflex.names import Kind, TrashName
from csi_powerflex.observability.log import Log
from csi_powerflex.operations.controller.inventory.importing import (
    Manifest,
    VolumeImportRequest,
    volume_manifests,
)
from csi_powerflex.operations.controller.inventory.reading import Reader, Selection
from csi_powerflex.operations.controller.inventory.records import Record
from csi_powerflex.operations.controller.lookup import volume_or_trashed
from csi_powerflex.operations.controller.trash_sweep import SPARE_SECONDS

log = Log(__name__)


@dataclass(frozen=True, slots=True)
class Deleted:
    """A volume in the trash.

    Attributes:
        record: the volume as it would be after it is undeleted, with a new name.
        name: what its name says now.
    """

    record: Record
    name: TrashName

    @property
    def due(self) -> datetime.datetime:
        """When it is removed."""
        return datetime.datetime.fromtimestamp(self.name.due, tz=datetime.UTC)


def deleted(reader: Reader, selection: Selection) -> tuple[tuple[Deleted, ...], tuple[str, ...]]:
    """What this cluster has in the trash, the first to be due first, and why systems could not be read.

    Raises:
        InvalidArgument: no such system.
    """
    found, problems = reader.in_trash(selection, _undeleted)
    made = [Deleted(record, name) for record, name in found]
    return tuple(sorted(made, key=lambda item: (item.name.due, str(item.record.handle)))), problems


def _undeleted(volume: Volume, name: TrashName) -> Volume:
    """The volume with its new name, which is always the same."""
    text = f"undeleted {volume.handle.volume_id} {name}"
    return dataclasses.replace(volume, name=names.array_name(Kind.VOLUME, name.cluster_id, text))


def find(reader: Reader, text: str) -> Deleted:
    """The volume in the trash with that handle or name, or that was made for that name.

    Args:
        reader: has the arrays.
        text: a handle, the name in the trash, or the name of the PersistentVolume that it had.

    Raises:
        NotFound: there is none, or a system could not be read.
        InvalidArgument: there are several.
    """
    found, problems = deleted(reader, Selection(snapshots=False))
    fitting = [
        item
        for item in found
        if text in (str(item.record.handle), str(item.name)) or names.is_trash_of(item.name, text)
    ]
    if len(fitting) > 1:
        handles = ", ".join(str(item.record.handle) for item in fitting)
        raise InvalidArgument(
            f"{text!r} names several volumes in the trash: {handles}; give one of these handles"
        )
    if not fitting:
        unread = f". Not all systems could be read: {'; '.join(problems)}" if problems else ""
        raise NotFound(
            f"no volume {text!r} is in the trash: it was removed, or undeleted already (then "
            f"csi-powerflex volumes import prints its objects), or the name is wrong{unread}"
        )
    return fitting[0]


def manifests(
    reader: Reader, item: Deleted, request: VolumeImportRequest, now: datetime.datetime
) -> Sequence[Manifest]:
    """The objects of Kubernetes for the volume, if it can be undeleted.

    Raises:
        FailedPrecondition: it is due soon, or the objects cannot be made. The message has every reason.
    """
    there = reader.array_of(item.record).time
    if there is not None:
        # The clock of who runs the command may be slow.
        now = max(now, datetime.datetime.fromtimestamp(there, tz=datetime.UTC))
    if item.due - now < datetime.timedelta(seconds=SPARE_SECONDS):
        raise FailedPrecondition(
            f"{item.record.handle} is due at {item.due:%Y-%m-%d %H:%M:%S} UTC and may be removed at any "
            f"time; a volume can be undeleted until {SPARE_SECONDS // 60} minutes before that"
        )
    return volume_manifests(reader, item.record, request)


def carry_out(reader: Reader, item: Deleted) -> None:
    """Give the volume its new name. After any error it can be done again.

    Raises:
        FailedPrecondition: it has another name than it was found with.
        NotFound: it was removed.
        Unavailable: the array does not show the new name.
    """
    array = reader.array_of(item.record)
    volume_id, name = item.record.handle.volume_id, str(item.record.volume.name)
    (volume,) = array.volumes_by_id([volume_id])
    if volume.name == name:
        return  # another run of the command was faster
    if volume.name != str(item.name):
        raise FailedPrecondition(
            f"{item.record.handle} is called {volume.name!r} and not {item.name} any more; it was not "
            "renamed. Run the command again"
        )
    try:
        array.rename_volume(volume_id, name)
    except NameInUse:
        # If the first answer was lost, the name is in use by this volume.
        if volume_or_trashed(array, volume_id).name != name:
            raise
    found = volume_or_trashed(array, volume_id).name
    if found != name:
        raise Unavailable(f"{item.record.handle} is called {found!r} and not {name!r}; run the command again")
    log.info("volume undeleted", volume=item.record.handle, before=str(item.name), array_name=name)
