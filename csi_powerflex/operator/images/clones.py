"""The effects of making a clone of a cached copy for a claim."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from csi_powerflex.errors import AlreadyExists, Busy, FailedPrecondition, NotFound
from csi_powerflex.kube.client import Client
from csi_powerflex.kube_objects.reader import VOLUMES
from csi_powerflex.operator.images import cloning, objects
from csi_powerflex.operator.images.cloning import Owner, Seen, Step
from csi_powerflex.operator.images.definition import VolumeImage, WaitingClaim
from csi_powerflex.operator.images.objects import CLAIM_LABEL, COPY_LABEL, IMAGE_LABEL
from csi_powerflex.operator.objects import claims
from csi_powerflex.operator.owned import Whole, was_made_for

_POLICY = "persistentVolumeReclaimPolicy"
_DELETE = "Delete"


@dataclass(frozen=True, slots=True)
class Led:
    """What came of one step for a claim.

    Attributes:
        claim: what the status has about it; None if it is forgotten.
        step: the step.
        delivered: the claim has its volume.
    """

    claim: WaitingClaim | None
    step: Step
    delivered: bool


@dataclass(frozen=True, slots=True)
class _Objects:
    claim: Whole | None
    prime: Whole | None
    volume: Whole | None


@dataclass(frozen=True, slots=True)
class Clones:
    """Makes the clones of one VolumeImage.

    Attributes:
        client: how to reach the cluster.
        namespace: the operator's namespace.
        found: the VolumeImage.
    """

    client: Client
    namespace: str
    found: VolumeImage

    def living(self) -> dict[str, set[str]]:
        """The UIDs of the claims that have got a clone that still exists, for each cached copy."""
        made: dict[str, set[str]] = {}
        labels = f"{IMAGE_LABEL}={self.found.metadata.uid}"
        for item in self.client.list(VOLUMES, Whole, labels=labels).items:
            marks = item.metadata.labels
            made.setdefault(marks.get(COPY_LABEL, ""), set()).add(marks.get(CLAIM_LABEL, item.metadata.name))
        return made

    def begun(self) -> set[str]:
        """The UIDs of the claims that a clone was begun for, and not given to yet."""
        return {prime.metadata.labels.get(CLAIM_LABEL, "") for prime in self._primes()}

    def lead(self, entry: WaitingClaim) -> Led:
        """One step for a claim.

        Raises:
            FailedPrecondition: an object of someone else is in the way.
            DriverError: the cluster does not answer, or refuses an object.
        """
        items = self._look(entry)
        seen = self._seen(entry, items)
        step = cloning.next_step(entry, seen, ending=self.found.deleting)
        match step:
            case Step.CREATE_PRIME if items.claim is not None:
                content = objects.clone_of(self.found, entry.copy, self.namespace, items.claim)
                with contextlib.suppress(AlreadyExists):  # The next look says whose it is.
                    self.client.create(claims(self.namespace), content)
            case Step.RECORD:
                entry = replace(entry, volume=seen.volume)
            case Step.HAND_OVER if items.volume is not None and items.claim is not None:
                self._patch(
                    items.volume, objects.handed_over(self.found, entry.copy, items.volume, items.claim)
                )
            case Step.DELETE_PRIME if items.prime is not None:
                self._delete(items.prime)
            case Step.TAKE_BACK:
                self._take_back(items)
            case Step.BEGIN_AGAIN:
                entry = replace(entry, volume="", copy="")
        forgotten = step is Step.FORGET
        return Led(None if forgotten else self._told(entry, step), step, forgotten and seen.delivered)

    def _told(self, entry: WaitingClaim, step: Step) -> WaitingClaim:
        if step is Step.WAIT and not entry.copy:
            return entry
        if step is Step.WAIT:
            prime = f"{self.namespace}/{objects.prime_of(entry.uid)}"
            made = f"the clone is made; the Events of claim {prime} tell more"
            return replace(entry, message="Kubernetes binds the claim to the clone" if entry.volume else made)
        return replace(entry, message=step.value)

    def sweep(self) -> None:
        """Remove the primes of all claims, also of those that the status does not have.

        A process that was separated from the cluster may have made them late. The PersistentVolumes that were
        given to claims stay. Raises DriverError: the cluster does not answer, or refuses it.
        """
        for prime in self._primes():
            name = str(prime.spec.get("volumeName") or "")
            volume = self._get(VOLUMES, name) if was_made_for(name, prime.metadata.uid) else None
            owner = (volume.spec.get("claimRef") or {}).get("uid") if volume is not None else ""
            own = volume if owner == prime.metadata.uid else None
            self._take_back(_Objects(None, prime, own))

    # --- looking ---------------------------------------------------------------------------------

    def _primes(self) -> Sequence[Whole]:
        labels = f"{IMAGE_LABEL}={self.found.metadata.uid}"
        return self.client.list(claims(self.namespace), Whole, labels=labels).items

    def _look(self, entry: WaitingClaim) -> _Objects:
        claim = self._get(claims(self.found.metadata.namespace), entry.claim)
        prime = self._get(claims(self.namespace), objects.prime_of(entry.uid))
        if prime is not None and prime.metadata.labels.get(CLAIM_LABEL) != entry.uid:
            raise FailedPrecondition(
                f"claim {self.namespace}/{prime.metadata.name} exists and was not made for this claim; look "
                "who made it, and delete it"
            )
        name = entry.volume or (str(prime.spec.get("volumeName") or "") if prime else "")
        volume = self._get(VOLUMES, name) if name else None
        if prime is not None and volume is not None and not was_made_for(name, prime.metadata.uid):
            raise FailedPrecondition(
                f"claim {self.namespace}/{prime.metadata.name} has got PersistentVolume {name}, which "
                "existed before; reserve that for another claim, and delete this claim"
            )
        alive = claim is not None and claim.metadata.uid == entry.uid
        return _Objects(claim if alive else None, prime, volume)

    def _get(self, path: str, name: str) -> Whole | None:
        try:
            return self.client.get(path, name, Whole)
        except NotFound:
            return None

    def _seen(self, entry: WaitingClaim, items: _Objects) -> Seen:
        claim, prime, volume = items.claim, items.prime, items.volume
        bound = str(claim.spec.get("volumeName") or "") if claim else ""
        name = volume.metadata.name if volume else ""
        alive = claim is not None and claim.metadata.deletion_timestamp is None
        return Seen(
            wanted=alive and bound in ("", name),
            delivered=bool(name) and bound == name,
            prime=prime is not None,
            prime_copy=prime.metadata.labels.get(COPY_LABEL, "") if prime else "",
            volume=name,
            owner=self._owner(entry, volume),
        )

    def _owner(self, entry: WaitingClaim, volume: Whole | None) -> Owner:
        reference = (volume.spec.get("claimRef") or {}) if volume else {}
        if reference.get("uid") == entry.uid:
            return Owner.CLAIM
        prime = (self.namespace, objects.prime_of(entry.uid))
        ours = volume is None or (reference.get("namespace"), reference.get("name")) == prime
        return Owner.PRIME if ours else Owner.OTHER

    # --- parts of steps --------------------------------------------------------------------------

    def _take_back(self, items: _Objects) -> None:
        """Remove the clone, also if its class keeps volumes: it was never used."""
        if items.volume is not None and items.volume.spec.get(_POLICY) != _DELETE:
            version = {"resourceVersion": items.volume.metadata.resource_version}
            self._patch(items.volume, {"metadata": version, "spec": {_POLICY: _DELETE}})
        if items.prime is not None:
            self._delete(items.prime)

    def _patch(self, volume: Whole, content: dict[str, object]) -> None:
        try:
            self.client.patch(VOLUMES, volume.metadata.name, content)
        except AlreadyExists as error:
            raise Busy(f"PersistentVolume {volume.metadata.name} was changed at the same time") from error

    def _delete(self, item: Whole) -> None:
        if item.metadata.deletion_timestamp is None:
            with contextlib.suppress(NotFound, AlreadyExists):
                self.client.delete(claims(self.namespace), item.metadata.name, uid=item.metadata.uid)
