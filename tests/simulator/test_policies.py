"""Snapshot policies: what they take and remove, by the clock of the system."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, strategies as st

from csi_powerflex.simulator.admin import Admin
from csi_powerflex.simulator.clock import ManualClock
from csi_powerflex.simulator.initial_state import DomainPlan, InitialState, PoolPlan
from csi_powerflex.simulator.message import Request
from csi_powerflex.simulator.model import SnapshotPolicy
from csi_powerflex.simulator.resources import schedule
from csi_powerflex.simulator.settings import Settings
from tests.simulator.client import GIB_KB, Array
from tests.simulator.conftest import MakeArray

HOUR = 3600


def policy(array: Array, *levels: int, **body: object) -> str:
    """A policy that takes a snapshot every hour. Returns its id."""
    wanted = {
        "name": f"p{len(array.get('/api/types/SnapshotPolicy/instances'))}",
        "autoSnapshotCreationCadenceInMin": "60",
        "numOfRetainedSnapshotsPerLevel": [str(level) for level in levels],
        **body,
    }
    return str(array.post("/api/types/SnapshotPolicy/instances", wanted)["id"])


def assign(array: Array, policy_id: str, *volumes: str) -> None:
    for volume in volumes:
        array.act("SnapshotPolicy", policy_id, "addSourceVolumeToSnapshotPolicy", sourceVolumeId=volume)


def taken(array: Array, policy_id: str) -> list[dict[str, Any]]:
    array.log_in()
    path = f"/api/instances/SnapshotPolicy::{policy_id}/relationships/AutoSnapshotVolume"
    return sorted(array.get(path), key=lambda item: int(item["creationTime"]))


def shown(array: Array, policy_id: str) -> dict[str, Any]:
    array.log_in()
    found: dict[str, Any] = array.get(f"/api/instances/SnapshotPolicy::{policy_id}")
    return found


def test_a_policy_takes_a_snapshot_of_each_source_when_it_is_due(array: Array, clock: ManualClock) -> None:
    hourly = policy(array, 3)
    assign(array, hourly, array.create("v1"), array.create("v2"))
    clock.advance(HOUR - 1)
    assert taken(array, hourly) == []
    clock.advance(1)
    first, second = taken(array, hourly)
    assert first["autoSnapshotGroupId"] == second["autoSnapshotGroupId"] == first["consistencyGroupId"]
    assert {first["snplIdOfAutoSnapshot"], second["snplIdOfAutoSnapshot"]} == {hourly}
    assert first["creationTime"] == int(clock.now())
    assert (first["accessModeLimit"], first["retentionLevels"]) == ("ReadOnly", [0])
    assert first["volumeType"] == "Snapshot"


def test_the_oldest_snapshots_expire(array: Array, clock: ManualClock) -> None:
    hourly = policy(array, 3)
    volume = array.create()
    assign(array, hourly, volume)
    for _ in range(5):
        clock.advance(HOUR)
        taken(array, hourly)
    now = int(clock.now())
    assert [now - item["creationTime"] for item in taken(array, hourly)] == [2 * HOUR, HOUR, 0]
    assert len(array.get("/api/types/Volume/instances")) == 4


@pytest.mark.parametrize("step", [HOUR, 10 * HOUR, 30 * HOUR])
def test_each_level_keeps_its_number(array: Array, clock: ManualClock, step: int) -> None:
    levels = policy(array, 4, 3, 2)
    assign(array, levels, array.create())
    start = int(clock.now())
    for _ in range(60 * HOUR // step):
        clock.advance(step)
        taken(array, levels)
    hours = [(item["creationTime"] - start) // HOUR for item in taken(array, levels)]
    assert hours == [24, 36, 48, 52, 56, 57, 58, 59, 60]


def test_a_policy_shows_its_last_and_next_snapshot(array: Array, clock: ManualClock) -> None:
    hourly = policy(array, 2)
    assign(array, hourly, array.create())
    start = int(clock.now())
    clock.advance(2 * HOUR + 60)
    now = shown(array, hourly)
    assert now["timeOfLastAutoSnapshot"] == start + 2 * HOUR
    assert now["nextAutoSnapshotCreationTime"] == start + 3 * HOUR
    assert (now["numOfAutoSnapshots"], now["numOfSourceVolumes"]) == (2, 1)


def test_a_paused_policy_takes_nothing_and_continues_later(array: Array, clock: ManualClock) -> None:
    hourly = policy(array, 2)
    assign(array, hourly, array.create())
    array.act("SnapshotPolicy", hourly, "pauseSnapshotPolicy")
    clock.advance(5 * HOUR)
    assert taken(array, hourly) == []
    array.act("SnapshotPolicy", hourly, "resumeSnapshotPolicy")
    assert taken(array, hourly) == []
    clock.advance(HOUR)
    assert len(taken(array, hourly)) == 1


def test_locked_and_mapped_snapshots_stay_when_they_expire(array: Array, clock: ManualClock) -> None:
    hourly = policy(array, 2)
    assign(array, hourly, array.create())
    clock.advance(HOUR)
    (locked,) = taken(array, hourly)
    array.volume_action(locked["id"], "lockAutoSnapshot")
    clock.advance(HOUR)
    mapped = taken(array, hourly)[-1]
    array.map(mapped["id"])
    clock.advance(5 * HOUR)
    ids = {item["id"] for item in taken(array, hourly)}
    assert {locked["id"], mapped["id"]} < ids
    assert len(ids) == 4
    assert shown(array, hourly)["numOfExpiredButLockedSnapshots"] == 1
    array.volume_action(locked["id"], "unlockAutoSnapshot")
    array.unmap(mapped["id"])
    clock.advance(HOUR)
    assert len(taken(array, hourly)) == 2


@pytest.mark.parametrize(("agreed", "left"), [("true", 2), ("false", 3)])
def test_an_expired_snapshot_goes_when_its_lock_goes(
    array: Array, clock: ManualClock, agreed: str, left: int
) -> None:
    hourly = policy(array, 2)
    assign(array, hourly, array.create())
    clock.advance(HOUR)
    (locked,) = taken(array, hourly)
    array.volume_action(locked["id"], "lockAutoSnapshot")
    assert array.volume(locked["id"])["lockedAutoSnapshotMarkedForRemoval"] is False
    clock.advance(2 * HOUR)
    assert len(taken(array, hourly)) == 3
    assert array.volume(locked["id"])["lockedAutoSnapshotMarkedForRemoval"] is True
    array.volume_action(locked["id"], "unlockAutoSnapshot", autoSnapshotWillBeRemoved=agreed)
    assert len(taken(array, hourly)) == left
    clock.advance(HOUR)
    assert len(taken(array, hourly)) == 2


def test_locked_snapshots_of_a_source_that_leaves_can_be_detached(array: Array, clock: ManualClock) -> None:
    hourly = policy(array, 2)
    volume = array.create()
    assign(array, hourly, volume)
    clock.advance(2 * HOUR)
    locked, _ = taken(array, hourly)
    array.volume_action(locked["id"], "lockAutoSnapshot")
    leave = {"sourceVolumeId": volume, "autoSnapshotRemovalAction": "Remove"}
    action = "removeSourceVolumeFromSnapshotPolicy"
    assert array.error("SnapshotPolicy", hourly, action, **leave).status == 500
    array.act("SnapshotPolicy", hourly, action, **leave, detachLockedAutoSnapshots="true")
    volumes = array.get("/api/types/Volume/instances")
    assert {item["id"] for item in volumes} == {volume, locked["id"]}
    assert not any(item["lockedAutoSnapshot"] for item in volumes)


def test_secure_snapshots_expire_when_they_are_not_secure_any_more(array: Array, clock: ManualClock) -> None:
    hourly = policy(array, 2, secureSnapshots="true")
    assign(array, hourly, array.create())
    clock.advance(HOUR)
    (first,) = taken(array, hourly)
    assert first["secureSnapshotExpTime"] == first["creationTime"] + 2 * HOUR
    assert array.error("Volume", first["id"], "removeVolume", removeMode="ONLY_ME").status == 500
    clock.advance(2 * HOUR)
    assert first["id"] not in {item["id"] for item in taken(array, hourly)}


def test_a_full_pool_is_a_failure_of_the_policy(array: Array, clock: ManualClock) -> None:
    hourly = policy(array, 2)
    assign(array, hourly, array.create())
    array.gateway.set_full("sp1", full=True)
    clock.advance(HOUR)
    now = shown(array, hourly)
    assert (now["numOfAutoSnapshots"], now["numOfCreationFailures"]) == (0, 1)
    assert now["lastAutoSnapshotCreationFailureReason"] == "The capacity is too low for snapshots"
    assert now["timeOfLastAutoSnapshotCreationFailure"] == int(clock.now())


@pytest.mark.parametrize(("action", "left"), [("Remove", 0), ("Detach", 2), (None, 2)])
def test_what_happens_to_the_snapshots_of_a_source_that_leaves(
    array: Array, clock: ManualClock, action: str | None, left: int
) -> None:
    hourly = policy(array, 2)
    volume = array.create()
    assign(array, hourly, volume)
    clock.advance(2 * HOUR)
    assert len(taken(array, hourly)) == 2
    body = {"autoSnapshotRemovalAction": action} if action else {}
    array.act("SnapshotPolicy", hourly, "removeSourceVolumeFromSnapshotPolicy", sourceVolumeId=volume, **body)
    assert taken(array, hourly) == []
    assert len(array.get("/api/types/Volume/instances")) == 1 + left
    array.act("SnapshotPolicy", hourly, "removeSnapshotPolicy")


def test_the_second_generation_takes_read_only_snapshots(make_array: MakeArray, clock: ManualClock) -> None:
    array = make_array("5.0")
    hourly = policy(array, 2)
    volume = array.create()
    array.act("SnapshotPolicy", hourly, "assignSnapshotPolicy", sourceVolumeId=volume)
    clock.advance(HOUR)
    (snapshot,) = taken(array, hourly)
    assert (snapshot["volumeType"], snapshot["genType"]) == ("ReadOnlySnapshot", "EC")


def test_a_jump_of_ten_years_is_quick(array: Array, clock: ManualClock) -> None:
    often = policy(array, 10, 5, autoSnapshotCreationCadenceInMin="1")
    assign(array, often, array.create())
    clock.advance(10 * 365 * 24 * HOUR)
    assert 10 <= len(taken(array, often)) <= 15


def test_a_jump_in_a_tree_with_little_left_is_no_failure(make_array: MakeArray, clock: ManualClock) -> None:
    array = make_array(settings=Settings(max_snapshots_per_vtree=6))
    hourly = policy(array, 4)
    volume = array.create()
    array.snapshot(volume)
    assign(array, hourly, volume)
    for hours in (4, 4, 4):
        clock.advance(hours * HOUR)
        assert len(taken(array, hourly)) == 4
    assert shown(array, hourly)["numOfCreationFailures"] == 0


def test_two_sources_in_one_tree_do_not_overfill_it(make_array: MakeArray, clock: ManualClock) -> None:
    array = make_array(settings=Settings(max_snapshots_per_vtree=4))
    volume = array.create()
    clone, *_ = array.snapshot(volume), array.snapshot(volume), array.snapshot(volume)
    hourly = policy(array, 3)
    assign(array, hourly, volume, clone[0])
    clock.advance(HOUR)
    assert [item["ancestorVolumeId"] for item in taken(array, hourly)] == [volume]
    assert shown(array, hourly)["numOfCreationFailures"] == 1


def test_a_source_whose_removal_is_in_progress_is_a_failure_and_then_none(
    make_array: MakeArray, clock: ManualClock
) -> None:
    array = make_array(settings=Settings(removal_seconds=90))
    often = policy(array, 3, autoSnapshotCreationCadenceInMin="1")
    removed, kept = array.create(), array.create()
    assign(array, often, removed, kept)
    clock.advance(60)
    assert len(taken(array, often)) == 2
    array.volume_action(removed, "removeVolume", removeMode="ONLY_ME")
    clock.advance(60)
    assert shown(array, often)["numOfCreationFailures"] == 1
    clock.advance(60)
    assert (shown(array, often)["numOfSourceVolumes"], len(taken(array, often))) == (1, 4)
    clock.advance(600)
    taken(array, often)
    clock.advance(100)
    assert {item["ancestorVolumeId"] for item in taken(array, often)} == {kept}


def test_a_new_cadence_takes_one_snapshot_and_no_missed_ones(array: Array, clock: ManualClock) -> None:
    daily = policy(array, 9, autoSnapshotCreationCadenceInMin="1440")
    assign(array, daily, array.create())
    clock.advance(24 * HOUR)
    assert len(taken(array, daily)) == 1
    clock.advance(20 * HOUR)
    changed = {"autoSnapshotCreationCadenceInMin": "60", "numOfRetainedSnapshotsPerLevel": ["9"]}
    array.log_in()
    array.act("SnapshotPolicy", daily, "modifySnapshotPolicy", **changed)
    assert len(taken(array, daily)) == 2
    clock.advance(HOUR)
    assert len(taken(array, daily)) == 3


def test_fewer_levels_let_snapshots_expire_at_the_next_run(array: Array, clock: ManualClock) -> None:
    hourly = policy(array, 4, 3)
    assign(array, hourly, array.create())
    clock.advance(16 * HOUR)
    assert len(taken(array, hourly)) == 7
    changed = {"autoSnapshotCreationCadenceInMin": "60", "numOfRetainedSnapshotsPerLevel": ["2"]}
    array.act("SnapshotPolicy", hourly, "modifySnapshotPolicy", **changed)
    clock.advance(HOUR)
    assert len(taken(array, hourly)) == 2


@pytest.mark.parametrize("start", ["2026-03-29T00:30:00+01:00", "2026-10-25T00:30:00+02:00"])
def test_midnight_and_daylight_saving_do_not_shift_the_snapshots(
    array: Array, clock: ManualClock, start: str
) -> None:
    clock.advance(datetime.fromisoformat(start).timestamp() - clock.now())
    array.log_in()
    hourly = policy(array, 40)
    assign(array, hourly, array.create())
    begin = int(clock.now())
    for _ in range(30):
        clock.advance(HOUR)
        taken(array, hourly)
    times = [item["creationTime"] - begin for item in taken(array, hourly)]
    assert times == [HOUR * number for number in range(1, 31)]


def test_a_tree_that_arrives_elsewhere_takes_its_new_snapshots_along(
    make_array: MakeArray, clock: ManualClock
) -> None:
    pools = InitialState(domains=(DomainPlan(pools=(PoolPlan("sp1"), PoolPlan("sp2"))),))
    array = make_array(initial_state=pools, settings=Settings(migration_kb_per_second=GIB_KB // 10))
    hourly = policy(array, 2)
    volume, target = array.create(), array.get("/api/types/StoragePool/instances")[1]["id"]
    assign(array, hourly, volume)
    clock.advance(HOUR - 10)
    array.log_in()
    array.volume_action(volume, "migrateVTree", destSPId=target)
    plane = array.gateway.array.plane
    copy = plane.snapshot

    def slow(pairs: Any) -> None:
        clock.advance(100)
        assert array.volume(volume)["storagePoolId"] == target
        copy(pairs)

    plane.snapshot = slow  # type: ignore[method-assign]
    clock.advance(10)
    (made,) = taken(array, hourly)
    assert made["storagePoolId"] == target


def kept_step_by_step(levels: list[int], runs: int) -> list[int]:
    """The runs whose snapshots exist after ``runs`` runs, as a policy that never misses one keeps them."""
    periods = [math.prod(levels[:level]) for level in range(len(levels))]
    kept: set[int] = set()
    for level, (count, period) in enumerate(zip(levels, periods, strict=True)):
        newer = sum(levels[below] * periods[below] for below in range(level))
        kept |= {
            run for run in range(1, runs + 1) if run % period == 0 and runs - run < newer + count * period
        }
    return sorted(kept)


@given(
    levels=st.lists(st.integers(1, 8), min_size=1, max_size=4),
    steps=st.lists(st.integers(1, 500), min_size=1, max_size=8),
)
def test_jumps_of_any_length_keep_what_single_steps_keep(levels: list[int], steps: list[int]) -> None:
    policy = SnapshotPolicy(id="1", name="p", cadence_min=1, next_at=0, retained=levels, created=0)
    exist: set[int] = set()
    for step in steps:
        first = policy.taken + 1
        policy.taken += step
        exist = {run for run in exist if policy.taken - run < schedule.runs_kept(policy, run)}
        exist |= set(schedule.runs_to_take(policy, first))
    assert sorted(exist) == kept_step_by_step(levels, policy.taken)


def test_a_far_jump_keeps_the_oldest_levels(array: Array, clock: ManualClock) -> None:
    many = policy(array, 10, 10, 10, 10, 10, 10, autoSnapshotCreationCadenceInMin="1")
    assign(array, many, array.create())
    clock.advance(4 * 365 * 24 * HOUR)
    levels = [level for item in taken(array, many) for level in item["retentionLevels"]]
    assert {level: levels.count(level) for level in range(6)}[5] >= 10


@pytest.mark.parametrize(
    "body",
    [
        {"numOfRetainedSnapshotsPerLevel": ["²"]},
        {"autoSnapshotCreationCadenceInMin": "1" + "0" * 30},
        {"autoSnapshotCreationCadenceInMin": "0"},
        {"numOfRetainedSnapshotsPerLevel": ["0"]},
        {"numOfRetainedSnapshotsPerLevel": ["61"]},
        {"numOfRetainedSnapshotsPerLevel": ["1"] * 7},
    ],
)
def test_a_policy_that_cannot_work_is_refused(array: Array, body: dict[str, object]) -> None:
    wanted = {
        "name": "p",
        "autoSnapshotCreationCadenceInMin": "60",
        "numOfRetainedSnapshotsPerLevel": ["1"],
        **body,
    }
    assert array.send("POST", "/api/types/SnapshotPolicy/instances", wanted).status == 400


def test_the_admin_ports_clock_lets_policies_run_at_once(array: Array) -> None:
    hourly = policy(array, 2)
    assign(array, hourly, array.create())
    body = b'{"seconds": 3600}'
    Admin({"sim1": array.gateway}).handle(Request("POST", "/_sim/clock", body=body))
    assert len(array.gateway.array.volumes) == 2


def test_a_policy_waits_while_another_change_runs(array: Array, clock: ManualClock) -> None:
    hourly = policy(array, 2)
    assign(array, hourly, array.create())
    clock.advance(HOUR)
    array.log_in()
    with array.gateway._changes:
        assert len(array.get("/api/types/Volume/instances")) == 1
    assert len(array.get("/api/types/Volume/instances")) == 2
