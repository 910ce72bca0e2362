"""Migrations of VTrees: time, queue, free capacity, padding, conversions, pauses."""

from __future__ import annotations

from typing import Any

import pytest

from csi_powerflex.simulator.admin import Admin
from csi_powerflex.simulator.clock import ManualClock
from csi_powerflex.simulator.initial_state import DomainPlan, InitialState, PoolPlan
from csi_powerflex.simulator.message import Request
from csi_powerflex.simulator.resources import migration
from csi_powerflex.simulator.settings import Settings
from tests.simulator.client import GIB_KB, Array
from tests.simulator.conftest import MakeArray

SLOW = Settings(migration_kb_per_second=8 * GIB_KB // 10, migrations_at_once=1)
POOLS = InitialState(
    domains=(
        DomainPlan(
            pools=(
                PoolPlan("sp1"),
                PoolPlan("sp2"),
                PoolPlan("raw", zero_padding=False),
                PoolPlan("fine", layout="FineGranularity", compression="Normal"),
                PoolPlan("tiny", raw_gib=60, spare_percent=0, over_provisioning=1),  # 30 GiB usable
            )
        ),
    )
)


@pytest.fixture
def moving(make_array: MakeArray) -> Array:
    """An array with several pools, where the migration of 8 GiB takes ten seconds, one after the other."""
    return make_array(initial_state=POOLS, settings=SLOW)


def pool(array: Array, name: str) -> str:
    pools = array.get("/api/types/StoragePool/instances")
    return next(str(item["id"]) for item in pools if item["name"] == name)


def status(array: Array, volume_id: str) -> str:
    tree = array.get(f"/api/instances/VTree::{array.volume(volume_id)['vtreeId']}")
    return str(tree["vtreeMigrationInfo"]["migrationStatus"])


def test_a_migration_takes_time_and_moves_the_tree(moving: Array, clock: ManualClock) -> None:
    volume, target = moving.create(), pool(moving, "sp2")
    moving.volume_action(volume, "migrateVTree", destSPId=target)
    assert status(moving, volume) == "MigrationNormal"
    assert moving.refused(volume, "migrateVTree", destSPId=target).code == 717
    assert moving.refused(volume, "migrateVTree", destSPId=pool(moving, "raw")).code == 719
    clock.advance(9)
    assert moving.volume(volume)["storagePoolId"] == moving.pool_id
    clock.advance(2)
    assert moving.volume(volume)["storagePoolId"] == target
    assert status(moving, volume) == "NotInMigration"
    assert moving.refused(volume, "migrateVTree", destSPId=target).code == 718


def test_a_paused_migration_resumes_or_rolls_back(moving: Array, clock: ManualClock) -> None:
    volume = moving.create()
    moving.volume_action(volume, "migrateVTree", destSPId=pool(moving, "sp2"))
    moving.volume_action(volume, "pauseVTreeMigration", pauseType="Gracefully")
    clock.advance(100)
    assert status(moving, volume) == "Paused"
    moving.volume_action(volume, "resumeVTreeMigration")
    assert status(moving, volume) == "MigrationNormal"
    moving.volume_action(volume, "pauseVTreeMigration", pauseType="Forcefully")
    moving.volume_action(volume, "migrateVTree", destSPId=moving.pool_id)
    assert status(moving, volume) == "NotInMigration"
    assert moving.volume(volume)["storagePoolId"] == moving.pool_id


def test_a_migration_to_a_pool_without_zero_padding_is_refused(moving: Array) -> None:
    assert moving.refused(moving.create(), "migrateVTree", destSPId=pool(moving, "raw")).status == 500


def info(array: Array, volume_id: str) -> dict[str, Any]:
    tree = array.get(f"/api/instances/VTree::{array.volume(volume_id)['vtreeId']}")
    found: dict[str, Any] = tree["vtreeMigrationInfo"]
    return found


def migrate(array: Array, volume_id: str, target: str, **body: object) -> None:
    array.volume_action(volume_id, "migrateVTree", destSPId=pool(array, target), **body)


def pool_of(array: Array, volume_id: str) -> str:
    return str(array.volume(volume_id)["storagePoolId"])


# --- the queue ---------------------------------------------------------------------------------------


def test_one_tree_migrates_and_the_others_wait_in_order(moving: Array, clock: ManualClock) -> None:
    volumes = [moving.create() for _ in range(4)]
    for volume in volumes[:3]:
        migrate(moving, volume, "sp2")
    migrate(moving, volumes[3], "sp2", queuePosition="Head")
    states = [
        (info(moving, v)["migrationStatus"], info(moving, v)["migrationQueuePosition"]) for v in volumes
    ]
    assert states == [
        ("MigrationNormal", 0),
        ("PendingMigration", 2),
        ("PendingMigration", 3),
        ("PendingMigration", 1),
    ]
    moving.volume_action(volumes[2], "setVtreeMigrationQueuePosition", queuePosition="Head")
    assert info(moving, volumes[2])["migrationQueuePosition"] == 1
    clock.advance(11)
    assert [status(moving, volume) for volume in volumes] == [
        "NotInMigration", "PendingMigration", "MigrationNormal", "PendingMigration",
    ]  # fmt: skip


def test_a_long_time_lets_the_whole_queue_pass(moving: Array, clock: ManualClock) -> None:
    volumes = [moving.create() for _ in range(3)]
    for volume in volumes:
        migrate(moving, volume, "sp2")
    clock.advance(25)  # the second one began when the first one ended
    moving.log_in()
    assert [status(moving, volume) for volume in volumes] == [
        "NotInMigration", "NotInMigration", "MigrationNormal",
    ]  # fmt: skip
    path = f"/api/instances/VTree::{moving.volume(volumes[2])['vtreeId']}/relationships/Statistics"
    assert moving.get(path)["vtreeMigrationProgress"] in (49, 50)
    clock.advance(5.1)
    assert status(moving, volumes[2]) == "NotInMigration"


def test_the_target_of_a_migration_is_not_removed(moving: Array, clock: ManualClock) -> None:
    volume, target = moving.create(), pool(moving, "sp2")
    moving.volume_action(volume, "migrateVTree", destSPId=target)
    answer = moving.error("StoragePool", target, "removeStoragePool")
    assert (answer.status, "VTrees are migrating to the Storage Pool" in answer.value["message"]) == (
        500,
        True,
    )
    clock.advance(100)
    assert pool_of(moving, volume) == target


def test_pools_count_their_migrations(moving: Array) -> None:
    migrate(moving, moving.create(), "sp2")
    migrate(moving, moving.create(), "sp2")
    path = "/api/instances/StoragePool::{}/relationships/Statistics"
    source = moving.get(path.format(moving.pool_id))
    assert (source["numOfMigratingVtrees"], len(source["migratingVolumeIds"])) == (2, 2)
    assert moving.get(path.format(pool(moving, "sp2")))["numOfIncomingVtreeMigrations"] == 2


def test_the_way_back_takes_the_time_that_was_spent(moving: Array, clock: ManualClock) -> None:
    volume = moving.create()
    migrate(moving, volume, "sp2")
    clock.advance(6)
    moving.volume_action(volume, "pauseVTreeMigration", pauseType="Gracefully")
    migrate(moving, volume, "sp1")
    clock.advance(5)
    assert status(moving, volume) == "MigrationNormal"
    clock.advance(2)
    assert (status(moving, volume), pool_of(moving, volume)) == ("NotInMigration", moving.pool_id)


# --- free capacity -----------------------------------------------------------------------------------


def test_a_target_without_free_capacity_is_refused(moving: Array) -> None:
    assert moving.refused(moving.create(gib=32), "migrateVTree", destSPId=pool(moving, "tiny")).code == 309
    moving.gateway.set_full("sp2", full=True)
    assert moving.refused(moving.create(), "migrateVTree", destSPId=pool(moving, "sp2")).code == 346


def test_trees_on_their_way_take_the_free_capacity_of_others(moving: Array) -> None:
    migrate(moving, moving.create(gib=16), "tiny")
    assert moving.refused(moving.create(gib=16), "migrateVTree", destSPId=pool(moving, "tiny")).code == 309
    migrate(moving, moving.create(gib=8), "tiny")


def test_thick_data_need_free_capacity_at_once(moving: Array) -> None:
    moving.create(gib=24, thick=True, storagePoolId=pool(moving, "tiny"))
    volume = moving.create(gib=8)
    refused = moving.refused(
        volume, "migrateVTree", destSPId=pool(moving, "tiny"), volTypeConversion="ThinToThick"
    )
    assert refused.code == 309


def test_a_full_target_pauses_a_migration_and_free_capacity_continues_it(
    moving: Array, clock: ManualClock
) -> None:
    volume = moving.create()
    moving.gateway.set_full("sp2", full=True)
    migrate(moving, volume, "sp2", ignoreDestinationCapacity="TRUE")
    shown = info(moving, volume)
    assert (shown["migrationStatus"], shown["migrationPauseReason"]) == (
        "Paused",
        "NoSpaceInDestinationStoragePool",
    )
    clock.advance(100)
    assert status(moving, volume) == "Paused"
    moving.gateway.set_full("sp2", full=False)
    assert status(moving, volume) == "MigrationNormal"
    clock.advance(11)
    assert pool_of(moving, volume) == pool(moving, "sp2")


@pytest.mark.parametrize(
    ("health", "reason"),
    [
        ("degraded", "DegradedCapacityInProtectionDomain"),
        ("failed", "UnavailableCapacityInSourceStoragePool"),
    ],
)
def test_a_pool_that_has_lost_data_pauses_a_migration(
    moving: Array, clock: ManualClock, health: str, reason: str
) -> None:
    volume = moving.create()
    migrate(moving, volume, "sp2")
    clock.advance(4)
    moving.gateway.set_health("sp1", health)
    assert info(moving, volume)["migrationPauseReason"] == reason
    clock.advance(100)
    moving.gateway.set_health("sp1", "healthy")
    assert info(moving, volume)["migrationPauseReason"] is None
    clock.advance(7)
    assert pool_of(moving, volume) == pool(moving, "sp2")


def test_an_inactive_domain_pauses_a_migration_but_not_the_users_own_pause(moving: Array) -> None:
    first, second = moving.create(), moving.create()
    for volume in (first, second):
        migrate(moving, volume, "sp2")
    moving.volume_action(second, "pauseVTreeMigration", pauseType="Gracefully")
    moving.act("ProtectionDomain", moving.domain_id, "inactivateProtectionDomain")
    reasons = [info(moving, volume)["migrationPauseReason"] for volume in (first, second)]
    assert reasons == ["InactiveProtectionDomain", "UserInitiated"]
    moving.act("ProtectionDomain", moving.domain_id, "activateProtectionDomain")
    assert [status(moving, volume) for volume in (first, second)] == ["MigrationNormal", "Paused"]


# --- conversions and layouts ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("thick", "conversion", "after"),
    [
        (False, "ThinToThick", "ThickProvisioned"),
        (True, "ThickToThin", "ThinProvisioned"),
        (True, "NoConversion", "ThickProvisioned"),
        (False, "ThickToThin", "ThinProvisioned"),
    ],
)
def test_a_conversion_changes_the_base_volume_and_not_its_snapshots(
    moving: Array, clock: ManualClock, conversion: str, after: str, *, thick: bool
) -> None:
    volume = moving.create(thick=thick)
    (snapshot,) = moving.snapshot(volume)
    migrate(moving, volume, "sp2", volTypeConversion=conversion)
    assert info(moving, volume)["thicknessConversionType"] == conversion
    clock.advance(21)
    assert moving.volume(volume)["volumeType"] == after
    assert moving.volume(snapshot)["volumeType"] == "Snapshot"
    assert pool_of(moving, snapshot) == pool(moving, "sp2")


