"""How the driver's clients check certificates, of gateways and of the Kubernetes API."""

from __future__ import annotations

import ssl

import urllib3


def context() -> ssl.SSLContext:
    """urllib3's context, without the strict check of the form of certificates (RFC 5280).

    Python 3.13 and newer make that check by default. It refuses authorities without a key identifier, which
    gateways and clusters often have. The signature and the host name are verified in any case.
    """
    created = urllib3.util.ssl_.create_urllib3_context()
    created.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return created
