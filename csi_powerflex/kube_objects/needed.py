"""Which volumes and snapshots the objects of a cluster need, in little memory."""

from __future__ import annotations

import msgspec

from csi_powerflex import names
from csi_powerflex.errors import NotFound
from csi_powerflex.kube.client import Client, KubeObject
from csi_powerflex.kube_objects.reader import CLAIMS, CONTENTS, VOLUMES
from csi_powerflex.model.cluster import Needed
from csi_powerflex.names import Kind


class _CsiSource(msgspec.Struct, frozen=True, rename="camel"):
    volume_handle: str = ""


class _VolumeSpec(msgspec.Struct, frozen=True):
    csi: _CsiSource | None = None


class _Volume(KubeObject, frozen=True):
    spec: _VolumeSpec = _VolumeSpec()


class _ClaimSpec(msgspec.Struct, frozen=True, rename="camel"):
    volume_name: str = ""


class _Claim(KubeObject, frozen=True):
    spec: _ClaimSpec = _ClaimSpec()


class _SnapshotHandle(msgspec.Struct, frozen=True, rename="camel"):
    """The source or the status of a VolumeSnapshotContent."""

    snapshot_handle: str | None = None


class _SnapshotReference(msgspec.Struct, frozen=True):
    uid: str = ""


class _ContentSpec(msgspec.Struct, frozen=True, rename="camel"):
    source: _SnapshotHandle = _SnapshotHandle()
    volume_snapshot_ref: _SnapshotReference = _SnapshotReference()


class _Content(KubeObject, frozen=True):
    spec: _ContentSpec = _ContentSpec()
    status: _SnapshotHandle | None = None

    @property
    def handle(self) -> str:
        taken = self.status.snapshot_handle if self.status else None
        return taken or self.spec.source.snapshot_handle or ""


def read(client: Client, cluster_id: str) -> Needed:
    """What PersistentVolumes, claims and VolumeSnapshotContents of the cluster need, of every CSI driver.

    Raises:
        DriverError: one of the kinds cannot be listed, as ``Client.list``.
    """
    # An object moves from the first of these to the second while it is created. So it is seen in one of them.
    waiting = _claimed(client, cluster_id)
    volumes = _volumes(client)
    promised, taken = _snapshots(client, cluster_id)
    return Needed(handles=frozenset(volumes | taken), names=frozenset(waiting | promised))


def handles(client: Client) -> frozenset[str]:
    """The handles that PersistentVolumes and VolumeSnapshotContents have, of every CSI driver.

    Raises as ``read``.
    """
    _, taken = _snapshots(client, "")
    return frozenset(_volumes(client) | taken)


def _volumes(client: Client) -> set[str]:
    """The handles of the PersistentVolumes."""
    return {item.spec.csi.volume_handle for item in client.list(VOLUMES, _Volume).items if item.spec.csi}


def _claimed(client: Client, cluster_id: str) -> set[str]:
    """The names on the array of the volumes that claims wait for."""
    return {
        names.array_name(Kind.VOLUME, cluster_id, f"pvc-{item.metadata.uid}")
        for item in client.list(CLAIMS, _Claim).items
        if not item.spec.volume_name
    }


def _snapshots(client: Client, cluster_id: str) -> tuple[set[str], set[str]]:
    """The names on the array of the snapshots that are being taken, and the handles of the others."""
    try:
        found = client.list(CONTENTS, _Content).items
    except NotFound:
        return set(), set()  # a cluster without this resource has no such objects
    promised = {
        names.array_name(Kind.SNAPSHOT, cluster_id, f"snapshot-{item.spec.volume_snapshot_ref.uid}")
        for item in found
        if not item.handle
    }
    return promised, {item.handle for item in found if item.handle}


# msgspec crashes if two threads are the first to decode a type. Here only one thread runs.
for _type in (_Volume, _Claim, _Content):
    msgspec.json.Decoder(_type)
