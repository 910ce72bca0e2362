"""Loading the kernel modules of NVMe/TCP.

This is off by default: on most hosts, those who install them also load the modules.
"""

from __future__ import annotations

from pathlib import Path

from csi_powerflex.errors import FailedPrecondition
from csi_powerflex.host.run import CommandFailed, run
from csi_powerflex.observability.log import Log
from csi_powerflex.transport.host_namespace import on_host, require_host

log = Log(__name__)

_MODULE = "nvme-tcp"
_SECONDS = 20.0


def load_modules(namespace: Path | None) -> None:
    """Load the modules of NVMe/TCP.

    Args:
        namespace: the host's mount namespace, which has the modules; None where this process runs in it.

    Raises:
        FailedPrecondition: the kernel of this host has no such modules, or it refuses them.
    """
    require_host(namespace)
    try:
        run(on_host(namespace, "modprobe", _MODULE), cap=_SECONDS)
    except CommandFailed as error:
        raise FailedPrecondition(
            f"the kernel module {_MODULE} cannot be loaded: {error}; install it on the host (some "
            "distributions have it in a package of its own, such as linux-modules-extra)"
        ) from error
    log.info("kernel module loaded", module=_MODULE)
