"""How the driver's clients check certificates, of gateways and of the Kubernetes API."""

from __future__ import annotations

import re
import ssl

import urllib3


def context() -> ssl.SSLContext:
    """urllib3's context, which accepts the same certificates on each version of Python.

    Python 3.13 and newer check the form of certificates strictly (RFC 5280) by default. That refuses
    authorities without a key identifier, which gateways and clusters often have. So it is disabled here.
    They also trust each given certificate, even if it is not a root: the one of the gateway, or of an
    intermediate authority. So that is enabled here. The signature and the host name are always verified.
    """
    created = urllib3.util.ssl_.create_urllib3_context()
    created.verify_flags &= ~ssl.VERIFY_X509_STRICT
    created.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return created


class UnusableAuthorities(ValueError):
    """A file of certificate authorities has no usable certificate. The message says what it has."""


def trusting(authorities: bytes | None) -> ssl.SSLContext:
    """A context that trusts these certificates only.

    Args:
        authorities: certificates in PEM, with any text around them; None for the list of the operating
            system. That is OpenSSL's, which SSL_CERT_FILE and SSL_CERT_DIR replace.

    Raises:
        UnusableAuthorities: there is no certificate in ``authorities``, or one is damaged.
    """
    created = context()
    if authorities is None:
        created.load_default_certs()
        return created
    # Certificates in PEM are ASCII. A text around them may be in any language.
    text = authorities.decode("ascii", errors="ignore")
    if _BEGIN.search(text) is None:
        raise UnusableAuthorities(_content_of(authorities, text))
    try:
        created.load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError) as error:
        raise UnusableAuthorities("a certificate in it is damaged; copy the file again") from error
    return created


# OpenSSL's names for a certificate.
_BEGIN = re.compile(r"-----BEGIN (X509 )?CERTIFICATE-----")


def _content_of(content: bytes, text: str) -> str:
    """What a file without a certificate in PEM has, and what to do."""
    if not content.strip():
        return "it is empty; put the certificate into it, in PEM form"
    if content[:1] == b"\x30":
        return (
            "it holds no certificate in PEM form, but perhaps one in DER form; convert it with "
            "`openssl x509 -inform der -in FILE -out ca.pem`"
        )
    if "PRIVATE KEY-----" in text:
        return "it holds a private key and no certificate; give the certificate, and keep the key secret"
    return "it holds no certificate in PEM form, which begins with -----BEGIN CERTIFICATE-----"
