"""Creating and deleting volumes."""

from __future__ import annotations

import grpc
import pytest

from csi_powerflex.names import Kind, array_name
from csi_powerflex.simulator.initial_state import DomainPlan, InitialState, PoolPlan
from csi_powerflex.simulator.message import Request, Response
from csi_powerflex.simulator.routes import Route
from csi_powerflex.simulator.simulator import SystemPlan
from tests.controller.conftest import MakeWorld
from tests.controller.driver import GIB, Driver, Mode, block, mount, refused
from tests.controller.world import World

INVALID = grpc.StatusCode.INVALID_ARGUMENT
EXISTS = grpc.StatusCode.ALREADY_EXISTS
RANGE = grpc.StatusCode.OUT_OF_RANGE
PVC = "pvc-0b9a0f4e-4b6e-4f6c-9b1a-6d7c3f6f2a11"


def test_a_new_volume_is_thin_and_has_cluster_and_request_in_its_name(world: World, driver: Driver) -> None:
    volume = driver.create(PVC)
    made = world.volume(volume.volume_id)
    assert made.type == "ThinProvisioned"
    assert made.name == array_name(Kind.VOLUME, "test", PVC)
    assert volume.volume_id == f"{world.array.system.id}-{made.id}"


def test_the_volume_context_says_that_the_volume_was_empty(driver: Driver) -> None:
    assert dict(driver.create().volume_context) == {"origin": "empty"}


def test_the_topology_of_a_volume_is_its_system(world: World, driver: Driver) -> None:
    (topology,) = driver.create().accessible_topology
    assert dict(topology.segments) == {f"csi.powerflex.dev/{world.array.system.id}": "true"}


def test_a_size_is_rounded_up_to_the_granularity_of_the_pool(world: World, driver: Driver) -> None:
    granularity = 1 if world.array.dialect.version == "5.0" else 8
    volume = driver.create(gib=16 + 1 / GIB)
    assert volume.capacity_bytes == (16 + granularity) * GIB
    assert world.volume(volume.volume_id).size_kb * 1024 == volume.capacity_bytes


def test_without_a_size_the_volume_has_8_gib(driver: Driver) -> None:
    assert driver.create(gib=0).capacity_bytes == 8 * GIB


def test_a_limit_below_the_rounded_size_is_refused(array45: World) -> None:
    text = refused(RANGE, lambda: array45.driver.create(gib=9, limit=10))
    assert "8 GiB at a time" in text
    assert not array45.array.volumes


def test_a_size_above_the_arrays_largest_is_refused(driver: Driver) -> None:
    refused(RANGE, lambda: driver.create(gib=2 * 1024**2))


def test_a_pool_without_free_capacity_is_resource_exhausted(make_world: MakeWorld) -> None:
    small = DomainPlan(pools=(PoolPlan(raw_gib=64, over_provisioning=1),))
    world = make_world(SystemPlan(initial_state=InitialState(domains=(small,))))
    text = refused(grpc.StatusCode.RESOURCE_EXHAUSTED, lambda: world.driver.create(gib=1024))
    assert "array0" in text


def test_the_same_request_again_gives_the_same_answer(driver: Driver, world: World) -> None:
    first = driver.create()
    assert driver.create() == first
    assert world.restart().create() == first
    assert len(world.array.volumes) == 1


def test_the_same_name_with_another_size_exists_already(driver: Driver, world: World) -> None:
    driver.create(gib=8, limit=8)
    assert "8 GiB" in refused(EXISTS, lambda: driver.create(gib=16, limit=16))
    again = world.restart()
    assert "8 GiB" in refused(EXISTS, lambda: again.create(gib=16, limit=16))


def test_the_same_name_with_other_provisioning_exists_already(array45: World) -> None:
    array45.driver.create()
    text = refused(EXISTS, lambda: array45.driver.create(parameters={"provisioning": "thick"}))
    assert "thin provisioned, not thick" in text


def test_a_thick_volume_is_thick_on_the_array(array45: World) -> None:
    volume = array45.driver.create(parameters={"provisioning": "thick"})
    assert array45.volume(volume.volume_id).type == "ThickProvisioned"


