"""Connections and sessions are shared by all calls."""

from __future__ import annotations

import concurrent.futures

import pytest

from csi_powerflex.gateway import deadline
from csi_powerflex.simulator.settings import Settings
from tests.controller.conftest import MakeWorld
from tests.controller.driver import Driver
from tests.controller.world import World


@pytest.fixture(autouse=True)
def slow_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """No connection counts as idle, however slow the machine is."""
    for limit in ("_FRESH_SECONDS", "IDLE_SECONDS"):
        monkeypatch.setattr(deadline, limit, 600.0)


def test_the_whole_life_of_a_volume_uses_one_connection(world: World, driver: Driver) -> None:
    """Dell's driver opens and closes three connections for each volume."""
    log = world.simulator.gateway.log
    for number in range(5):
        volume = driver.create(f"pvc-{number}")
        driver.publish(volume, world.node("a"))
        driver.expand(volume.volume_id, gib=16)
        driver.unpublish(volume.volume_id, world.node("a"))
        driver.delete(volume.volume_id)
    assert len({entry.connection for entry in log.find()}) == 1


def test_parallel_calls_use_at_most_one_connection_each(array45: World) -> None:
    array45.driver.create("pvc-warm")
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda number: array45.driver.create(f"pvc-{number}"), range(96)))
    assert len({entry.connection for entry in array45.simulator.gateway.log.find()}) <= 17


def test_parallel_calls_share_one_session(make_world: MakeWorld) -> None:
    """PowerFlex has 128 sessions in all. A driver that logs in for each call uses them up."""
    world = make_world(settings=Settings(session_limit=1))
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        list(pool.map(lambda number: world.driver.create(f"pvc-{number}"), range(32)))
    assert len(world.simulator.gateway.sessions) == 1
