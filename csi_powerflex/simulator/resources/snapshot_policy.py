"""Snapshot policies. Their snapshots are taken in ``schedule``."""

from __future__ import annotations

from csi_powerflex.simulator.api_error import malformed, missing_parameters, uncoded_error
from csi_powerflex.simulator.array import Array
from csi_powerflex.simulator.body import Body
from csi_powerflex.simulator.model import READ_ONLY, READ_ONLY_SNAPSHOT, READ_WRITE, SnapshotPolicy, Volume
from csi_powerflex.simulator.names import free_name
from csi_powerflex.simulator.resources import removal, schedule, volume
from csi_powerflex.simulator.resources.resource_type import (
    Action,
    ResourceType,
    View,
    parent_link,
    related_links,
    self_link,
)

_MOST_SNAPSHOTS = 60


def view(array: Array, policy: SnapshotPolicy) -> View:
    """The object as the gateway shows it."""
    snapshots = schedule.snapshots(array, policy)
    return {
        "id": policy.id,
        "name": policy.name,
        "systemId": array.system.id,
        "snapshotPolicyState": "Paused" if policy.paused else "Active",
        "autoSnapshotCreationCadenceInMin": policy.cadence_min,
        "maxVTreeAutoSnapshots": sum(policy.retained),
        "numOfRetainedSnapshotsPerLevel": policy.retained,
        "numOfSourceVolumes": len(schedule.sources(array, policy)),
        "numOfAutoSnapshots": len(snapshots),
        "numOfLockedSnapshots": sum(item.locked for item in snapshots),
        "numOfExpiredButLockedSnapshots": len(_expired_but_locked(policy, snapshots)),
        "numOfCreationFailures": policy.failures,
        "timeOfLastAutoSnapshot": policy.last_at,
        "timeOfLastAutoSnapshotCreationFailure": policy.failed_at,
        "lastAutoSnapshotCreationFailureReason": policy.failure,
        "lastAutoSnapshotFailureInFirstLevel": policy.failed_at > policy.last_at,
        "nextAutoSnapshotCreationTime": 0 if policy.paused else int(policy.next_at),
        "rcgId": None,
        "rcgName": None,
        "snapshotAccessMode": policy.access_mode,
        "secureSnapshots": policy.secure,
        "links": [
            self_link("SnapshotPolicy", policy.id),
            *related_links("SnapshotPolicy", policy.id, "SourceVolume", "AutoSnapshotVolume", "Statistics"),
            parent_link("System", array.system.id, "systemId"),
        ],
    }


def _expired_but_locked(policy: SnapshotPolicy, snapshots: list[Volume]) -> list[str]:
    return [item.id for item in snapshots if item.locked and schedule.has_expired(policy, item)]


def _create(array: Array, body: Body) -> View:
    cadence = _cadence(body)
    policy = SnapshotPolicy(
        id=array.new_id(array.policies),
        name=_free_policy_name(array, body.required("name")),
        cadence_min=cadence,
        next_at=array.clock.now() + cadence * 60,
        retained=_levels(body),
        created=int(array.clock.now()),
        paused=bool(body.flag("paused")),
        access_mode=body.choice("snapshotAccessMode", (READ_ONLY, READ_WRITE)) or READ_ONLY,
        secure=bool(body.flag("secureSnapshots")),
    )
    array.put(policy)
    return {"id": policy.id}


def _free_policy_name(array: Array, name: str) -> str:
    used = {policy.name for policy in array.policies.values()}
    return free_name(name, used, uncoded_error("The snapshot policy name is already in use"))


def _cadence(body: Body) -> int:
    body.required("autoSnapshotCreationCadenceInMin")
    cadence = body.number("autoSnapshotCreationCadenceInMin") or 0
    if cadence < 1:
        raise malformed(f"autoSnapshotCreationCadenceInMin ({cadence}) must be a positive number")
    return cadence


def _levels(body: Body) -> list[int]:
    levels = body.texts("numOfRetainedSnapshotsPerLevel")
    if not levels:
        raise missing_parameters("numOfRetainedSnapshotsPerLevel")
    if not all(level.isascii() and level.isdigit() for level in levels) or len(levels) > 6:
        raise malformed("numOfRetainedSnapshotsPerLevel must be a list of 1 to 6 numbers")
    retained = [int(level) for level in levels]
    if 0 in retained:
        raise malformed("numOfRetainedSnapshotsPerLevel must be positive numbers")
    if sum(retained) > _MOST_SNAPSHOTS:
        raise malformed("A snapshot policy keeps at most 60 snapshots")
    return retained


