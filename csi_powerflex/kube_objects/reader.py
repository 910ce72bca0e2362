"""One look at the objects of a Kubernetes cluster, each kind by one list.

A user may be allowed to list only some kinds. What cannot be listed is unknown, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec

from csi_powerflex.errors import DriverError, NotFound
from csi_powerflex.ids import Initiator, NodeIdentity
from csi_powerflex.kube.client import Client, KubeObject
from csi_powerflex.kube.held import HeldMeta
from csi_powerflex.model.cluster import (
    Claim,
    ClusterObjects,
    ObjectName,
    PersistentVolume,
    SnapshotContent,
)

VOLUMES = "/api/v1/persistentvolumes"
CLAIMS = "/api/v1/persistentvolumeclaims"
NODES = "/apis/storage.k8s.io/v1/csinodes"
CLASSES = "/apis/storage.k8s.io/v1/volumeattributesclasses"
CONTENTS = "/apis/snapshot.storage.k8s.io/v1/volumesnapshotcontents"


class _Reference(msgspec.Struct, frozen=True):
    namespace: str = ""
    name: str = ""
    uid: str = ""

    def named(self) -> ObjectName | None:
        return ObjectName(self.namespace, self.name) if self.name else None


class _CsiSource(msgspec.Struct, frozen=True, rename="camel"):
    driver: str = ""
    volume_handle: str = ""
    volume_attributes: dict[str, str] | None = None


class _VolumeSpec(msgspec.Struct, frozen=True, rename="camel"):
    csi: _CsiSource | None = None
    claim_ref: _Reference | None = None
    persistent_volume_reclaim_policy: str = ""
    storage_class_name: str = ""
    volume_attributes_class_name: str | None = None


class _VolumeStatus(msgspec.Struct, frozen=True):
    phase: str = ""


class _Volume(KubeObject, frozen=True):
    metadata: HeldMeta = HeldMeta()
    spec: _VolumeSpec = _VolumeSpec()
    status: _VolumeStatus = _VolumeStatus()


class _ClaimSpec(msgspec.Struct, frozen=True, rename="camel"):
    volume_name: str = ""


class _Claim(KubeObject, frozen=True):
    spec: _ClaimSpec = _ClaimSpec()


class _SnapshotHandle(msgspec.Struct, frozen=True, rename="camel"):
    """The source or the status of a VolumeSnapshotContent."""

    snapshot_handle: str | None = None


class _ContentSpec(msgspec.Struct, frozen=True, rename="camel"):
    driver: str = ""
    deletion_policy: str = ""
    source: _SnapshotHandle = _SnapshotHandle()
    volume_snapshot_ref: _Reference = _Reference()


class _Content(KubeObject, frozen=True):
    spec: _ContentSpec = _ContentSpec()
    status: _SnapshotHandle | None = None


class _AttributesClass(KubeObject, frozen=True):
    parameters: dict[str, str] | None = None


class _NodeDriver(msgspec.Struct, frozen=True):
    name: str = ""
    node_id: str = msgspec.field(default="", name="nodeID")


class _NodeSpec(msgspec.Struct, frozen=True):
    drivers: tuple[_NodeDriver, ...] | None = None


class _Node(KubeObject, frozen=True):
    spec: _NodeSpec = _NodeSpec()


_K = TypeVar("_K", bound=KubeObject)


def read(client: Client, driver_name: str) -> ClusterObjects:
    """The objects of the cluster, of every CSI driver. Nodes are those of the driver ``driver_name``."""
    unknown: list[str] = []

    def listed(what: str, resource: str, kind: type[_K]) -> tuple[_K, ...] | None:
        try:
            return client.list(resource, kind).items
        except DriverError as error:
            if isinstance(error, NotFound) and resource in (CONTENTS, CLASSES):
                # A cluster without this resource has no such objects.
                return ()
            unknown.append(f"{what} could not be listed: {error}")
            return None

    volumes = listed("PersistentVolumes", VOLUMES, _Volume)
    claims = listed("PersistentVolumeClaims", CLAIMS, _Claim)
    contents = listed("VolumeSnapshotContents", CONTENTS, _Content)
    nodes = listed("CSINodes", NODES, _Node)
    classes = listed("VolumeAttributesClasses", CLASSES, _AttributesClass)
    return ClusterObjects(
        volumes=_each(volumes, lambda found: _volume(found, driver_name)),
        claims=_each(claims, _claim),
        contents=_each(contents, _content),
        nodes=_names(nodes or (), driver_name),
        classes={item.metadata.name: item.parameters or {} for item in classes or ()},
        unknown=tuple(unknown),
    )


_V = TypeVar("_V")


def _each(found: tuple[_K, ...] | None, convert: Callable[[_K], _V | None]) -> tuple[_V, ...] | None:
    if found is None:
        return None
    return tuple(value for item in found if (value := convert(item)) is not None)


def _volume(found: _Volume, driver_name: str) -> PersistentVolume | None:
    """None for a volume that no CSI driver has."""
    spec = found.spec
    if spec.csi is None:
        return None
    return PersistentVolume(
        name=found.metadata.name,
        driver=spec.csi.driver,
        handle=spec.csi.volume_handle,
        claim=spec.claim_ref.named() if spec.claim_ref else None,
        phase=found.status.phase,
        reclaim_policy=spec.persistent_volume_reclaim_policy,
        storage_class=spec.storage_class_name,
        attributes=spec.csi.volume_attributes or {},
        attributes_class=spec.volume_attributes_class_name or "",
        hold=found.metadata.hold(driver_name),
    )


def _claim(found: _Claim) -> Claim:
    name = ObjectName(found.metadata.namespace, found.metadata.name)
    return Claim(name, found.metadata.uid, found.spec.volume_name)


def _content(found: _Content) -> SnapshotContent:
    taken = found.status.snapshot_handle if found.status else None
    return SnapshotContent(
        name=found.metadata.name,
        driver=found.spec.driver,
        handle=taken or found.spec.source.snapshot_handle or "",
        snapshot=found.spec.volume_snapshot_ref.named(),
        snapshot_uid=found.spec.volume_snapshot_ref.uid,
        deletion_policy=found.spec.deletion_policy,
    )


def _names(nodes: tuple[_Node, ...], driver_name: str) -> dict[Initiator, str]:
    names: dict[Initiator, str] = {}
    for node in nodes:
        for driver in node.spec.drivers or ():
            if driver.name == driver_name:
                names |= dict.fromkeys(_initiators(driver.node_id), node.metadata.name)
    return names


def _initiators(node_id: str) -> tuple[Initiator, ...]:
    """The initiators of a node id; none for one that this version cannot read."""
    try:
        return NodeIdentity.parse(node_id).initiators
    except NotFound:
        return ()


# msgspec crashes if two threads are the first to decode a type.
for _type in (_Volume, _Claim, _Content, _Node, _AttributesClass):
    msgspec.json.Decoder(_type)