def test_thick_volumes_do_not_fit_fine_granularity(moving: Array, clock: ManualClock) -> None:
    volume = moving.create(thick=True)
    fine = pool(moving, "fine")
    assert moving.refused(volume, "migrateVTree", destSPId=fine).status == 400
    thin = moving.create()
    refused = moving.refused(thin, "migrateVTree", destSPId=fine, volTypeConversion="ThinToThick")
    assert refused.status == 400
    migrate(moving, volume, "fine", volTypeConversion="ThickToThin", compressionMethod="None")
    clock.advance(11)
    assert moving.volume(volume)["compressionMethod"] == "None"
    refused = moving.refused(volume, "migrateVTree", destSPId=moving.pool_id, compressionMethod="Normal")
    assert refused.status == 400


def test_an_unpadded_volume_does_not_migrate_to_fine_granularity(moving: Array) -> None:
    volume = moving.create(storagePoolId=pool(moving, "raw"))
    assert moving.refused(volume, "migrateVTree", destSPId=pool(moving, "fine")).status == 500


# --- what happens during a migration -------------------------------------------------------------------


def test_a_pool_that_trees_are_migrating_to_is_neither_removed_nor_padded(moving: Array) -> None:
    volume, target = moving.create(), pool(moving, "sp2")
    moving.volume_action(volume, "migrateVTree", destSPId=target)
    removal = moving.error("StoragePool", target, "removeStoragePool")
    padding = moving.error("StoragePool", target, "setZeroPaddingPolicy", zeroPadEnabled="FALSE")
    assert {removal.value["message"], padding.value["message"]} == {
        "VTrees are migrating to the Storage Pool"
    }


