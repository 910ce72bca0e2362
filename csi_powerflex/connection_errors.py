"""Plain words for errors of connections and TLS, for gateways and the Kubernetes API.

The texts of Python and OpenSSL name their own source files and modules. These words say what was found, and
name the file with the trusted authorities where it decides.
"""

from __future__ import annotations

import http.client
import re
import ssl

import urllib3.exceptions

_SELF_SIGNED = (18,)
_NO_ISSUER = (2, 7, 19, 20, 21)
# OpenSSL's numbers of what is wrong with a certificate (openssl/x509_vfy.h).
_CERTIFICATES = {
    9: "it is not valid yet: compare the clocks of both sides",
    10: "it has expired: renew it",
    13: "it has expired: renew it",
    23: "it was revoked: renew it",
    **dict.fromkeys(_SELF_SIGNED, "it is self-signed, and {authority} does not have it"),
    **dict.fromkeys(_NO_ISSUER, "{authority} does not have the authority that signed it"),
}
_MISMATCH = re.compile(r"(?P<kind>Hostname|IP address) mismatch, .* for '(?P<name>.*)'\.?")

# OpenSSL's names of errors. A name that is not here is written in small letters.
_NO_TLS = "the other side does not speak TLS: check the port"
_NO_VERSION = "both sides have no common version of TLS"
_TLS = {
    "WRONG_VERSION_NUMBER": _NO_TLS,
    "UNKNOWN_PROTOCOL": _NO_TLS,
    "HTTP_REQUEST": _NO_TLS,
    "RECORD_LAYER_FAILURE": _NO_TLS,
    "PACKET_LENGTH_TOO_LONG": _NO_TLS,
    "UNSUPPORTED_PROTOCOL": _NO_VERSION,
    "NO_PROTOCOLS_AVAILABLE": _NO_VERSION,
    "TLSV1_ALERT_PROTOCOL_VERSION": _NO_VERSION,
    "UNEXPECTED_EOF_WHILE_READING": "the other side closed the connection",
}
# By the kind of error, the more special kind first. An error of the system has Linux's words.
_WORDS: tuple[tuple[tuple[type[Exception], ...], str], ...] = (
    ((http.client.RemoteDisconnected,), "the other side closed the connection without an answer"),
    ((http.client.IncompleteRead,), "the answer ended too early"),
    ((http.client.HTTPException,), "the answer is not HTTP"),
    ((UnicodeError, urllib3.exceptions.LocationParseError), "the host name is not valid"),
)
# What Python adds to a text of OpenSSL, and addresses in memory.
_OF_PYTHON = re.compile(r"^\[[A-Z0-9_]+: [A-Z0-9_]+\] | ?\(_ssl\.c:\d+\)|<[\w.]+ object at 0x[0-9a-f]+>:? ?")


def before_sending(error: BaseException, authority: str) -> str:
    """Why there is no connection, as in ``cannot connect: Connection refused``.

    Args:
        error: an error of requests, urllib3, ``ssl`` or a socket.
        authority: what holds the trusted authorities, as in ``caFile /etc/powerflex/ca.pem``.
    """
    innermost = causes(error)[-1]
    if isinstance(innermost, ssl.SSLCertVerificationError):
        return f"the certificate was not accepted: {_of_certificate(innermost, authority)}"
    if isinstance(innermost, ssl.SSLError):
        return f"no TLS connection: {reason(innermost)}"
    return f"cannot connect: {reason(innermost)}"


def reason(error: BaseException) -> str:
    """The reason of ``error`` in a few words: that of its innermost cause.

    The outer causes repeat the URL and addresses in memory.
    """
    innermost = causes(error)[-1]
    if isinstance(innermost, ssl.SSLError):
        return _of_tls(innermost)
    known = next((words for kinds, words in _WORDS if isinstance(innermost, kinds)), None)
    words = known or getattr(innermost, "strerror", None) or without_python(str(innermost))
    return words or type(innermost).__name__


def without_python(text: str) -> str:
    """``text`` without what only a programmer needs: names of modules, source files and addresses."""
    return _OF_PYTHON.sub("", text).strip()


def causes(error: BaseException) -> list[BaseException]:
    """The error and its causes, the innermost one last."""
    chain: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in chain:
        chain.append(following)
        stated = getattr(following, "reason", None)
        given = (stated, *following.args)
        inner = next((item for item in given if isinstance(item, BaseException)), None)
        following = inner or following.__cause__ or following.__context__
    return chain


def _of_certificate(error: ssl.SSLCertVerificationError, authority: str) -> str:
    known = _CERTIFICATES.get(error.verify_code)
    if known is not None:
        return known.format(authority=authority)
    if mismatch := _MISMATCH.fullmatch(error.verify_message or ""):
        kind = "host name" if mismatch["kind"] == "Hostname" else "address"
        return f"it is not for the {kind} {mismatch['name']}: use one that is in the certificate"
    return without_python(error.verify_message or str(error))


def _of_tls(error: ssl.SSLError) -> str:
    # An error of Python itself, such as that of an early end, may have no such attribute.
    name = getattr(error, "reason", None) or ""
    if name in _TLS:
        return _TLS[name]
    return name.lower().replace("_", " ") or without_python(error.strerror or str(error))
