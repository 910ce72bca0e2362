"""How the driver's clients check certificates, of gateways and of a Kubernetes API alike."""

from __future__ import annotations

import ssl

import urllib3


def context() -> ssl.SSLContext:
    """As urllib3 makes it, but that certificates need not have the form of RFC 5280 to the letter.

    From Python 3.13 on that is asked by default, and refuses authorities that name no key identifier, as
    those of gateways and clusters often do not. Who signed what for whom is verified all the same.
    """
    made = urllib3.util.ssl_.create_urllib3_context()
    made.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return made