def test_an_obstacle_counts_from_its_own_time(moving: Array, clock: ManualClock) -> None:
    volume, target = moving.create(), pool(moving, "sp2")
    moving.volume_action(volume, "migrateVTree", destSPId=target)
    clock.advance(5)
    moving.act("ProtectionDomain", moving.domain_id, "inactivateProtectionDomain")
    clock.advance(100)
    assert status(moving, volume) == "Paused"
    moving.act("ProtectionDomain", moving.domain_id, "activateProtectionDomain")
    clock.advance(4)
    assert status(moving, volume) == "MigrationNormal"
    clock.advance(2)
    assert status(moving, volume) == "NotInMigration"


def test_the_admin_port_lets_a_migration_go_on_from_its_own_time(moving: Array) -> None:
    admin = Admin({"sim1": moving.gateway})
    volume, target = moving.create(), pool(moving, "sp2")
    admin.handle(Request("POST", "/_sim/pools/sp2", body=b'{"health": "degraded"}'))
    moving.volume_action(volume, "migrateVTree", destSPId=target)
    admin.handle(Request("POST", "/_sim/clock", body=b'{"seconds": 100}'))
    assert status(moving, volume) == "Paused"
    admin.handle(Request("POST", "/_sim/pools/sp2", body=b'{"health": "healthy"}'))
    admin.handle(Request("POST", "/_sim/clock", body=b'{"seconds": 11}'))
    assert status(moving, volume) == "NotInMigration"


