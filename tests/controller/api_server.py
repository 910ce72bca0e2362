"""The API server of a cluster with PersistentVolumes and VolumeAttributesClasses of the driver."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from csi_powerflex.qos_store.kubernetes import CLASSES, VOLUMES
from tests.kube.api_server import ApiServer

DRIVER = "csi.powerflex.dev"


def released(spec: Mapping[str, Any]) -> dict[str, Any]:
    """What a PersistentVolume has besides its metadata when the provisioner deletes its volume."""
    spec = {**spec, "persistentVolumeReclaimPolicy": "Delete"}
    return {"spec": spec, "status": {"phase": "Released"}}


class Cluster(ApiServer):
    """A context manager. Volumes and classes are put as an administrator and the sidecars would do it."""

    def put_volume(
        self,
        handle: str,
        class_name: str | None = None,
        *,
        driver: str = DRIVER,
        name: str = "",
        phase: str = "Released",
        policy: str = "Delete",
        **attributes: str,
    ) -> None:
        """A PersistentVolume, by default Released, because tests delete volumes without a provisioner."""
        source = {"driver": driver, "volumeHandle": handle, "volumeAttributes": attributes}
        spec = {"csi": source, **({"volumeAttributesClassName": class_name} if class_name else {})}
        spec["persistentVolumeReclaimPolicy"] = policy
        self.put(VOLUMES, name or f"pv-{handle}", {"spec": spec, "status": {"phase": phase}})

    def remove_volume(self, handle: str) -> None:
        self.remove(VOLUMES, f"pv-{handle}")

    def put_class(self, name: str, *, driver: str = DRIVER, **parameters: str) -> None:
        self.put(CLASSES, name, {"driverName": driver, "parameters": parameters})

    def remove_class(self, name: str) -> None:
        self.remove(CLASSES, name)
