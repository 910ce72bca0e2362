"""Worlds with several pools, and moves of volumes between them."""

from __future__ import annotations

from collections.abc import Callable

import grpc

from csi_powerflex.pb import csi_pb2
from csi_powerflex.simulator.initial_state import DomainPlan, InitialState, PoolPlan
from csi_powerflex.simulator.settings import Settings
from csi_powerflex.simulator.simulator import SystemPlan
from tests.controller.driver import refused
from tests.controller.world import World

ABORTED = grpc.StatusCode.ABORTED

POOLS = (
    PoolPlan(),
    PoolPlan(name="sp2"),
    PoolPlan(name="sp3"),
    PoolPlan(name="unpadded", zero_padding=False),
    PoolPlan(name="unpadded2", zero_padding=False),
    PoolPlan(name="fine", layout="FineGranularity"),
    PoolPlan(name="fine2", layout="FineGranularity"),
    PoolPlan(name="small", raw_gib=32, over_provisioning=1),
)
# One GiB a second: the clock decides when a move has ended.
SETTINGS = Settings(migration_kb_per_second=1024 * 1024)


def several_pools(version: str = "4.5", settings: Settings = SETTINGS) -> SystemPlan:
    pools = POOLS if version != "5.0" else (PoolPlan(), PoolPlan(name="sp2"))
    domains = (
        DomainPlan(pools=pools),
        DomainPlan(name="pd2", pools=(PoolPlan(name="sp2"), PoolPlan(name="far"))),
    )
    return SystemPlan(version=version, initial_state=InitialState(domains=domains), settings=settings)


def pool_of(world: World, volume: csi_pb2.Volume | str) -> str:
    """The name of the pool that a volume is in."""
    volume_id = volume if isinstance(volume, str) else volume.volume_id
    return str(world.array.pools[world.volume(volume_id).pool_id].name)


def sp1(world: World) -> str:
    return next(pool.id for pool in world.array.pools.values() if pool.name == "sp1")


def pass_time(world: World, seconds: float = 3600) -> None:
    world.array.clock.advance(seconds)


def move(world: World, volume: csi_pb2.Volume, pool: str, **more: str) -> None:
    world.driver.modify(volume.volume_id, storagepool=pool, **more)


def moved(world: World, volume: csi_pb2.Volume, pool: str, **more: str) -> None:
    """Move it and wait for the end."""
    refused(ABORTED, lambda: move(world, volume, pool, **more))
    pass_time(world)
    move(world, volume, pool, **more)
    assert pool_of(world, volume) == pool


def sent(world: World, call: Callable[[], object]) -> list[str]:
    """The actions that a call sends, without those that only read."""
    log = world.simulator.gateway.log
    since = log.last
    call()
    return [
        entry.path.rpartition("/")[2]
        for entry in log.find(since=since)
        if entry.method == "POST" and "querySelected" not in entry.path
    ]