def test_thick_volumes_are_refused_if_the_pool_does_not_support_them(make_world: MakeWorld) -> None:
    world = make_world(SystemPlan(version="5.0"))
    assert "thin volumes only" in refused(
        INVALID, lambda: world.driver.create(parameters={"provisioning": "thick"})
    )


def test_strict_sizes_are_refused_instead_of_rounded(array45: World) -> None:
    text = refused(RANGE, lambda: array45.driver.create(gib=9, parameters={"sizePolicy": "strict"}))
    assert "ask for 16 GiB" in text
    assert array45.driver.create(gib=16, parameters={"sizePolicy": "strict"}).capacity_bytes == 16 * GIB


def test_a_pool_that_may_show_old_data_is_refused_unless_allowed(make_world: MakeWorld) -> None:
    domain = DomainPlan(pools=(PoolPlan(zero_padding=False),))
    world = make_world(SystemPlan(initial_state=InitialState(domains=(domain,))))
    assert "allowUnpaddedPool" in refused(INVALID, world.driver.create)
    world.driver.create(parameters={"allowUnpaddedPool": "true"})


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        (
            {"storagepool": "nowhere"},
            "has no storage pool 'nowhere' in protection domain 'pd1'; it has: pd1/sp1",
        ),
        ({"protectiondomain": "other"}, "'sp1' in protection domain 'other'"),
        ({"systemID": "nine"}, "no PowerFlex system 'nine' is configured; there are: array0"),
        ({"storagePool": "sp1"}, "unknown parameter 'storagePool'; did you mean 'storagepool'?"),
        ({"provisioning": "fat"}, "must be one of thin, thick, compressed"),
    ],
)
def test_a_wrong_parameter_is_refused_with_the_right_ones(
    array45: World, parameters: dict[str, str], says: str
) -> None:
    assert says in refused(INVALID, lambda: array45.driver.create(parameters=parameters))
    assert not array45.array.volumes


def test_parameters_of_the_sidecars_are_ignored(array45: World) -> None:
    array45.driver.create(parameters={"csi.storage.k8s.io/pvc/name": "data"})