def _modify(array: Array, policy: SnapshotPolicy, body: Body) -> View:
    """Change cadence and levels. The next run is one cadence after the last one, but not in the past."""
    cadence, now = _cadence(body), array.clock.now()
    next_at = max((policy.last_at or now) + cadence * 60, now)
    array.change(policy, cadence_min=cadence, retained=_levels(body), next_at=next_at)
    return {}


def _rename(array: Array, policy: SnapshotPolicy, body: Body) -> View:
    array.change(policy, name=_free_policy_name(array, body.required("newName")))
    return {}


def _remove(array: Array, policy: SnapshotPolicy, body: Body) -> View:
    if schedule.sources(array, policy):
        raise uncoded_error("The snapshot policy still has source volumes")
    _remove_or_detach(array, schedule.snapshots(array, policy), body)
    array.drop(policy)
    return {}


def _remove_or_detach(array: Array, snapshots: list[Volume], body: Body) -> None:
    """Remove automatic snapshots, or let them stay as ordinary ones, which is the default here."""
    action = body.choice("autoSnapshotRemovalAction", ("Remove", "Detach")) or "Detach"
    present = [item for item in snapshots if item.removed_at is None]
    detached = present
    if action == "Remove":
        detached = [item for item in present if item.locked and body.flag("detachLockedAutoSnapshots")]
        removed = [item for item in present if item not in detached]
        for item in removed:
            removal.refuse_protected(array, item)
        for item in removed:
            removal.remove(array, item)
    for item in detached:
        array.change(item, policy_of_snapshot=None, policy_run=0, locked=False)


def _pause(array: Array, policy: SnapshotPolicy, _: Body) -> View:
    array.change(policy, paused=True)
    return {}


def _resume(array: Array, policy: SnapshotPolicy, _: Body) -> View:
    """Continue. The next snapshots are taken one cadence later, unless they are due later anyway."""
    if policy.paused:
        soonest = array.clock.now() + policy.cadence_min * 60
        array.change(policy, paused=False, next_at=max(policy.next_at, soonest))
    return {}


def _assign(array: Array, policy: SnapshotPolicy, body: Body) -> View:
    source = volume.RESOURCE_TYPE.get(array, body.required("sourceVolumeId"))
    if source.type == READ_ONLY_SNAPSHOT or source.policy_of_snapshot is not None:
        raise uncoded_error("A read-only or auto snapshot cannot be a source of a snapshot policy")
    if source.policy_of_source is not None:
        raise uncoded_error("The volume is already a source of a snapshot policy")
    array.change(source, policy_of_source=policy.id)
    return {}


def _unassign(array: Array, policy: SnapshotPolicy, body: Body) -> View:
    source = volume.RESOURCE_TYPE.get(array, body.required("sourceVolumeId"))
    if source.policy_of_source != policy.id:
        raise uncoded_error("The volume is not a source of this snapshot policy")
    own = [item for item in schedule.snapshots(array, policy) if item.ancestor_id == source.id]
    _remove_or_detach(array, own, body)
    array.change(source, policy_of_source=None)
    return {}


def _statistics(array: Array, policy: SnapshotPolicy) -> View:
    sources = [item.id for item in schedule.sources(array, policy)]
    taken = schedule.snapshots(array, policy)
    snapshots = [item.id for item in taken]
    locked = _expired_but_locked(policy, taken)
    return {
        "numOfSrcVols": len(sources),
        "srcVolIds": sources,
        "numOfAutoSnapshots": len(snapshots),
        "autoSnapshotVolIds": snapshots,
        "numOfExpiredButLockedSnapshots": len(locked),
        "expiredButLockedSnapshotsIds": locked,
    }


RESOURCE_TYPE: ResourceType[SnapshotPolicy] = ResourceType(
    name="SnapshotPolicy",
    listed="snapshotPolicyList",
    objects=lambda array: array.policies,
    view=view,
    missing=0,
    create=_create,
    find=lambda array, body: RESOURCE_TYPE.by_name(array, body.required("name")).id,
    related={
        "SourceVolume": lambda array, policy: [
            volume.view(array, item) for item in schedule.sources(array, policy)
        ],
        "AutoSnapshotVolume": lambda array, policy: [
            volume.view(array, item) for item in schedule.snapshots(array, policy)
        ],
    },
    statistics=_statistics,
    actions={
        "modifySnapshotPolicy": Action(_modify),
        "renameSnapshotPolicy": Action(_rename),
        "removeSnapshotPolicy": Action(_remove),
        "pauseSnapshotPolicy": Action(_pause),
        "resumeSnapshotPolicy": Action(_resume),
        "addSourceVolumeToSnapshotPolicy": Action(_assign),
        "removeSourceVolumeFromSnapshotPolicy": Action(_unassign),
        "assignSnapshotPolicy": Action(_assign),
        "unassignSnapshotPolicy": Action(_unassign),
    },
)
