"""The monitor of the systems, and its metrics."""

from __future__ import annotations

import msgspec
import pytest
from prometheus_client import REGISTRY

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
