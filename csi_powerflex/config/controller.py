"""The controller's settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from csi_powerflex.config.systems.schema import SystemSettings

DEFAULT_DRIVER_NAME = "csi.powerflex.dev"


@dataclass(frozen=True, slots=True)
class ControllerSettings:
    """What the controller needs to serve.

    Attributes:
        endpoint: the CSI socket, such as ``unix:///csi/csi.sock``.
        driver_name: as in the cluster's CSIDriver object.
        cluster_id: four characters that tell this cluster's volumes from those of others on the same pool.
        systems: the PowerFlex systems.
        over_commit: how many times the real space of a pool may be promised to thin volumes, 1 to 10.
        in_kubernetes: read wishes from the cluster instead.
        kubeconfig: that of the cluster; None for the one that this process runs in.
        systems_file: where ``systems`` were read from, to be watched for changes; None not to watch.
        reload_seconds: how often that is looked at.
        watch_seconds: how often each system is looked at while nothing is asked of it; 0 for never.
        metrics_address: HOST:PORT or :PORT to serve metrics and liveness on; None not to.
        state_file: where wishes for quality of service outlive a restart outside Kubernetes; None to keep
            them in memory only.
    """

    endpoint: str
    driver_name: str
    cluster_id: str
    systems: tuple[SystemSettings, ...]
    over_commit: float = 10.0
    state_file: Path | None = None
    in_kubernetes: bool = False
    kubeconfig: Path | None = None
    systems_file: Path | None = None
    reload_seconds: float = 5.0
    watch_seconds: float = 300.0
    metrics_address: str | None = None
