"""Growing volumes."""

from __future__ import annotations

import grpc

from csi_powerflex.pb import csi_pb2
from tests.controller.driver import GIB, Driver, block, refused
from tests.controller.world import World

RANGE = grpc.StatusCode.OUT_OF_RANGE


def test_a_volume_is_expanded_to_the_requested_size_and_the_node_must_expand_it_too(
    world: World, driver: Driver
) -> None:
    volume = driver.create(gib=8)
    answer = driver.expand(volume.volume_id, gib=24)
    assert answer.capacity_bytes == 24 * GIB
    assert answer.node_expansion_required
    assert world.volume(volume.volume_id).size_kb * 1024 == 24 * GIB


def test_a_repeated_expansion_has_the_same_answer(driver: Driver) -> None:
    volume = driver.create(gib=8)
    assert driver.expand(volume.volume_id, gib=16) == driver.expand(volume.volume_id, gib=16)


def test_a_larger_volume_keeps_its_size_and_the_answer_has_it(driver: Driver) -> None:
    volume = driver.create(gib=24)
    assert driver.expand(volume.volume_id, gib=8).capacity_bytes == 24 * GIB


def test_a_mapped_volume_is_expanded_too(world: World, driver: Driver) -> None:
    volume = driver.create()
    driver.publish(volume, world.node("a"))
    assert driver.expand(volume.volume_id, gib=16).capacity_bytes == 16 * GIB
    assert driver.publish(volume, world.node("a"))["sizeBytes"] == str(16 * GIB)


def test_a_raw_block_volume_needs_no_expansion_on_the_node(array45: World) -> None:
    volume = array45.driver.create(capabilities=[block()])
    request = csi_pb2.ControllerExpandVolumeRequest(
        volume_id=volume.volume_id,
        capacity_range=csi_pb2.CapacityRange(required_bytes=16 * GIB),
        volume_capability=block(),
    )
    answer = array45.driver.controller.ControllerExpandVolume(request, timeout=30)
    assert not answer.node_expansion_required


def test_a_limit_that_cannot_be_met_is_refused(array45: World) -> None:
    volume = array45.driver.create(gib=16)
    assert "cannot shrink" in refused(RANGE, lambda: array45.driver.expand(volume.volume_id, gib=8, limit=8))
    assert "8 GiB at a time" in refused(
        RANGE, lambda: array45.driver.expand(volume.volume_id, gib=17, limit=18)
    )
    assert array45.volume(volume.volume_id).size_kb * 1024 == 16 * GIB


def test_a_size_above_the_arrays_largest_is_refused(driver: Driver) -> None:
    volume = driver.create()
    refused(RANGE, lambda: driver.expand(volume.volume_id, gib=2 * 1024**2))


def test_an_unknown_volume_is_not_found(driver: Driver) -> None:
    refused(grpc.StatusCode.NOT_FOUND, lambda: driver.expand("fake-vol-id", gib=16))
