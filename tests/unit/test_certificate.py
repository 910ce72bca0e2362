"""Reading the end of a certificate from its bytes."""

from __future__ import annotations

import datetime

import pytest
from cryptography.hazmat.primitives import hashes, serialization

from csi_powerflex.gateway import certificate
from csi_powerflex.simulator import certificates


def made(days: int) -> tuple[bytes, datetime.datetime]:
    """A certificate in DER, and its end."""
    key, name = certificates.new_key(), certificates.subject("gateway")
    builder = certificates.builder(name, name, key.public_key(), datetime.timedelta(days=days))
    signed = builder.sign(key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.DER), signed.not_valid_after_utc


@pytest.mark.parametrize("days", [1, 397, 40 * 365])
def test_the_end_is_read_in_both_forms_of_time(days: int) -> None:
    encoded, end = made(days)
    assert certificate.end_of(encoded) == end


def test_other_bytes_are_refused_and_never_end_in_another_error() -> None:
    encoded, _ = made(1)
    for length in range(len(encoded)):
        try:
            certificate.end_of(encoded[:length])
        except ValueError:
            continue
        pytest.fail(f"{length} bytes were accepted")
    for position in range(len(encoded)):
        changed = bytearray(encoded)
        changed[position] ^= 0xFF
        try:
            certificate.end_of(bytes(changed))
        except ValueError:
            continue
