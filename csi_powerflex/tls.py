"""How the driver's clients check certificates, of gateways and of the Kubernetes API."""

from __future__ import annotations

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
