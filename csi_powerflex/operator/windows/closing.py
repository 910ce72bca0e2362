"""The end of a PersistentVolume whose volume stays, in the order that loses nothing.

1. The reclaim policy is Retain, so no deletion of an object removes the volume.
2. The claim is deleted, and is removed.
3. No VolumeAttachment names the PersistentVolume: no node has the device any more.
4. The PersistentVolume is deleted, and is removed with its finalizers.

Only then another PersistentVolume of the volume may be attached. Nothing here is forced. If the node of an
attachment is lost, this waits until Kubernetes has detached the volume, because the node may still write.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from csi_powerflex.errors import AlreadyExists, Busy, FailedPrecondition, NotFound
from csi_powerflex.kube.client import Client, KubeObject
from csi_powerflex.kube_objects.custody import ATTACHMENTS
from csi_powerflex.kube_objects.reader import VOLUMES
from csi_powerflex.model.volume_context import ORIGIN_KEY, Origin
from csi_powerflex.operator.owned import Whole, was_made_for

DELETE, RETAIN = "Delete", "Retain"
_FILESYSTEM = "filesystem"
_KEPT_ANNOTATIONS = (
    "pv.kubernetes.io/provisioned-by",
    "volume.kubernetes.io/provisioner-deletion-secret-name",
    "volume.kubernetes.io/provisioner-deletion-secret-namespace",
)


class _Source(msgspec.Struct, frozen=True, rename="camel"):
    persistent_volume_name: str | None = None


class _AttachmentSpec(msgspec.Struct, frozen=True, rename="camel"):
    node_name: str = ""
    source: _Source = _Source()


class _Attachment(KubeObject, frozen=True):
    spec: _AttachmentSpec = _AttachmentSpec()


# msgspec crashes if two threads are the first to decode a type.
msgspec.json.Decoder(_Attachment)


class StillAttached(FailedPrecondition):
    """A node has the volume attached. The message says which, and what to do if the node is lost."""


@dataclass(frozen=True, slots=True)
class Volumes:
    """PersistentVolumes that are replaced.

    Attributes:
        client: how to reach the cluster.
    """

    client: Client

    def find(self, name: str) -> Whole | None:
        """A PersistentVolume; None if it does not exist."""
        try:
            return self.client.get(VOLUMES, name, Whole)
        except NotFound:
            return None

    def get(self, name: str) -> Whole:
        """A PersistentVolume. Raises NotFound: it does not exist."""
        return self.client.get(VOLUMES, name, Whole)

    def retain(self, name: str) -> None:
        """Let the volume stay when the claim of its PersistentVolume is deleted, and look that it is so.

        Raises:
            NotFound: the PersistentVolume does not exist.
            FailedPrecondition: someone has changed it back.
        """
        self.set_policy(name, RETAIN)
        if policy_of(self.get(name)) != RETAIN:
            raise FailedPrecondition(
                f"the reclaim policy of PersistentVolume {name} was changed back from Retain"
            )

    def set_policy(self, name: str, policy: str) -> None:
        """Set the reclaim policy, if it is another one. Raises NotFound: it does not exist."""
        found = self.get(name)
        if policy_of(found) != policy:
            self.change(found, {"persistentVolumeReclaimPolicy": policy})

    def let_go(self, volume: Whole, claim_uid: str) -> None:
        """Let the volume of a temporary claim be removed with the claim, also if its class keeps volumes.

        A PersistentVolume that existed before the claim is kept. One that the claim only names is left alone.

        Args:
            volume: the PersistentVolume that the claim names.
            claim_uid: the UID of the claim.

        Raises:
            Busy: someone has changed it at the same time.
        """
        made = was_made_for(volume.metadata.name, claim_uid)
        owner = (volume.spec.get("claimRef") or {}).get("uid") or (claim_uid if made else "")
        policy = DELETE if made else RETAIN
        if owner == claim_uid and policy_of(volume) != policy:
            self.change(volume, {"persistentVolumeReclaimPolicy": policy})

    def change(self, volume: Whole, spec: Mapping[str, object]) -> None:
        """Change fields of the specification of a PersistentVolume, if it is still as it was read.

        Raises:
            NotFound: it does not exist.
            Busy: it has changed since; read it again.
        """
        name, version = volume.metadata.name, {"resourceVersion": volume.metadata.resource_version}
        try:
            self.client.patch(VOLUMES, name, {"metadata": version, "spec": spec})
        except AlreadyExists as error:
            raise Busy(f"PersistentVolume {name} was changed at the same time") from error

    def require_detached(self, name: str) -> None:
        """Raises StillAttached: a VolumeAttachment names the PersistentVolume."""
        for item in self.client.list(ATTACHMENTS, _Attachment).items:
            if item.spec.source.persistent_volume_name == name:
                raise StillAttached(
                    f"node {item.spec.node_name} still has PersistentVolume {name} attached "
                    f"(VolumeAttachment {item.metadata.name}). If the node is lost for good, delete its Node "
                    "object, or taint it with node.kubernetes.io/out-of-service; Kubernetes then detaches "
                    "the volume"
                )

    def is_closed(self, name: str) -> bool:
        """Begin to remove a PersistentVolume whose claim is removed. Returns whether it is removed.

        Raises:
            FailedPrecondition: its reclaim policy is not Retain, so its volume could be removed with it.
            StillAttached: a node has it attached.
        """
        found = self.find(name)
        if found is None:
            return True
        if policy_of(found) != RETAIN:
            raise FailedPrecondition(
                f"the reclaim policy of PersistentVolume {name} is not Retain, so it is not deleted; set it "
                "to Retain"
            )
        self.require_detached(name)
        if not found.deleting:
            self.client.delete(VOLUMES, name, uid=found.metadata.uid)
        return self.find(name) is None


def policy_of(volume: Whole) -> str:
    """The reclaim policy of a PersistentVolume. Delete is the default of the API."""
    return str(volume.spec.get("persistentVolumeReclaimPolicy") or DELETE)


def filesystem_of(volume: Whole) -> str:
    """The filesystem of a PersistentVolume; empty for the default of the driver, or for none."""
    csi = volume.spec.get("csi") or {}
    return str(csi.get("fsType") or (csi.get("volumeAttributes") or {}).get(_FILESYSTEM) or "")


def successor(
    first: Whole,
    *,
    name: str,
    labels: Mapping[str, str],
    claim: Mapping[str, str],
    filesystem: str,
    storage_class: str,
) -> dict[str, Any]:
    """The PersistentVolume in filesystem mode that follows one in block mode, for the same volume.

    It is reserved for a claim that cannot be bound to it yet, so no pod can use it before the first is
    removed. The volume has data, so it is marked as a copy, which is never formatted.

    Args:
        first: the one in block mode.
        name: the name of the new one.
        labels: its labels.
        claim: ``namespace`` and ``name`` of the claim that it is for, and ``uid`` for only one of that name.
        filesystem: the filesystem on the volume; empty for the default of the driver.
        storage_class: the class of the claim.
    """
    annotations, before = first.metadata.annotations, first.spec
    csi = dict(before["csi"])
    if filesystem:
        csi["fsType"] = filesystem
    csi["volumeAttributes"] = {**csi.get("volumeAttributes", {}), ORIGIN_KEY: Origin.COPY.value}
    kept = {key: annotations[key] for key in _KEPT_ANNOTATIONS if key in annotations}
    spec = {
        "capacity": before["capacity"],
        "accessModes": before["accessModes"],
        "volumeMode": "Filesystem",
        "persistentVolumeReclaimPolicy": RETAIN,
        "storageClassName": storage_class,
        "csi": csi,
        "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", **claim},
    }
    for field in ("nodeAffinity", "mountOptions", "volumeAttributesClassName"):
        if before.get(field):
            spec[field] = before[field]
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name, "labels": dict(labels), "annotations": kept},
        "spec": spec,
    }
