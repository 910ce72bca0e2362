"""The operator's settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from csi_powerflex.observability.endpoint import TlsFiles


@dataclass(frozen=True, slots=True)
class OperatorSettings:
    """What the operator needs.

    Attributes:
        driver_name: as in the cluster's CSIDriver object.
        cluster_id: four characters in the names of this cluster's volumes.
        systems_file: the file with the PowerFlex systems. It is read at each work on an array.
        kubeconfig: the kubeconfig of the cluster; None for the cluster that this process runs in.
        metrics_address: HOST:PORT or :PORT to serve metrics and liveness on; None to serve none.
        metrics_tls: the certificate to serve them with; None to serve them over plain HTTP.
    """

    driver_name: str
    cluster_id: str
    systems_file: Path
    kubeconfig: Path | None = None
    metrics_address: str | None = None
    metrics_tls: TlsFiles | None = None
