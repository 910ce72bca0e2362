"""Certificates of a gateway that end at a given time, and their authority."""

from __future__ import annotations

import datetime
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization

from csi_powerflex.simulator import certificates

LONG = datetime.timedelta(days=1000)


def issue(folder: Path, *, server: datetime.timedelta = LONG, authority: datetime.timedelta = LONG) -> Path:
    """Write ``ca.crt``, ``tls.crt`` and ``tls.key`` for 127.0.0.1; the times are from now on.

    Returns:
        The file of the authority.
    """
    folder.mkdir()
    root, key = certificates.new_key(), certificates.new_key()
    name = certificates.subject("an authority")
    top = certificates.authority_builder(name, root.public_key(), authority).sign(root, hashes.SHA256())
    leaf = (
        certificates.builder(certificates.subject("gateway"), name, key.public_key(), server)
        .add_extension(certificates.alternative_names(["127.0.0.1"]), critical=False)
        .sign(root, hashes.SHA256())
    )
    (folder / "ca.crt").write_text(certificates.pem(top))
    (folder / "tls.crt").write_text(certificates.pem(leaf))
    (folder / "tls.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return folder / "ca.crt"
