"""Certificates of a cluster for tests: one authority, and one certificate for each part of the cluster.

They have no key identifiers, like the certificates of many clusters. The driver must accept them.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from csi_powerflex.simulator import certificates

_LIFETIME = datetime.timedelta(days=2)


@dataclass(frozen=True, slots=True)
class Pair:
    """PEM files of a certificate and its key."""

    certificate: Path
    key: Path


class Authority:
    """The cluster's certificate authority. All its files are in ``folder``."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._key = certificates.new_key()
        self._name = certificates.subject("e2e")
        builder = certificates.authority_builder(self._name, self._key.public_key(), _LIFETIME)
        self.certificate = folder / "ca.crt"
        self.certificate.write_text(certificates.pem(builder.sign(self._key, hashes.SHA256())))

    def issue(self, user: str, *, groups: Sequence[str] = (), addresses: Sequence[str] = ()) -> Pair:
        """A certificate of ``user`` in ``groups``. It is also valid for a server at ``addresses``."""
        key = certificates.new_key()
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
        builder = certificates.builder(
            certificates.subject(user, groups), self._name, key.public_key(), _LIFETIME
        ).add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        if addresses:
            builder = builder.add_extension(certificates.alternative_names(addresses), critical=False)
        file = user.replace(":", "-")
        pair = Pair(self._folder / f"{file}.crt", self._folder / f"{file}.key")
        pair.certificate.write_text(certificates.pem(builder.sign(self._key, hashes.SHA256())))
        _write_key(pair.key, key)
        return pair

    def service_account_key(self) -> Path:
        """The key that signs the tokens of service accounts."""
        path = self._folder / "service-accounts.key"
        _write_key(path, certificates.new_key())
        return path


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )
