"""Snapshot policies. They are kept and shown, but the simulator takes no snapshots by itself."""

from __future__ import annotations

from csi_powerflex.simulator.api_error import malformed, missing_parameters, uncoded_error
from csi_powerflex.simulator.array import Array
from csi_powerflex.simulator.body import Body
from csi_powerflex.simulator.model import READ_ONLY, READ_WRITE, SnapshotPolicy, Volume
from csi_powerflex.simulator.names import free_name
from csi_powerflex.simulator.resources import volume
from csi_powerflex.simulator.resources.resource_type import (
    Action,
    ResourceType,
    View,
    parent_link,
    related_links,
    self_link,
)


def _sources(array: Array, policy: SnapshotPolicy) -> list[Volume]:
    return [item for item in list(array.volumes.values()) if item.policy_of_source == policy.id]


def _snapshots(array: Array, policy: SnapshotPolicy) -> list[Volume]:
    return [item for item in list(array.volumes.values()) if item.policy_of_snapshot == policy.id]


def view(array: Array, policy: SnapshotPolicy) -> View:
    """The object as the gateway shows it."""
    snapshots = _snapshots(array, policy)
    return {
        "id": policy.id,
        "name": policy.name,
        "systemId": array.system.id,
        "snapshotPolicyState": "Paused" if policy.paused else "Active",
        "autoSnapshotCreationCadenceInMin": policy.cadence_min,
        "maxVTreeAutoSnapshots": sum(policy.retained),
        "numOfRetainedSnapshotsPerLevel": policy.retained,
        "numOfSourceVolumes": len(_sources(array, policy)),
        "numOfAutoSnapshots": len(snapshots),
        "numOfLockedSnapshots": sum(item.locked for item in snapshots),
        "numOfExpiredButLockedSnapshots": 0,
        "numOfCreationFailures": 0,
        "timeOfLastAutoSnapshot": 0,
        "timeOfLastAutoSnapshotCreationFailure": 0,
        "lastAutoSnapshotCreationFailureReason": "NR",
        "lastAutoSnapshotFailureInFirstLevel": False,
        "nextAutoSnapshotCreationTime": 0 if policy.paused else policy.created + policy.cadence_min * 60,
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


def _create(array: Array, body: Body) -> View:
    policy = SnapshotPolicy(
        id=array.new_id(array.policies),
        name=_free_policy_name(array, body.required("name")),
        cadence_min=_cadence(body),
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
    return body.number("autoSnapshotCreationCadenceInMin") or 0


def _levels(body: Body) -> list[int]:
    levels = body.texts("numOfRetainedSnapshotsPerLevel")
    if not levels:
        raise missing_parameters("numOfRetainedSnapshotsPerLevel")
    if not all(level.isdigit() for level in levels) or len(levels) > 6:
        raise malformed("numOfRetainedSnapshotsPerLevel must be a list of 1 to 6 numbers")
    retained = [int(level) for level in levels]
    if sum(retained) > 60:
        raise malformed("A snapshot policy keeps at most 60 snapshots")
    return retained


def _modify(array: Array, policy: SnapshotPolicy, body: Body) -> View:
    array.change(policy, cadence_min=_cadence(body), retained=_levels(body))
    return {}


def _rename(array: Array, policy: SnapshotPolicy, body: Body) -> View:
    array.change(policy, name=_free_policy_name(array, body.required("newName")))
    return {}


def _remove(array: Array, policy: SnapshotPolicy, body: Body) -> View:
    action = body.choice("autoSnapshotRemovalAction", ("Remove", "Detach"))
    if _sources(array, policy):
        raise uncoded_error("The snapshot policy still has source volumes")
    for item in _snapshots(array, policy):
        if action == "Remove":
            raise uncoded_error("The snapshot policy still has auto snapshots")
        array.change(item, policy_of_snapshot=None)
    array.drop(policy)
    return {}


def _pause(array: Array, policy: SnapshotPolicy, _: Body) -> View:
    array.change(policy, paused=True)
    return {}


def _resume(array: Array, policy: SnapshotPolicy, _: Body) -> View:
    array.change(policy, paused=False)
    return {}


def _assign(array: Array, policy: SnapshotPolicy, body: Body) -> View:
    source = volume.RESOURCE_TYPE.get(array, body.required("sourceVolumeId"))
    if source.policy_of_source is not None:
        raise uncoded_error("The volume is already a source of a snapshot policy")
    array.change(source, policy_of_source=policy.id)
    return {}


def _unassign(array: Array, policy: SnapshotPolicy, body: Body) -> View:
    source = volume.RESOURCE_TYPE.get(array, body.required("sourceVolumeId"))
    body.choice("autoSnapshotRemovalAction", ("Remove", "Detach"))
    if source.policy_of_source != policy.id:
        raise uncoded_error("The volume is not a source of this snapshot policy")
    array.change(source, policy_of_source=None)
    return {}


def _statistics(array: Array, policy: SnapshotPolicy) -> View:
    sources = [item.id for item in _sources(array, policy)]
    snapshots = [item.id for item in _snapshots(array, policy)]
    return {
        "numOfSrcVols": len(sources),
        "srcVolIds": sources,
        "numOfAutoSnapshots": len(snapshots),
        "autoSnapshotVolIds": snapshots,
        "numOfExpiredButLockedSnapshots": 0,
        "expiredButLockedSnapshotsIds": [],
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
        "SourceVolume": lambda array, policy: [volume.view(array, item) for item in _sources(array, policy)],
        "AutoSnapshotVolume": lambda array, policy: [
            volume.view(array, item) for item in _snapshots(array, policy)
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
