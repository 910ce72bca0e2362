"""Keeping a snapshot that a policy of the array has taken: locking it, and unlocking it again.

A policy removes its snapshots when they expire, also those that Kubernetes has. It keeps a locked one.
"""

from __future__ import annotations

from collections.abc import Iterator

from csi_powerflex.errors import DriverError, FailedPrecondition, NotFound, Unavailable
from csi_powerflex.observability.log import Log
from csi_powerflex.operations.controller.inventory.reading import Reader
from csi_powerflex.operations.controller.inventory.records import Record

log = Log(__name__)


def needs_lock(record: Record) -> bool:
    """Whether a policy removes the snapshot when it expires."""
    return record.volume.taken_by is not None and not record.volume.policy_locked


def lock(reader: Reader, record: Record) -> None:
    """Lock the snapshot. After any error it can be repeated.

    Raises:
        NotFound: it does not exist any more.
        DriverError: the array refuses it, or there was no answer.
    """
    array, snapshot_id = reader.array_of(record), record.handle.volume_id
    error: DriverError | None = None
    try:
        array.lock_auto_snapshot(snapshot_id)
    except NotFound as missing:
        raise _expired(record) from missing
    except DriverError as failed:
        error = failed
    try:
        found = array.volume(snapshot_id)
    except NotFound as missing:
        raise _expired(record) from missing
    # One that has left its policy meanwhile is an ordinary snapshot, which no policy removes.
    if found.taken_by is not None and not found.policy_locked:
        raise error or _not_shown(record)
    log.info("auto snapshot locked", snapshot=record.handle, policy=record.policy)


def require_unlockable(reader: Reader, record: Record, *, unchecked: bool) -> bool:
    """Check that nothing needs the lock of the snapshot. Returns False if it is not locked.

    Args:
        reader: has what Kubernetes knows.
        record: the snapshot.
        unchecked: whether to do without Kubernetes' answer.

    Raises:
        FailedPrecondition: it cannot be unlocked now. The message has every reason.
    """
    found = list(_obstacles(reader, record, unchecked=unchecked))
    if found:
        raise FailedPrecondition(f"{record.handle} cannot be unlocked: {'; '.join(found)}")
    return record.volume.policy_locked


def _obstacles(reader: Reader, record: Record, *, unchecked: bool) -> Iterator[str]:
    if record.volume.taken_by is None:
        yield "no snapshot policy has taken it"
        return
    for content in record.contents:
        yield (
            f"VolumeSnapshotContent {content.name} of driver {content.driver} has it; delete its "
            "VolumeSnapshot and the VolumeSnapshotContent first"
        )
    for volume in record.persistent_volumes:
        yield f"PersistentVolume {volume.name} of driver {volume.driver} has it; delete it first"
    if (reader.cluster.contents is None or reader.cluster.volumes is None) and not unchecked:
        reasons = "; ".join(reader.cluster.unknown)
        yield (
            f"it is not known whether Kubernetes has it: {reasons}. Give --kubeconfig, or --no-kubernetes to "
            "do without this check"
        )


def unlock(reader: Reader, record: Record) -> None:
    """Unlock the snapshot. If it has expired, its policy may remove it at once. It can be repeated.

    Raises:
        DriverError: the array refuses it, or there was no answer.
    """
    array, snapshot_id = reader.array_of(record), record.handle.volume_id
    error: DriverError | None = None
    try:
        array.unlock_auto_snapshot(snapshot_id)
    except DriverError as failed:
        error = failed
    try:
        found = array.volume(snapshot_id)
    except NotFound:
        log.info("auto snapshot was removed by its policy", snapshot=record.handle)
        return
    if found.policy_locked:
        raise error or _not_shown(record)
    log.info("auto snapshot unlocked", snapshot=record.handle, policy=record.policy)


def _expired(record: Record) -> NotFound:
    return NotFound(f"{record.handle} does not exist any more: its snapshot policy or someone has removed it")


def _not_shown(record: Record) -> Unavailable:
    return Unavailable(
        f"the array does not show that the lock of {record.handle} was changed; run the command again"
    )
