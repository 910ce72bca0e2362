"""Which caFile trusts which chain of certificates, with real TLS connections."""

from __future__ import annotations

import datetime
import http.server
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from csi_powerflex.config.secret import Secret
from csi_powerflex.config.systems.schema import SystemSettings
from csi_powerflex.errors import ConnectFailed
from csi_powerflex.gateway.http import Http, Request
from csi_powerflex.simulator import certificates

_LIFETIME = datetime.timedelta(days=1)


class Authorities:
    """A root, an intermediate authority and a gateway's certificate, and another root; PEM files by name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        root, intermediate, leaf, other = (certificates.new_key() for _ in range(4))
        names = {name: certificates.subject(name) for name in ("root", "intermediate", "leaf", "other")}
        constraints = x509.BasicConstraints(ca=True, path_length=None)

        def authority(name: str, issuer: str, key: object, signer: object) -> x509.Certificate:
            made = certificates.builder(names[name], names[issuer], key.public_key(), _LIFETIME)  # type: ignore[attr-defined]  # a key
            return made.add_extension(constraints, critical=True).sign(signer, hashes.SHA256())  # type: ignore[arg-type]  # a key

        made = certificates.builder(names["leaf"], names["intermediate"], leaf.public_key(), _LIFETIME)
        self._pem = {
            "root": certificates.pem(authority("root", "root", root, root)),
            "intermediate": certificates.pem(authority("intermediate", "root", intermediate, root)),
            "other": certificates.pem(authority("other", "other", other, other)),
            "leaf": certificates.pem(
                made.add_extension(certificates.alternative_names(["127.0.0.1"]), critical=False).sign(
                    intermediate, hashes.SHA256()
                )
            ),
        }
        self.key = folder / "key.pem"
        self.key.write_bytes(
            leaf.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )

    def file(self, *names: str) -> Path:
        """A file with these certificates."""
        path = self._folder / f"{'-'.join(names)}.pem"
        path.write_text("".join(self._pem[name] for name in names))
        return path


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> Authorities:
    return Authorities(tmp_path_factory.mktemp("chains"))


@pytest.fixture
def url(request: pytest.FixtureRequest, authorities: Authorities) -> Iterator[str]:
    """A server that sends the chain of ``request.param``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authorities.file(*request.param), authorities.key)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"https://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def connect(url: str, ca_file: Path) -> int:
    """The status of an answer over a verified connection."""
    settings = SystemSettings(
        endpoints=(url,), username="admin", password=Secret("x"), ca_file=str(ca_file), request_timeout=10
    )
    client = Http(settings)
    try:
        return client.send(Request("GET", url, {}, None, repeatable=True, max_bytes=1 << 20)).status
    finally:
        client.close()


@pytest.mark.parametrize("url", [("leaf",), ("leaf", "intermediate")], indirect=True, ids="-".join)
@pytest.mark.parametrize(
    "trusted",
    [("leaf",), ("intermediate",), ("intermediate", "root"), ("leaf", "other"), ("other", "intermediate")],
    ids="-".join,
)
def test_each_given_certificate_of_the_chain_is_trusted(
    url: str, trusted: tuple[str, ...], authorities: Authorities
) -> None:
    assert connect(url, authorities.file(*trusted)) == 501


@pytest.mark.parametrize("url", [("leaf", "intermediate"), ("leaf", "intermediate", "root")], indirect=True)
def test_a_root_is_enough_if_the_gateway_sends_the_intermediate_authority(
    url: str, authorities: Authorities
) -> None:
    assert connect(url, authorities.file("root")) == 501


@pytest.mark.parametrize(
    ("url", "trusted"),
    [
        (("leaf",), "root"),
        (("leaf",), "other"),
        (("leaf", "intermediate"), "other"),
        (("leaf", "intermediate", "root"), "other"),
    ],
    indirect=["url"],
)
def test_a_chain_that_leads_to_no_given_certificate_is_refused(
    url: str, trusted: str, authorities: Authorities
) -> None:
    with pytest.raises(ConnectFailed, match="the certificate was not accepted"):
        connect(url, authorities.file(trusted))
