"""Tokens: one login however many calls need it, renewed before their end, given back at exit."""

from __future__ import annotations

import concurrent.futures
import time

import grpc
import pytest

from csi_powerflex.pb import csi_pb2
from csi_powerflex.simulator.faults import Fault, FaultKind
from csi_powerflex.simulator.initial_state import InitialState
from csi_powerflex.simulator.simulator import SystemPlan
from tests.controller.conftest import MakeWorld
from tests.controller.driver import mount
from tests.controller.world import World

LOGINS = {"3.6": "/api/login", "4.5": "/rest/auth/login", "5.0": "/rest/auth/login"}
LOGOUTS = {"3.6": "/api/logout", "4.5": "/rest/auth/logout", "5.0": "/rest/auth/logout"}


def logins(world: World) -> int:
    path = LOGINS[world.array.dialect.version]
    return len(world.simulator.gateway.log.find(path=path, status=200))


def at_once(world: World, count: int, *, timeout: float = 30.0, prefix: str = "pvc") -> list[grpc.StatusCode]:
    """The codes of so many creations that are all under way together."""

    def create(number: int) -> grpc.StatusCode:
        request = csi_pb2.CreateVolumeRequest(name=f"{prefix}-{number}", volume_capabilities=[mount()])
        try:
            world.driver.controller.CreateVolume(request, timeout=timeout)
        except grpc.RpcError as error:
            return error.code()
        return grpc.StatusCode.OK

    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        return list(pool.map(create, range(count)))


def test_calls_that_start_together_log_in_once(world: World) -> None:
    assert set(at_once(world, 32)) == {grpc.StatusCode.OK}
    assert logins(world) == 1


def test_calls_that_find_their_token_refused_together_log_in_once(world: World) -> None:
    world.driver.create("pvc-warm")
    world.simulator.gateway.sessions.revoke_all()
    assert set(at_once(world, 32)) == {grpc.StatusCode.OK}
    assert logins(world) == 2


def test_a_session_is_given_back_at_the_end(world: World) -> None:
    world.driver.create()
    log = world.simulator.gateway.log
    assert not log.find(path=LOGOUTS[world.array.dialect.version])
    world.restart()
    (entry,) = log.find(path=LOGOUTS[world.array.dialect.version])
    assert entry.status in (200, 204)


def test_an_html_refusal_of_a_token_is_answered_with_a_new_login(array45: World) -> None:
    array45.driver.create("pvc-warm")
    array45.simulator.gateway.inject(Fault(kind=FaultKind.HTML, status=401, path="/api/*", times=1))
    assert array45.driver.create("pvc-2").volume_id
    assert logins(array45) == 2


def test_a_token_that_is_refused_as_soon_as_it_is_given_is_replaced_again(array45: World) -> None:
    array45.driver.create("pvc-warm")
    array45.simulator.gateway.inject(Fault(kind=FaultKind.REVOKE, path="/api/*", times=3))
    assert array45.driver.create("pvc-2").volume_id
    assert logins(array45) == 3


def test_a_gateway_that_refuses_every_token_is_unavailable_and_not_asked_for_ever(array45: World) -> None:
    """The password is right, or there would be no token: a final code could make a sidecar leak a volume."""
    array45.driver.create("pvc-warm")
    array45.simulator.gateway.inject(Fault(kind=FaultKind.HTML, status=401, path="/api/*"))
    assert at_once(array45, 1) == [grpc.StatusCode.UNAVAILABLE]
    assert logins(array45) == 5


@pytest.fixture
def two(make_world: MakeWorld) -> World:
    return make_world(
        SystemPlan(initial_state=InitialState(name="one")), SystemPlan(initial_state=InitialState(name="two"))
    )


def test_a_frozen_gateway_costs_its_callers_their_deadline_and_nobody_else_anything(two: World) -> None:
    driver, (frozen, other) = two.driver, two.simulator.gateways
    for name in ("array0", "array1"):
        driver.create(f"pvc-warm-{name}", parameters={"systemID": name})
    fault = frozen.inject(Fault(kind=FaultKind.FREEZE))

    def create(number: int) -> tuple[grpc.StatusCode, float]:
        request = csi_pb2.CreateVolumeRequest(
            name=f"pvc-{number}", volume_capabilities=[mount()], parameters={"systemID": "array0"}
        )
        began = time.monotonic()
        with pytest.raises(grpc.RpcError) as refusal:
            driver.controller.CreateVolume(request, timeout=6.0)
        return refusal.value.code(), time.monotonic() - began

    with concurrent.futures.ThreadPoolExecutor(64) as pool:
        calls = [pool.submit(create, number) for number in range(64)]
        began = time.monotonic()
        assert driver.create("pvc-other", parameters={"systemID": "array1"}).volume_id
        assert driver.identity.Probe(csi_pb2.ProbeRequest(), timeout=6).ready.value
        assert time.monotonic() - began < 6.0
        for call in calls:
            code, took = call.result()
            assert code is grpc.StatusCode.DEADLINE_EXCEEDED
            assert took < 30.0
    assert other.log.last
    before = logins(two)
    frozen.faults.remove(fault)
    # The first call after the thaw succeeds: nothing waits for those that were given up.
    request = csi_pb2.CreateVolumeRequest(
        name="pvc-0", volume_capabilities=[mount()], parameters={"systemID": "array0"}
    )
    assert driver.controller.CreateVolume(request, timeout=6.0).volume.volume_id
    # No lock is left: every name can be tried again at once, and no new login is needed.
    for number in range(64):
        driver.create(f"pvc-{number}", parameters={"systemID": "array0"})
    assert logins(two) == before
    assert len(two.array.volumes) == 65


def test_an_answer_that_never_ends_costs_the_deadline(array45: World) -> None:
    array45.driver.create("pvc-warm")
    array45.simulator.gateway.inject(Fault(kind=FaultKind.ENDLESS, path="/api/*", times=1))
    began = time.monotonic()
    assert at_once(array45, 1, timeout=1.0) == [grpc.StatusCode.DEADLINE_EXCEEDED]
    assert time.monotonic() - began < 30.0
    assert at_once(array45, 1) == [grpc.StatusCode.OK]
