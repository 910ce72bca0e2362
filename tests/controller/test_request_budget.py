"""How many gateway requests each call may make, as the array counts them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from csi_powerflex.pb import csi_pb2
from tests.controller.driver import Driver
from tests.controller.nvme import NODE
from tests.controller.world import World


class Meter:
    """Counts the requests of a call when the driver's caches are filled."""

    def __init__(self, world: World) -> None:
        self._log = world.simulator.gateway.log

    def cost(self, call: Callable[[], object]) -> int:
        since = self._log.last
        call()
        return len(self._log.find(since=since))


@pytest.fixture
def meter(world: World) -> Meter:
    """A meter for a controller with filled caches."""
    volume = world.driver.create("pvc-warm")
    world.driver.publish(volume, world.node("a"))
    world.driver.unpublish(volume.volume_id, world.node("a"))
    world.driver.delete(volume.volume_id)
    return Meter(world)


def test_the_whole_life_of_a_volume_needs_four_requests(world: World, driver: Driver, meter: Meter) -> None:
    def life() -> None:
        volume = driver.create()
        driver.publish(volume, world.node("a"))
        driver.unpublish(volume.volume_id, world.node("a"))
        driver.delete(volume.volume_id)

    assert meter.cost(life) == 4


def test_the_life_of_a_volume_needs_five_requests_if_another_controller_publishes_it(
    world: World, driver: Driver, meter: Meter
) -> None:
    other = world.another()
    other.publish(driver.create("pvc-other"), world.node("a"))

    def life() -> None:
        volume = driver.create()
        other.publish(volume, world.node("a"))
        other.unpublish(volume.volume_id, world.node("a"))
        driver.delete(volume.volume_id)

    assert meter.cost(life) == 5


def test_create_and_its_repeat(driver: Driver, meter: Meter) -> None:
    first = meter.cost(driver.create)
    assert first <= 2
    assert meter.cost(driver.create) <= first + 1


def test_create_repeated_after_a_restart(world: World, meter: Meter) -> None:
    world.driver.create("pvc-1")
    again = world.restart()
    again.create("pvc-other")
    assert meter.cost(lambda: again.create("pvc-1")) <= 3


@pytest.mark.parametrize(("gib", "max_requests"), [(0, 3), (16, 5)])
def test_clone_and_restore(driver: Driver, meter: Meter, gib: int, max_requests: int) -> None:
    volume = driver.create()
    snapshot = driver.snapshot(volume.volume_id)
    assert meter.cost(lambda: driver.clone("pvc-2", volume.volume_id, gib=gib)) <= max_requests
    assert meter.cost(lambda: driver.clone("pvc-2", volume.volume_id, gib=gib)) <= max_requests + 1
    assert meter.cost(lambda: driver.restore("pvc-3", snapshot.snapshot_id, gib=gib)) <= max_requests


def test_delete_and_its_repeat(driver: Driver, meter: Meter) -> None:
    volume = driver.create()
    assert meter.cost(lambda: driver.delete(volume.volume_id)) == 1
    assert meter.cost(lambda: driver.delete(volume.volume_id)) == 1


def test_publish_and_unpublish_and_their_repeats(world: World, driver: Driver, meter: Meter) -> None:
    volume = driver.create()
    for first in (1, 2):
        assert meter.cost(lambda: driver.publish(volume, world.node("a"))) == first
        assert meter.cost(lambda: driver.publish(volume, world.node("a"))) == 1
        assert meter.cost(lambda: driver.unpublish(volume.volume_id, world.node("a"))) == 1
        assert meter.cost(lambda: driver.unpublish(volume.volume_id, world.node("a"))) == 1


@pytest.mark.parametrize("world", ["4.5", "5.0"], indirect=True)
def test_publish_and_unpublish_over_nvme_cost_the_same(world: World, driver: Driver, meter: Meter) -> None:
    """The first volume of a node also reads the version and the SDTs, and creates the NVMe host."""
    first, volume = driver.create("pvc-first"), driver.create()
    assert meter.cost(lambda: driver.publish(first, NODE)) == 7
    assert meter.cost(lambda: driver.publish(volume, NODE)) == 2
    assert meter.cost(lambda: driver.publish(volume, NODE)) == 1
    assert meter.cost(lambda: driver.unpublish(volume.volume_id, NODE)) == 1
    assert meter.cost(lambda: driver.unpublish(volume.volume_id, NODE)) == 1


