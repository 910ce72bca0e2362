"""When a certificate expires, read from its bytes.

Python's ssl module decodes only certificates that it has verified. The doctor also wants the date of one that
is not accepted, because it has expired.
"""

from __future__ import annotations

import datetime

_SEQUENCE, _UTC_TIME, _GENERALIZED_TIME, _VERSION = 0x30, 0x17, 0x18, 0xA0
_FORMS = {_UTC_TIME: "%y%m%d%H%M%SZ", _GENERALIZED_TIME: "%Y%m%d%H%M%SZ"}


def end_of(certificate: bytes) -> datetime.datetime:
    """The time ``notAfter`` of an X.509 certificate in DER (RFC 5280, 4.1).

    Raises:
        ValueError: these bytes are no certificate.
    """
    body = _content(_content(certificate, _SEQUENCE), _SEQUENCE)
    rest = body
    if rest[:1] == bytes([_VERSION]):
        rest = _skip(rest)
    for _ in ("serial number", "signature", "issuer"):
        rest = _skip(rest)
    end = _skip(_content(rest, _SEQUENCE))
    form = _FORMS.get(end[0] if end else 0)
    if form is None:
        raise ValueError("the certificate has no time of its end")
    text = _content(end, end[0]).decode("ascii")
    return datetime.datetime.strptime(text, form).replace(tzinfo=datetime.UTC)


def _measure(data: bytes) -> tuple[int, int]:
    """Where the content of the first element begins, and where it ends."""
    if len(data) < 2:
        raise ValueError("the certificate is too short")
    length, begin = data[1], 2
    if length & 0x80:
        begin += length & 0x7F
        length = int.from_bytes(data[2:begin])
    if begin + length > len(data):
        raise ValueError("the certificate is too short")
    return begin, begin + length


def _content(data: bytes, tag: int) -> bytes:
    begin, end = _measure(data)
    if data[0] != tag:
        raise ValueError("this is no certificate")
    return data[begin:end]


def _skip(data: bytes) -> bytes:
    return data[_measure(data)[1] :]
