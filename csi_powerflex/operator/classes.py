"""StorageClasses, as far as the operator reads them."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from csi_powerflex.kube.client import Client, KubeObject

STORAGE_CLASSES = "/apis/storage.k8s.io/v1/storageclasses"

_FS_TYPE = "csi.storage.k8s.io/fstype"


class StorageClass(KubeObject, frozen=True, kw_only=True, rename="camel"):
    """A StorageClass."""

    provisioner: str = ""
    parameters: dict[str, str] = msgspec.field(default_factory=dict)
    volume_binding_mode: str = "Immediate"

    @property
    def waits(self) -> bool:
        """Whether its claims wait for a pod."""
        return self.volume_binding_mode == "WaitForFirstConsumer"


# msgspec crashes if two threads are the first to decode a type.
msgspec.json.Decoder(StorageClass)


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
