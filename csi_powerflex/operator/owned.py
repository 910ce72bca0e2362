"""The objects that the operator makes for one of its own objects: claims, snapshots, Jobs.

Each has the label ``OWNER_LABEL`` with the UID of the object that it was made for. Only objects with the
label are changed or removed. Each also has an owner reference, so Kubernetes removes it if the
operator cannot.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from csi_powerflex.errors import AlreadyExists, FailedPrecondition, NotFound
from csi_powerflex.kube.client import Client, KubeObject
from csi_powerflex.operator.api import API_VERSION, GROUP, Definition, Resource
from csi_powerflex.operator.objects import Meta

OWNER_LABEL = f"{GROUP}/made-for"


class WholeMeta(Meta, frozen=True, rename="camel"):
    """The metadata of an object, as far as a copy of the object needs it."""

    annotations: dict[str, str] = msgspec.field(default_factory=dict)
    owner_references: tuple[dict[str, Any], ...] = ()
    finalizers: tuple[str, ...] = ()


class Whole(KubeObject, frozen=True, kw_only=True):
    """An object with all of its specification and status, to copy it or to look at some fields."""

    metadata: WholeMeta = WholeMeta()
    spec: dict[str, Any] = msgspec.field(default_factory=dict)
    status: dict[str, Any] = msgspec.field(default_factory=dict)

    @property
    def deleting(self) -> bool:
        """Whether it is being deleted."""
        return self.metadata.deletion_timestamp is not None

    @property
    def phase(self) -> str:
        """The phase in its status; empty if it has none."""
        return str(self.status.get("phase") or "")


# msgspec crashes if two threads are the first to decode a type.
msgspec.json.Decoder(Whole)


def was_made_for(name: str, uid: str) -> bool:
    """Whether an object of the cluster was made for an object of a namespace.

    The sidecars of CSI give a PersistentVolume a name that ends with the UID of its claim, and a
    VolumeSnapshotContent one with the UID of its snapshot. Both may also get one that existed before, and a
    claim may name any. What happens to that is the decision of someone else.

    Args:
        name: the name of the PersistentVolume or the VolumeSnapshotContent; empty for none.
        uid: the UID of the claim or the snapshot; empty for none.
    """
    return bool(uid) and name.endswith(f"-{uid}")


def wants(claim: Whole, definition: Definition, source: Resource) -> bool:
    """Whether a claim has no volume yet, and names an object of its own namespace as its source."""
    wanted = claim.spec.get("dataSourceRef") or {}
    named = (wanted.get("apiGroup"), wanted.get("kind"), wanted.get("name"))
    here = wanted.get("namespace") in (None, "", source.metadata.namespace)
    unbound = not claim.spec.get("volumeName") and not claim.deleting
    return here and unbound and named == (GROUP, definition.kind, source.metadata.name)


@dataclass(frozen=True, slots=True)
class Owned:
    """The objects that were made for one object.

    Attributes:
        client: how to reach the cluster.
        definition: the resource of the owner.
        owner: the object that they are made for.
    """

    client: Client
    definition: Definition
    owner: Resource

    @property
    def uid(self) -> str:
        """The UID of the owner, which is in names and labels."""
        return self.owner.metadata.uid

    @property
    def namespace(self) -> str:
        """The namespace of the owner and of what is made for it."""
        return self.owner.metadata.namespace

    def find(self, path: str, name: str) -> Whole | None:
        """An object, of anyone; None if it does not exist. Raises DriverError: it is not known."""
        try:
            return self.client.get(path, name, Whole)
        except NotFound:
            return None

    def is_own(self, found: Whole) -> bool:
        """Whether it was made for the owner."""
        return found.metadata.labels.get(OWNER_LABEL) == self.uid

    def ensure(self, path: str, content: Mapping[str, Any]) -> Whole:
        """An object, which is created if it does not exist.

        Args:
            path: its resource.
            content: the object with its name; namespace, label and owner reference are added.

        Raises:
            FailedPrecondition: an object of someone else has the name.
            NotFound: it is being deleted, or was deleted at once.
            DriverError: the cluster does not answer, or refuses it.
        """
        name = str(content["metadata"]["name"])
        found = self.find(path, name)
        if found is None:
            # If it exists by now, it is read below: it is its own if an answer was lost.
            with contextlib.suppress(AlreadyExists):
                self.client.create(path, self._marked(content))
            found = self.client.get(path, name, Whole)
        if not self.is_own(found):
            raise FailedPrecondition(
                f"{content['kind']} {name} exists, and was not made for this {self.definition.kind}; "
                "delete it"
            )
        if found.deleting:
            raise NotFound(f"{content['kind']} {name} is being deleted; another one is made after that")
        return found

    def remove(self, path: str, name: str) -> bool:
        """Begin to delete an object that was made for the owner.

        Returns whether no such object exists any more. One of someone else is left alone.
        """
        found = self.find(path, name)
        if found is None or not self.is_own(found):
            return True
        if found.deleting:
            return False
        try:
            self.client.delete(path, name, uid=found.metadata.uid)
        except NotFound:
            return True
        except AlreadyExists:
            return False
        return self.find(path, name) is None

    def _marked(self, content: Mapping[str, Any]) -> dict[str, Any]:
        metadata = dict(content["metadata"])
        labels = {**metadata.get("labels", {}), OWNER_LABEL: self.uid}
        reference = {
            "apiVersion": API_VERSION,
            "kind": self.definition.kind,
            "name": self.owner.metadata.name,
            "uid": self.uid,
        }
        added = {"namespace": self.namespace, "labels": labels, "ownerReferences": [reference]}
        return {**content, "metadata": {**metadata, **added}}
