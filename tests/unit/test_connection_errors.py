"""Plain words for errors of connections and TLS, from real connections where one can be made."""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
import urllib3

from csi_powerflex import connection_errors
from csi_powerflex.config.secret import Secret
from csi_powerflex.config.systems.schema import SystemSettings
from csi_powerflex.errors import ConnectFailed, DriverError, FailedPrecondition, Unavailable
from csi_powerflex.gateway.http import Http, Request
from csi_powerflex.kube.client import Client, KubeObject
from csi_powerflex.kube.config import ClusterConfig

# What a person who reads an event does not know: modules, source files and classes of Python and OpenSSL.
PYTHON = re.compile(
    r"_ssl|\.c:\d|[A-Z]_[A-Z]|0x[0-9a-f]{4}|Error|Exception|urllib3|requests|Errno|\[|\bNone\b"
)


@contextlib.contextmanager
def answering(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """A port that accepts connections and calls ``answer`` with each."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = server.accept()
                    with client, contextlib.suppress(OSError):
                        answer(client)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
    thread.join(10)


def to_gateway(url: str, ca_file: str | None = None) -> str:
    """The message of a request that gets no connection."""
    settings = SystemSettings(
        endpoints=(url,), username="admin", password=Secret("x"), ca_file=ca_file, request_timeout=10
    )
    with contextlib.closing(Http(settings)) as client, pytest.raises(Unavailable) as caught:
        client.send(Request("GET", f"{url}/api", {}, None, repeatable=True, max_bytes=1 << 20))
    return str(caught.value)


def to_kubernetes(url: str) -> str:
    """The same for the Kubernetes API."""
    with pytest.raises(ConnectFailed) as caught:
        Client(ClusterConfig(url)).list("/api/v1/nodes", KubeObject)
    return str(caught.value)


def plain_http(client: socket.socket) -> None:
    client.recv(4096)
    client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def hang_up(client: socket.socket) -> None:
    client.recv(4096)


@pytest.mark.parametrize("answer", [plain_http, hang_up])
def test_a_port_without_tls_is_told_in_plain_words(answer: Callable[[socket.socket], None]) -> None:
    with answering(answer) as port:
        for text in (to_gateway(f"https://127.0.0.1:{port}"), to_kubernetes(f"https://127.0.0.1:{port}")):
            assert not PYTHON.search(text), text
            if answer is plain_http:
                assert "no TLS connection: the other side does not speak TLS: check the port" in text


def test_a_port_that_is_closed_and_a_name_that_is_unknown_are_told_in_plain_words() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        closed = f"https://127.0.0.1:{bound.getsockname()[1]}"
        assert to_gateway(closed).endswith("cannot connect: Connection refused")
        assert to_kubernetes(closed).endswith("cannot connect: Connection refused")
    for url in ("https://no-such-host.invalid", f"https://{'a' * 64}.invalid"):
        for text in (to_gateway(url), to_kubernetes(url)):
            assert "cannot connect: " in text
            assert not PYTHON.search(text), text


def test_a_ca_file_that_cannot_be_used_is_named_before_anything_is_sent(tmp_path: Path) -> None:
    garbage, folder, missing = tmp_path / "garbage.pem", tmp_path / "folder.pem", tmp_path / "missing.pem"
    garbage.write_text("garbage")
    folder.mkdir()
    url = "https://127.0.0.1:1"
    with pytest.raises(FailedPrecondition) as refused:
        to_gateway(url, str(garbage))
    assert f"caFile {garbage} cannot be used: it holds no certificate in PEM form" in str(refused.value)
    for path, words in ((missing, "No such file or directory"), (folder, "Is a directory")):
        with pytest.raises(FailedPrecondition) as refused:
            to_gateway(url, str(path))
        assert str(refused.value).endswith(f"cannot read caFile {path}: {words}")


def verification(code: int, message: str) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, f"[SSL: CERTIFICATE_VERIFY_FAILED] {message} (_ssl.c:1006)")
    error.verify_code, error.verify_message = code, message
    return error


@pytest.mark.parametrize(
    ("code", "message", "words"),
    [
        (10, "certificate has expired", "it has expired: renew it"),
        (9, "certificate is not yet valid", "it is not valid yet: compare the clocks of both sides"),
        (18, "self-signed certificate", "it is self-signed, and caFile /ca.pem does not have it"),
        (19, "self-signed certificate in certificate chain", "caFile /ca.pem does not have the authority"),
        (20, "unable to get local issuer certificate", "caFile /ca.pem does not have the authority"),
        (
            62,
            "Hostname mismatch, certificate is not valid for 'a.example.org'.",
            "host name a.example.org: use",
        ),
        (64, "IP address mismatch, certificate is not valid for '192.0.2.1'.", "address 192.0.2.1: use"),
        (26, "unsuitable certificate purpose", "unsuitable certificate purpose"),
    ],
)
def test_a_refused_certificate_is_told_with_its_reason_and_the_ca_file_where_it_decides(
    code: int, message: str, words: str
) -> None:
    error = urllib3.exceptions.MaxRetryError(
        urllib3.HTTPSConnectionPool("a"), "/", urllib3.exceptions.SSLError(verification(code, message))
    )
    text = connection_errors.before_sending(requests.exceptions.SSLError(error), "caFile /ca.pem")
    assert text.startswith("the certificate was not accepted: ")
    assert words in text
    assert ("caFile" in text) == (code in (18, 19, 20))
    assert not PYTHON.search(text), text


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            http.client.RemoteDisconnected("Remote end closed connection without response"),
            "without an answer",
        ),
        (http.client.IncompleteRead(b"", 5), "the answer ended too early"),
        (http.client.BadStatusLine("x"), "the answer is not HTTP"),
        (ssl.SSLError(1, "[SSL: SSLV3_ALERT_HANDSHAKE_FAILURE] failure (_ssl.c:1006)"), "failure"),
        (OSError("unknown (_ssl.c:1)"), "unknown"),
        (ValueError("<urllib3.connection.HTTPSConnection object at 0x7f00deadbeef>: broken"), "broken"),
        (ConnectionResetError(104, "Connection reset by peer"), "Connection reset by peer"),
    ],
)
def test_the_reason_of_any_error_has_no_text_of_python(error: Exception, words: str) -> None:
    wrapped = urllib3.exceptions.ProtocolError("Connection aborted.", error)
    assert words in connection_errors.reason(wrapped)
    assert not PYTHON.search(connection_errors.reason(wrapped))


def test_an_error_without_a_text_is_told_by_its_kind() -> None:
    assert connection_errors.reason(DriverError()) == "DriverError"
