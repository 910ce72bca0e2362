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

_AUTHORITY_DAYS = 3650
_SERVER_DAYS = 397
_MIN_DAYS_LEFT = 7


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files: the authority's certificate for clients, the server's chain and key."""

    authority: Path
    server: Path
    key: Path


def ensure(folder: Path, names: Sequence[str] = ()) -> Certificates:
    """The certificates in ``folder``, made when they are missing, about to end, or lack one of ``names``.

    ``names`` are host names and IP addresses; loopback's are always among those of the certificate.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = Certificates(folder / "ca.pem", folder / "server.pem", folder / "server-key.pem")
    wanted = _alternative_names(names)
    if not _are_good(files, wanted):
        _make(files, wanted)
    return files


def given(folder: Path) -> Certificates:
    """The certificates that somebody else has put into ``folder``, named as in a Kubernetes Secret for TLS.

    Raises:
        FileNotFoundError: one is missing.
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
    return left > datetime.timedelta(days=_MIN_DAYS_LEFT) and set(wanted) <= set(known)


def _make(files: Certificates, names: x509.SubjectAlternativeName) -> None:
    now = datetime.datetime.now(datetime.UTC)
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority_name = _name("Simulated PowerFlex certificate authority")
    authority = (
        _builder(authority_name, authority_name, authority_key.public_key(), now, _AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    key = ec.generate_private_key(ec.SECP256R1())
    server = (
        _builder(_name("Simulated PowerFlex gateway"), authority_name, key.public_key(), now, _SERVER_DAYS)
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
    write_atomically(files.server, _pem(server) + _pem(authority))
    write_atomically(files.authority, _pem(authority))


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    now: datetime.datetime,
    days: int,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


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


def _alternative_names(further: Sequence[str]) -> x509.SubjectAlternativeName:
    every = dict.fromkeys(["localhost", "127.0.0.1", "::1", *further])
    return x509.SubjectAlternativeName([_alternative_name(name) for name in every])


def _alternative_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
