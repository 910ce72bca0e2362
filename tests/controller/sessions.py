"""Calls that are made at the same time, and how many logins the gateway has seen."""

from __future__ import annotations

import concurrent.futures

import grpc

from csi_powerflex.pb import csi_pb2
from tests.controller.driver import mount
from tests.controller.world import World

LOGINS = {"3.6": "/api/login", "4.5": "/rest/auth/login", "5.0": "/rest/auth/login"}
LOGOUTS = {"3.6": "/api/logout", "4.5": "/rest/auth/logout", "5.0": "/rest/auth/logout"}


def logins(world: World) -> int:
    """How many logins succeeded."""
    path = LOGINS[world.array.dialect.version]
    return len(world.simulator.gateway.log.find(path=path, status=200))


def attempts(world: World) -> int:
    """How many times a password was sent."""
    log = world.simulator.gateway.log
    return sum(len(log.find(path=path)) for path in ("/rest/auth/login", "/api/login"))


def create_at_once(
    world: World, count: int, *, timeout: float = 30.0, prefix: str = "pvc"
) -> list[grpc.StatusCode]:
    """Create ``count`` volumes at the same time; returns the codes."""

    def create(number: int) -> grpc.StatusCode:
        request = csi_pb2.CreateVolumeRequest(name=f"{prefix}-{number}", volume_capabilities=[mount()])
        try:
            world.driver.controller.CreateVolume(request, timeout=timeout)
        except grpc.RpcError as error:
            return error.code()
        return grpc.StatusCode.OK

    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        return list(pool.map(create, range(count)))
