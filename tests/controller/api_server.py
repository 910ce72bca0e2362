"""The API server of a cluster with PersistentVolumes and VolumeAttributesClasses of the driver."""

from __future__ import annotations

from csi_powerflex.qos_store.kubernetes import CLASSES, VOLUMES
from tests.kube.api_server import ApiServer

DRIVER = "csi.powerflex.dev"


class Cluster(ApiServer):
    """A context manager. Volumes and classes are put as an administrator and the sidecars would do it."""

    def put_volume(
        self,
        handle: str,
        class_name: str | None = None,
        *,
        driver: str = DRIVER,
        name: str = "",
        **attributes: str,
    ) -> None:
        source = {"driver": driver, "volumeHandle": handle, "volumeAttributes": attributes}
        spec = {"csi": source, **({"volumeAttributesClassName": class_name} if class_name else {})}
        self.put(VOLUMES, name or f"pv-{handle}", {"spec": spec})

    def remove_volume(self, handle: str) -> None:
        self.remove(VOLUMES, f"pv-{handle}")

    def put_class(self, name: str, *, driver: str = DRIVER, **parameters: str) -> None:
        self.put(CLASSES, name, {"driverName": driver, "parameters": parameters})

    def remove_class(self, name: str) -> None:
        self.remove(CLASSES, name)
