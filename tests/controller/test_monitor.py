"""Watching over the systems, and the metrics that come of it."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request

import msgspec
import pytest
from prometheus_client import REGISTRY

from csi_powerflex.errors import FailedPrecondition, InvalidArgument
from csi_powerflex.gateway.array import GatewayArray
from csi_powerflex.observability import endpoint, metrics, tasks
from csi_powerflex.simulator.initial_state import InitialState
from csi_powerflex.simulator.simulator import SystemPlan
from tests.controller.conftest import MakeWorld
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


def test_the_watch_tells_how_full_a_system_is(world: World) -> None:
    name = f"full{world.array.dialect.version}"
    renamed(world, name).driver.create()
    world.watching(seconds=60)
    eventually(lambda: value("csi_powerflex_system_up", system=name) == 1)
    for kind in ("size", "free", "provisioned"):
        assert value(f"csi_powerflex_pool_{kind}_bytes", system=name, pool="pd1/sp1")
    assert value("csi_powerflex_hosts_connected", system=name, transport="sdc") == 3
    assert value("csi_powerflex_array_objects", system=name, kind="sdcs") == 3
    assert value("csi_powerflex_array_objects_limit", system=name, kind="sdcs") == 2048


def test_an_error_nobody_foresaw_does_not_end_the_watch(
    array45: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn, failures = GatewayArray.refresh, [RuntimeError("a fault"), RuntimeError("a fault")]

    def faulty(array: GatewayArray) -> None:
        if failures:
            raise failures.pop()
        learn(array)

    monkeypatch.setattr(GatewayArray, "refresh", faulty)
    renamed(array45, "faulty").watching(seconds=0.05)
    eventually(lambda: not failures)
    eventually(lambda: value("csi_powerflex_system_up", system="faulty") == 1)


def test_a_system_that_is_away_is_told_and_keeps_no_other_from_serving(make_world: MakeWorld) -> None:
    world = make_world(
        SystemPlan(initial_state=InitialState(name="one")), SystemPlan(initial_state=InitialState(name="two"))
    )
    renamed(world, "away", "there")
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"https://127.0.0.1:{nobody.getsockname()[1]}"
        world.systems = (msgspec.structs.replace(world.systems[0], endpoints=(url,)), world.systems[1])
        driver = world.watching(seconds=60)
        eventually(lambda: value("csi_powerflex_system_up", system="away") == 0)
        eventually(lambda: value("csi_powerflex_system_up", system="there") == 1)
        volume = driver.create(parameters={"systemID": "there"})
        driver.publish(volume, world.node("a"))


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_metrics_and_liveness_have_a_port_of_their_own(array45: World) -> None:
    array45.driver.create()
    with endpoint.serving("127.0.0.1:0") as port:
        assert port is not None
        assert get(port, "/healthz") == (200, "ok\n")
        tasks.report_failure("qos_sync", "unexpected RuntimeError")
        assert get(port, "/healthz") == (200, "ok\ntask qos_sync fails: unexpected RuntimeError\n")
        tasks.report_success("qos_sync")
        assert get(port, "/healthz") == (200, "ok\n")
        status, text = get(port, "/metrics")
        assert get(port, "/else")[0] == 404
        for path in ("/metrics", "/healthz"):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                assert answer.headers.get_all("Server") == ["csi-powerflex"]
    assert status == 200
    assert 'csi_powerflex_rpc_duration_seconds_count{code="OK",method="CreateVolume"}' in text
    for described in metrics.TABLE:
        assert f"# TYPE {described.name} {described.kind}" in text
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), timeout=30)


@pytest.mark.parametrize(
    "text",
    [pytest.param("1:" + "0" * 5000, id="many digits"), "", "here", "localhost:", "localhost:http", ":70000"],
)
def test_an_address_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="HOST:PORT"):
        endpoint.address(text)


def test_a_port_in_use_is_refused() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(FailedPrecondition, match="cannot serve metrics"),
        endpoint.serving(f"127.0.0.1:{taken.getsockname()[1]}"),
    ):
        pass
