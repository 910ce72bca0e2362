"""Sessions: one login for all calls, a new one when a token is refused, a logout at the end."""

from __future__ import annotations

import concurrent.futures
import time

import grpc
import pytest

from csi_powerflex.pb import csi_pb2
from csi_powerflex.simulator.faults import Fault, FaultKind
from tests.controller.driver import mount
from tests.controller.sessions import LOGOUTS, create_at_once, logins
from tests.controller.world import World


def test_calls_that_start_together_log_in_once(world: World) -> None:
    assert set(create_at_once(world, 32)) == {grpc.StatusCode.OK}
    assert logins(world) == 1


def test_calls_that_find_their_token_refused_together_log_in_once(world: World) -> None:
    world.driver.create("pvc-warm")
    world.simulator.gateway.sessions.revoke_all()
    assert set(create_at_once(world, 32)) == {grpc.StatusCode.OK}
    assert logins(world) == 2


def test_the_driver_logs_out_at_the_end(world: World) -> None:
    world.driver.create()
    log = world.simulator.gateway.log
    assert not log.find(path=LOGOUTS[world.array.dialect.version])
    world.restart()
    (entry,) = log.find(path=LOGOUTS[world.array.dialect.version])
    assert entry.status in (200, 204)


def test_a_token_refused_with_an_html_page_leads_to_a_new_login(array45: World) -> None:
    array45.driver.create("pvc-warm")
    array45.simulator.gateway.inject(Fault(kind=FaultKind.HTML, status=401, path="/api/*", times=1))
    assert array45.driver.create("pvc-2").volume_id
    assert logins(array45) == 2


def test_a_new_token_that_is_refused_too_is_replaced(array45: World) -> None:
    array45.driver.create("pvc-warm")
    array45.simulator.gateway.inject(Fault(kind=FaultKind.REVOKE, path="/api/*", times=3))
    assert array45.driver.create("pvc-2").volume_id
    assert logins(array45) == 3


def test_a_gateway_that_refuses_every_token_is_unavailable_after_some_logins(array45: World) -> None:
    """The password is right, because there are tokens. A final code could make a sidecar leak a volume."""
    array45.driver.create("pvc-warm")
    array45.simulator.gateway.inject(Fault(kind=FaultKind.HTML, status=401, path="/api/*"))
    assert create_at_once(array45, 1) == [grpc.StatusCode.UNAVAILABLE]
    assert logins(array45) == 5


def test_a_frozen_gateway_delays_only_its_own_callers(pair: World) -> None:
    driver, (frozen, other) = pair.driver, pair.simulator.gateways
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
    before = logins(pair)
    frozen.faults.remove(fault)
    # The first call after that succeeds: it does not wait for the calls before.
    request = csi_pb2.CreateVolumeRequest(
        name="pvc-0", volume_capabilities=[mount()], parameters={"systemID": "array0"}
    )
    assert driver.controller.CreateVolume(request, timeout=6.0).volume.volume_id
    # No lock is held: every name can be used again at once, and no new login is needed.
    for number in range(64):
        driver.create(f"pvc-{number}", parameters={"systemID": "array0"})
    assert logins(pair) == before
    assert len(pair.array.volumes) == 65


def test_an_endless_answer_ends_with_the_deadline(array45: World) -> None:
    array45.driver.create("pvc-warm")
    array45.simulator.gateway.inject(Fault(kind=FaultKind.ENDLESS, path="/api/*", times=1))
    began = time.monotonic()
    assert create_at_once(array45, 1, timeout=1.0) == [grpc.StatusCode.DEADLINE_EXCEEDED]
    assert time.monotonic() - began < 30.0
    assert create_at_once(array45, 1) == [grpc.StatusCode.OK]
