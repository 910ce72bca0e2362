"""The objects that are made for a VolumeImage: their names, and their content."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from csi_powerflex.kube.client import KubeObject
from csi_powerflex.operator.api import GROUP
from csi_powerflex.operator.images.definition import CachedCopy, ImageServer, VolumeImage
from csi_powerflex.operator.images.reconciler import Place
from csi_powerflex.operator.movers.job import MoverJob
from csi_powerflex.operator.objects import SNAPSHOT_GROUP
from csi_powerflex.operator.owned import Whole
from csi_powerflex.operator.quantities import whole_bytes
from csi_powerflex.units import MIB

IMAGE_LABEL = f"{GROUP}/image"
"""On objects in the operator's namespace, and on PersistentVolumes of clones: the UID of the VolumeImage."""
CLAIM_LABEL = f"{GROUP}/populates"
"""On clones: the UID of the claim that they are for."""
COPY_LABEL = f"{GROUP}/image-copy"
"""On clones: the cached copy that they were made from."""

ATTRIBUTES_CLASSES = "/apis/storage.k8s.io/v1/volumeattributesclasses"


class AttributesClass(KubeObject, frozen=True):
    """A VolumeAttributesClass."""

    parameters: dict[str, str] | None = None


# msgspec crashes if two threads are the first to decode a type.
msgspec.json.Decoder(AttributesClass)

SELECTED_NODE = "volume.kubernetes.io/selected-node"
_KEPT_FIELDS = ("storageClassName", "accessModes", "resources", "volumeAttributesClassName")

_TARGET = "/dev/target"
_SOURCE = "/dev/source"
_FOLDER = "/source"
_SERVER = "/server"
_URL = "/url"
_SCRATCH = "/scratch"
_URL_ANNOTATION = f"{GROUP}/url"
_PLACEMENT = ("systemID", "protectiondomain", "storagepool")


def first_of(copy: str) -> str:
    """The name of the snapshot of an imported volume. The copy itself may be in the same namespace."""
    return f"{copy}-first"


def scratch_of(copy: str) -> str:
    """The name of the temporary filesystem of an import."""
    return f"{copy}-scratch"


def prime_of(claim_uid: str) -> str:
    """The name of the operator's claim with the clone for a claim."""
    return f"prime-{claim_uid}"


def source_of(copy: str) -> str:
    """The name of the snapshot and the claim that a claim in block mode is read from."""
    return f"{copy}-source"


def place_of(
    storage_class: str, attributes_class: str, parameters: Mapping[str, str], attributes: Mapping[str, str]
) -> Place:
    """Where the classes put volumes. What a VolumeAttributesClass says counts first, as in the driver."""
    chosen = {name: attributes.get(name) or parameters.get(name, "") for name in _PLACEMENT}
    given = [f"{name}={value}" for name, value in chosen.items() if value]
    # One that only has limits would slow down the import.
    places = any(attributes.get(name) for name in _PLACEMENT)
    return Place(" ".join(given) or "any pool", storage_class, attributes_class if places else "")


def target_claim(found: VolumeImage, item: CachedCopy) -> dict[str, Any]:
    """The claim that the image is written to."""
    spec: dict[str, Any] = {
        "storageClassName": item.storage_class,
        "volumeMode": "Block",
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": found.spec.size}},
    }
    if item.attributes_class:
        spec["volumeAttributesClassName"] = item.attributes_class
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": item.name},
        "spec": spec,
    }


def scratch_claim(found: VolumeImage, item: CachedCopy) -> dict[str, Any]:
    """The claim for the downloaded image, the unpacked one and the disk: each may be larger than the disk."""
    size = whole_bytes(found.spec.size)
    needed = 2 * (size + size // 8 + 64 * MIB) + size + 256 * MIB
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": scratch_of(item.name)},
        "spec": {
            "storageClassName": found.spec.scratch_class or item.storage_class,
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": str(needed)}},
        },
    }


def import_job(found: VolumeImage, item: CachedCopy) -> MoverJob:
    """The Job that imports. Each attempt has a name of its own for the mover, because its target is new."""
    spec = found.spec
    checksum = found.status.digest or spec.checksum
    arguments = [
        "import",
        f"--target={_TARGET}",
        f"--job={item.name}-{item.attempts}",
        f"--format={spec.format}",
        f"--scratch={_SCRATCH}",
        *([f"--checksum={checksum}"] if checksum else []),
    ]
    devices = {_TARGET: item.name}
    volumes: list[dict[str, Any]] = [_claimed("scratch", scratch_of(item.name))]
    mounts: list[dict[str, Any]] = [{"name": "scratch", "mountPath": _SCRATCH}]
    if spec.source.http is not None:
        return _from_server(item, spec.source.http, arguments, volumes, mounts)
    claim = spec.source.claim
    if claim is not None and claim.file:
        arguments.append(f"--source={_FOLDER}/{claim.file}")
        # A mount that is only read does not keep kubelet from changing the group of all files (fsGroup).
        volumes.append(_claimed("source", claim.name, read_only=True))
        mounts.append({"name": "source", "mountPath": _FOLDER, "readOnly": True})
    else:
        arguments.append(f"--source={_SOURCE}")
        devices[_SOURCE] = source_of(item.name)
    return MoverJob(item.name, arguments, devices, volumes=volumes, mounts=mounts)


