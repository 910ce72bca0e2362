"""Snapshots, clones, VTrees, restores and capacity limits."""

from __future__ import annotations

import pytest

from csi_powerflex.simulator.clock import ManualClock
from csi_powerflex.simulator.initial_state import DomainPlan, InitialState, PoolPlan
from csi_powerflex.simulator.settings import Settings
from tests.simulator.client import GIB_KB, Array
from tests.simulator.conftest import MakeArray


def test_a_snapshot_is_a_volume_of_the_same_tree(array: Array) -> None:
    source = array.create("v1", gib=16)
    (snapshot,) = array.snapshot(source, accessModeLimit="ReadOnly")
    shown, original = array.volume(snapshot), array.volume(source)
    assert shown["volumeType"] == "Snapshot"
    assert shown["ancestorVolumeId"] == source
    assert shown["vtreeId"] == original["vtreeId"]
    assert shown["sizeInKb"] == 16 * GIB_KB
    assert (shown["accessModeLimit"], original["accessModeLimit"]) == ("ReadOnly", "ReadWrite")
    assert shown["consistencyGroupId"] is not None
    assert original["consistencyGroupId"] is None


def test_the_snapshots_of_one_call_are_a_group_in_the_requested_order(array: Array) -> None:
    first, second = array.create(), array.create()
    snapshots = [array.volume(snapshot) for snapshot in array.snapshot(second, first)]
    assert [shown["ancestorVolumeId"] for shown in snapshots] == [second, first]
    (group,) = {shown["consistencyGroupId"] for shown in snapshots}
    answer = array.act("System", array.system_id, "removeConsistencyGroupSnapshots", snapGroupId=group)
    assert answer == {"numberOfVolumes": 2}
    again = array.error("System", array.system_id, "removeConsistencyGroupSnapshots", snapGroupId=group)
    assert again.code == 185


def test_one_unknown_volume_makes_the_whole_call_fail_with_details(array: Array) -> None:
    good = array.create()
    parts = [{"volumeId": good}, {"volumeId": "00000000000000aa"}]
    error = array.error("System", array.system_id, "snapshotVolumes", snapshotDefs=parts)
    assert (error.status, error.code, error.value["message"]) == (500, 0, "Error with details")
    assert error.value["details"] == [
        {"error": "VOL_NOT_FOUND", "rc": 79, "errorMessage": "Could not find the volume"}
    ]
    assert len(array.get("/api/types/Volume/instances")) == 1


