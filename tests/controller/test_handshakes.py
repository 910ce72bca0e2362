"""Endpoints that accept TCP connections and never finish the TLS handshake: nothing was sent to them."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from csi_powerflex.config.secret import Secret
from csi_powerflex.config.systems.schema import SystemSettings
from csi_powerflex.errors import ConnectFailed
from csi_powerflex.gateway import http
from csi_powerflex.gateway.http import Http, Request
from tests.controller.world import World

# The head of a TLS record with a part of a handshake, of 16,384 bytes.
_RECORD = b"\x16\x03\x03\x40\x00"


@pytest.fixture
def silent_url() -> Iterator[str]:
    """An endpoint whose kernel accepts connections. No program ever reads from them."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"https://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def dripping_url() -> Iterator[str]:
    """An endpoint that sends one byte of a handshake after the other, without an end."""
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            with contextlib.suppress(OSError):
                client, _ = server.accept()
                with client:
                    client.sendall(_RECORD)
                    while not ended.wait(0.05):
                        client.sendall(b"\x02")

        thread = threading.Thread(target=drip)
        thread.start()
        yield f"https://127.0.0.1:{server.getsockname()[1]}"
        ended.set()
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def refusal(*endpoints: str, seconds: float) -> str:
    """The error of a request to the first endpoint that cannot be sent."""
    settings = SystemSettings(
        endpoints=endpoints, username="admin", password=Secret("x"), request_timeout=seconds
    )
    request = Request("POST", f"{endpoints[0]}/api", {}, b"{}", repeatable=False, max_bytes=1 << 20)
    with contextlib.closing(Http(settings)) as client, pytest.raises(ConnectFailed) as caught:
        client.send(request)
    return str(caught.value)


def test_the_next_endpoint_is_used_and_each_request_is_sent_once(
    array45: World, silent_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "_CONNECT_SECONDS", 1.0)
    world = array45.reconfigured(endpoints=(silent_url, array45.gateway.url))
    gateway = array45.simulator.gateway
    before = len(gateway.log.find(path="/api/types/Volume/instances", method="POST"))
    assert world.driver.create("pvc-1").volume_id
    assert len(gateway.log.find(path="/api/types/Volume/instances", method="POST")) == before + 1


def test_a_handshake_that_does_not_begin_is_told_with_the_time_to_connect(
    silent_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "_CONNECT_SECONDS", 0.2)
    assert refusal(silent_url, seconds=60) == f"{silent_url}: no TLS connection within 0.2 s"


def test_a_handshake_that_arrives_byte_by_byte_has_no_more_time(
    dripping_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "_CONNECT_SECONDS", 0.4)
    assert refusal(dripping_url, seconds=60) == f"{dripping_url}: no TLS connection within 0.4 s"


def test_an_endpoint_leaves_the_other_endpoints_their_share_of_a_short_call(silent_url: str) -> None:
    text = refusal(silent_url, "https://127.0.0.1:1", "https://127.0.0.1:2", seconds=0.9)
    assert text == f"{silent_url}: no TLS connection within 0.3 s"
    assert refusal(silent_url, seconds=0.4) == f"{silent_url}: no TLS connection within 0.4 s"
