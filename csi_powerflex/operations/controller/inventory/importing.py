"""Objects of Kubernetes for volumes and snapshots that exist: the checks, and the manifests.

Nothing is changed, on the array or in Kubernetes. The manifests say ``origin: copy``, so the driver never
formats an imported volume.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from csi_powerflex import units
from csi_powerflex.errors import FailedPrecondition, InvalidArgument
from csi_powerflex.ids import GroupHandle, VolumeHandle
from csi_powerflex.model.array import Access
from csi_powerflex.model.capability import AccessMode, Capability, Filesystem, RawBlock
from csi_powerflex.model.cluster import ObjectName
from csi_powerflex.model.topology import Topology
from csi_powerflex.model.volume_context import Origin, VolumeContext
from csi_powerflex.names import Kind
from csi_powerflex.operations.controller.inventory.reading import Reader
from csi_powerflex.operations.controller.inventory.records import Owner, Record
from csi_powerflex.operations.controller.lookup import is_group_member, is_taken_snapshot
from csi_powerflex.operations.controller.placement import zone_of

ACCESS_MODES = {
    "ReadWriteOnce": AccessMode.SINGLE_NODE_WRITER,
    "ReadWriteOncePod": AccessMode.SINGLE_NODE_SINGLE_WRITER,
    "ReadOnlyMany": AccessMode.MULTI_NODE_READER_ONLY,
    "ReadWriteMany": AccessMode.MULTI_NODE_MULTI_WRITER,
}
"""Kubernetes' access modes, with the strictest one of CSI for each."""

RETAIN, DELETE = "Retain", "Delete"

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class VolumeImportRequest:
    """How a volume is to be used in Kubernetes.

    Attributes:
        claim: the claim that gets it.
        filesystem: the filesystem that it has; None for a block device.
        access_mode: a key of ``ACCESS_MODES``.
        storage_class: the class of both objects; empty for none.
        policy: what happens to the volume when the claim is deleted: ``RETAIN`` or ``DELETE``.
        pool: the pool that it must be in, by name, id, or ``domain/pool``; None for any.
        clone: whether a writable copy with another driver's name is a volume and not a snapshot.
        unchecked: whether to do without Kubernetes' answer.
    """

    claim: ObjectName
    filesystem: str | None
    access_mode: str = "ReadWriteOnce"
    storage_class: str = ""
    policy: str = RETAIN
    pool: str | None = None
    clone: bool = False
    unchecked: bool = False


@dataclass(frozen=True, slots=True)
class SnapshotImportRequest:
    """How a snapshot is to be used in Kubernetes.

    Attributes:
        snapshot: the VolumeSnapshot that gets it.
        snapshot_class: the VolumeSnapshotClass of both objects; empty for none.
        policy: what happens to the snapshot when the VolumeSnapshot is deleted: ``RETAIN`` or ``DELETE``.
        block: whether its volume was used as a block device.
        source: the volume that it must be a snapshot of; None for any.
        unchecked: whether to do without Kubernetes' answer.
    """

    snapshot: ObjectName
    snapshot_class: str = ""
    policy: str = RETAIN
    block: bool = False
    source: VolumeHandle | None = None
    unchecked: bool = False


def volume_manifests(reader: Reader, record: Record, request: VolumeImportRequest) -> list[Manifest]:
    """A PersistentVolume and its claim for the volume.

    Raises:
        FailedPrecondition: a check failed. The message has every reason.
    """
    _require_none(record, [*_volume_obstacles(reader, record, request), *_claim_obstacles(reader, request)])
    name = _manifest_name(record)
    mode = {
        "accessModes": [request.access_mode],
        "volumeMode": "Filesystem" if request.filesystem else "Block",
    }
    source = {
        "driver": reader.driver_name,
        "volumeHandle": str(record.handle),
        **({"fsType": request.filesystem} if request.filesystem else {}),
        "volumeAttributes": VolumeContext(Origin.COPY).to_dict(),
    }
    size = _size(record)
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        # Kubernetes deletes a volume only with this annotation.
        "metadata": {"name": name, "annotations": {"pv.kubernetes.io/provisioned-by": reader.driver_name}},
        "spec": {
            "storageClassName": request.storage_class,
            "capacity": {"storage": size},
            **mode,
            "persistentVolumeReclaimPolicy": request.policy,
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": request.claim.namespace,
                "name": request.claim.name,
            },
            "csi": source,
            "nodeAffinity": _node_affinity(reader, record),
        },
    }
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"namespace": request.claim.namespace, "name": request.claim.name},
        "spec": {
            "storageClassName": request.storage_class,
            "volumeName": name,
            **mode,
            "resources": {"requests": {"storage": size}},
        },
    }
    return [volume, claim]


