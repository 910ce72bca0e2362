"""The first line of a process in its log: what runs here."""

from __future__ import annotations

import platform

from csi_powerflex import __version__
from csi_powerflex.observability import metrics
from csi_powerflex.observability.log import Log

log = Log(__name__)


def write(role: str, driver_name: str, **more: object) -> None:
    """Write which role, version and driver name this process has, and ``more`` fields; set its metric."""
    metrics.BUILD_INFO.labels(role, __version__).set(1)
    log.info(
        "csi-powerflex started",
        role=role,
        version=__version__,
        python=platform.python_version(),
        driver_name=driver_name,
        **more,
    )
