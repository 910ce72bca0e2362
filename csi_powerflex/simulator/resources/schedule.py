"""The automatic snapshots of snapshot policies: they are taken, and expire, by the clock of the system.

A policy has levels. Level 0 keeps the newest snapshots. Each further level keeps one of as many as the level
before it keeps. So with a cadence of an hour and the levels 4, 3, the snapshots of the last four hours are
kept, and then those of every fourth hour, three times.
"""

from __future__ import annotations

from csi_powerflex.simulator.api_error import ApiError
from csi_powerflex.simulator.array import Array
from csi_powerflex.simulator.capacity import refuse_crowded_tree, refuse_snapshot_of_full
from csi_powerflex.simulator.model import READ_ONLY, READ_ONLY_SNAPSHOT, SNAPSHOT, SnapshotPolicy, Volume
from csi_powerflex.simulator.resources import copies, removal


def sources(array: Array, policy: SnapshotPolicy) -> list[Volume]:
    """The volumes that the policy takes snapshots of."""
    return [item for item in list(array.volumes.values()) if item.policy_of_source == policy.id]


def snapshots(array: Array, policy: SnapshotPolicy) -> list[Volume]:
    """The snapshots that the policy has taken and that still exist."""
    return [item for item in list(array.volumes.values()) if item.policy_of_snapshot == policy.id]


def levels(policy: SnapshotPolicy, run: int) -> list[int]:
    """The levels that the snapshots of a run belong to."""
    found, period = [], 1
    for level, kept in enumerate(policy.retained):
        if run % period == 0:
            found.append(level)
        period *= max(1, kept)
    return found


def runs_kept(policy: SnapshotPolicy, run: int) -> int:
    """For how many further runs the snapshots of a run are kept."""
    total, period = 0, 1
    highest = levels(policy, run)[-1]
    for kept in policy.retained[: highest + 1]:
        total += kept * period
        period *= max(1, kept)
    return total


def is_due(array: Array) -> bool:
    """Whether a policy must take snapshots now."""
    if not array.policies:
        return False
    now = array.clock.now()
    return any(not policy.paused and policy.next_at <= now for policy in list(array.policies.values()))


def advance(array: Array) -> None:
    """Take the snapshots that are due, and remove those that have expired. No other change may run.

    After a jump of the clock, only those snapshots are taken that are not expired yet. They have the data of
    now, and the creation time at which they were due. What expires is removed first, so that a VTree never
    has more snapshots of a policy than the policy keeps.
    """
    now = array.clock.now()
    for policy in list(array.policies.values()):
        if not policy.paused and policy.next_at <= now:
            _catch_up(array, policy, now)
    array.commit()


def _catch_up(array: Array, policy: SnapshotPolicy, now: float) -> None:
    """Count the runs that are due, remove what they let expire, and take the snapshots that they keep."""
    cadence = policy.cadence_min * 60
    first, first_at = policy.taken + 1, policy.next_at
    due = int((now - first_at) // cadence) + 1
    array.change(policy, taken=policy.taken + due, next_at=first_at + due * cadence)
    _expire(array, policy)
    for run in runs_to_take(policy, first):
        _take(array, policy, run, int(first_at + (run - first) * cadence))


def runs_to_take(policy: SnapshotPolicy, first: int) -> list[int]:
    """The runs from ``first`` to the last one whose snapshots have not expired yet."""
    last, total, period = policy.taken, 0, 1
    runs: set[int] = set()
    for kept in policy.retained:
        total += kept * period
        oldest = max(first, last - total + 1)
        runs.update(range(-(-oldest // period) * period, last + 1, period))
        period *= kept
    return sorted(run for run in runs if last - run < runs_kept(policy, run))


def _take(array: Array, policy: SnapshotPolicy, run: int, at: int) -> None:
    """Take one snapshot of each source. Those of one run are a consistency group."""
    wanted: list[Volume] = []
    for source in sources(array, policy):
        same_tree = sum(other.vtree_id == source.vtree_id for other in wanted)
        try:
            removal.refuse_removed(array, source)
            refuse_snapshot_of_full(array.pools[source.pool_id])
            refuse_crowded_tree(array, source, same_tree)
        except ApiError as error:
            array.change(policy, failures=policy.failures + 1, failed_at=at, failure=error.message)
        else:
            wanted.append(source)
    if not wanted:
        return
    group_id = array.new_id(array.volumes)
    made = [_snapshot(array, policy, source, run=run, at=at, group_id=group_id) for source in wanted]
    copies.take(array, list(zip(wanted, made, strict=True)))
    array.change(policy, last_at=at)


def _snapshot(
    array: Array, policy: SnapshotPolicy, source: Volume, *, run: int, at: int, group_id: str
) -> Volume:
    erasure_coded = array.is_erasure_coded(source.pool_id)
    secure_until = at + runs_kept(policy, run) * policy.cadence_min * 60 if policy.secure else 0
    return Volume(
        id=array.new_id(array.volumes),
        name=None,
        size_kb=source.size_kb,
        created=at,
        type=READ_ONLY_SNAPSHOT if erasure_coded else SNAPSHOT,
        pool_id=source.pool_id,
        vtree_id=source.vtree_id,
        ancestor_id=source.id,
        group_id=group_id,
        access_limit=READ_ONLY if erasure_coded else policy.access_mode,
        secure_until=secure_until,
        compression=source.compression,
        nsid=array.next_namespace(),
        volume_class=source.volume_class,
        policy_of_snapshot=policy.id,
        auto_group_id=group_id,
        policy_run=run,
    )


def has_expired(policy: SnapshotPolicy, snapshot: Volume) -> bool:
    """Whether the policy does not keep the snapshot any more."""
    return policy.taken - snapshot.policy_run >= runs_kept(policy, snapshot.policy_run)


def _expire(array: Array, policy: SnapshotPolicy) -> None:
    """Remove the expired snapshots. One that is mapped, locked or secure stays until it is not any more."""
    for snapshot in snapshots(array, policy):
        if not has_expired(policy, snapshot) or snapshot.removed_at is not None:
            continue
        try:
            removal.refuse_protected(array, snapshot)
        except ApiError:
            continue
        removal.remove(array, snapshot)