@pytest.mark.parametrize(
    ("version", "action", "max_entries"), [("4.5", "snapshotVolumes", 126), ("5.0", "createSnapshot", 1022)]
)
def test_a_tree_has_a_maximum_number_of_snapshots(
    make_array: MakeArray, version: str, action: str, max_entries: int
) -> None:
    array = make_array(version)
    source = array.create()
    for _ in range(max_entries // 2):
        array.snapshot(source, source, action=action)
    parts = [{"volumeId": source}]
    error = array.error("System", array.system_id, action, snapshotDefs=parts)
    (detail,) = error.value["details"]
    assert (detail["rc"], detail["error"]) == (182, "TOO_MANY_SNAPS_IN_VTREE")
    assert detail["errorMessage"] == "There are too many snapshots in the VTree"


def test_each_generation_has_its_own_snapshot_calls(make_array: MakeArray) -> None:
    old, new = make_array("4.5"), make_array("5.0")
    for array, action in ((old, "createSnapshot"), (old, "createThinClone"), (new, "snapshotVolumes")):
        parts = [{"volumeId": array.create()}]
        assert array.error("System", array.system_id, action, snapshotDefs=parts).status == 400


def test_second_generation_snapshots_are_read_only_and_clones_are_not(make_array: MakeArray) -> None:
    array = make_array("5.0")
    (snapshot,) = array.snapshot(array.create(), action="createSnapshot")
    (clone,) = array.snapshot(snapshot, action="createThinClone")
    assert array.volume(snapshot)["volumeType"] == "ReadOnlySnapshot"
    assert (array.volume(clone)["volumeType"], array.volume(clone)["accessModeLimit"]) == (
        "Snapshot",
        "ReadWrite",
    )
    array.refused(snapshot, "addMappedSdc", sdcId=array.sdcs["a"])
    array.refused(snapshot, "setVolumeSize", sizeInGB="16")
    array.map(clone)
    parts = [{"volumeId": clone}]
    limited = array.error(
        "System", array.system_id, "createSnapshot", snapshotDefs=parts, accessModeLimit="ReadOnly"
    )
    assert limited.status == 400


def chain(array: Array) -> tuple[str, str, str]:
    base = array.create()
    (child,) = array.snapshot(base)
    (grandchild,) = array.snapshot(child)
    return base, child, grandchild


@pytest.mark.parametrize(
    ("mode", "left"),
    [
        ("ONLY_ME", {0, 2}),
        ("INCLUDING_DESCENDANTS", {0}),
        ("DESCENDANTS_ONLY", {0, 1}),
        ("WHOLE_VTREE", set()),
    ],
)
def test_each_remove_mode_removes_the_named_volumes(array: Array, mode: str, left: set[int]) -> None:
    members = chain(array)
    array.volume_action(members[1], "removeVolume", removeMode=mode)
    remaining = {volume["id"] for volume in array.get("/api/types/Volume/instances")}
    assert remaining == {members[number] for number in left}


def test_children_of_a_removed_volume_become_children_of_its_ancestor(array: Array) -> None:
    base, child, grandchild = chain(array)
    array.volume_action(child, "removeVolume", removeMode="ONLY_ME")
    assert array.volume(grandchild)["ancestorVolumeId"] == base
    array.volume_action(base, "removeVolume", removeMode="ONLY_ME")
    assert array.volume(grandchild)["ancestorVolumeId"] is None
    tree = array.get(f"/api/instances/VTree::{array.volume(grandchild)['vtreeId']}")
    assert tree["rootVolumes"] == [grandchild]


def test_a_tree_with_a_mapped_volume_is_not_removed(array: Array) -> None:
    base, _, grandchild = chain(array)
    array.map(grandchild)
    assert array.refused(base, "removeVolume", removeMode="WHOLE_VTREE").code == 104
    assert len(array.get("/api/types/Volume/instances")) == 3


def test_a_secure_snapshot_cannot_be_removed_before_it_expires(array: Array, clock: ManualClock) -> None:
    (snapshot,) = array.snapshot(array.create(), retentionPeriodInMin="60")
    assert array.volume(snapshot)["secureSnapshotExpTime"] == int(clock.now()) + 3600
    array.refused(snapshot, "removeVolume", removeMode="ONLY_ME")
    array.refused(snapshot, "setSnapshotSecurity", retentionPeriodInMin="1")
    clock.advance(3601)
    array.log_in()
    array.volume_action(snapshot, "removeVolume", removeMode="ONLY_ME")


def test_a_restore_stays_within_the_tree(array: Array) -> None:
    volume, other = array.create(), array.create()
    assert array.refused(volume, "overwriteVolumeContent", srcVolumeId=other).code == 198
    assert array.refused(volume, "overwriteVolumeContent", srcVolumeId=volume).code == 339


def test_a_volume_that_has_grown_is_not_overwritten_by_its_snapshot(array: Array) -> None:
    volume = array.create()
    (snapshot,) = array.snapshot(volume)
    array.volume_action(volume, "setVolumeSize", sizeInGB="16")
    refused = array.refused(volume, "overwriteVolumeContent", srcVolumeId=snapshot)
    assert "the source has 8388608 KB, the target 16777216 KB" in refused.value["message"]


@pytest.mark.parametrize("allowed", [True, False])
def test_the_settings_say_whether_a_mapped_volume_is_overwritten(
    make_array: MakeArray, *, allowed: bool
) -> None:
    array = make_array(settings=Settings(overwrite_mapped=allowed))
    volume = array.create()
    (snapshot,) = array.snapshot(volume)
    array.map(volume)
    answer = array.error("Volume", volume, "overwriteVolumeContent", srcVolumeId=snapshot)
    assert answer.status == (200 if allowed else 500)
    assert allowed or answer.code == 104


def test_a_secure_snapshot_is_not_overwritten_before_it_expires(array: Array, clock: ManualClock) -> None:
    volume = array.create()
    (snapshot,) = array.snapshot(volume, retentionPeriodInMin="60")
    array.refused(snapshot, "overwriteVolumeContent", srcVolumeId=volume)
    clock.advance(3601)
    array.log_in()
    array.volume_action(snapshot, "overwriteVolumeContent", srcVolumeId=volume)


def test_a_read_only_volume_is_not_mapped_read_write(array: Array) -> None:
    (snapshot,) = array.snapshot(array.create(), accessModeLimit="ReadOnly")
    array.refused(snapshot, "addMappedSdc", sdcId=array.sdcs["a"], accessMode="ReadWrite")
    array.map(snapshot)
    assert array.volume(snapshot)["mappedSdcInfo"][0]["accessMode"] == "ReadOnly"


def test_an_unapproved_sdc_is_not_mapped(array: Array) -> None:
    array.act("System", array.system_id, "setRestrictedSdcMode", restrictedSdcMode="Guid")
    guid = "0288A8FA-502A-4FAC-A888-1FA3B256358C"
    approved = array.act("System", array.system_id, "approveSdc", sdcGuid=guid, name="new")["id"]
    array.volume_action(array.create(), "addMappedSdc", sdcId=approved)
    error = array.error("System", array.system_id, "approveSdc")
    assert error.value["message"] == (
        "Request message is not valid: One of the parameter(s) must be part of the request body: "
        "sdcIp, sdcIps, sdcGuid"
    )


# --- capacity ----------------------------------------------------------------------------------------


def test_over_provisioning_has_a_limit(make_array: MakeArray) -> None:
    small = PoolPlan(raw_gib=100, spare_percent=0, over_provisioning=2)  # 50 GiB usable, 100 provisioned
    array = make_array(initial_state=InitialState(domains=(DomainPlan(pools=(small,)),)))
    array.create(gib=88)
    error = array.try_to_create(volumeType="ThinProvisioned", volumeSizeInKb=str(16 * GIB_KB))
    assert error.code == 309
    assert error.value["message"] == "Requested volume size exceeds the volume allocation limit"
    array.create(gib=8)


def test_thick_volumes_take_their_capacity_at_once(make_array: MakeArray) -> None:
    small = PoolPlan(raw_gib=100, spare_percent=0)
    array = make_array(initial_state=InitialState(domains=(DomainPlan(pools=(small,)),)))
    array.create(gib=48, thick=True)
    error = array.try_to_create(volumeType="ThickProvisioned", volumeSizeInKb=str(8 * GIB_KB))
    assert error.code == 309
    array.create(gib=8)
