"""Snapshot policies of a simulated array, made and used as its administrators do it."""

from __future__ import annotations

from typing import Any

from csi_powerflex.simulator.inprocess import Client
from csi_powerflex.simulator.model import Volume
from tests.controller.world import World

HOUR = 3600


def client(world: World) -> Client:
    """A client of the gateway that is logged in now."""
    return Client(world.simulator.gateway)


def make_policy(world: World, name: str = "hourly", **body: object) -> str:
    """A policy that takes a snapshot every hour and keeps three. Returns its id."""
    wanted = {
        "name": name,
        "autoSnapshotCreationCadenceInMin": "60",
        "numOfRetainedSnapshotsPerLevel": ["3"],
        **body,
    }
    return str(client(world).post("/api/types/SnapshotPolicy/instances", wanted)["id"])


def act_on_policy(world: World, policy_id: str, action: str, **body: object) -> Any:
    return client(world).act("SnapshotPolicy", policy_id, action, **body)


def pass_hours(world: World, hours: int = 1) -> None:
    """Let the policies of the first system take their snapshots."""
    for _ in range(hours):
        world.array.clock.advance(HOUR)
        client(world).get("/api/types/SnapshotPolicy/instances")


def policy_of(world: World, volume_id: str) -> str | None:
    """The name of the policy that a volume is in."""
    found = world.volume(volume_id).policy_of_source
    return None if found is None else world.array.policies[found].name


def auto_snapshots(world: World) -> list[Volume]:
    """What the policies have taken and still have, the oldest first."""
    found = [item for item in world.array.volumes.values() if item.policy_of_snapshot is not None]
    return sorted(found, key=lambda item: item.created)


def handle_of(world: World, snapshot: Volume) -> str:
    return f"{world.array.system.id}-{snapshot.id}"


def lock(world: World, snapshot: Volume) -> None:
    client(world).act("Volume", snapshot.id, "lockAutoSnapshot")


def take_now(world: World, volume_id: str, count: int) -> None:
    """Let the policy of a volume have taken snapshots of it, as if its time had come."""
    array, source = world.array, world.volume(volume_id)
    assert source.policy_of_source is not None
    generation = "createSnapshot" if array.is_erasure_coded(source.pool_id) else "snapshotVolumes"
    access = {} if generation == "createSnapshot" else {"accessModeLimit": "ReadOnly"}
    for _ in range(count):
        made = client(world).post(
            f"/api/instances/System::{array.system.id}/action/{generation}",
            {"snapshotDefs": [{"volumeId": source.id}], **access},
        )
        with array.lock:
            snapshot = array.volumes[made["volumeIdList"][0]]
            array.change(snapshot, policy_of_snapshot=source.policy_of_source, policy_run=1)
            array.commit()
