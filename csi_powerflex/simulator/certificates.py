"""The certificates of the simulated gateway: its own authority, and a server certificate of it."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from csi_powerflex.simulator.atomic import write_atomically

_AUTHORITY_LIFETIME = datetime.timedelta(days=3650)
_SERVER_LIFETIME = datetime.timedelta(days=397)
_MIN_LIFETIME_LEFT = datetime.timedelta(days=7)
_CLOCK_TOLERANCE = datetime.timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files: the authority's certificate, which clients trust, and the server's chain and key."""

    authority: Path
    server: Path
    key: Path


def ensure(folder: Path, names: Sequence[str] = ()) -> Certificates:
    """The certificates in ``folder``. New ones replace them if they end soon or lack one of ``names``.

    ``names`` are host names and IP addresses. The certificate always contains those of loopback too.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = Certificates(folder / "ca.pem", folder / "server.pem", folder / "server-key.pem")
    wanted = _server_names(names)
    if not _are_good(files, wanted):
        _make(files, wanted)
    return files


def given(folder: Path) -> Certificates:
    """The existing certificates in ``folder``, with the file names of a Kubernetes Secret for TLS.

    Raises:
        FileNotFoundError: a file is missing.
    """
    files = Certificates(folder / "ca.crt", folder / "tls.crt", folder / "tls.key")
    for path in (files.authority, files.server, files.key):
        path.stat()
    return files


def _are_good(files: Certificates, wanted: x509.SubjectAlternativeName) -> bool:
    if not all(path.exists() for path in (files.authority, files.server, files.key)):
        return False
    certificate = x509.load_pem_x509_certificate(files.server.read_bytes())
    left = certificate.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
    known = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return left > _MIN_LIFETIME_LEFT and set(wanted) <= set(known)


def _make(files: Certificates, names: x509.SubjectAlternativeName) -> None:
    authority_key = new_key()
    authority_name = subject("Simulated PowerFlex certificate authority")
    authority = (
        authority_builder(authority_name, authority_key.public_key(), _AUTHORITY_LIFETIME)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    key = new_key()
    server = (
        builder(subject("Simulated PowerFlex gateway"), authority_name, key.public_key(), _SERVER_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(names, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False
        )
        .sign(authority_key, hashes.SHA256())
    )
    write_atomically(files.key, _key_pem(key), mode=0o600)
    write_atomically(files.server, pem(server) + pem(authority))
    write_atomically(files.authority, pem(authority))


# --- building blocks, also for the certificates of tests ---------------------------------------------


def new_key() -> ec.EllipticCurvePrivateKey:
    """A new private key."""
    return ec.generate_private_key(ec.SECP256R1())


def builder(
    name: x509.Name,
    issuer: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    lifetime: datetime.timedelta,
) -> x509.CertificateBuilder:
    """A certificate without extensions. It is valid from one hour ago, as clocks can differ."""
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_TOLERANCE)
        .not_valid_after(now + lifetime)
    )


def authority_builder(
    name: x509.Name, public_key: ec.EllipticCurvePublicKey, lifetime: datetime.timedelta
) -> x509.CertificateBuilder:
    """The certificate of an authority that issues certificates, but no further authorities."""
    return (
        builder(name, name, public_key, lifetime)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
    )


def subject(common_name: str, organizations: Sequence[str] = ()) -> x509.Name:
    """A subject. Kubernetes takes the organizations for groups."""
    groups = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, name) for name in organizations]
    return x509.Name([*groups, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _server_names(further: Sequence[str]) -> x509.SubjectAlternativeName:
    return alternative_names(list(dict.fromkeys(["localhost", "127.0.0.1", "::1", *further])))


def alternative_names(names: Sequence[str]) -> x509.SubjectAlternativeName:
    """The extension for host names and IP addresses."""
    return x509.SubjectAlternativeName([_alternative_name(name) for name in names])


def _alternative_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def pem(certificate: x509.Certificate) -> str:
    """The certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
