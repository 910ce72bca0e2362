"""Connections that a firewall forgot: they cost some seconds at most, and no call fails."""

from __future__ import annotations

import concurrent.futures
import socket
import time
from collections.abc import Iterator

import grpc
import msgspec
import pytest

from csi_powerflex import tls
from csi_powerflex.gateway import deadline, http
from csi_powerflex.pb import csi_pb2
from csi_powerflex.simulator.faults import Fault, FaultKind
from tests.controller.driver import mount
from tests.controller.tcp_proxy import TcpProxy
from tests.controller.world import World


@pytest.fixture
def proxy(array45: World) -> Iterator[TcpProxy]:
    """A proxy between the driver and ``array45``."""
    with TcpProxy(array45.gateway.url) as proxy:
        array45.systems = (msgspec.structs.replace(array45.systems[0], endpoints=(proxy.url,)),)
        array45.restart()
        yield proxy


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch) -> Idle:
    return Idle(monkeypatch)


class Idle:
    """Makes open connections look idle, without waiting."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def seconds(self, seconds: float) -> None:
        fresh, usable = deadline._FRESH_SECONDS, deadline.IDLE_SECONDS
        self._monkeypatch.setattr(deadline, "_FRESH_SECONDS", fresh - seconds)
        self._monkeypatch.setattr(deadline, "IDLE_SECONDS", usable - seconds)


def test_a_connection_that_was_idle_for_some_seconds_is_not_used_again(
    array45: World, proxy: TcpProxy, idle: Idle
) -> None:
    array45.driver.create("pvc-1")
    proxy.forget_connections()
    idle.seconds(deadline.IDLE_SECONDS)
    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda number: array45.driver.create(f"pvc-idle-{number}"), range(6)))
    assert time.monotonic() - began < http._PATIENCE_SECONDS


def test_a_read_without_an_answer_on_an_old_connection_is_repeated_on_a_new_one(
    array45: World, proxy: TcpProxy, idle: Idle, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = array45.driver.create("pvc-1")
    proxy.forget_connections()
    idle.seconds(deadline.IDLE_SECONDS - 1.0)
    monkeypatch.setattr(http, "_PATIENCE_SECONDS", 0.2)
    before = proxy.connections
    assert array45.driver.get(volume.volume_id).volume.volume_id == volume.volume_id
    assert proxy.connections == before + 1


def test_a_request_that_cannot_be_repeated_gets_no_old_connection(
    array45: World, proxy: TcpProxy, idle: Idle
) -> None:
    array45.driver.create("pvc-1")
    proxy.forget_connections()
    idle.seconds(deadline.IDLE_SECONDS - 1.0)
    before = proxy.connections
    array45.driver.create("pvc-2")
    assert proxy.connections == before + 1


def test_a_creation_without_an_answer_is_not_sent_twice(
    array45: World, idle: Idle, monkeypatch: pytest.MonkeyPatch
) -> None:
    array45.driver.create("pvc-1")
    idle.seconds(deadline.IDLE_SECONDS - 1.0)
    monkeypatch.setattr(http, "_PATIENCE_SECONDS", 0.2)
    gateway = array45.simulator.gateway
    fault = gateway.inject(Fault(kind=FaultKind.FREEZE, path="/api/types/Volume/instances", method="POST"))
    request = csi_pb2.CreateVolumeRequest(name="pvc-2", volume_capabilities=[mount()])
    with pytest.raises(grpc.RpcError) as refusal:
        array45.driver.controller.CreateVolume(request, timeout=2)
    assert refusal.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert gateway.faults.struck(fault) == 1
    gateway.faults.clear()


def test_the_kernel_ends_connections_whose_other_end_vanished() -> None:
    options = {(level, name): value for level, name, value in deadline._SOCKET_OPTIONS}
    assert options[socket.SOL_SOCKET, socket.SO_KEEPALIVE] == 1
    assert options[socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT] <= 30_000
    pools = deadline.DeadlineAdapter(trust=tls.trusting(None)).poolmanager
    assert pools.connection_pool_kw["socket_options"] == deadline._SOCKET_OPTIONS