@pytest.mark.parametrize("transport", ["auto", "sdc", "nvme"])
def test_a_node_with_two_initiators_costs_no_more_to_publish_to(array45: World, transport: str) -> None:
    """Where it stays an SDC, the system never learns its NQN."""
    driver, node = array45.driver, f"{array45.node('a')},{NODE}"
    first = driver.create("pvc-first", parameters={"transport": transport})
    driver.publish(first, node)
    volume = driver.create(parameters={"transport": transport})
    meter = Meter(array45)
    assert meter.cost(lambda: driver.publish(volume, node)) == (2 if transport == "nvme" else 1)
    assert meter.cost(lambda: driver.publish(volume, node)) == 1
    assert meter.cost(lambda: driver.unpublish(volume.volume_id, node)) == 2
    assert meter.cost(lambda: driver.unpublish(volume.volume_id, node)) == 1


def test_publish_with_limits(world: World, driver: Driver, meter: Meter) -> None:
    volume = driver.create(parameters={"iopsLimit": "1000"})
    assert meter.cost(lambda: driver.publish(volume, world.node("a"))) == 2
    driver.unpublish(volume.volume_id, world.node("a"))
    assert meter.cost(lambda: driver.publish(volume, world.node("a"))) == 3


def test_snapshot_and_its_deletion(driver: Driver, meter: Meter) -> None:
    volume = driver.create()
    assert meter.cost(lambda: driver.snapshot(volume.volume_id)) == 2
    assert meter.cost(lambda: driver.snapshot(volume.volume_id)) <= 3
    snapshot = driver.snapshot(volume.volume_id)
    assert meter.cost(lambda: driver.delete_snapshot(snapshot.snapshot_id)) == 1


def test_expand_and_its_repeat(driver: Driver, meter: Meter) -> None:
    volume = driver.create()
    assert meter.cost(lambda: driver.expand(volume.volume_id, gib=16)) == 2
    assert meter.cost(lambda: driver.expand(volume.volume_id, gib=16)) == 1


def test_modify_the_limits_of_a_mapped_volume_and_its_repeat(
    world: World, driver: Driver, meter: Meter
) -> None:
    volume = driver.create()
    assert meter.cost(lambda: driver.modify(volume.volume_id, iopsLimit="500")) == 1
    driver.publish(volume, world.node("a"))
    assert meter.cost(lambda: driver.modify(volume.volume_id, iopsLimit="600")) == 2
    assert meter.cost(lambda: driver.modify(volume.volume_id, iopsLimit="600")) == 1


def test_the_capacity_for_many_classes_costs_one_look_at_each_pool(driver: Driver, meter: Meter) -> None:
    def ask() -> None:
        for number in range(25):
            request = csi_pb2.GetCapacityRequest(parameters={"maxVtreeMembers": str(number)})
            driver.controller.GetCapacity(request, timeout=30)

    ask()
    volume = driver.create()
    assert meter.cost(ask) == 1
    driver.delete(volume.volume_id)
    assert meter.cost(ask) == 1


def test_probe_and_capabilities_need_no_request(driver: Driver, meter: Meter) -> None:
    assert meter.cost(lambda: driver.identity.Probe(csi_pb2.ProbeRequest(), timeout=5)) == 0
    capabilities = csi_pb2.ControllerGetCapabilitiesRequest()
    assert meter.cost(lambda: driver.controller.ControllerGetCapabilities(capabilities, timeout=5)) == 0


def test_the_answer_has_the_number_of_requests(driver: Driver, meter: Meter) -> None:
    costs: list[int] = []

    def create() -> None:
        request = csi_pb2.CreateVolumeRequest(
            name="pvc-1",
            volume_capabilities=[
                csi_pb2.VolumeCapability(
                    block=csi_pb2.VolumeCapability.BlockVolume(),
                    access_mode=csi_pb2.VolumeCapability.AccessMode(
                        mode=csi_pb2.VolumeCapability.AccessMode.SINGLE_NODE_WRITER
                    ),
                )
            ],
        )
        _, call = driver.controller.CreateVolume.with_call(request, timeout=30)
        metadata = dict(call.trailing_metadata())
        costs.append(int(metadata["x-gateway-requests"]))

    assert meter.cost(create) == costs[0]
