"""The controller's settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from csi_powerflex.call_context import SLOW_CALL_SECONDS
from csi_powerflex.config.systems.schema import SystemSettings
from csi_powerflex.observability.endpoint import TlsFiles


@dataclass(frozen=True, slots=True)
class ControllerSettings:
    """What the controller needs to serve.

    Attributes:
        endpoint: the CSI socket, such as ``unix:///csi/csi.sock``.
        driver_name: as in the cluster's CSIDriver object.
        cluster_id: four characters that tell this cluster's volumes from those of other clusters in a pool.
        systems: the PowerFlex systems.
        over_commit: how many times the real capacity of a pool may be provisioned to thin volumes, 1 to 10.
        state_file: the file that keeps the requested QoS limits outside Kubernetes; None to keep them in
            memory.
        in_kubernetes: read the requested QoS limits from the Kubernetes cluster instead.
        kubeconfig: the kubeconfig of that cluster; None for the cluster that this process runs in.
        remove_stale_mappings: whether mappings to hosts that are no nodes of that cluster any more may be
            removed.
        events: whether Kubernetes Events are written about volumes.
        orphans_seconds: the seconds between two counts of volumes and snapshots that nothing in Kubernetes
            needs; 0 for none.
        trash_seconds: the seconds between two looks for what is due in the trash.
        systems_file: the file with ``systems``, which is watched for changes; None to watch no file.
        reload_seconds: the seconds between two looks at that file.
        watch_seconds: the seconds between two checks of a system; 0 for no checks.
        system_seconds: how much of a call's time one of several systems gets when a new volume is placed.
        retry_seconds: the longest pause before a failed request to an array is sent a second time.
        metrics_address: HOST:PORT or :PORT to serve metrics and liveness on; None to serve none.
        metrics_tls: the certificate to serve them with; None to serve them over plain HTTP.
        slow_call_seconds: a call that changes nothing is logged at level info from this duration on.
    """

    endpoint: str
    driver_name: str
    cluster_id: str
    systems: tuple[SystemSettings, ...]
    over_commit: float = 10.0
    state_file: Path | None = None
    in_kubernetes: bool = False
    kubeconfig: Path | None = None
    remove_stale_mappings: bool = False
    events: bool = False
    orphans_seconds: float = 0.0
    trash_seconds: float = 600.0
    systems_file: Path | None = None
    reload_seconds: float = 5.0
    watch_seconds: float = 300.0
    system_seconds: float = 5.0
    retry_seconds: float = 0.2
    metrics_address: str | None = None
    metrics_tls: TlsFiles | None = None
    slow_call_seconds: float = SLOW_CALL_SECONDS
