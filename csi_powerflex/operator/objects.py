"""The objects of others that several resources of the operator read: claims, and snapshots."""

from __future__ import annotations

import datetime

import msgspec

from csi_powerflex.kube.client import KubeObject, ObjectMeta

SNAPSHOT_GROUP = "snapshot.storage.k8s.io/v1"
GROUP_SNAPSHOT_GROUP = "groupsnapshot.storage.k8s.io/v1"


def claims(namespace: str) -> str:
    """The path of the claims of a namespace."""
    return f"/api/v1/namespaces/{namespace}/persistentvolumeclaims"


def snapshots(namespace: str) -> str:
    """The path of the VolumeSnapshots of a namespace."""
    return f"/apis/{SNAPSHOT_GROUP}/namespaces/{namespace}/volumesnapshots"


def group_snapshots(namespace: str) -> str:
    """The path of the VolumeGroupSnapshots of a namespace."""
    return f"/apis/{GROUP_SNAPSHOT_GROUP}/namespaces/{namespace}/volumegroupsnapshots"


class Meta(ObjectMeta, frozen=True, rename="camel"):
    """Metadata with labels."""

    labels: dict[str, str] = msgspec.field(default_factory=dict)
    creation_timestamp: datetime.datetime | None = None
    deletion_timestamp: str | None = None


class ClaimSpec(msgspec.Struct, frozen=True, rename="camel"):
    """The ``spec`` of a claim."""

    volume_name: str = ""


class ClaimStatus(msgspec.Struct, frozen=True):
    """The ``status`` of a claim."""

    phase: str = ""


class Claim(KubeObject, frozen=True, kw_only=True):
    """A PersistentVolumeClaim."""

    metadata: Meta = Meta()
    spec: ClaimSpec = ClaimSpec()
    status: ClaimStatus = ClaimStatus()

    @property
    def volume(self) -> str:
        """The PersistentVolume that it is bound to; empty if it is not bound."""
        return self.spec.volume_name if self.status.phase == "Bound" else ""


class SnapshotSource(msgspec.Struct, frozen=True, rename="camel"):
    """Where the data of a VolumeSnapshot come from."""

    persistent_volume_claim_name: str | None = None


class SnapshotSpec(msgspec.Struct, frozen=True, rename="camel"):
    """The ``spec`` of a VolumeSnapshot."""

    source: SnapshotSource = SnapshotSource()
    volume_snapshot_class_name: str | None = None


class SnapshotError(msgspec.Struct, frozen=True):
    """Why a snapshot could not be taken; it is tried again."""

    message: str | None = None


class SnapshotStatus(msgspec.Struct, frozen=True, rename="camel"):
    """The ``status`` of a VolumeSnapshot or VolumeGroupSnapshot."""

    ready_to_use: bool = False
    bound_volume_snapshot_content_name: str | None = None
    volume_group_snapshot_name: str | None = None
    error: SnapshotError | None = None


class Snapshot(KubeObject, frozen=True, kw_only=True):
    """A VolumeSnapshot, or a VolumeGroupSnapshot as far as they are alike."""

    metadata: Meta = Meta()
    spec: SnapshotSpec = SnapshotSpec()
    status: SnapshotStatus = SnapshotStatus()

    @property
    def ready(self) -> bool:
        """Whether it has its data and is not being deleted."""
        return self.status.ready_to_use and self.metadata.deletion_timestamp is None

    @property
    def claim(self) -> str:
        """The claim that it was taken of; empty for one that was imported."""
        return self.spec.source.persistent_volume_claim_name or ""

    @property
    def problem(self) -> str:
        """Why it could not be taken yet; empty if nothing is known."""
        return (self.status.error.message or "") if self.status.error else ""


class _Csi(msgspec.Struct, frozen=True):
    driver: str = ""


class VolumeSpec(msgspec.Struct, frozen=True):
    """The ``spec`` of a PersistentVolume."""

    csi: _Csi | None = None


class Volume(KubeObject, frozen=True, kw_only=True):
    """A PersistentVolume."""

    spec: VolumeSpec = VolumeSpec()

    @property
    def driver(self) -> str:
        """The CSI driver that it belongs to; empty if it belongs to none."""
        return self.spec.csi.driver if self.spec.csi else ""


# msgspec crashes if two threads are the first to decode a type.
for _type in (Claim, Snapshot, Volume):
    msgspec.json.Decoder(_type)
