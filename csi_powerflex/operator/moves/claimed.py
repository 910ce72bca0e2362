"""What a VolumeMove needs to know of a claim, its volume, and who would use or create it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from csi_powerflex.errors import FailedPrecondition, NotFound
from csi_powerflex.kube.client import Client
from csi_powerflex.kube_objects.reader import VOLUMES
from csi_powerflex.model.cluster import ObjectName, PersistentVolume
from csi_powerflex.model.hold import Custody
from csi_powerflex.operator.api import GROUP
from csi_powerflex.operator.classes import SnapshotClasses, StorageClasses
from csi_powerflex.operator.moves.definition import MovePlan, VolumeMove
from csi_powerflex.operator.objects import Snapshot, claims, snapshots
from csi_powerflex.operator.owned import Whole
from csi_powerflex.operator.windows.closing import filesystem_of

MOVED_BY = f"{GROUP}/moved-by"
"""On a claim that was created again: the UID of the VolumeMove that did it."""

# Kubernetes writes these about the volume that the claim had.
_DROPPED_PREFIXES = ("pv.kubernetes.io/", "volume.kubernetes.io/", "volume.beta.kubernetes.io/")
_KEPT_SPEC = ("accessModes", "resources", "volumeMode")


def stateful_sets(namespace: str) -> str:
    """The path of the StatefulSets of a namespace."""
    return f"/apis/apps/v1/namespaces/{namespace}/statefulsets"


@dataclass(frozen=True, slots=True)
class Claimed:
    """The claim of one VolumeMove.

    Attributes:
        client: how to reach the cluster.
        custody: knows who uses a volume.
        driver_name: the driver's CSI name.
        found: the VolumeMove.
    """

    client: Client
    custody: Custody
    driver_name: str
    found: VolumeMove

    @property
    def _namespace(self) -> str:
        return self.found.metadata.namespace

    @property
    def _name(self) -> str:
        return self.found.spec.claim

    def plan(self) -> MovePlan:
        """What is going to happen.

        Raises:
            NotFound, FailedPrecondition: it cannot be moved.
            DriverError: the cluster does not answer.
        """
        claim = self.client.get(claims(self._namespace), self._name, Whole)
        volume = self._volume_of(claim)
        self._require_class(claim)
        SnapshotClasses(self.client, self.driver_name).require_removable(self.found.spec.snapshot_class)
        return MovePlan(
            persistent_volume=volume.metadata.name,
            volume_handle=str(volume.spec["csi"]["volumeHandle"]),
            claim_uid=claim.metadata.uid,
            capacity=str(volume.spec["capacity"]["storage"]),
            volume_mode=str(volume.spec.get("volumeMode") or "Filesystem"),
            filesystem=filesystem_of(volume),
            from_class=str(claim.spec.get("storageClassName") or ""),
            to_class=self.found.spec.storage_class_name,
            remarks=tuple(self._remarks(claim)),
        )

    def _volume_of(self, claim: Whole) -> Whole:
        name = claim.spec.get("volumeName")
        if claim.phase != "Bound" or not name or claim.deleting:
            raise FailedPrecondition(
                f"claim {self._name} is not bound to a PersistentVolume, or is being deleted"
            )
        volume = self.client.get(VOLUMES, str(name), Whole)
        driver = (volume.spec.get("csi") or {}).get("driver")
        if driver != self.driver_name:
            raise FailedPrecondition(
                f"claim {self._name} has a volume of driver {driver}; only volumes of {self.driver_name} "
                "are moved"
            )
        if (volume.spec.get("claimRef") or {}).get("uid") != claim.metadata.uid:
            raise FailedPrecondition(f"PersistentVolume {name} is not bound to claim {self._name}")
        return volume

    def _require_class(self, claim: Whole) -> None:
        wanted = self.found.spec.storage_class_name
        if claim.spec.get("storageClassName") == wanted:
            raise FailedPrecondition(
                f"claim {self._name} has StorageClass {wanted} already; give another one"
            )
        classes = StorageClasses(self.client)
        provisioner = classes.get(wanted).provisioner
        if provisioner != self.driver_name:
            raise FailedPrecondition(
                f"StorageClass {wanted} is of provisioner {provisioner}; give one of {self.driver_name}"
            )
        present = str(claim.spec.get("storageClassName") or "")
        if not present or classes.get(present).provisioner != self.driver_name:
            raise FailedPrecondition(
                f"claim {self._name} has {f'StorageClass {present}' if present else 'no StorageClass'}, with "
                "which no temporary volume can be made to read it; use a VolumeCopy with sourceClass"
            )

    def _remarks(self, claim: Whole) -> Sequence[str]:
        found = [
            f"the claim gets StorageClass {self.found.spec.storage_class_name}; change it in your manifests",
            "the claim is deleted and created again, with the same name, labels, annotations and owners",
        ]
        taken = [
            item.metadata.name
            for item in self.client.list(snapshots(self._namespace), Snapshot).items
            if item.claim == self._name
        ]
        if taken:
            found.append(f"these VolumeSnapshots stay with the old volume: {', '.join(sorted(taken))}")
        if claim.spec.get("volumeAttributesClassName"):
            found.append("the VolumeAttributesClass of the claim is not kept; set it again afterwards")
        return found

    def volume(self) -> PersistentVolume:
        """The old PersistentVolume, in the form that a ``Custody`` takes."""
        plan = self.found.status.plan or MovePlan()
        return PersistentVolume(
            plan.persistent_volume,
            self.driver_name,
            plan.volume_handle,
            claim=ObjectName(self._namespace, self._name),
        )

    def require_unused(self) -> None:
        """Raises FailedPrecondition: something uses the claim, or would create it again without data."""
        users = self.custody.users(self.volume())
        if users:
            raise FailedPrecondition("; ".join(users))
        for item in self.client.list(stateful_sets(self._namespace), Whole).items:
            replicas = item.spec.get("replicas", 1)
            if replicas and _would_create(item, self._name):
                raise FailedPrecondition(
                    f"StatefulSet {item.metadata.name} has {replicas} replicas, and would create claim "
                    f"{self._name} again without data; scale it to 0"
                )

    def require_same(self) -> Whole:
        """The claim, if it is still as in the plan.

        Raises:
            NotFound, FailedPrecondition: it is another one, or has another volume.
        """
        claim = self.client.get(claims(self._namespace), self._name, Whole)
        plan = self.found.status.plan or MovePlan()
        if claim.metadata.uid != plan.claim_uid or claim.spec.get("volumeName") != plan.persistent_volume:
            raise FailedPrecondition(f"claim {self._name} is not the one of the plan any more")
        if claim.deleting:
            raise FailedPrecondition(f"claim {self._name} is being deleted by someone else")
        return claim

    def require_held(self) -> None:
        """Raises FailedPrecondition: someone has removed or replaced the hold."""
        if self.custody.hold_of(self.volume()) != self.found.status.hold:
            raise FailedPrecondition(
                f"the hold on PersistentVolume {self.volume().name} was removed or replaced, so a pod may "
                "have changed the data since the snapshot"
            )

    def access_modes(self) -> Sequence[str]:
        """The access modes of the claim. Raises NotFound: it does not exist."""
        found = self.client.get(claims(self._namespace), self._name, Whole)
        return list(found.spec.get("accessModes") or ["ReadWriteOnce"])

    def now(self) -> Whole | None:
        """The claim of that name as it is now, of anyone; None if there is none."""
        try:
            return self.client.get(claims(self._namespace), self._name, Whole)
        except NotFound:
            return None

    def is_there(self) -> bool:
        """Whether the claim of the plan exists, and is not being deleted."""
        claim, plan = self.now(), self.found.status.plan or MovePlan()
        return claim is not None and claim.metadata.uid == plan.claim_uid and not claim.deleting

    def is_moved(self, claim: Whole) -> bool:
        """Whether a claim is the one that this VolumeMove has created again."""
        return claim.metadata.annotations.get(MOVED_BY) == self.found.metadata.uid


def created_again(claim: Whole, move_uid: str, volume: str, storage_class: str) -> Mapping[str, Any]:
    """The claim with another volume, as it is created."""
    metadata = claim.metadata
    annotations = {
        key: value for key, value in metadata.annotations.items() if not key.startswith(_DROPPED_PREFIXES)
    }
    spec = {key: claim.spec[key] for key in _KEPT_SPEC if key in claim.spec}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": metadata.name,
            "namespace": metadata.namespace,
            "labels": dict(metadata.labels),
            "annotations": {**annotations, MOVED_BY: move_uid},
            # blockOwnerDeletion would need rights on the owners.
            "ownerReferences": [
                {key: value for key, value in reference.items() if key != "blockOwnerDeletion"}
                for reference in metadata.owner_references
            ],
        },
        "spec": {**spec, "storageClassName": storage_class, "volumeName": volume},
    }


def _would_create(stateful_set: Whole, claim: str) -> bool:
    """Whether the StatefulSet makes the claim: its name has a template, the set and a number."""
    for template in stateful_set.spec.get("volumeClaimTemplates") or ():
        prefix = f"{template.get('metadata', {}).get('name', '')}-{stateful_set.metadata.name}-"
        if claim.startswith(prefix) and claim.removeprefix(prefix).isdigit():
            return True
    return False
