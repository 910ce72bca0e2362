"""Giving a volume out of this cluster's hands: it gets a name that is not this cluster's.

No data are touched. After that the driver does not delete it, and another cluster or a person may use it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from csi_powerflex import names
from csi_powerflex.errors import FailedPrecondition, Unavailable, VolumeInUse
from csi_powerflex.model.array import NameInUse, Volume
from csi_powerflex.model.ports import Array
from csi_powerflex.observability.log import Log
from csi_powerflex.operations.controller.inventory.reading import Reader
from csi_powerflex.operations.controller.inventory.records import Owner, Record

log = Log(__name__)

# The array allows 31 characters (protocol notes, 4). These need no encoding in paths and scripts.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,30}")


@dataclass(frozen=True, slots=True)
class ReleasePlan:
    """What a release will do.

    Attributes:
        record: the volume.
        name: the name that it gets.
        done: whether it has this name already, so that nothing is left to do.
    """

    record: Record
    name: str
    done: bool


def plan(reader: Reader, record: Record, name: str | None, *, unchecked: bool = False) -> ReleasePlan:
    """Check that the volume can be released, and say how.

    Args:
        reader: has what Kubernetes knows.
        record: the volume.
        name: the name that it shall get; None for one made from its id.
        unchecked: whether to do without Kubernetes' answer.

    Raises:
        FailedPrecondition: it cannot be released now, or the name cannot be used. The message has every
            reason.
    """
    new_name = f"released-{record.handle.volume_id}" if name is None else name
    array = reader.array_of(record)
    found = [*_wrong_name(array, new_name)]
    if not found and record.volume.name == new_name:
        return ReleasePlan(record, new_name, done=True)
    found += _obstacles(reader, record, unchecked=unchecked)
    if found:
        raise FailedPrecondition(f"{record.handle} cannot be released: {'; '.join(found)}")
    return ReleasePlan(record, new_name, done=False)


def carry_out(reader: Reader, planned: ReleasePlan) -> None:
    """Rename the volume as planned, if it is still as it was. After any error it can be planned again.

    Raises:
        FailedPrecondition: it has another name now.
        VolumeInUse: it was mapped in the meantime.
        NameInUse: another volume has the new name.
        NotFound: it does not exist any more.
        Unavailable: the array does not show the new name.
    """
    record = planned.record
    array = reader.array_of(record)
    volume_id = record.handle.volume_id
    _require_unchanged(array.volume(volume_id), record)
    try:
        array.rename_volume(volume_id, planned.name)
    except NameInUse:
        # If the first answer was lost, the name is in use by this volume.
        if array.volume(volume_id).name != planned.name:
            raise
    found = array.volume(volume_id).name
    if found != planned.name:
        raise Unavailable(
            f"{record.handle} is called {found!r} on the array, after it was renamed to {planned.name!r}; "
            "run the command again"
        )
    log.info("volume released", volume=record.handle, before=record.volume.name, array_name=planned.name)


def _require_unchanged(volume: Volume, record: Record) -> None:
    if volume.name != record.volume.name:
        raise FailedPrecondition(
            f"{record.handle} was called {record.volume.name!r} and is called {volume.name!r} now; "
            "it was not renamed"
        )
    if volume.mappings:
        hosts = ", ".join(map(str, volume.mappings))
        raise VolumeInUse(f"{record.handle} was mapped to {hosts} in the meantime; it was not renamed")


def _wrong_name(array: Array, name: str) -> Iterator[str]:
    if _NAME.fullmatch(name) is None:
        yield (
            f"{name!r} is not usable as its new name: give at most 31 letters, digits, dots, dashes and "
            "underscores, beginning with a letter or digit"
        )
    if names.kind_of(name) is not None or names.trashed(name) is not None:
        yield f"the new name {name!r} is one that this driver gives to its own objects"
    beginnings = (*array.adopted_volumes, *array.adopted_snapshots)
    if name.startswith(beginnings):
        yield f"the new name {name!r} begins as adoptVolumes or adoptSnapshots of system {array.label} say"


def _obstacles(reader: Reader, record: Record, *, unchecked: bool) -> Iterator[str]:
    if record.snapshot:
        yield "it is a snapshot; only volumes are released"
    if record.owner not in (Owner.THIS_CLUSTER, Owner.ADOPTED):
        yield (
            f"it is called {record.volume.name!r}, so it does not belong to cluster {reader.cluster_id}, and "
            "there is nothing to release"
        )
    for host in record.hosts:
        yield f"it is mapped to {host}; stop what uses it first"
    for volume in record.persistent_volumes:
        yield (
            f"PersistentVolume {volume.name} has it; set its persistentVolumeReclaimPolicy to Retain, then "
            "delete its claim and the PersistentVolume"
        )
    if record.waiting is not None:
        yield f"claim {record.waiting.name} waits for it; delete the claim first"
    cluster = reader.cluster
    if not unchecked and (cluster.volumes is None or cluster.claims is None):
        reasons = "; ".join(cluster.unknown)
        yield (
            f"it is not known whether Kubernetes needs it: {reasons}. Give --kubeconfig, or --no-kubernetes "
            "to do without this check"
        )
