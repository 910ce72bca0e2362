"""Systems that do not answer or have wrong settings: one clear message each, with the right code."""

from __future__ import annotations

import socket
import ssl
import time

import grpc
import pytest
import urllib3

from csi_powerflex import tls
from csi_powerflex.config.secret import Secret
from csi_powerflex.gateway.deadline import DeadlineAdapter
from csi_powerflex.pb import csi_pb2
from csi_powerflex.simulator import certificates
from csi_powerflex.simulator.faults import Fault, FaultKind
from tests.controller.driver import mount, refused
from tests.controller.world import World


def test_a_wrong_password_is_unauthenticated_and_the_error_names_the_user(array45: World) -> None:
    world = array45.reconfigured(password=Secret("wrong-password"))
    text = refused(grpc.StatusCode.UNAUTHENTICATED, world.driver.create)
    assert "array0 refused user 'admin' or its password" in text
    assert "wrong-password" not in text


def test_an_unreachable_gateway_is_unavailable_and_the_error_has_its_url(
    array45: World, unreachable_url: str
) -> None:
    world = array45.reconfigured(endpoints=(unreachable_url,))
    text = refused(grpc.StatusCode.UNAVAILABLE, world.driver.create)
    assert text == f"{unreachable_url}: cannot connect: Connection refused"


def test_a_certificate_of_another_authority_is_not_accepted(array45: World) -> None:
    other = certificates.ensure(array45.folder / "other")
    world = array45.reconfigured(ca_file=str(other.authority))
    text = refused(grpc.StatusCode.UNAVAILABLE, world.driver.create)
    assert "the certificate was not accepted" in text


def test_certificates_need_not_comply_strictly_with_the_rfc(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make = urllib3.util.ssl_.create_urllib3_context

    def strict() -> ssl.SSLContext:  # as from Python 3.13 on
        context = make()
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(urllib3.util.ssl_, "create_urllib3_context", strict)
    pools = DeadlineAdapter(trust=tls.trusting(None)).poolmanager
    context = pools.connection_pool_kw["ssl_context"]
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


def test_a_second_endpoint_is_used_while_the_first_is_unreachable(
    array45: World, unreachable_url: str
) -> None:
    world = array45.reconfigured(endpoints=(unreachable_url, array45.gateway.url))
    assert world.driver.create().volume_id


def test_a_gateway_that_accepts_connections_and_never_answers_holds_no_lock(array45: World) -> None:
    good = array45.systems
    with socket.create_server(("127.0.0.1", 0)) as silent:
        world = array45.reconfigured(endpoints=(f"https://127.0.0.1:{silent.getsockname()[1]}",))
        request = csi_pb2.CreateVolumeRequest(name="pvc-1", volume_capabilities=[mount()])
        for _ in range(2):
            began = time.monotonic()
            text = refused(
                grpc.StatusCode.UNAVAILABLE,
                lambda: world.driver.controller.CreateVolume(request, timeout=2),
            )
            assert "no TLS connection within" in text
            assert time.monotonic() - began < 30
            # The driver answers just before the deadline, releases the lock, and the name can be used again.
        world.systems = good
        assert world.restart().create("pvc-1").volume_id


def test_a_read_that_is_repeated_until_the_deadline_has_the_first_error(array45: World) -> None:
    request = csi_pb2.ControllerGetVolumeRequest(volume_id=array45.driver.create().volume_id)
    array45.simulator.gateway.inject(Fault(kind=FaultKind.ERROR, status=503, times=1))
    array45.simulator.gateway.inject(Fault(kind=FaultKind.FREEZE, skip=1))
    text = refused(
        grpc.StatusCode.UNAVAILABLE, lambda: array45.driver.controller.ControllerGetVolume(request, timeout=3)
    )
    array45.simulator.gateway.faults.clear()
    assert "answered HTTP 503" in text


@pytest.mark.parametrize("verify", [True, False])
def test_any_certificate_is_accepted_without_verification(array45: World, verify: bool) -> None:
    world = array45.reconfigured(ca_file=None, verify_certificate=verify)
    if verify:
        refused(grpc.StatusCode.UNAVAILABLE, world.driver.create)
    else:
        assert world.driver.create().volume_id