def _from_server(
    item: CachedCopy,
    server: ImageServer,
    arguments: list[str],
    volumes: list[dict[str, Any]],
    mounts: list[dict[str, Any]],
) -> MoverJob:
    keys = {
        "url": (server.url_key, "--url-file"),
        "credentials": (server.credentials_key, "--credentials-file"),
        "authorities": (server.authorities_key, "--ca-file"),
    }
    used = {path: (key, option) for path, (key, option) in keys.items() if key}
    if used:
        items = [{"key": key, "path": path} for path, (key, _) in used.items()]
        # 0444: the mover may have another user than the files.
        secret = {"secretName": server.secret, "items": items, "defaultMode": 0o444}
        volumes.append({"name": "server", "secret": secret})
        mounts.append({"name": "server", "mountPath": _SERVER, "readOnly": True})
        arguments += [f"{option}={_SERVER}/{path}" for path, (_, option) in used.items()]
    annotations: dict[str, str] = {}
    if server.url:
        # A file with the URL, without an object for it.
        field = {"fieldPath": f"metadata.annotations['{_URL_ANNOTATION}']"}
        volumes.append({"name": "url", "downwardAPI": {"items": [{"path": "url", "fieldRef": field}]}})
        mounts.append({"name": "url", "mountPath": _URL, "readOnly": True})
        arguments.append(f"--url-file={_URL}/url")
        annotations[_URL_ANNOTATION] = server.url
    return MoverJob(
        item.name,
        arguments,
        {_TARGET: item.name},
        volumes=volumes,
        mounts=mounts,
        network=True,
        annotations=annotations,
    )


def _claimed(name: str, claim: str, *, read_only: bool = False) -> dict[str, Any]:
    return {"name": name, "persistentVolumeClaim": {"claimName": claim, "readOnly": read_only}}


def content_of(found: VolumeImage, copy: str, namespace: str, driver: str, handle: str) -> dict[str, Any]:
    """The VolumeSnapshotContent of a cached copy. It does not delete the snapshot until it alone has it.

    It has no source volume mode, so claims of both modes may be made from it.
    """
    return {
        "apiVersion": SNAPSHOT_GROUP,
        "kind": "VolumeSnapshotContent",
        "metadata": {"name": copy, "labels": {IMAGE_LABEL: found.metadata.uid}},
        "spec": {
            "driver": driver,
            "deletionPolicy": "Retain",
            "source": {"snapshotHandle": handle},
            "volumeSnapshotRef": {"name": copy, "namespace": namespace},
        },
    }


def snapshot_of(found: VolumeImage, copy: str, namespace: str) -> dict[str, Any]:
    """The VolumeSnapshot of that content, in the operator's namespace."""
    return {
        "apiVersion": SNAPSHOT_GROUP,
        "kind": "VolumeSnapshot",
        "metadata": {"name": copy, "namespace": namespace, "labels": {IMAGE_LABEL: found.metadata.uid}},
        "spec": {"source": {"volumeSnapshotContentName": copy}},
    }


def clone_of(found: VolumeImage, copy: str, namespace: str, claim: Whole) -> dict[str, Any]:
    """The operator's claim with a clone of a cached copy, as the user's claim is."""
    metadata: dict[str, Any] = {
        "name": prime_of(claim.metadata.uid),
        "namespace": namespace,
        "labels": _labels(found, copy, claim.metadata.uid),
    }
    if node := claim.metadata.annotations.get(SELECTED_NODE):
        metadata["annotations"] = {SELECTED_NODE: node}
    source = {"apiGroup": SNAPSHOT_GROUP.partition("/")[0], "kind": "VolumeSnapshot", "name": copy}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": metadata,
        "spec": {
            **{name: claim.spec[name] for name in _KEPT_FIELDS if name in claim.spec},
            "volumeMode": claim.spec.get("volumeMode", "Filesystem"),
            "dataSource": source,
        },
    }


def handed_over(found: VolumeImage, copy: str, volume: Whole, claim: Whole) -> dict[str, Any]:
    """The change that gives the PersistentVolume of a clone, as it was read, to the user's claim."""
    labels = _labels(found, copy, claim.metadata.uid)
    reference = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "namespace": claim.metadata.namespace,
        "name": claim.metadata.name,
        "uid": claim.metadata.uid,
        "resourceVersion": None,
    }
    return {
        "metadata": {"resourceVersion": volume.metadata.resource_version, "labels": labels},
        "spec": {"claimRef": reference},
    }


def _labels(found: VolumeImage, copy: str, claim_uid: str) -> dict[str, str]:
    return {IMAGE_LABEL: found.metadata.uid, COPY_LABEL: copy, CLAIM_LABEL: claim_uid}
