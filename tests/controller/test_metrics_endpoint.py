"""The HTTP endpoint of metrics and liveness."""

from __future__ import annotations

import contextlib
import errno
import functools
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from csi_powerflex.errors import FailedPrecondition, InvalidArgument
from csi_powerflex.observability import endpoint, metrics, tasks
from tests.controller.world import World
from tests.e2e.pki import Authority


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_metrics_and_liveness_have_their_own_port(array45: World) -> None:
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
    [
        pytest.param("1:" + "0" * 5000, id="many digits"),
        "",
        "here",
        "localhost:",
        "localhost:http",
        ":70000",
        "::1:9808",
        "[::1:9808",
    ],
)
def test_an_invalid_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="HOST:PORT"):
        endpoint.address(text)


def test_a_port_in_use_is_refused() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(FailedPrecondition, match="cannot serve metrics"),
        endpoint.serving(f"127.0.0.1:{taken.getsockname()[1]}"),
    ):
        pass


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("[::1]:0", ["::1"]),
        ("[::]:0", ["::1", "127.0.0.1"]),
        (":0", ["::1", "127.0.0.1"]),
        ("127.0.0.1:0", ["127.0.0.1"]),
        ("localhost:0", ["localhost"]),
    ],
)
def test_addresses_of_both_families_are_served(text: str, hosts: list[str]) -> None:
    with endpoint.serving(text) as port:
        for host in hosts:
            with socket.create_connection((host, port), timeout=5) as client:
                client.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
                assert client.makefile("rb").read().endswith(b"ok\n")


def test_without_ipv6_every_address_of_ipv4_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    create = socket.socket

    def without_ipv6(family: int = -1, *more: int, **options: int) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return create(family, *more, **options)

    with monkeypatch.context() as patch:
        patch.setattr(socket, "socket", without_ipv6)
        serving = endpoint.serving(":0")
        port = serving.__enter__()
    assert port is not None
    assert get(port, "/healthz")[0] == 200
    serving.__exit__(None, None, None)


def held(port: int, stack: contextlib.ExitStack) -> socket.socket:
    """A connection that sends half of a request."""
    client = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
    client.sendall(b"GET /healthz HTTP/1.1\r\nHost: ")
    return client


def test_connections_that_send_half_a_request_do_not_disturb_the_health_check() -> None:
    with endpoint.serving("127.0.0.1:0") as port, contextlib.ExitStack() as stack:
        assert port is not None
        threads = threading.active_count()
        for number in range(300):
            held(port, stack)
            if number % 50 == 49:
                assert get(port, "/healthz") == (200, "ok\n")
        assert threading.active_count() - threads <= 16
        assert get(port, "/metrics")[0] == 200


def test_a_connection_has_a_time_limit_also_if_it_sends_byte_after_byte(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(endpoint, "_CONNECTION_SECONDS", 0.3)
    with endpoint.serving("127.0.0.1:0") as port, contextlib.ExitStack() as stack:
        assert port is not None
        client = held(port, stack)
        client.settimeout(0.05)
        began = time.monotonic()
        with contextlib.suppress(ConnectionError):
            while time.monotonic() - began < 30:
                client.sendall(b"x")
                with contextlib.suppress(TimeoutError):
                    if not client.recv(1):
                        break
        assert time.monotonic() - began < 10


def test_a_client_that_reads_nothing_holds_no_connection_after_its_time() -> None:
    with endpoint.serving("127.0.0.1:0") as port, contextlib.ExitStack() as stack:
        assert port is not None
        for _ in range(40):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
            client.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        assert get(port, "/healthz") == (200, "ok\n")


# --- TLS -------------------------------------------------------------------------------------------


def serial(port: int, authority: Authority) -> int:
    """The serial number of the certificate that the port has. The metrics are read over the connection."""
    context = ssl.create_default_context(cafile=authority.certificate)
    with (
        socket.create_connection(("127.0.0.1", port), timeout=30) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as secured,
    ):
        found = secured.getpeercert()
        secured.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        answer = b"".join(iter(functools.partial(secured.recv, 65536), b""))
    assert answer.startswith(b"HTTP/1.0 200")
    assert b"csi_powerflex_build_info" in answer
    assert found is not None
    return int(str(found["serialNumber"]), 16)


@pytest.fixture
def files(tmp_path: Path) -> endpoint.TlsFiles:
    return endpoint.TlsFiles(tmp_path / "tls.crt", tmp_path / "tls.key")


def issue(authority: Authority, name: str, files: endpoint.TlsFiles) -> None:
    pair = authority.issue(name, addresses=("127.0.0.1",))
    files.certificate.write_bytes(pair.certificate.read_bytes())
    files.key.write_bytes(pair.key.read_bytes())


def test_metrics_are_served_over_tls_and_a_new_certificate_needs_no_restart(
    tmp_path: Path, files: endpoint.TlsFiles
) -> None:
    authority = Authority(tmp_path / "pki")
    issue(authority, "first", files)
    with endpoint.serving("127.0.0.1:0", files) as port:
        assert port is not None
        first = serial(port, authority)
        issue(authority, "second", files)
        second = serial(port, authority)
        assert second != first
        files.key.write_text("garbage")
        assert serial(port, authority) == second
        files.key.unlink()
        assert serial(port, authority) == second
        issue(authority, "third", files)
        assert serial(port, authority) not in (first, second)


def test_a_client_without_tls_gets_nothing_and_the_next_one_is_served(
    tmp_path: Path, files: endpoint.TlsFiles
) -> None:
    authority = Authority(tmp_path / "pki")
    issue(authority, "first", files)
    with endpoint.serving("127.0.0.1:0", files) as port:
        assert port is not None
        with socket.create_connection(("127.0.0.1", port), timeout=30) as plain:
            plain.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            with contextlib.suppress(ConnectionError):
                assert b"HTTP" not in plain.recv(65536)
            assert serial(port, authority)


@pytest.mark.parametrize("content", [None, "garbage"])
def test_files_that_are_no_certificate_are_refused_by_name(
    files: endpoint.TlsFiles, content: str | None
) -> None:
    if content is not None:
        files.certificate.write_text(content)
        files.key.write_text(content)
    with (
        pytest.raises(FailedPrecondition, match=f"{files.certificate} with the key"),
        endpoint.serving("127.0.0.1:0", files),
    ):
        pass
