"""What is sent to a gateway, byte by byte, and what of the environment and of answers has no effect on it."""

from __future__ import annotations

import contextlib
import http.server
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from csi_powerflex.config.secret import Secret
from csi_powerflex.config.systems.schema import SystemSettings
from csi_powerflex.gateway.http import Http, Reply, Request
from csi_powerflex.simulator import certificates

_HEADERS = {"Authorization": "Bearer one", "Accept": "application/json"}


@dataclass
class Gateway:
    """A server that writes down what it receives, and the client of it."""

    url: str
    http: Http
    heads: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    connections: set[tuple[str, int]] = field(default_factory=set)
    status: int = 200

    def send(self, method: str, path: str, body: bytes | None = None) -> Reply:
        request = Request(method, self.url + path, _HEADERS, body, repeatable=True, max_bytes=1 << 20)
        return self.http.send(request)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> certificates.Certificates:
    return certificates.ensure(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def gateway(files: certificates.Certificates) -> Iterator[Gateway]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            made.heads.append((self.command, self.path, dict(self.headers), body))
            made.connections.add(self.client_address)
            self.send_response(made.status)
            self.send_header("Location", "/elsewhere")
            self.send_header("Set-Cookie", "session=1; Path=/")
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def do_GET(self) -> None:
            self.answer()

        def do_POST(self) -> None:
            self.answer()

        def log_message(self, *_: object) -> None:
            """Write nothing."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.server, files.key)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    url = f"https://127.0.0.1:{server.server_address[1]}"
    settings = SystemSettings(
        endpoints=(url,), username="admin", password=Secret("x"), ca_file=str(files.authority)
    )
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    with contextlib.closing(Http(settings)) as client:
        made = Gateway(url, client)
        yield made
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_post_has_its_length_and_body_and_no_other_header_than_needed(gateway: Gateway) -> None:
    reply = gateway.send("POST", "/api/types/Volume/instances?a=b", b'{"name": "pvc-1"}')
    assert (reply.status, bytes(reply.body)) == (200, b"{}")
    assert reply.date
    ((method, path, headers, body),) = gateway.heads
    assert (method, path, body) == ("POST", "/api/types/Volume/instances?a=b", b'{"name": "pvc-1"}')
    assert headers.pop("User-Agent").startswith("python-urllib3/")
    assert headers == {
        **_HEADERS,
        "Accept-Encoding": "identity",
        "Content-Length": "17",
        "Host": gateway.url.removeprefix("https://"),
    }


def test_a_get_has_no_body_and_no_length(gateway: Gateway) -> None:
    gateway.send("GET", "/api/version")
    ((method, path, headers, body),) = gateway.heads
    assert (method, path, body) == ("GET", "/api/version", b"")
    assert not {"Content-Length", "Transfer-Encoding", "Content-Type"} & headers.keys()


def test_requests_share_one_connection_and_send_no_cookie_of_an_answer(gateway: Gateway) -> None:
    for number in range(3):
        gateway.send("POST", f"/{number}", b"{}")
    assert len(gateway.connections) == 1
    assert not any("Cookie" in headers for _, _, headers, _ in gateway.heads)


def test_a_redirect_is_an_answer_and_is_not_followed(gateway: Gateway) -> None:
    gateway.status = 302
    assert gateway.send("GET", "/api/version").status == 302
    assert [path for _, path, _, _ in gateway.heads] == ["/api/version"]


def test_a_proxy_and_a_netrc_of_the_environment_have_no_effect(
    gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login other password other\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        # Nothing listens at this port. A request through the proxy would fail.
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert gateway.send("GET", "/api/version").status == 200
    assert [headers["Authorization"] for _, _, headers, _ in gateway.heads] == ["Bearer one"]


def test_after_it_was_closed_a_request_makes_a_new_connection(gateway: Gateway) -> None:
    gateway.send("GET", "/1")
    gateway.http.close()
    assert gateway.send("GET", "/2").status == 200
    assert len(gateway.connections) == 2
