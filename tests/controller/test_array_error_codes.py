"""What other drivers of this array were seen to do wrong at the controller, and must not happen here.

Defects that another module tests at length are not repeated: sizes below what was asked and copies smaller
than asked (test_volumes, test_snapshots), logins by the dozen and calls that a frozen gateway keeps
(test_sessions), lists that cost a request for each volume (test_listing), volumes that stay mapped because a
field is missing in 3.6 or their node is gone (test_attachment, on every dialect), changes that are refused
while a volume is detached (test_qos), a process that ends because one array is away (test_placement,
test_monitor).
"""

from __future__ import annotations

import concurrent.futures

import grpc
import pytest

from csi_powerflex.csi.policy import POLICIES
from csi_powerflex.pb import csi_pb2
from csi_powerflex.simulator.faults import Fault, FaultKind
from csi_powerflex.simulator.settings import Settings
from tests.controller.conftest import MakeWorld
from tests.controller.driver import Driver, mount, refused
from tests.controller.world import World

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED

FAILURES = {
    "the user may not": (
        Fault(kind=FaultKind.ERROR, status=403, code=168),
        grpc.StatusCode.PERMISSION_DENIED,
    ),
    "no resources": (Fault(kind=FaultKind.ERROR, code=67), EXHAUSTED),
    "too many volumes in the pool": (Fault(kind=FaultKind.ERROR, code=96), EXHAUSTED),
    "too many volumes": (Fault(kind=FaultKind.ERROR, code=97), EXHAUSTED),
    "too many members in the tree": (Fault(kind=FaultKind.ERROR, code=182), EXHAUSTED),
    "busy": (Fault(kind=FaultKind.ERROR, code=28), grpc.StatusCode.ABORTED),
    "overloaded": (Fault(kind=FaultKind.ERROR, status=503), UNAVAILABLE),
    "a page of a proxy": (Fault(kind=FaultKind.HTML, status=502), UNAVAILABLE),
}
"""Dell's driver answers INTERNAL to all of these for a volume, and ALREADY_EXISTS for a snapshot."""


@pytest.mark.parametrize("name", FAILURES)
def test_a_volume_that_is_not_made_is_refused_with_the_code_of_the_reason(array45: World, name: str) -> None:
    fault, code = FAILURES[name]
    array45.driver.create("pvc-warm")
    array45.simulator.gateway.inject(at(fault, "/api/types/Volume/instances"))
    request = csi_pb2.CreateVolumeRequest(name="pvc-1", volume_capabilities=[mount()])
    refused(code, lambda: array45.driver.controller.CreateVolume(request, timeout=3))


@pytest.mark.parametrize("name", FAILURES)
def test_a_snapshot_that_is_not_taken_is_never_said_to_exist(array45: World, name: str) -> None:
    fault, code = FAILURES[name]
    volume = array45.driver.create().volume_id
    array45.simulator.gateway.inject(at(fault, "*/action/snapshotVolumes"))
    request = csi_pb2.CreateSnapshotRequest(source_volume_id=volume, name="snapshot-1")
    refused(code, lambda: array45.driver.controller.CreateSnapshot(request, timeout=3))


def at(fault: Fault, path: str) -> Fault:
    return Fault(kind=fault.kind, status=fault.status, code=fault.code, method="POST", path=path)


def test_a_whole_life_uses_one_connection(world: World, driver: Driver) -> None:
    """Dell's driver throws three connections away for each volume."""
    log = world.simulator.gateway.log
    for number in range(5):
        volume = driver.create(f"pvc-{number}")
        driver.publish(volume, world.node("a"))
        driver.expand(volume.volume_id, gib=16)
        driver.unpublish(volume.volume_id, world.node("a"))
        driver.delete(volume.volume_id)
    assert len({entry.connection for entry in log.find()}) == 1


def test_parallel_calls_share_as_many_connections_as_there_are_calls(array45: World) -> None:
    array45.driver.create("pvc-warm")
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda number: array45.driver.create(f"pvc-{number}"), range(96)))
    assert len({entry.connection for entry in array45.simulator.gateway.log.find()}) <= 17


def test_a_gateway_with_few_sessions_is_asked_for_one(make_world: MakeWorld) -> None:
    """PowerFlex has 128 in all; a driver that logs in for each call uses them up."""
    world = make_world(settings=Settings(session_limit=1))
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        list(pool.map(lambda number: world.driver.create(f"pvc-{number}"), range(32)))
    assert len(world.simulator.gateway.sessions) == 1


def test_every_call_that_changes_something_is_locked() -> None:
    """Dell's driver locks neither snapshots nor expansion."""
    assert {rpc for rpc, policy in POLICIES.items() if policy.changes and not policy.required} == set()
    for rpc, policy in POLICIES.items():
        if policy.changes:
            kind = rpc.removeprefix("Controller") if rpc.startswith("ControllerP") else rpc
            request = getattr(csi_pb2, f"{rpc}Request")()
            for field in policy.required:
                if isinstance(getattr(request, field), str):
                    setattr(request, field, "x")
            assert policy.locks(request), kind


def test_one_snapshot_has_one_time_in_every_answer(world: World, driver: Driver) -> None:
    """Dell's driver tells its volume's time at first, and its own afterwards."""
    volume = driver.create()
    world.array.clock.advance(3600)
    first = driver.snapshot(volume.volume_id)
    again = driver.snapshot(volume.volume_id)
    listed = driver.controller.ListSnapshots(
        csi_pb2.ListSnapshotsRequest(snapshot_id=first.snapshot_id), timeout=30
    )
    got = driver.controller.GetSnapshot(csi_pb2.GetSnapshotRequest(snapshot_id=first.snapshot_id), timeout=30)
    assert first == again == listed.entries[0].snapshot == got.snapshot
    assert first.creation_time.ToSeconds() == world.volume(first.snapshot_id).created
    assert first.creation_time.ToSeconds() >= world.volume(volume.volume_id).created + 3600
