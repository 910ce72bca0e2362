"""The settings of the commands that show volumes and snapshots."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from csi_powerflex.config.systems.schema import SystemSettings


@dataclass(frozen=True, slots=True)
class InventorySettings:
    """What the commands need.

    Attributes:
        systems: the PowerFlex systems.
        cluster_id: four characters in the names of this cluster's volumes.
        driver_name: as in the cluster's CSIDriver object.
        in_kubernetes: ask Kubernetes; None to ask it if this process runs in a pod, or with ``kubeconfig``.
        kubeconfig: the kubeconfig of the cluster; None for the cluster that this process runs in.
    """

    systems: tuple[SystemSettings, ...]
    cluster_id: str
    driver_name: str
    in_kubernetes: bool | None = None
    kubeconfig: Path | None = None
