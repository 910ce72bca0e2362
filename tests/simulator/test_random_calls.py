"""Random sequences of calls and jumps of the clock. After each step the array must agree with itself."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from csi_powerflex.simulator.clock import ManualClock
from csi_powerflex.simulator.initial_state import DomainPlan, InitialState, PoolPlan
from csi_powerflex.simulator.inprocess import Answer
from csi_powerflex.simulator.model import DEGRADED, FAILED, HEALTHY, MEDIUM, THICK, Volume
from csi_powerflex.simulator.settings import Settings
from csi_powerflex.simulator.simulator import Simulator, SystemPlan
from tests.simulator.client import GIB_KB, Array

STATE = InitialState(
    domains=(
        DomainPlan(
            pools=(
                PoolPlan("sp1"),
                PoolPlan("sp2"),
                PoolPlan("raw", zero_padding=False),
                PoolPlan("fine", layout="FineGranularity"),
                PoolPlan("tiny", raw_gib=60, spare_percent=0, over_provisioning=1),
            )
        ),
        DomainPlan("pd2"),
    )
)
AT_ONCE, MOST = 2, 8
SETTINGS = Settings(
    removal_seconds=30,
    migration_kb_per_second=GIB_KB,
    migrations_at_once=AT_ONCE,
    max_snapshots_per_vtree=MOST,
)
POOLS = st.integers(0, 5)
LEVELS = st.sampled_from([["3"], ["2", "2"], ["1", "1", "1"], ["60"]])
CADENCES = st.sampled_from(["1", "60", "1440"])


class Calls(RuleBasedStateMachine):
    """One sequence. All sequences use one simulator, which is reset between them."""

    simulator: Simulator
    array: Array

    volumes: Bundle[str] = Bundle("volumes")
    policies: Bundle[str] = Bundle("policies")

    @initialize()
    def start(self) -> None:
        self.simulator.gateway.reset()
        self.array.log_in()

    @property
    def pools(self) -> list[str]:
        return list(self.simulator.gateway.array.pools)

    def act(self, kind: str, item: str, action: str, **body: object) -> Answer:
        self.array.log_in()
        answer: Answer = self.array.error(kind, item, action, **body)
        assert answer.status in (200, 400, 500), answer.value
        return answer

    def on_volume(self, volume: str, action: str, **body: object) -> Answer:
        return self.act("Volume", volume, action, **body)

    # --- volumes ---------------------------------------------------------------------------------

    @rule(target=volumes, pool=POOLS, thick=st.booleans())
    def create(self, pool: int, *, thick: bool) -> Any:
        kind = "ThickProvisioned" if thick else "ThinProvisioned"
        self.array.log_in()
        answer = self.array.try_to_create(storagePoolId=self.pools[pool], volumeType=kind)
        return answer.value["id"] if answer.status == 200 else multiple()

    @rule(target=volumes, sources=st.lists(volumes, min_size=1, max_size=3, unique=True))
    def snapshot(self, sources: list[str]) -> Any:
        parts = [{"volumeId": source} for source in sources]
        answer = self.act("System", self.array.system_id, "snapshotVolumes", snapshotDefs=parts)
        return multiple(*answer.value["volumeIdList"]) if answer.status == 200 else multiple()

    @rule(volume=volumes, size=st.sampled_from(["8", "16", "24"]))
    def resize(self, volume: str, size: str) -> None:
        self.on_volume(volume, "setVolumeSize", sizeInGB=size)

    @rule(volume=volumes, mode=st.sampled_from(["ONLY_ME", "INCLUDING_DESCENDANTS", "WHOLE_VTREE"]))
    def remove(self, volume: str, mode: str) -> None:
        self.on_volume(volume, "removeVolume", removeMode=mode)

    @rule(volume=volumes, source=volumes)
    def overwrite(self, volume: str, source: str) -> None:
        known = self.simulator.gateway.array.volumes
        answer = self.on_volume(volume, "overwriteVolumeContent", srcVolumeId=source)
        if answer.status == 200:
            one, other = known[volume], known[source]
            assert (one.vtree_id, one.size_kb) == (other.vtree_id, other.size_kb)

    @rule(volume=volumes, action=st.sampled_from(["addMappedSdc", "removeMappedSdc"]))
    def map(self, volume: str, action: str) -> None:
        self.on_volume(volume, action, sdcId=self.array.sdcs["a"])

    # --- migrations ------------------------------------------------------------------------------

    @rule(
        volume=volumes,
        pool=POOLS,
        conversion=st.sampled_from(["NoConversion", "NoConversion", "ThinToThick", "ThickToThin"]),
        position=st.sampled_from(["Head", "Tail"]),
        ignore=st.booleans(),
    )
    def migrate(self, volume: str, pool: int, conversion: str, position: str, *, ignore: bool) -> None:
        body = {"volTypeConversion": conversion, "queuePosition": position, "destSPId": self.pools[pool]}
        self.on_volume(volume, "migrateVTree", ignoreDestinationCapacity=ignore, **body)

    @rule(volume=volumes, action=st.sampled_from(["pauseVTreeMigration", "resumeVTreeMigration"]))
    def pause(self, volume: str, action: str) -> None:
        self.on_volume(volume, action)

    @rule(volume=volumes, position=st.sampled_from(["Head", "Tail"]))
    def queue(self, volume: str, position: str) -> None:
        self.on_volume(volume, "setVTreeMigrationQueuePosition", queuePosition=position)

    @rule(pool=POOLS, full=st.booleans())
    def fill(self, pool: int, *, full: bool) -> None:
        assert self.simulator.gateway.set_full(self.pools[pool], full=full)

    @rule(pool=POOLS, health=st.sampled_from([HEALTHY, DEGRADED, FAILED]))
    def break_pool(self, pool: int, health: str) -> None:
        assert self.simulator.gateway.set_health(self.pools[pool], health)

    @rule(action=st.sampled_from(["inactivateProtectionDomain", "activateProtectionDomain"]))
    def switch(self, action: str) -> None:
        self.act("ProtectionDomain", self.array.domain_id, action)

    # --- policies --------------------------------------------------------------------------------

    @rule(target=policies, levels=LEVELS, cadence=CADENCES, secure=st.booleans())
    def create_policy(self, levels: list[str], cadence: str, *, secure: bool) -> Any:
        self.array.log_in()
        name = (
            f"p{len(self.simulator.gateway.array.policies)}-{self.simulator.gateway.array.system.ids_issued}"
        )
        body = {"name": name, "secureSnapshots": secure, "numOfRetainedSnapshotsPerLevel": levels}
        body |= {"autoSnapshotCreationCadenceInMin": cadence}
        answer = self.array.send("POST", "/api/types/SnapshotPolicy/instances", body)
        return answer.value["id"] if answer.status == 200 else multiple()

    @rule(policy=policies, levels=LEVELS, cadence=CADENCES)
    def modify_policy(self, policy: str, levels: list[str], cadence: str) -> None:
        body = {"numOfRetainedSnapshotsPerLevel": levels, "autoSnapshotCreationCadenceInMin": cadence}
        self.act("SnapshotPolicy", policy, "modifySnapshotPolicy", **body)

    @rule(policy=policies, action=st.sampled_from(["pause", "resume", "remove"]))
    def switch_policy(self, policy: str, action: str) -> None:
        self.act("SnapshotPolicy", policy, f"{action}SnapshotPolicy")

    @rule(policy=policies, volume=volumes)
    def assign(self, policy: str, volume: str) -> None:
        self.act("SnapshotPolicy", policy, "addSourceVolumeToSnapshotPolicy", sourceVolumeId=volume)

    @rule(policy=policies, volume=volumes, then=st.sampled_from(["Remove", "Detach"]))
    def unassign(self, policy: str, volume: str, then: str) -> None:
        body = {"sourceVolumeId": volume, "autoSnapshotRemovalAction": then}
        self.act("SnapshotPolicy", policy, "removeSourceVolumeFromSnapshotPolicy", **body)

    @rule(policy=policies, action=st.sampled_from(["lockAutoSnapshot", "unlockAutoSnapshot"]))
    def lock(self, policy: str, action: str) -> None:
        for item in list(self.simulator.gateway.array.volumes.values()):
            if item.policy_of_snapshot == policy:
                self.on_volume(item.id, action)

    # --- the clock -------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([1, 5, 30, 60, 3600, 86_400, 100 * 86_400]))
    def wait(self, seconds: int) -> None:
        self.simulator.gateway.move_clock(seconds)

    # --- what must hold --------------------------------------------------------------------------

    @invariant()
    def the_array_shows_everything(self) -> None:
        self.array.log_in()
        shown = self.array.get("/api/instances")
        assert len(shown["volumeList"]) == len(self.simulator.gateway.array.volumes)
        for policy in shown["snapshotPolicyList"]:
            assert policy["snapshotPolicyState"] == "Paused" or policy["nextAutoSnapshotCreationTime"] > 0

    @invariant()
    def trees_are_whole(self) -> None:
        array = self.simulator.gateway.array
        assert sum(len(tree.volume_ids) for tree in array.vtrees.values()) == len(array.volumes)
        for tree in array.vtrees.values():
            assert 0 < len(tree.volume_ids) <= MOST + 1
            members = [array.volumes[volume_id] for volume_id in tree.volume_ids]
            assert {(item.vtree_id, item.pool_id) for item in members} == {(tree.id, tree.pool_id)}
            assert {item.ancestor_id for item in members} <= {None, *tree.volume_ids}

    @invariant()
    def pools_count_their_volumes(self) -> None:
        array = self.simulator.gateway.array
        for pool in array.pools.values():
            inside: list[Volume] = [item for item in array.volumes.values() if item.pool_id == pool.id]
            totals = array.totals[pool.id]
            assert set(totals.volume_ids) == {item.id for item in inside}
            assert sum(totals.size_kb.values()) == sum(item.size_kb for item in inside)
            assert sum(totals.count.values()) == len(inside)
            assert pool.layout == MEDIUM or THICK not in {item.type for item in inside}

    @invariant()
    def few_trees_of_a_pool_migrate_and_the_others_are_numbered(self) -> None:
        self.array.log_in()
        trees = self.array.get("/api/types/VTree/instances")
        for pool in self.pools:
            moving = [
                tree["vtreeMigrationInfo"]
                for tree in trees
                if tree["vtreeMigrationInfo"]["sourceStoragePoolId"] == pool
            ]
            places = sorted(
                item["migrationQueuePosition"]
                for item in moving
                if item["migrationStatus"] == "PendingMigration"
            )
            running = sum(item["migrationStatus"] == "MigrationNormal" for item in moving)
            assert places == list(range(1, len(places) + 1))
            assert running <= AT_ONCE
            assert not places or running == AT_ONCE
            assert all(
                bool(item["migrationPauseReason"]) == (item["migrationStatus"] == "Paused") for item in moving
            )

    @invariant()
    def policies_keep_only_what_they_may(self) -> None:
        array = self.simulator.gateway.array
        now = array.clock.now()
        for policy in array.policies.values():
            snapshots = [item for item in array.volumes.values() if item.policy_of_snapshot == policy.id]
            free = [
                item.policy_run
                for item in snapshots
                if not (item.locked or item.mappings or item.removed_at or item.secure_until > now)
            ]
            assert all(1 <= run <= policy.taken for run in free)
            assert all(item.created <= now for item in snapshots)

    def teardown(self) -> None:
        """What is stored is what is in memory."""
        array = self.simulator.gateway.array
        stored = {item.id: msgspec.json.encode(item) for item in array._store.load()}
        assert {item.id for item in array.every_object()} == set(stored)


def test_any_sequence_of_calls_leaves_an_array_that_agrees_with_itself() -> None:
    with tempfile.TemporaryDirectory() as folder:
        plan = SystemPlan("4.5", STATE, SETTINGS)
        with Simulator([plan], folder=Path(folder) / "sim", sdcs=("a",), clock=ManualClock()) as simulator:
            Calls.simulator, Calls.array = simulator, Array(simulator)
            run_state_machine_as_test(
                Calls,
                settings=settings(
                    max_examples=40,
                    stateful_step_count=40,
                    deadline=None,
                    suppress_health_check=list(HealthCheck),
                ),
            )
