"""How the certificate of a system's gateway is verified. The node does not load this module."""

from __future__ import annotations

import ssl
from pathlib import Path

from csi_powerflex import tls
from csi_powerflex.config.systems.schema import SystemSettings
from csi_powerflex.errors import FailedPrecondition


def trust_of(system: SystemSettings) -> ssl.SSLContext:
    """The context for connections to the system, with what caFile holds now.

    Raises:
        FailedPrecondition: caFile cannot be read, or has no usable certificate.
    """
    if system.ca_file is None:
        return tls.trusting(None)
    try:
        return tls.trusting(Path(system.ca_file).read_bytes())
    except OSError as error:
        raise FailedPrecondition(
            f"system {system.label}: cannot read caFile {system.ca_file}: {error.strerror}"
        ) from error
    except tls.UnusableAuthorities as error:
        raise FailedPrecondition(
            f"system {system.label}: caFile {system.ca_file} cannot be used: {error}"
        ) from error
