"""The objects that are made for a claim that waits for a copy: their names, and their content."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from csi_powerflex.kube.client import KubeObject, ObjectMeta
from csi_powerflex.operator.api import GROUP
from csi_powerflex.operator.objects import SNAPSHOT_GROUP

CLAIM_LABEL = f"{GROUP}/populates"
"""On each object that is made for a claim: the UID of the claim."""

VOLUMES = "/api/v1/persistentvolumes"
CONTENTS = f"/apis/{SNAPSHOT_GROUP}/volumesnapshotcontents"
CLASSES = "/apis/storage.k8s.io/v1/storageclasses"
ATTACHMENTS = "/apis/storage.k8s.io/v1/volumeattachments"
SELECTED_NODE = "volume.kubernetes.io/selected-node"

_PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
_PROVISIONER_PREFIX = "volume.kubernetes.io/provisioner-deletion-"
_FS_TYPE = "csi.storage.k8s.io/fstype"
_KEPT_FIELDS = ("capacity", "accessModes", "nodeAffinity", "storageClassName", "volumeAttributesClassName")
# Exit codes of the mover after which the same job cannot succeed (model.mover.Exit).
_FINAL_EXITS = (1, 2, 10, 11, 13)


class PlainMeta(ObjectMeta, frozen=True, rename="camel"):
    """Metadata with labels and annotations."""

    labels: dict[str, str] = msgspec.field(default_factory=dict)
    annotations: dict[str, str] = msgspec.field(default_factory=dict)
    deletion_timestamp: str | None = None


class Plain(KubeObject, frozen=True, kw_only=True):
    """An object whose fields are copied or looked at one by one."""

    metadata: PlainMeta = PlainMeta()
    spec: dict[str, Any] = msgspec.field(default_factory=dict)
    status: dict[str, Any] = msgspec.field(default_factory=dict)


class StorageClass(KubeObject, frozen=True, kw_only=True, rename="camel"):
    """A StorageClass."""

    provisioner: str = ""
    parameters: dict[str, str] = msgspec.field(default_factory=dict)
    mount_options: list[str] = msgspec.field(default_factory=list)
    volume_binding_mode: str = "Immediate"

    @property
    def waits(self) -> bool:
        """Whether its claims wait for a pod."""
        return self.volume_binding_mode == "WaitForFirstConsumer"


# msgspec crashes if two threads are the first to decode a type.
for _type in (Plain, StorageClass):
    msgspec.json.Decoder(_type)


def jobs(namespace: str) -> str:
    """The path of the Jobs of a namespace."""
    return f"/apis/batch/v1/namespaces/{namespace}/jobs"


def pods(namespace: str) -> str:
    """The path of the pods of a namespace."""
    return f"/api/v1/namespaces/{namespace}/pods"


@dataclass(frozen=True, slots=True)
class Names:
    """The names of the objects for the claim with this UID."""

    uid: str

    @property
    def snapshot(self) -> str:
        """The VolumeSnapshot of a claim that is copied, in its namespace."""
        return f"copy-{self.uid}"

    @property
    def twin(self) -> str:
        """The VolumeSnapshot in the operator's namespace, and its VolumeSnapshotContent."""
        return f"copy-source-{self.uid}"

    @property
    def source(self) -> str:
        """The claim with the clone that is read."""
        return f"source-{self.uid}"

    @property
    def prime(self) -> str:
        """The claim that is written."""
        return f"prime-{self.uid}"

    @property
    def job(self) -> str:
        """The mover."""
        return f"mover-{self.uid}"

    @property
    def final(self) -> str:
        """The PersistentVolume of the claim. A provisioner would give it the same name."""
        return f"pvc-{self.uid}"


def metadata(uid: str, name: str, namespace: str = "") -> dict[str, Any]:
    """The metadata of an object that is made for a claim."""
    within = {"namespace": namespace} if namespace else {}
    return {"name": name, **within, "labels": {CLAIM_LABEL: uid}}


def content_of(uid: str, driver: str, handle: str, namespace: str) -> dict[str, Any]:
    """A VolumeSnapshotContent for the same snapshot. It never deletes that."""
    return {
        "apiVersion": SNAPSHOT_GROUP,
        "kind": "VolumeSnapshotContent",
        "metadata": metadata(uid, Names(uid).twin),
        "spec": {
            "driver": driver,
            "deletionPolicy": "Retain",
            "source": {"snapshotHandle": handle},
            "volumeSnapshotRef": {"name": Names(uid).twin, "namespace": namespace},
        },
    }