def headers_of_creations(world: World, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """The headers about claims of each request that creates a volume from now on."""
    seen: list[dict[str, str]] = []
    gateway = world.simulator.gateway
    run = gateway.run

    def noting(route: Route, request: Request) -> Response:
        if route.name == "Volume.create":
            seen.append({name: value for name, value in request.headers.items() if name.startswith("x-csi-")})
        return run(route, request)

    monkeypatch.setattr(gateway, "run", noting)
    return seen


def test_the_array_is_told_the_names_of_the_claim(array45: World, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = headers_of_creations(array45, monkeypatch)
    parameters = {
        "csi.storage.k8s.io/pv/name": "pvc-0b4d1c52-7d0c-4a4e-9f0e-0a1b2c3d4e5f",
        "csi.storage.k8s.io/pvc/name": "data",
        "csi.storage.k8s.io/pvc/namespace": "shop",
    }
    array45.driver.create(parameters=parameters)
    assert seen == [
        {
            "x-csi-pv-name": "pvc-0b4d1c52-7d0c-4a4e-9f0e-0a1b2c3d4e5f",
            "x-csi-pv-claimname": "data",
            "x-csi-pv-namespace": "shop",
        }
    ]


def test_without_the_names_of_a_claim_the_array_is_told_none(
    array45: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = headers_of_creations(array45, monkeypatch)
    array45.driver.create()
    assert seen == [{}]


@pytest.mark.parametrize("name", ["two\r\nlines", "x: y", "", "ü", "x" * 254])
def test_a_name_that_no_header_can_hold_is_left_out_and_the_volume_is_created(
    array45: World, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    seen = headers_of_creations(array45, monkeypatch)
    array45.driver.create(
        parameters={"csi.storage.k8s.io/pvc/name": name, "csi.storage.k8s.io/pvc/namespace": "shop"}
    )
    assert seen == [{"x-csi-pv-namespace": "shop"}]


def test_a_call_s_log_names_the_claim_that_it_is_for(
    array45: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="csi_powerflex")
    names = {"pvc/namespace": "shop", "pvc/name": "data", "pv/name": "pvc-1"}
    array45.driver.create(parameters={f"csi.storage.k8s.io/{key}": name for key, name in names.items()})
    fields = [getattr(record, "fields", {}) for record in caplog.records if record.message == "call ended"]
    assert any(each.get("claim") == "shop/data" and each["persistent_volume"] == "pvc-1" for each in fields)


def test_a_filesystem_for_several_writing_nodes_is_refused_at_creation(array45: World) -> None:
    shared = [mount(Mode.MULTI_NODE_MULTI_WRITER)]
    assert "volumeMode: Block" in refused(INVALID, lambda: array45.driver.create(capabilities=shared))
    array45.driver.create(capabilities=[block(Mode.MULTI_NODE_MULTI_WRITER)])


def test_an_unknown_filesystem_is_refused(array45: World) -> None:
    assert "'zfs'" in refused(INVALID, lambda: array45.driver.create(capabilities=[mount(filesystem="zfs")]))


def test_pools_of_one_name_in_two_domains_are_ambiguous_until_one_is_named(make_world: MakeWorld) -> None:
    domains = (DomainPlan(name="pd1"), DomainPlan(name="pd2"))
    world = make_world(SystemPlan(initial_state=InitialState(domains=domains)), protection_domain=None)
    assert "pd1/sp1, pd2/sp1" in refused(INVALID, world.driver.create)
    volume = world.driver.create(parameters={"protectiondomain": "pd2"})
    pool = world.array.pools[world.volume(volume.volume_id).pool_id]
    assert world.array.domains[pool.domain_id].name == "pd2"


def test_a_volume_is_deleted_and_a_repeated_call_succeeds(world: World, driver: Driver) -> None:
    volume = driver.create()
    driver.delete(volume.volume_id)
    assert not world.array.volumes
    driver.delete(volume.volume_id)


@pytest.mark.parametrize("volume_id", ["fake-vol-id", "0" * 16 + "-" + "f" * 16, "x"])
def test_deleting_a_volume_that_cannot_exist_succeeds(array45: World, volume_id: str) -> None:
    if volume_id.startswith("0"):
        volume_id = f"{array45.array.system.id}-{'f' * 16}"
    array45.driver.delete(volume_id)


def test_deleting_a_volume_of_a_system_that_is_not_configured_fails(array45: World) -> None:
    text = refused(
        grpc.StatusCode.FAILED_PRECONDITION, lambda: array45.driver.delete(f"{'a' * 16}-{'b' * 16}")
    )
    assert "not in the systems file" in text


def test_a_mapped_volume_is_not_deleted_and_the_error_names_its_host(world: World, driver: Driver) -> None:
    volume = driver.create()
    driver.publish(volume, world.node("a"))
    text = refused(grpc.StatusCode.FAILED_PRECONDITION, lambda: driver.delete(volume.volume_id))
    assert "mapped to a" in text
    assert world.volume(volume.volume_id).mappings


def test_a_renamed_pool_is_found_without_a_restart(array45: World) -> None:
    array45.driver.create("pvc-before")
    (pool,) = array45.array.pools.values()
    array45.array.change(pool, name="renamed")
    array45.driver.create("pvc-after", parameters={"storagepool": "renamed"})


def test_all_requested_capabilities_are_confirmed(driver: Driver) -> None:
    volume = driver.create()
    answer = driver.validate(volume.volume_id, mount(), block(Mode.MULTI_NODE_MULTI_WRITER))
    assert len(answer.confirmed.volume_capabilities) == 2


def test_an_unsupported_capability_is_not_confirmed_and_the_answer_has_the_reason(array45: World) -> None:
    volume = array45.driver.create()
    answer = array45.driver.validate(volume.volume_id, mount(Mode.MULTI_NODE_MULTI_WRITER))
    assert not answer.HasField("confirmed")
    assert "volumeMode: Block" in answer.message


def test_capabilities_of_an_unknown_volume_are_not_found(array45: World) -> None:
    refused(grpc.StatusCode.NOT_FOUND, lambda: array45.driver.validate("fake-vol-id"))
