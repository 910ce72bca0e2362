"""The capacity for new volumes, and the health of volumes."""

from __future__ import annotations

import grpc

from csi_powerflex.pb import csi_pb2
from csi_powerflex.simulator.initial_state import DomainPlan, InitialState, PoolPlan
from csi_powerflex.simulator.simulator import SystemPlan
from tests.controller.conftest import MakeWorld
from tests.controller.driver import GIB, Driver, refused
from tests.controller.world import World


def capacity(driver: Driver, **parameters: str) -> csi_pb2.GetCapacityResponse:
    return driver.controller.GetCapacity(csi_pb2.GetCapacityRequest(parameters=parameters), timeout=30)


def test_capacity_has_the_free_bytes_and_the_largest_and_smallest_volume(
    world: World, driver: Driver
) -> None:
    granularity = 1 if world.array.dialect.version == "5.0" else 8
    left = capacity(driver)
    assert left.available_capacity > 0
    assert left.available_capacity % (granularity * GIB) == 0
    assert 0 < left.maximum_volume_size.value <= 1024**2 * GIB
    assert left.minimum_volume_size.value == granularity * GIB


def test_a_volume_of_the_largest_size_can_be_created_and_a_larger_one_cannot(make_world: MakeWorld) -> None:
    small = DomainPlan(pools=(PoolPlan(raw_gib=1024, over_provisioning=2),))
    world = make_world(SystemPlan(initial_state=InitialState(domains=(small,))))
    largest = capacity(world.driver).maximum_volume_size.value // GIB
    refused(grpc.StatusCode.RESOURCE_EXHAUSTED, lambda: world.driver.create(gib=largest + 8))
    world.driver.create(gib=largest)
    assert capacity(world.driver).available_capacity == 0


def test_the_capacity_for_thick_volumes_is_smaller(array45: World) -> None:
    thin = capacity(array45.driver).available_capacity
    thick = capacity(array45.driver, provisioning="thick").available_capacity
    assert 0 < thick < thin


def test_parameters_that_match_no_pool_have_no_capacity_and_are_not_an_error(array45: World) -> None:
    for parameters in ({"storagepool": "nowhere"}, {"unknown": "key"}, {"systemID": "nine"}):
        left = capacity(array45.driver, **parameters)
        assert (left.available_capacity, left.maximum_volume_size.value) == (0, 0)


def test_parameters_of_the_sidecars_are_ignored(array45: World) -> None:
    assert capacity(array45.driver, **{"csi.storage.k8s.io/fstype": "xfs"}).available_capacity > 0


def test_a_topology_that_does_not_reach_the_system_has_no_capacity(array45: World) -> None:
    key = f"csi.powerflex.dev/{array45.array.system.id}"
    for segments, some in (({key: "true"}, True), ({"csi.powerflex.dev/" + "0" * 16: "true"}, False)):
        request = csi_pb2.GetCapacityRequest(accessible_topology=csi_pb2.Topology(segments=segments))
        left = array45.driver.controller.GetCapacity(request, timeout=30)
        assert bool(left.available_capacity) is some


def health(driver: Driver, volume_id: str) -> csi_pb2.VolumeHealth:
    request = csi_pb2.ControllerGetVolumeHealthRequest(volume_id=volume_id)
    return driver.controller.ControllerGetVolumeHealth(request, timeout=30).volume_health


def unhealthy(driver: Driver) -> list[csi_pb2.VolumeHealth]:
    request = csi_pb2.ControllerListVolumeHealthRequest()
    return list(driver.controller.ControllerListVolumeHealth(request, timeout=30).entries)


def test_a_healthy_volume_has_no_health_issues(driver: Driver) -> None:
    volume = driver.create()
    found = health(driver, volume.volume_id)
    assert (found.volume_id, list(found.health_statuses)) == (volume.volume_id, [])
    assert unhealthy(driver) == []


def test_volumes_of_an_inactive_domain_are_inaccessible(world: World, driver: Driver) -> None:
    volume = driver.create()
    (domain,) = world.array.domains.values()
    world.array.change(domain, state="Inactive")
    (entry,) = unhealthy(driver)
    assert entry == health(driver, volume.volume_id)
    (status,) = entry.health_statuses
    assert status.status == csi_pb2.INACCESSIBLE
    assert status.reason == "ProtectionDomainInactive"
    assert "pool pd1/sp1" in status.message


def test_the_health_of_an_unknown_volume_is_not_found(driver: Driver) -> None:
    refused(grpc.StatusCode.NOT_FOUND, lambda: health(driver, "fake-vol-id"))