def twin_of(uid: str, namespace: str) -> dict[str, Any]:
    """The VolumeSnapshot of that content."""
    return {
        "apiVersion": SNAPSHOT_GROUP,
        "kind": "VolumeSnapshot",
        "metadata": metadata(uid, Names(uid).twin, namespace),
        "spec": {"source": {"volumeSnapshotContentName": Names(uid).twin}},
    }


def source_of(uid: str, namespace: str, storage_class: str, size: str) -> dict[str, Any]:
    """The claim with a clone of the snapshot, for the mover to read."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": metadata(uid, Names(uid).source, namespace),
        "spec": {
            "storageClassName": storage_class,
            "volumeMode": "Block",
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": size}},
            "dataSource": {
                "apiGroup": SNAPSHOT_GROUP.partition("/")[0],
                "kind": "VolumeSnapshot",
                "name": Names(uid).twin,
            },
        },
    }


def prime_of(uid: str, namespace: str, claim: Plain) -> dict[str, Any]:
    """The claim that the mover writes, as the user's claim but with a raw block volume."""
    made = metadata(uid, Names(uid).prime, namespace)
    if node := claim.metadata.annotations.get(SELECTED_NODE):
        made["annotations"] = {SELECTED_NODE: node}
    names = ("storageClassName", "accessModes", "resources", "volumeAttributesClassName")
    kept = {name: claim.spec[name] for name in names if name in claim.spec}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": made,
        "spec": {**kept, "volumeMode": "Block"},
    }


@dataclass(frozen=True, slots=True)
class Mover:
    """How movers run.

    Attributes:
        image: the mover's image.
        user: the user of the process. Root without capabilities, unless the container runtime gives devices
            to the user of the container.
        resources: of the container, as in a pod.
    """

    image: str
    user: int = 0
    resources: Mapping[str, Any] | None = None


def job_of(uid: str, namespace: str, mover: Mover, source_id: str) -> dict[str, Any]:
    """The Job that copies. It has no token, no capability, and writes nothing but the volume."""
    names = Names(uid)
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [
            {
                "name": "mover",
                "image": mover.image,
                "args": [
                    "copy",
                    "--source=/dev/source",
                    f"--source-id={source_id}",
                    "--target=/dev/target",
                    f"--job={uid}",
                    "--termination-log=/dev/termination-log",
                ],
                "securityContext": {
                    "runAsUser": mover.user,
                    "runAsGroup": mover.user,
                    "runAsNonRoot": mover.user != 0,
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
                "resources": dict(mover.resources or {}),
                "volumeDevices": [
                    {"name": "source", "devicePath": "/dev/source"},
                    {"name": "target", "devicePath": "/dev/target"},
                ],
            }
        ],
        "volumes": [
            {"name": "source", "persistentVolumeClaim": {"claimName": names.source}},
            {"name": "target", "persistentVolumeClaim": {"claimName": names.prime}},
        ],
    }
    final = {"containerName": "mover", "operator": "In", "values": list(_FINAL_EXITS)}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata(uid, names.job, namespace),
        "spec": {
            "backoffLimit": 20,
            "podFailurePolicy": {"rules": [{"action": "FailJob", "onExitCodes": final}]},
            "template": {"metadata": {"labels": {CLAIM_LABEL: uid}}, "spec": pod},
        },
    }


def final_of(claim: Plain, written: Plain, storage_class: StorageClass) -> dict[str, Any]:
    """The PersistentVolume of the user's claim, for the volume that was written.

    It has the policy Retain until the one that was written does not exist any more.
    """
    uid = claim.metadata.uid
    mode = claim.spec.get("volumeMode", "Filesystem")
    csi = dict(written.spec["csi"])
    more: dict[str, Any] = {}
    if mode == "Filesystem":
        if fs_type := storage_class.parameters.get(_FS_TYPE):
            csi["fsType"] = fs_type
        if storage_class.mount_options:
            more["mountOptions"] = storage_class.mount_options
    made = metadata(uid, Names(uid).final)
    made["annotations"] = {
        name: value
        for name, value in written.metadata.annotations.items()
        if name == _PROVISIONED_BY or name.startswith(_PROVISIONER_PREFIX)
    }
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": made,
        "spec": {
            **{name: written.spec[name] for name in _KEPT_FIELDS if name in written.spec},
            **more,
            "csi": csi,
            "volumeMode": mode,
            "persistentVolumeReclaimPolicy": "Retain",
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": claim.metadata.namespace,
                "name": claim.metadata.name,
                "uid": uid,
            },
        },
    }
