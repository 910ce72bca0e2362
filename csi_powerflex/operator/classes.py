"""The classes of volumes and snapshots, as far as the operator reads them."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from csi_powerflex.errors import FailedPrecondition
from csi_powerflex.kube.client import Client, KubeObject
from csi_powerflex.operator.objects import SNAPSHOT_GROUP
from csi_powerflex.operator.owned import WholeMeta

STORAGE_CLASSES = "/apis/storage.k8s.io/v1/storageclasses"
SNAPSHOT_CLASSES = f"/apis/{SNAPSHOT_GROUP}/volumesnapshotclasses"

_FS_TYPE = "csi.storage.k8s.io/fstype"
_IS_DEFAULT = "snapshot.storage.kubernetes.io/is-default-class"
_RETENTION = "retentionMinutes"


class StorageClass(KubeObject, frozen=True, kw_only=True, rename="camel"):
    """A StorageClass."""

    provisioner: str = ""
    parameters: dict[str, str] = msgspec.field(default_factory=dict)
    volume_binding_mode: str = "Immediate"

    @property
    def waits(self) -> bool:
        """Whether its claims wait for a pod."""
        return self.volume_binding_mode == "WaitForFirstConsumer"


class SnapshotClass(KubeObject, frozen=True, kw_only=True):
    """A VolumeSnapshotClass."""

    metadata: WholeMeta = WholeMeta()
    driver: str = ""
    parameters: dict[str, str] | None = None

    @property
    def retention(self) -> str:
        """For how many minutes the array keeps its snapshots, as it is written; empty for none."""
        minutes = (self.parameters or {}).get(_RETENTION, "").strip()
        return minutes if minutes.strip("0") else ""


# msgspec crashes if two threads are the first to decode a type.
for _type in (StorageClass, SnapshotClass):
    msgspec.json.Decoder(_type)


@dataclass(frozen=True, slots=True)
class StorageClasses:
    """The StorageClasses of the cluster.

    Attributes:
        client: how to reach the cluster.
    """

    client: Client

    def get(self, name: str) -> StorageClass:
        """A StorageClass.

        Raises:
            NotFound: it does not exist.
            DriverError: the cluster does not answer.
        """
        return self.client.get(STORAGE_CLASSES, name, StorageClass)

    def filesystem(self, name: str) -> str:
        """The filesystem that a class gives its volumes; empty for the default. Raises as ``get``."""
        return self.get(name).parameters.get(_FS_TYPE, "")


@dataclass(frozen=True, slots=True)
class SnapshotClasses:
    """The VolumeSnapshotClasses of the cluster.

    Attributes:
        client: how to reach the cluster.
        driver: the driver's CSI name.
    """

    client: Client
    driver: str

    def require_removable(self, name: str) -> None:
        """Look that the snapshots of a class can be removed at any time.

        Args:
            name: the class; empty for the default class of the driver.

        Raises:
            NotFound: it does not exist.
            FailedPrecondition: the array keeps its snapshots for a time.
            DriverError: the cluster does not answer.
        """
        for found in [self.client.get(SNAPSHOT_CLASSES, name, SnapshotClass)] if name else self._defaults():
            if found.retention:
                raise FailedPrecondition(
                    f"VolumeSnapshotClass {found.metadata.name} has {_RETENTION} {found.retention}, so its "
                    "snapshot could not be removed when it is not needed any more; give a class without it "
                    "in snapshotClass"
                )

    def _defaults(self) -> list[SnapshotClass]:
        """The classes of which the snapshot controller uses one if none is given."""
        return [
            found
            for found in self.client.list(SNAPSHOT_CLASSES, SnapshotClass).items
            if found.driver == self.driver and found.metadata.annotations.get(_IS_DEFAULT) == "true"
        ]