def snapshot_manifests(reader: Reader, record: Record, request: SnapshotImportRequest) -> list[Manifest]:
    """A VolumeSnapshotContent and its VolumeSnapshot for the snapshot. Raises as ``volume_manifests``."""
    _require_none(record, list(_snapshot_obstacles(reader, record, request)))
    name = _manifest_name(record)
    classed = {"volumeSnapshotClassName": request.snapshot_class} if request.snapshot_class else {}
    content = {
        "apiVersion": "snapshot.storage.k8s.io/v1",
        "kind": "VolumeSnapshotContent",
        "metadata": {"name": name},
        "spec": {
            "driver": reader.driver_name,
            "deletionPolicy": request.policy,
            **classed,
            "source": {"snapshotHandle": str(record.handle)},
            "sourceVolumeMode": "Block" if request.block else "Filesystem",
            "volumeSnapshotRef": {"namespace": request.snapshot.namespace, "name": request.snapshot.name},
        },
    }
    snapshot = {
        "apiVersion": "snapshot.storage.k8s.io/v1",
        "kind": "VolumeSnapshot",
        "metadata": {"namespace": request.snapshot.namespace, "name": request.snapshot.name},
        "spec": {**classed, "source": {"volumeSnapshotContentName": name}},
    }
    return [content, snapshot]


def obstacles(record: Record) -> Iterator[str]:
    """Why an object cannot be imported, whatever the request is."""
    for host in record.hosts:
        yield f"it is mapped to {host}; stop what uses it there, and unmap it at the array"
    for volume in record.persistent_volumes:
        yield f"PersistentVolume {volume.name} of driver {volume.driver} has it"
    if record.waiting is not None:
        yield f"it was created for claim {record.waiting.name}, which waits for it"
    for content in record.contents:
        yield f"VolumeSnapshotContent {content.name} of driver {content.driver} has it"
    if is_group_member(record.volume):
        # The snapshot-controller never sets the status of a VolumeSnapshot of which ListSnapshots names a
        # group that no VolumeGroupSnapshotContent has, and the csi-snapshotter never deletes its snapshot.
        yield (
            f"it is in group snapshot {GroupHandle(record.handle.system_id, record.volume.group_id or '')}, "
            "and Kubernetes uses it only with its group; make a VolumeGroupSnapshotContent with that handle "
            "in source.groupSnapshotHandles, or give the snapshot a name of your own at the array"
        )
    if record.owner is Owner.OTHER_CLUSTER:
        yield (
            f"its name says that cluster {record.cluster} made it; release it there first with "
            "csi-powerflex volumes release, or put the beginning of its name into adoptVolumes or "
            "adoptSnapshots if that cluster does not exist any more"
        )


def _volume_obstacles(reader: Reader, record: Record, request: VolumeImportRequest) -> Iterator[str]:
    if record.snapshot:
        yield from _no_volume(record, clone=request.clone)
    yield from obstacles(record)
    if record.volume.size % units.GIB:
        yield f"its size is {units.readable(record.volume.size)}, which is not a whole number of GiB"
    yield from _wrong_pool(reader, record, request.pool)
    if request.policy == DELETE and record.kind is not Kind.VOLUME:
        yield _not_deletable(record, "adoptVolumes")
    use = Filesystem(request.filesystem) if request.filesystem else RawBlock()
    mode = ACCESS_MODES[request.access_mode]
    try:
        Capability(use, mode).check()
        if not record.snapshot:
            record.volume.check_allows(mode.access)
    except InvalidArgument as error:
        yield str(error)


