"""The system behind an endpoint is the configured one: otherwise nothing but a login is sent there."""

from __future__ import annotations

import concurrent.futures
import contextlib

import grpc
import msgspec
import pytest

from csi_powerflex.config.secret import Secret
from csi_powerflex.errors import InvalidArgument, Unavailable
from csi_powerflex.gateway.array import GatewayArray
from csi_powerflex.gateway.fleet import GatewayFleet
from csi_powerflex.gateway.identity import WrongSystem
from csi_powerflex.simulator.gateway import Gateway
from tests.controller.driver import refused
from tests.controller.tcp_proxy import TcpProxy
from tests.controller.world import World


def configured(world: World, **changes: object) -> World:
    """The world with its first system only, with these changes."""
    world.systems = (msgspec.structs.replace(world.systems[0], **changes),)
    world.restart()
    return world


def routes(gateway: Gateway) -> set[str]:
    return {entry.route for entry in gateway.log.find()}


ONLY_A_LOGIN = {"/rest/auth/login", "System.list", "/rest/auth/logout"}


def test_an_endpoint_of_another_system_than_the_configured_id_gets_nothing_but_a_login(pair: World) -> None:
    first, second = pair.simulator.gateways
    right, wrong = first.array.system.id, second.array.system.id
    world = configured(pair, id=right, endpoints=(pair.gateway.urls[1],))
    handle = f"{right}-0000000100000000"
    for call in (world.driver.create, lambda: world.driver.delete(handle)):
        text = refused(grpc.StatusCode.UNAVAILABLE, call)
        for part in (f"leads to system {wrong}", f"the configured id is {right}", pair.gateway.urls[1]):
            assert part in text
    assert not second.array.volumes
    assert routes(second) <= ONLY_A_LOGIN
    assert len(second.sessions) == 0


@pytest.mark.parametrize("with_id", [True, False])
def test_an_endpoint_of_a_second_system_is_not_used_while_the_first_one_is_away(
    pair: World, with_id: bool
) -> None:
    first, second = pair.simulator.gateways
    with TcpProxy(pair.gateway.urls[0]) as proxy:
        system_id = first.array.system.id if with_id else None
        world = configured(pair, id=system_id, endpoints=(proxy.url, pair.gateway.urls[1]))
        volume = world.driver.create()
    text = refused(grpc.StatusCode.UNAVAILABLE, lambda: world.driver.delete(volume.volume_id))
    assert second.array.system.id in text
    refused(grpc.StatusCode.UNAVAILABLE, lambda: world.driver.create("pvc-2"))
    assert len(first.array.volumes) == 1
    assert not second.array.volumes
    assert routes(second) <= ONLY_A_LOGIN


def test_a_wrong_endpoint_does_not_keep_the_right_one_from_being_used(pair: World) -> None:
    first, second = pair.simulator.gateways
    world = configured(pair, id=first.array.system.id, endpoints=tuple(reversed(pair.gateway.urls)))
    for number in range(8):
        world.driver.create(f"pvc-{number}")
    assert len(first.array.volumes) == 8
    assert len(second.log.find(path="/rest/auth/login")) == 1


def test_two_entries_that_lead_to_one_system_are_refused(array45: World) -> None:
    with TcpProxy(array45.gateway.url) as proxy:
        one = array45.systems[0]
        array45.systems = (one, msgspec.structs.replace(one, name="other", endpoints=(proxy.url,)))
        driver = array45.restart()
        driver.create("pvc-1", parameters={"systemID": "array0"})
        text = refused(
            grpc.StatusCode.UNAVAILABLE, lambda: driver.create("pvc-2", parameters={"systemID": "other"})
        )
        assert "is system array0 of the systems file already; remove one of the two entries" in text
        array45.systems = (one,)
        array45.restart()


def test_calls_that_start_together_read_the_id_once(array45: World) -> None:
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda number: array45.driver.create(f"pvc-{number}"), range(16)))
    assert len(array45.simulator.gateway.log.find(route="System.list")) == 1


def test_a_system_whose_id_another_call_finds_meanwhile_is_found(
    pair: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    system_id, wanted = GatewayArray.system_id, pair.simulator.gateways[1].array.system.id

    def meanwhile(array: GatewayArray) -> str:
        for other in fleet.arrays():
            system_id(other)
        return system_id(array)

    monkeypatch.setattr(GatewayArray, "system_id", meanwhile)
    for find in (GatewayFleet.array, GatewayFleet.choose):
        with contextlib.closing(GatewayFleet(pair.systems)) as fleet:
            assert find(fleet, wanted) is fleet.arrays()[1]


def test_a_system_that_is_asked_for_by_its_id_while_it_is_away_is_unavailable(
    pair: World, unreachable_url: str
) -> None:
    first, second = pair.systems
    away = pair.simulator.gateways[1].array.system.id
    second = msgspec.structs.replace(second, endpoints=(unreachable_url,))
    with contextlib.closing(GatewayFleet((first, second), retry_seconds=0.001)) as fleet:
        fleet.arrays()[1].record_check(Unavailable("the check of the monitor failed"))
        for find in (fleet.array, fleet.choose):
            with pytest.raises(Unavailable, match="cannot connect"):
                find(away)
        with pytest.raises(InvalidArgument, match="no PowerFlex system 'array7' is configured"):
            fleet.choose("array7")


def test_the_error_about_a_system_that_is_not_known_is_final_only_if_all_are(
    pair: World, unreachable_url: str
) -> None:
    first, second = pair.systems
    pair.systems = (
        msgspec.structs.replace(first, password=Secret("wrong")),
        msgspec.structs.replace(second, endpoints=(unreachable_url,)),
    )
    handle = "0123456789abcdef-0000000100000000"
    refused(grpc.StatusCode.UNAVAILABLE, lambda: pair.restart().delete(handle))
    pair.systems = (pair.systems[0], second)
    refused(grpc.StatusCode.UNAUTHENTICATED, lambda: pair.restart().delete(handle))


def test_a_known_id_costs_one_request_for_each_login(world: World) -> None:
    log = world.simulator.gateway.log
    world = configured(world, id=world.array.system.id)
    world.driver.create("pvc-1")
    world.simulator.gateway.sessions.revoke_all()
    world.driver.create("pvc-2")
    assert len(log.find(route="System.list")) == 2


def test_a_wrong_system_is_asked_again_after_some_seconds_only(array45: World) -> None:
    array = GatewayArray(msgspec.structs.replace(array45.systems[0], id="0123456789abcdef"))
    for _ in range(5):
        with pytest.raises(WrongSystem, match="the configured id is 0123456789abcdef"):
            array.volumes()
    assert len(array45.simulator.gateway.log.find(path="/rest/auth/login")) == 1
    array.close()
