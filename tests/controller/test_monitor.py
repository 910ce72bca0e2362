"""The monitor of the systems, and its metrics."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from prometheus_client import REGISTRY

from csi_powerflex.config.systems.schema import ZoneSettings
from csi_powerflex.gateway import array as array_module, monitor
from csi_powerflex.gateway.array import GatewayArray
from csi_powerflex.gateway.fleet import GatewayFleet
from csi_powerflex.pb import csi_pb2
from csi_powerflex.simulator.settings import Settings
from tests.controller.conftest import MakeWorld
from tests.controller.eventually import eventually
from tests.controller.nvme import create_nvme_host
from tests.controller.systems_file import SystemsFile
from tests.controller.world import World


def value(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


def renamed(world: World, *names: str) -> World:
    """Give the systems names that no other test's metrics have."""
    world.systems = tuple(
        msgspec.structs.replace(settings, name=name)
        for settings, name in zip(world.systems, names, strict=True)
    )
    return world


def test_the_metrics_show_how_full_a_system_is(world: World) -> None:
    name = f"full{world.array.dialect.version}"
    renamed(world, name).driver.create()
    world.watching(seconds=60)
    eventually(lambda: value("csi_powerflex_system_up", system=name) == 1)
    for kind in ("size", "free", "provisioned"):
        assert value(f"csi_powerflex_pool_{kind}_bytes", system=name, pool="pd1/sp1")
    assert value("csi_powerflex_hosts_connected", system=name, transport="sdc") == 3
    assert value("csi_powerflex_array_objects", system=name, kind="sdcs") == 3
    assert value("csi_powerflex_array_objects_limit", system=name, kind="sdcs") == 2048


def state(name: str, system: str, **labels: str) -> set[str]:
    """The states whose series is 1."""
    return {
        sample.labels["state"]
        for metric in REGISTRY.collect()
        for sample in metric.samples
        if sample.name == f"csi_powerflex_{name}_state"
        and sample.value == 1
        and {**labels, "system": system}.items() <= sample.labels.items()
    }


def test_the_metrics_show_a_pool_that_is_degraded_failed_or_healthy_again(world: World) -> None:
    name = f"health{world.array.dialect.version}"
    renamed(world, name).watching(seconds=0.05)
    for health in ("healthy", "degraded", "failed", "healthy"):
        assert world.simulator.gateway.set_health("sp1", health)
        eventually(lambda health=health: state("pool", name, pool="pd1/sp1") == {health})  # type: ignore[misc]  # bound at once
    assert state("protection_domain", name, protection_domain="pd1") == {"active"}


@pytest.mark.parametrize(
    ("stated", "shown"),
    [
        ("Inactive", "inactive"),
        ("InactivePending", "inactivating"),
        ("ActivePending", "activating"),
        ("Unheard", "inactive"),
    ],
)
def test_the_metrics_show_a_domain_that_is_not_active(array45: World, stated: str, shown: str) -> None:
    name = f"domain{stated}"
    for domain in array45.array.domains.values():
        domain.state = stated
    renamed(array45, name).watching(seconds=60)
    eventually(lambda: state("protection_domain", name, protection_domain="pd1") == {shown})
    assert state("pool", name, pool="pd1/sp1") == {"inactive"}


def test_the_metrics_show_a_full_pool_by_figures_alone(array45: World) -> None:
    renamed(array45, "brim").watching(seconds=0.05)
    pool = {"system": "brim", "pool": "pd1/sp1"}
    high = {**pool, "level": "high"}
    eventually(lambda: value("csi_powerflex_pool_used_threshold_ratio", **high) == 0.8)
    assert value("csi_powerflex_pool_used_threshold_ratio", **pool, level="critical") == 0.9
    array45.simulator.gateway.set_full("sp1", full=True)
    eventually(lambda: value("csi_powerflex_pool_free_bytes", **pool) == 0)


