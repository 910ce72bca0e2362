"""Which volumes and snapshots a VolumeRevert names, read from the cluster.

Each object is followed by its UID, so that an object that was deleted and created again under the same name
is not taken for the earlier one.
"""

from __future__ import annotations

from dataclasses import dataclass

from csi_powerflex.errors import FailedPrecondition, NotFound
from csi_powerflex.kube.client import Client
from csi_powerflex.model.cluster import ClusterObjects, ObjectName
from csi_powerflex.operator.objects import Claim, Snapshot, claims, group_snapshots, snapshots
from csi_powerflex.operator.reverts.definition import RevertMember, VolumeRevert


@dataclass(frozen=True, slots=True)
class Targets:
    """Finds the members of a revert.

    Attributes:
        client: how to reach the cluster.
        cluster: what it has.
        driver_name: the driver's CSI name.
    """

    client: Client
    cluster: ClusterObjects
    driver_name: str

    def of(self, found: VolumeRevert) -> tuple[RevertMember, ...]:
        """The members.

        Raises:
            NotFound, FailedPrecondition: an object does not exist, or is not ready.
            DriverError: the cluster does not answer.
        """
        namespace, spec = found.metadata.namespace, found.spec
        if spec.group_snapshot:
            taken = self._members_of(namespace, spec.group_snapshot)
        else:
            snapshot = self.client.get(snapshots(namespace), spec.snapshot, Snapshot)
            if snapshot.claim and snapshot.claim != spec.claim:
                raise FailedPrecondition(
                    f"VolumeSnapshot {spec.snapshot} was taken of claim {snapshot.claim}, and not of "
                    f"{spec.claim}"
                )
            taken = {spec.claim: snapshot}
        return tuple(
            self._member(namespace, claim, snapshot, spec.snapshot_class) for claim, snapshot in taken.items()
        )

    def _members_of(self, namespace: str, group: str) -> dict[str, Snapshot]:
        """The snapshots of a group, by claim."""
        if not self.client.get(group_snapshots(namespace), group, Snapshot).ready:
            raise FailedPrecondition(f"VolumeGroupSnapshot {group} is not ready to use")
        members = [
            item
            for item in self.client.list(snapshots(namespace), Snapshot).items
            if item.status.volume_group_snapshot_name == group
        ]
        if not members:
            raise FailedPrecondition(f"VolumeGroupSnapshot {group} has no VolumeSnapshots")
        for item in members:
            if not item.claim:
                raise FailedPrecondition(
                    f"VolumeSnapshot {item.metadata.name} of the group names no claim, so it is not known "
                    "what to revert to it; revert the claims one by one"
                )
        return {item.claim: item for item in sorted(members, key=lambda item: item.claim)}

    def _member(self, namespace: str, claim: str, snapshot: Snapshot, snapshot_class: str) -> RevertMember:
        if not snapshot.ready:
            raise FailedPrecondition(f"VolumeSnapshot {snapshot.metadata.name} is not ready to use")
        volume, volume_handle = self._volume_of(namespace, claim)
        return RevertMember(
            claim=claim,
            snapshot=snapshot.metadata.name,
            persistent_volume=volume,
            volume_handle=volume_handle,
            snapshot_handle=self.handle_of(snapshot),
            snapshot_class=snapshot_class or snapshot.spec.volume_snapshot_class_name or "",
        )

    def _volume_of(self, namespace: str, claim: str) -> tuple[str, str]:
        """The name and the handle of the PersistentVolume of a claim."""
        name = self.client.get(claims(namespace), claim, Claim).volume
        if not name:
            raise FailedPrecondition(f"claim {claim} is not bound to a PersistentVolume")
        for volume in self.cluster.volumes or ():
            if volume.name == name and volume.claim == ObjectName(namespace, claim):
                if volume.driver != self.driver_name:
                    raise FailedPrecondition(f"claim {claim} has a volume of driver {volume.driver}")
                return name, volume.handle
        raise NotFound(f"PersistentVolume {name} of claim {claim} is not known")

    def handle_of(self, snapshot: Snapshot) -> str:
        """The handle of a VolumeSnapshot that is ready.

        Raises:
            FailedPrecondition: it belongs to another driver.
            NotFound: its VolumeSnapshotContent is not known.
        """
        name = snapshot.status.bound_volume_snapshot_content_name
        for content in self.cluster.contents or ():
            if content.name == name and content.snapshot_uid == snapshot.metadata.uid and content.handle:
                if content.driver != self.driver_name:
                    raise FailedPrecondition(
                        f"VolumeSnapshot {snapshot.metadata.name} belongs to driver {content.driver}"
                    )
                return content.handle
        raise NotFound(f"the VolumeSnapshotContent of VolumeSnapshot {snapshot.metadata.name} is not known")
