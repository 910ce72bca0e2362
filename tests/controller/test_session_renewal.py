"""Sessions over time: one call renews the token before it expires, and other calls use it meanwhile."""

from __future__ import annotations

import concurrent.futures
import time
from collections.abc import Iterator

import grpc
import pytest

from csi_powerflex.errors import Unavailable
from csi_powerflex.gateway import auth
from csi_powerflex.gateway.array import GatewayArray
from csi_powerflex.simulator.faults import Fault, FaultKind
from tests.controller.driver import refused
from tests.controller.eventually import eventually
from tests.controller.sessions import create_at_once, logins
from tests.controller.systems_file import SystemsFile
from tests.controller.world import World

RENEWAL = "/rest/auth/update-token"

# In 3.x a login is the only renewal.
versions_with_renewal = pytest.mark.parametrize("world", ["4.5", "5.0"], indirect=True)


class AdvancedClock:
    """The driver's clock, which is advanced together with the array's."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._ahead = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self._ahead

    def advance(self, seconds: float) -> None:
        self._ahead += seconds
        self._world.array.clock.advance(seconds)


@pytest.fixture
def clock(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[AdvancedClock]:
    clock = AdvancedClock(world)
    monkeypatch.setattr(auth, "time", clock)
    yield clock
    # The logout at the end needs the time at which the tokens were issued.
    world.restart()


def refusals(world: World) -> int:
    return len(world.simulator.gateway.log.find(status=401))


def test_a_token_is_renewed_before_it_expires(world: World, clock: AdvancedClock) -> None:
    world.driver.create("pvc-0")
    refused_before = refusals(world)
    for number in range(1, 13):
        clock.advance(100.0)
        world.driver.create(f"pvc-{number}")
    # Twenty minutes. A token of 4.x is valid for five minutes, one of 3.x for ten minutes without use.
    assert refusals(world) == refused_before
    renewals = world.simulator.gateway.log.find(path=RENEWAL, status=200)
    if world.array.dialect.platform:
        assert (logins(world), len(renewals)) == (1, 4)
    else:
        assert logins(world) == 3


def test_an_expired_session_leads_to_one_login(world: World, clock: AdvancedClock) -> None:
    world.driver.create("pvc-0")
    clock.advance(12 * 3600.0)
    assert set(create_at_once(world, 8)) == {grpc.StatusCode.OK}
    assert logins(world) == 2


@versions_with_renewal
def test_while_one_call_renews_a_token_other_calls_use_it(world: World, clock: AdvancedClock) -> None:
    world.driver.create("pvc-0")
    clock.advance(280.0)
    gateway = world.simulator.gateway
    fault = gateway.inject(Fault(kind=FaultKind.FREEZE, path=RENEWAL))
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        renewing = pool.submit(create_at_once, world, 1, timeout=20.0, prefix="renewing")
        eventually(lambda: gateway.faults.struck(fault) == 1)
        assert set(create_at_once(world, 8)) == {grpc.StatusCode.OK}
        gateway.faults.remove(fault)
        assert renewing.result() == [grpc.StatusCode.OK]
    assert logins(world) == 1


@versions_with_renewal
def test_a_token_that_cannot_be_renewed_is_used_until_it_expires(world: World, clock: AdvancedClock) -> None:
    world.driver.create("pvc-0")
    clock.advance(280.0)
    world.simulator.gateway.inject(Fault(kind=FaultKind.ERROR, status=503, path="/rest/auth/*"))
    assert create_at_once(world, 1) == [grpc.StatusCode.OK]
    clock.advance(60.0)
    assert create_at_once(world, 1, prefix="late", timeout=3.0) == [grpc.StatusCode.UNAVAILABLE]
    world.simulator.gateway.faults.clear()


def test_a_login_that_ends_after_the_logout_is_logged_out_too(array45: World) -> None:
    """Otherwise each shutdown during a login would leave one of the array's 128 sessions open."""
    gateway = array45.simulator.gateway
    fault = gateway.inject(Fault(kind=FaultKind.FREEZE, path="/rest/auth/login"))
    array = GatewayArray(array45.systems[0])
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        late = pool.submit(array.system_id)
        eventually(lambda: gateway.faults.struck(fault) == 1)
        array.close()
        gateway.faults.remove(fault)
        with pytest.raises(Unavailable, match="has logged out of PowerFlex system"):
            late.result()
    assert logins(array45) == 1
    assert len(gateway.sessions) == 0
    with pytest.raises(Unavailable, match="has logged out of PowerFlex system"):
        array.volumes()


def test_the_last_password_is_used_while_the_password_file_cannot_be_read(array45: World) -> None:
    file = SystemsFile(array45)
    array45.restart().create("pvc-0")
    file.password.unlink()
    array45.simulator.gateway.sessions.revoke_all()
    array45.driver.create("pvc-1")
    assert logins(array45) == 2
    text = refused(grpc.StatusCode.FAILED_PRECONDITION, lambda: array45.restart().create("pvc-2"))
    assert "cannot read passwordFile" in text