def test_the_metrics_show_how_much_may_still_be_provisioned(array45: World) -> None:
    array45.more = {"over_commit": 2.0}
    renamed(array45, "promised").driver.create()
    array45.watching(seconds=60)
    pool = {"system": "promised", "pool": "pd1/sp1"}
    eventually(lambda: value("csi_powerflex_pool_provisioned_limit_bytes", **pool) is not None)
    size = value("csi_powerflex_pool_size_bytes", **pool)
    assert size
    assert value("csi_powerflex_pool_provisioned_limit_bytes", **pool) == 2 * size


def test_the_metrics_show_a_lost_host_by_its_name(array45: World) -> None:
    renamed(array45, "lost").watching(seconds=0.05)
    host = {"system": "lost", "transport": "sdc"}
    eventually(lambda: value("csi_powerflex_host_connected", **host, host="a") == 1)
    array45.simulator.gateway.set_connected("a", connected=False)
    eventually(lambda: value("csi_powerflex_host_connected", **host, host="a") == 0)
    assert value("csi_powerflex_host_connected", **host, host="b") == 1
    assert value("csi_powerflex_hosts_connected", **host) == 2


def test_nvme_hosts_are_counted_and_none_is_called_disconnected(array45: World) -> None:
    """The array does not tell in its list whether they are connected."""
    create_nvme_host(array45, "n1")
    renamed(array45, "both").watching(seconds=60)
    system = {"system": "both"}
    eventually(lambda: value("csi_powerflex_array_objects", **system, kind="nvmeHosts") == 1)
    assert value("csi_powerflex_array_objects", **system, kind="sdcs") == 3
    assert value("csi_powerflex_hosts_connected", **system, transport="sdc") == 3
    assert value("csi_powerflex_hosts_connected", **system, transport="nvme") is None
    assert value("csi_powerflex_host_connected", **system, transport="nvme", host="n1") is None


def test_lost_hosts_have_a_series_even_if_there_are_more_hosts_than_series(
    array45: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor, "_MOST_HOSTS", 1)
    array45.simulator.gateway.set_connected("c", connected=False)
    renamed(array45, "many").watching(seconds=60)
    host = {"system": "many", "transport": "sdc"}
    eventually(lambda: value("csi_powerflex_host_connected", **host, host="c") == 0)
    assert value("csi_powerflex_host_connected", **host, host="a") is None


def test_the_metrics_show_trees_near_their_limit_from_the_last_list_of_volumes(make_world: MakeWorld) -> None:
    world = renamed(make_world(settings=Settings(max_snapshots_per_vtree=4)), "trees")
    driver = world.watching(seconds=0.05)
    system = {"system": "trees"}
    eventually(lambda: value("csi_powerflex_tree_members_limit", **system) == 5)
    assert value("csi_powerflex_trees_near_limit", **system) is None
    full, other = driver.create("pvc-1"), driver.create("pvc-2")
    for number in range(3):
        driver.snapshot(full.volume_id, f"full-{number}")
    driver.snapshot(other.volume_id, "other")
    driver.controller.ListVolumes(csi_pb2.ListVolumesRequest(), timeout=30)
    eventually(lambda: value("csi_powerflex_trees_near_limit", **system) == 1)
    assert value("csi_powerflex_tree_members_max", **system) == 4