def test_a_removed_tree_leaves_the_queue_to_the_others(moving: Array, clock: ManualClock) -> None:
    first, second = moving.create(), moving.create()
    for volume in (first, second):
        moving.volume_action(volume, "migrateVTree", destSPId=pool(moving, "sp2"))
    moving.volume_action(first, "removeVolume", removeMode="ONLY_ME")
    assert status(moving, second) == "MigrationNormal"
    clock.advance(11)
    assert status(moving, second) == "NotInMigration"


def test_a_grown_or_snapshotted_tree_takes_longer(moving: Array, clock: ManualClock) -> None:
    volume = moving.create()
    moving.volume_action(volume, "migrateVTree", destSPId=pool(moving, "sp2"))
    clock.advance(5)
    (snapshot,) = moving.snapshot(volume)
    moving.volume_action(volume, "setVolumeSize", sizeInGB="16")
    clock.advance(24)
    assert status(moving, volume) == "MigrationNormal"
    clock.advance(2)
    assert moving.volume(snapshot)["storagePoolId"] == pool(moving, "sp2")


def test_requests_beside_migrations_do_not_look_at_each_of_them(
    moving: Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(20):
        moving.volume_action(moving.create(), "migrateVTree", destSPId=pool(moving, "sp2"))
    looked: list[object] = []
    obstacle = migration._obstacle

    def look(*given: Any) -> str | None:
        looked.append(given)
        return obstacle(*given)

    monkeypatch.setattr(migration, "_obstacle", look)
    for _ in range(20):
        moving.get("/api/types/System/instances")
    assert looked == []
