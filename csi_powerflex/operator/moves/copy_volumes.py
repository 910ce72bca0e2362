"""The copy of a VolumeMove: its temporary claim, its PersistentVolumes, and the end of the old volume."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from csi_powerflex.errors import AlreadyExists, Busy, FailedPrecondition
from csi_powerflex.kube_objects.reader import VOLUMES
from csi_powerflex.operator.moves.definition import MovePlan, MoveStatus, VolumeMove
from csi_powerflex.operator.objects import claims
from csi_powerflex.operator.owned import OWNER_LABEL, Owned, Whole
from csi_powerflex.operator.windows.closing import RETAIN, Volumes, successor

COPY_SUFFIX = "-copy"
"""How the name of the temporary claim of the copy ends."""

_DELETE = "Delete"


@dataclass(frozen=True, slots=True)
class Copy:
    """The copy of one VolumeMove.

    Attributes:
        owned: makes its objects.
        volumes: the PersistentVolumes.
        found: the VolumeMove.
    """

    owned: Owned
    volumes: Volumes
    found: VolumeMove

    @property
    def _status(self) -> MoveStatus:
        return self.found.status

    @property
    def _plan(self) -> MovePlan:
        return self._status.plan or MovePlan()

    @property
    def claim_name(self) -> str:
        """The temporary claim, in block mode."""
        return f"{self._status.temporary}{COPY_SUFFIX}"

    def claim(self, access_modes: list[str]) -> Whole:
        """The temporary claim, which is created if it does not exist. Raises DriverError: it cannot be."""
        return self.owned.ensure(
            claims(self.owned.namespace),
            {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {"name": self.claim_name},
                "spec": {
                    "storageClassName": self._plan.to_class,
                    "volumeMode": "Block",
                    "accessModes": access_modes,
                    "resources": {"requests": {"storage": self._plan.capacity}},
                },
            },
        )

    def volume(self) -> Whole:
        """The PersistentVolume of the temporary claim, after the copy.

        Raises:
            NotFound, FailedPrecondition: the claim is another one, or is not bound.
        """
        found = self.owned.find(claims(self.owned.namespace), self.claim_name)
        name = str(found.spec.get("volumeName") or "") if found else ""
        if found is None or found.metadata.uid != self._status.copy_claim_uid or not name:
            raise FailedPrecondition(f"claim {self.claim_name} was replaced, or has no PersistentVolume")
        volume = self.volumes.get(name)
        if (volume.spec.get("claimRef") or {}).get("uid") != found.metadata.uid:
            raise FailedPrecondition(f"PersistentVolume {name} is not bound to claim {self.claim_name}")
        return volume

    def close(self) -> bool:
        """Go on until only the PersistentVolume for the claim is left, and no node has it attached.

        The data mover has ended before. Returns whether it is so.

        Raises:
            StillAttached: a node has the volume attached.
            FailedPrecondition: someone else has changed something.
            NotFound: the PersistentVolume of the copy was deleted.
        """
        first = self.volumes.find(self._status.copy_volume)
        filesystem = self._status.new_volume != self._status.copy_volume
        if first is None:
            if not filesystem:
                raise FailedPrecondition(
                    f"PersistentVolume {self._status.copy_volume} of the copy was deleted"
                )
            self._require_successor()
            return True
        if not first.deleting:
            self.volumes.retain(first.metadata.name)
        if not self.owned.remove(claims(self.owned.namespace), self.claim_name):
            return False
        self.volumes.require_detached(first.metadata.name)
        if not filesystem:
            self._reserve(first)
            return True
        self._create_successor(first)
        return self.volumes.is_closed(first.metadata.name)

    def _reserve(self, volume: Whole) -> None:
        """Reserve the PersistentVolume, whose claim was removed, for the claim that is moved."""
        namespace, name = self.owned.namespace, self.found.spec.claim
        reference = volume.spec.get("claimRef") or {}
        if reference.get("name") == name and reference.get("namespace") == namespace:
            return
        self._refer(volume, {"namespace": namespace, "name": name, "uid": None})

    def _refer(self, volume: Whole, reference: dict[str, str | None]) -> None:
        whole = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "resourceVersion": None, **reference}
        version = {"resourceVersion": volume.metadata.resource_version}
        try:
            self.owned.client.patch(
                VOLUMES, volume.metadata.name, {"metadata": version, "spec": {"claimRef": whole}}
            )
        except AlreadyExists as error:
            raise Busy(f"PersistentVolume {volume.metadata.name} was changed at the same time") from error

    def _create_successor(self, first: Whole) -> None:
        """Create the PersistentVolume in filesystem mode, if it does not exist."""
        content = successor(
            first,
            name=self._status.new_volume,
            labels={OWNER_LABEL: self.owned.uid},
            claim={"namespace": self.owned.namespace, "name": self.found.spec.claim},
            filesystem=self._plan.filesystem,
            storage_class=self._plan.to_class,
        )
        # If it exists, it is looked at below whose it is.
        with contextlib.suppress(AlreadyExists):
            self.owned.client.create(VOLUMES, content)
        self._require_successor()

    def _require_successor(self) -> None:
        """Raises FailedPrecondition: the PersistentVolume in filesystem mode is missing, or another one."""
        found = self.volumes.find(self._status.new_volume)
        if found is None or not self.owned.is_own(found):
            state = "was deleted" if found is None else "exists, and was not made for this VolumeMove"
            raise FailedPrecondition(f"PersistentVolume {self._status.new_volume} {state}")

    # --- the end ---------------------------------------------------------------------------------

    def abandon(self) -> None:
        """Let Kubernetes remove the copy with its volume. It can be repeated, and waits for nothing.

        The data mover was told to end before. While two PersistentVolumes have the volume, the driver refuses
        to remove it, and Kubernetes tries it again.

        Raises:
            FailedPrecondition: someone has bound a PersistentVolume of the copy to another claim.
        """
        claim = self.owned.find(claims(self.owned.namespace), self.claim_name)
        own = claim is not None and self.owned.is_own(claim)
        name = self._status.copy_volume or (str(claim.spec.get("volumeName") or "") if claim and own else "")
        uid = self._status.copy_claim_uid or (claim.metadata.uid if claim and own else "")
        first = self.volumes.find(name) if name else None
        self._abandon_successor(first, uid)
        if first is not None and not first.deleting:
            self._release(first, uid)
        self.owned.remove(claims(self.owned.namespace), self.claim_name)

    def _abandon_successor(self, first: Whole | None, uid: str) -> None:
        """Remove the PersistentVolume in filesystem mode. If it is the last one, its volume goes too."""
        if self._status.new_volume in ("", self._status.copy_volume):
            return
        second = self.volumes.find(self._status.new_volume)
        if second is None or second.deleting or not self.owned.is_own(second):
            return
        if first is None or first.deleting:
            self._release(second, uid)
        else:
            self.owned.client.delete(VOLUMES, second.metadata.name, uid=second.metadata.uid)

    def _release(self, volume: Whole, uid: str) -> None:
        """Let the volume be removed once the temporary claim with this UID is removed.

        A PersistentVolume that is only reserved refers to that claim again, so it is Released.
        """
        reference = volume.spec.get("claimRef") or {}
        if reference.get("uid") not in (None, "", uid):
            raise FailedPrecondition(
                f"PersistentVolume {volume.metadata.name} of the copy is bound to claim "
                f"{reference.get('namespace')}/{reference.get('name')}, so it is not removed"
            )
        if reference.get("uid") != uid:
            self._refer(volume, {"namespace": self.owned.namespace, "name": self.claim_name, "uid": uid})
        self.volumes.set_policy(volume.metadata.name, _DELETE)

    def remove_old(self) -> str:
        """Let Kubernetes remove the old volume. Returns what was done; empty while it is not removed.

        Raises:
            FailedPrecondition: someone uses the old volume.
        """
        name, policy = self._plan.persistent_volume, self._status.source_policy
        old = self.volumes.find(name)
        if old is None:
            return "moved; the old volume was removed"
        reference = old.spec.get("claimRef") or {}
        if reference.get("uid") != self._plan.claim_uid or old.phase not in ("Released", "Failed"):
            raise FailedPrecondition(
                f"PersistentVolume {name} is {old.phase or 'in use'}, and not Released by the claim that it "
                "had; it is not removed while it is used"
            )
        if policy == RETAIN:
            return f"moved; PersistentVolume {name} is kept, because its reclaim policy is Retain"
        self.volumes.set_policy(name, policy)
        return ""