def test_the_largest_trees_have_a_series_with_the_name_of_their_first_volume(
    array45: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(array_module, "_LARGE_TREE", 3)
    driver = renamed(array45, "large").watching(seconds=0.05)
    large, small, left = (driver.create(f"pvc-{number}") for number in range(3))
    for number in range(3):
        driver.snapshot(large.volume_id, f"large-{number}")
    driver.snapshot(small.volume_id, "small")
    clones = [driver.clone(f"pvc-clone-{number}", left.volume_id) for number in range(3)]
    driver.delete(left.volume_id)
    driver.controller.ListVolumes(csi_pb2.ListVolumesRequest(), timeout=30)

    def members(volume: csi_pb2.Volume) -> float | None:
        return value(
            "csi_powerflex_tree_members", system="large", volume=str(array45.volume(volume.volume_id).name)
        )

    eventually(lambda: members(large) == 4)
    assert members(small) is None
    assert [members(clone) for clone in clones].count(3) == 1


def test_a_list_of_volumes_that_is_old_is_not_shown(array45: World, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = renamed(array45, "old").watching(seconds=0.05)
    driver.create()
    driver.controller.ListVolumes(csi_pb2.ListVolumesRequest(), timeout=30)
    eventually(lambda: value("csi_powerflex_tree_members_max", system="old") == 1)
    monkeypatch.setattr(monitor, "_LIST_SECONDS", 0.0)
    eventually(lambda: value("csi_powerflex_tree_members_max", system="old") is None)


def test_a_check_costs_one_request_for_each_pool_and_few_others(array45: World) -> None:
    renamed(array45, "cost").watching(seconds=60)
    eventually(lambda: value("csi_powerflex_system_up", system="cost") == 1)
    with array45.simulator.gateway.log.watching() as requests:
        for array in GatewayFleet(array45.systems).arrays():
            monitor.check(array, 10.0)
    routes = [entry.route for entry in requests]
    assert routes.count("StoragePool.Statistics") == len(array45.array.pools)
    # The login and its check of the system, three lists, the limits, and the statistics of the system.
    assert len(routes) == len(array45.array.pools) + 7


def test_a_system_that_is_configured_no_more_has_no_series(pair: World) -> None:
    def gauges() -> list[str]:
        return [
            sample.name
            for metric in REGISTRY.collect()
            for sample in metric.samples
            if metric.type == "gauge" and sample.labels.get("system") == "goes"
        ]

    file = SystemsFile(renamed(pair, "stays", "goes"))
    pair.watching(file=file.path, seconds=60)
    # It is the last one that a check sets.
    for name in ("stays", "goes"):
        eventually(lambda name=name: value("csi_powerflex_system_up", system=name) == 1)  # type: ignore[misc]  # bound at once
    assert len(gauges()) > 10
    file.entries.pop()
    file.write()
    eventually(lambda: gauges() == [])
    assert value("csi_powerflex_system_up", system="stays") == 1


def test_an_unexpected_error_does_not_end_the_monitor(
    array45: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    refresh, failures = GatewayArray.refresh, [RuntimeError("a fault"), RuntimeError("a fault")]

    def faulty(array: GatewayArray) -> None:
        if failures:
            raise failures.pop()
        refresh(array)

    monkeypatch.setattr(GatewayArray, "refresh", faulty)
    renamed(array45, "faulty").watching(seconds=0.05)
    eventually(lambda: not failures)
    eventually(lambda: value("csi_powerflex_system_up", system="faulty") == 1)


def test_a_system_that_is_down_is_reported_and_does_not_affect_another(
    pair: World, unreachable_url: str
) -> None:
    first, second = renamed(pair, "down", "up").systems
    pair.systems = (msgspec.structs.replace(first, endpoints=(unreachable_url,)), second)
    driver = pair.watching(seconds=60)
    eventually(lambda: value("csi_powerflex_system_up", system="down") == 0)
    eventually(lambda: value("csi_powerflex_system_up", system="up") == 1)
    volume = driver.create(parameters={"systemID": "up"})
    driver.publish(volume, pair.node("a"))


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({"storage_pool": "elsewhere"}, "storage pool 'elsewhere' in protection domain 'pd1'"),
        ({"protection_domain": "elsewhere", "storage_pool": None}, "protection domain 'elsewhere'"),
        (
            {"zones": (ZoneSettings(name="z", storage_pools=("sp1", "elsewhere")),)},
            "storage pool 'elsewhere'",
        ),
    ],
    ids=["pool", "domain", "pool of a zone"],
)
def test_a_pool_of_the_systems_file_that_does_not_exist_is_logged_once_at_the_start(
    array45: World, caplog: pytest.LogCaptureFixture, changes: dict[str, Any], missing: str
) -> None:
    world = array45.reconfigured(**changes)
    caplog.clear()
    world.watching(seconds=0.05)
    log = world.simulator.gateway.log
    eventually(lambda: len(log.find(path="/api/types/StoragePool/instances", since=0)) > 3)
    found = [record for record in caplog.records if "names a pool that does not exist" in record.message]
    assert len(found) == 1
    assert found[0].fields["missing"] == missing  # type: ignore[attr-defined]  # set by the log
