"""The copy of a VolumeMove: its temporary claim, its PersistentVolumes, and the end of the old volume."""

from __future__ import annotations

from dataclasses import dataclass

from csi_powerflex.errors import FailedPrecondition
from csi_powerflex.operator.moves.definition import MovePlan, MoveStatus, VolumeMove
from csi_powerflex.operator.objects import claims
from csi_powerflex.operator.owned import Owned, Whole
from csi_powerflex.operator.windows.closing import RETAIN, Volumes
from csi_powerflex.operator.windows.handover import HandOver, Successor

COPY_SUFFIX = "-copy"
"""How the name of the temporary claim of the copy ends."""


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

    @property
    def hand_over(self) -> HandOver:
        """The way of the copy to the claim that is moved, which is created after it."""
        return HandOver(
            self.owned,
            self.volumes,
            self.claim_name,
            temporary_uid=self._status.copy_claim_uid,
            first=self._status.copy_volume,
            final=self._status.new_volume,
            reserved_for=self.found.spec.claim,
        )

    def close(self) -> bool:
        """See ``HandOver.close``."""
        return self.hand_over.close(Successor(self._plan.filesystem, self._plan.to_class))

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