def _no_volume(record: Record, *, clone: bool) -> Iterator[str]:
    """Why a copy is not taken for a volume."""
    volume = record.volume
    read_only = not volume.mappable or volume.access_limit is Access.READ_ONLY
    if is_taken_snapshot(volume) or record.contents or read_only:
        yield ("it is a snapshot; import it with csi-powerflex snapshots import, and create a volume from it")
    elif not clone:
        yield (
            "it is a writable copy of another volume, and the array does not tell clones from snapshots; "
            "give --clone if it is a volume, or import it with csi-powerflex snapshots import"
        )


def _wrong_pool(reader: Reader, record: Record, wanted: str | None) -> Iterator[str]:
    pool = reader.array_of(record).pool_by_id(record.volume.pool_id)
    if wanted is not None and wanted not in (pool.id, pool.name, str(pool)):
        yield f"it is in pool {pool} and not in {wanted!r}"


def _claim_obstacles(reader: Reader, request: VolumeImportRequest) -> Iterator[str]:
    cluster = reader.cluster
    if not request.unchecked and (cluster.volumes is None or cluster.claims is None):
        yield _not_asked(reader)
    if any(claim.name == request.claim for claim in cluster.claims or ()):
        yield f"claim {request.claim} exists already; delete it, or choose another name"
    for volume in cluster.volumes or ():
        if volume.claim == request.claim:
            yield f"PersistentVolume {volume.name} is for claim {request.claim}; delete it first"


def _snapshot_obstacles(reader: Reader, record: Record, request: SnapshotImportRequest) -> Iterator[str]:
    if not record.snapshot:
        yield "it is a volume; import it with csi-powerflex volumes import"
    yield from obstacles(record)
    if request.source is not None and not _is_copy_of(record, request.source):
        found = f"a copy of {record.source}" if record.source else "a copy of no volume that exists"
        yield f"it is {found}, and not of {request.source}"
    if request.policy == DELETE and record.kind not in (Kind.SNAPSHOT, Kind.GROUP_MEMBER):
        yield _not_deletable(record, "adoptSnapshots")
    cluster = reader.cluster
    if not request.unchecked and (cluster.contents is None or cluster.volumes is None):
        yield _not_asked(reader)
    for content in cluster.contents or ():
        if content.snapshot == request.snapshot:
            yield f"VolumeSnapshotContent {content.name} is for VolumeSnapshot {request.snapshot}"


def _is_copy_of(record: Record, source: VolumeHandle) -> bool:
    """Whether it was copied from that volume. Two systems may give the same id to two volumes."""
    return record.handle.system_id == source.system_id and record.volume.ancestor_id == source.volume_id


def _not_deletable(record: Record, key: str) -> str:
    return (
        f"the driver may not delete it, because it is called {record.volume.name!r}: use the policy Retain, "
        f"or put the beginning of its name into {key} of system {record.system}"
    )


def _not_asked(reader: Reader) -> str:
    reasons = "; ".join(reader.cluster.unknown)
    return (
        f"it is not known whether Kubernetes has it already: {reasons}. Give --kubeconfig, or "
        "--no-kubernetes to do without this check"
    )


def _require_none(record: Record, found: list[str]) -> None:
    if found:
        called = f" ({record.volume.name})" if record.volume.name else ""
        raise FailedPrecondition(f"{record.handle}{called} cannot be imported: {'; '.join(found)}")


def _manifest_name(record: Record) -> str:
    """The same name each time, so that manifests of one object cannot be applied twice."""
    return f"imported-{record.handle}"


def _size(record: Record) -> str:
    return f"{record.volume.size // units.GIB}Gi"


def _node_affinity(reader: Reader, record: Record) -> Manifest:
    """The nodes that reach the volume, as CreateVolume would answer."""
    array = reader.array_of(record)
    zone = zone_of(array, array.pool_by_id(record.volume.pool_id))
    segments = Topology(reader.driver_name).segments([record.handle.system_id], zone)
    expressions = [{"key": key, "operator": "In", "values": [value]} for key, value in segments.items()]
    return {"required": {"nodeSelectorTerms": [{"matchExpressions": expressions}]}}
