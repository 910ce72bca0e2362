"""The volume that a data mover has written goes from a temporary claim to the claim of a user.

The temporary claim is in block mode. A PersistentVolume cannot change its mode, so a claim with a filesystem
gets another PersistentVolume of the same volume. At each time at most one of them lets Kubernetes remove the
volume, and only one can be attached (``windows.closing``).
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass

from csi_powerflex.errors import AlreadyExists, FailedPrecondition
from csi_powerflex.kube_objects.reader import VOLUMES
from csi_powerflex.operator.objects import claims
from csi_powerflex.operator.owned import OWNER_LABEL, Owned, Whole, was_made_for
from csi_powerflex.operator.windows.closing import DELETE, RETAIN, Volumes, policy_of, successor


@dataclass(frozen=True, slots=True)
class Successor:
    """What the PersistentVolume in filesystem mode has that the first one has not.

    Attributes:
        filesystem: the filesystem on the volume; empty for the default of the driver.
        storage_class: the class of the claim that gets it.
    """

    filesystem: str
    storage_class: str


@dataclass(frozen=True, slots=True)
class HandOver:
    """One volume.

    Attributes:
        owned: makes its objects.
        volumes: the PersistentVolumes.
        temporary: the claim in block mode that is written.
        temporary_uid: the UID of that claim; empty while it is not known.
        first: the PersistentVolume of that claim; empty while it is not known.
        final: the PersistentVolume that the claim of the user gets: ``first`` in block mode, else another
            one; empty while it is not known.
        reserved_for: the claim that ``final`` is reserved for by name; empty to leave it with the temporary
            claim until ``give``.
    """

    owned: Owned
    volumes: Volumes
    temporary: str
    temporary_uid: str = ""
    first: str = ""
    final: str = ""
    reserved_for: str = ""

    def written(self) -> Whole:
        """The PersistentVolume of the temporary claim, after the data mover has written it.

        Raises:
            FailedPrecondition: the claim is another one, is not bound, or has a PersistentVolume that existed
                before.
            NotFound: the PersistentVolume was deleted.
        """
        found = self.owned.find(claims(self.owned.namespace), self.temporary)
        name = str(found.spec.get("volumeName") or "") if found else ""
        if found is None or found.metadata.uid != self.temporary_uid or not name:
            raise FailedPrecondition(f"claim {self.temporary} was replaced, or has no PersistentVolume")
        volume = self.volumes.get(name)
        if _reference(volume).get("uid") != found.metadata.uid:
            raise FailedPrecondition(f"PersistentVolume {name} is not bound to claim {self.temporary}")
        if not was_made_for(name, found.metadata.uid):
            raise FailedPrecondition(
                f"claim {self.temporary} has got PersistentVolume {name}, which existed before, so it is "
                "kept and not used; reserve it for another claim, or delete it"
            )
        return volume

    # --- the end of the temporary claim ----------------------------------------------------------

    def close(self, after: Successor) -> bool:
        """Go on until only ``final`` is left, and no node has it attached.

        The data mover has ended before. Returns whether it is so.

        Raises:
            StillAttached: a node has the volume attached.
            FailedPrecondition: someone else has changed something.
            Busy: someone has changed the PersistentVolume at the same time.
        """
        first = self.volumes.find(self.first)
        if first is None:
            if self._is_kept:
                raise FailedPrecondition(f"PersistentVolume {self.first} of the copy was deleted")
            self._require_successor()
            return True
        if not self._is_temporary(first):
            self._require_reserved(first)
            return True
        if policy_of(first) != RETAIN and not first.deleting:
            # The next look proves that it is so.
            self.volumes.change(first, {"persistentVolumeReclaimPolicy": RETAIN})
            return False
        if not self.owned.remove(claims(self.owned.namespace), self.temporary):
            return False
        self.volumes.require_detached(first.metadata.name)
        if self._is_kept:
            if self.reserved_for:
                self.volumes.change(first, {"claimRef": _referring(self._reservation)})
            return True
        self._create_successor(first, after)
        return self.volumes.is_closed(first.metadata.name)

    @property
    def _is_kept(self) -> bool:
        """Whether the claim of the user gets the PersistentVolume that was written."""
        return self.first == self.final

    @property
    def _reservation(self) -> Mapping[str, str | None]:
        return {"namespace": self.owned.namespace, "name": self.reserved_for, "uid": None}

    @property
    def _temporary_reference(self) -> Mapping[str, str | None]:
        return {"namespace": self.owned.namespace, "name": self.temporary, "uid": self.temporary_uid}

    def _is_temporary(self, volume: Whole) -> bool:
        return _reference(volume).get("uid") == self.temporary_uid

    def _require_reserved(self, volume: Whole) -> None:
        """Raises FailedPrecondition: someone has given the PersistentVolume to another claim."""
        found = _reference(volume)
        reserved = (found.get("namespace"), found.get("name")) == (self.owned.namespace, self.reserved_for)
        if not (self._is_kept and reserved):
            raise _taken(volume)

    def _create_successor(self, first: Whole, after: Successor) -> None:
        """Create the PersistentVolume in filesystem mode, if it does not exist."""
        reference = self._reservation if self.reserved_for else self._temporary_reference
        content = successor(
            first,
            name=self.final,
            labels={OWNER_LABEL: self.owned.uid},
            claim={key: value for key, value in reference.items() if value is not None},
            filesystem=after.filesystem,
            storage_class=after.storage_class,
        )
        # If it exists, it is looked at below whose it is.
        with contextlib.suppress(AlreadyExists):
            self.owned.client.create(VOLUMES, content)
        self._require_successor()

    def _require_successor(self) -> None:
        """Raises FailedPrecondition: the PersistentVolume in filesystem mode is missing, or another one."""
        found = self.volumes.find(self.final)
        if found is None or not self.owned.is_own(found):
            kind = self.owned.definition.kind
            state = "was deleted" if found is None else f"exists, and was not made for this {kind}"
            raise FailedPrecondition(f"PersistentVolume {self.final} {state}")

    # --- the claim of the user -------------------------------------------------------------------

    def is_given(self, uid: str) -> bool:
        """Whether the claim with this UID has ``final``. Raises NotFound: it was deleted."""
        return _reference(self.volumes.get(self.final)).get("uid") == uid

    def give(self, claim: Whole) -> None:
        """Give ``final`` to a claim that exists, and to no later one of its name.

        ``close`` has returned True before. Returns without error if it is already so.

        Raises:
            NotFound: the PersistentVolume was deleted.
            FailedPrecondition: another claim has it.
            Busy: someone has changed it at the same time.
        """
        volume = self.volumes.get(self.final)
        if _reference(volume).get("uid") == claim.metadata.uid:
            return
        if not self._is_temporary(volume):
            raise _taken(volume)
        metadata = claim.metadata
        reference = {"namespace": metadata.namespace, "name": metadata.name, "uid": metadata.uid}
        self.volumes.change(volume, {"claimRef": _referring(reference)})

    # --- the way back ----------------------------------------------------------------------------

    def abandon(self) -> None:
        """Let Kubernetes remove the volume. It can be repeated, and waits for nothing.

        The data mover was told to end before. While two PersistentVolumes have the volume, the driver refuses
        to remove it, and Kubernetes tries it again.

        Raises:
            FailedPrecondition: someone has bound a PersistentVolume of the volume to another claim.
            Busy: someone has changed it at the same time.
        """
        claim = self.owned.find(claims(self.owned.namespace), self.temporary)
        own = claim if claim is not None and self.owned.is_own(claim) else None
        name = self.first or (str(own.spec.get("volumeName") or "") if own else "")
        # Before anything is written, the claim may have been replaced after the status was.
        uid = own.metadata.uid if own is not None and not self.first else self.temporary_uid
        # A claim may name any PersistentVolume: only one that was made for it may lose its volume.
        first, made = self.volumes.find(name) if name else None, was_made_for(name, uid)
        self._abandon_successor(first if made else None, uid)
        if first is not None and not first.deleting:
            if made:
                self._release(first, uid)
            else:
                self.volumes.let_go(first, uid)
        self.owned.remove(claims(self.owned.namespace), self.temporary)

    def _abandon_successor(self, first: Whole | None, uid: str) -> None:
        """Remove the PersistentVolume in filesystem mode. If it is the last one, its volume goes too."""
        if self.final in ("", self.first):
            return
        second = self.volumes.find(self.final)
        if second is None or second.deleting or not self.owned.is_own(second):
            return
        if first is None or first.deleting:
            self._release(second, uid)
        else:
            _require_not_taken(second, uid)
            self.owned.client.delete(VOLUMES, second.metadata.name, uid=second.metadata.uid)

    def _release(self, volume: Whole, uid: str) -> None:
        """Let the volume be removed once the temporary claim with this UID is removed.

        A PersistentVolume that is only reserved refers to that claim again, so it is Released.
        """
        _require_not_taken(volume, uid)
        changed: dict[str, object] = {}
        if _reference(volume).get("uid") != uid:
            reference = {"namespace": self.owned.namespace, "name": self.temporary, "uid": uid}
            changed["claimRef"] = _referring(reference)
        if policy_of(volume) != DELETE:
            changed["persistentVolumeReclaimPolicy"] = DELETE
        if changed:
            self.volumes.change(volume, changed)


def _reference(volume: Whole) -> Mapping[str, str]:
    return volume.spec.get("claimRef") or {}


def _referring(reference: Mapping[str, str | None]) -> Mapping[str, str | None]:
    """A whole ``claimRef``. Kubernetes writes the version of the claim when it binds it."""
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "resourceVersion": None, **reference}


def _require_not_taken(volume: Whole, uid: str) -> None:
    """Raises FailedPrecondition: the PersistentVolume is bound to another claim than that with the UID."""
    if _reference(volume).get("uid") not in (None, "", uid):
        raise _taken(volume)


def _taken(volume: Whole) -> FailedPrecondition:
    found = _reference(volume)
    return FailedPrecondition(
        f"PersistentVolume {volume.metadata.name} of the copy is bound to claim {found.get('namespace')}/"
        f"{found.get('name')}, so it is left as it is"
    )
