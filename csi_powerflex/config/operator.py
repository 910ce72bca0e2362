"""The operator's settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from csi_powerflex import __version__
from csi_powerflex.observability.endpoint import TlsFiles


@dataclass(frozen=True, slots=True)
class MoverSettings:
    """What all movers have.

    Attributes:
        image: the image.
        user: the user id of the process. Another one than 0 can open block devices only if the container
            runtime gives it the devices (containerd: ``device_ownership_from_security_context``).
        pull_policy: when the image is pulled, as in a container of Kubernetes.
        cpu: the most processors, as a quantity of Kubernetes; empty for no limit.
        memory: the most memory, as a quantity of Kubernetes; empty for no limit.
    """

    image: str = f"localhost/csi-powerflex-mover:{__version__}"
    user: int = 0
    pull_policy: str = "IfNotPresent"
    cpu: str = ""
    memory: str = "1Gi"


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
        mover: what all data movers have.
        namespace: the operator's namespace, where the cached copies of images are.
    """

    driver_name: str
    cluster_id: str
    systems_file: Path
    kubeconfig: Path | None = None
    metrics_address: str | None = None
    metrics_tls: TlsFiles | None = None
    mover: MoverSettings = field(default_factory=MoverSettings)
    namespace: str = "powerflex"
