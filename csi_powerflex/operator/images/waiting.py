"""Which claims want a clone of a VolumeImage, and where their volumes have to be."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from csi_powerflex.errors import NotFound
from csi_powerflex.kube.client import Client
from csi_powerflex.operator.classes import StorageClass, StorageClasses
from csi_powerflex.operator.images.definition import DEFINITION, VolumeImage, WaitingClaim
from csi_powerflex.operator.images.objects import (
    ATTRIBUTES_CLASSES,
    SELECTED_NODE,
    AttributesClass,
    place_of,
)
from csi_powerflex.operator.images.reconciler import Place
from csi_powerflex.operator.objects import claims
from csi_powerflex.operator.owned import Whole, wants
from csi_powerflex.operator.sources import size_of

FOR_POD = "waits for a pod that uses the claim"
"""How the message of a claim begins that waits as its class says it."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Looks for the claims.

    Attributes:
        client: how to reach the cluster.
        driver_name: the driver's CSI name.
    """

    client: Client
    driver_name: str

    def claims(self, found: VolumeImage) -> tuple[WaitingClaim, ...]:
        """The claims of the status, and all that have come since.

        One without ``pool`` cannot get a clone yet, and its message says why. Nothing was made for it.

        Raises:
            DriverError: the cluster does not answer, or refuses it.
        """
        entries = {entry.uid: entry for entry in found.status.claims}
        for claim in self.client.list(claims(found.metadata.namespace), Whole).items:
            before = entries.get(claim.metadata.uid)
            if (before is None or not before.pool) and wants(claim, DEFINITION, found):
                entries[claim.metadata.uid] = self._entry(claim)
        return tuple(entries.values())

    def ahead(self, found: VolumeImage) -> tuple[Sequence[Place], Sequence[str]]:
        """Where copies are made before a claim needs them, and what is wrong with that.

        Raises:
            DriverError: as ``claims``.
        """
        places, problems = [], []
        for name in found.spec.storage_classes:
            storage_class = self._class(name)
            if storage_class is None or storage_class.provisioner != self.driver_name:
                problems.append(
                    f"StorageClass {name} does not exist, or is of another driver than {self.driver_name}"
                )
            else:
                places.append(self._place(storage_class, name, ""))
        return places, problems

    def _entry(self, claim: Whole) -> WaitingClaim:
        name = str(claim.spec.get("storageClassName") or "")
        storage_class = self._class(name) if name else None
        words = self._obstacle(claim, name, storage_class)
        place = Place("", name)
        if storage_class is not None and not words:
            place = self._place(storage_class, name, str(claim.spec.get("volumeAttributesClassName") or ""))
        return WaitingClaim(
            claim=claim.metadata.name,
            uid=claim.metadata.uid,
            pool=place.pool,
            storage_class=place.storage_class,
            attributes_class=place.attributes_class,
            requested_bytes=_requested(claim),
            message=words,
        )

    def _obstacle(self, claim: Whole, name: str, found: StorageClass | None) -> str:
        """Why the claim cannot get a clone yet; empty if it can."""
        if not name:
            return "it has no StorageClass; create it with one"
        if found is None:
            return f"StorageClass {name} does not exist; create it, or create the claim with another one"
        if found.provisioner != self.driver_name:
            return (
                f"StorageClass {name} is of {found.provisioner}; create the claim with one of "
                f"{self.driver_name}"
            )
        if found.waits and SELECTED_NODE not in claim.metadata.annotations:
            return f"{FOR_POD}: StorageClass {name} has WaitForFirstConsumer"
        return ""

    def _place(self, found: StorageClass, name: str, attributes_class: str) -> Place:
        attributes: Mapping[str, str] = {}
        if attributes_class:
            # The provisioner says it if the class does not exist.
            with contextlib.suppress(NotFound):
                item = self.client.get(ATTRIBUTES_CLASSES, attributes_class, AttributesClass)
                attributes = item.parameters or {}
        return place_of(name, attributes_class, found.parameters, attributes)

    def _class(self, name: str) -> StorageClass | None:
        try:
            return StorageClasses(self.client).get(name)
        except NotFound:
            return None


def _requested(claim: Whole) -> int:
    """The size that a claim asks for, in bytes; 0 for a form that is no size, such as billionths."""
    return size_of((claim.spec.get("resources") or {}).get("requests"))
