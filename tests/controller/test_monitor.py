"""The monitor of the systems, and its metrics."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from prometheus_client import REGISTRY

from csi_powerflex.config.systems.schema import ZoneSettings
from csi_powerflex.gateway.array import GatewayArray
from tests.controller.eventually import eventually
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
