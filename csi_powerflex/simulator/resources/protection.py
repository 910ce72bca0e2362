"""Secure snapshots and locked automatic snapshots. Neither can be removed."""

from __future__ import annotations

from csi_powerflex.simulator.api_error import malformed, uncoded_error
from csi_powerflex.simulator.array import Array
from csi_powerflex.simulator.body import Body
from csi_powerflex.simulator.model import Volume
from csi_powerflex.simulator.resources import removal, schedule
from csi_powerflex.simulator.resources.resource_type import Action, View


def expiry(array: Array, minutes: int | None) -> int:
    """When a retention of ``minutes`` ends, in seconds since the epoch; 0 if there is none."""
    if not minutes:
        return 0
    if minutes < 0:
        raise malformed(f"retentionPeriodInMin ({minutes}) must be a positive number")
    return int(array.clock.now()) + minutes * 60


def _set_security(array: Array, volume: Volume, body: Body) -> View:
    if volume.ancestor_id is None:
        raise uncoded_error("The volume is not a snapshot")
    body.required("retentionPeriodInMin")
    until = expiry(array, body.number("retentionPeriodInMin"))
    if until < volume.secure_until:
        raise uncoded_error("The expiration of a secure snapshot can only be extended")
    array.change(volume, secure_until=until)
    return {}


def _clear_security(_array: Array, _volume: Volume, body: Body) -> View:
    body.required("volumeSignature")
    raise uncoded_error("The volume signature is not valid")


def _lock(array: Array, volume: Volume, _: Body) -> View:
    if volume.policy_of_snapshot is None:
        raise uncoded_error("The volume is not an auto snapshot")
    array.change(volume, locked=True)
    return {}


def _unlock(array: Array, volume: Volume, body: Body) -> View:
    """Unlock. One that has expired is removed: at once if the caller has agreed, else with the next run."""
    if not volume.locked:
        raise uncoded_error("The auto snapshot is not locked")
    expired = is_marked_for_removal(array, volume)
    array.change(volume, locked=False)
    if expired and body.flag("autoSnapshotWillBeRemoved"):
        removal.refuse_protected(array, volume)
        removal.remove(array, volume)
    return {}


def is_marked_for_removal(array: Array, volume: Volume) -> bool:
    """Whether only its lock keeps an automatic snapshot that has expired."""
    if not volume.locked or volume.policy_of_snapshot is None:
        return False
    policy = array.policies.get(volume.policy_of_snapshot)
    return policy is not None and schedule.has_expired(policy, volume)


ACTIONS: dict[str, Action[Volume]] = {
    "setSnapshotSecurity": Action(_set_security),
    "clearSnapshotSecurity": Action(_clear_security),
    "lockAutoSnapshot": Action(_lock),
    "unlockAutoSnapshot": Action(_unlock),
}
