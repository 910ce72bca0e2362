"""A volume or snapshot on an array, with what Kubernetes and the names on the array say about it."""

from __future__ import annotations

import datetime
import enum
from dataclasses import dataclass

from csi_powerflex import names
from csi_powerflex.ids import Initiator, VolumeHandle
from csi_powerflex.model.array import Access, Limits, Volume
from csi_powerflex.model.cluster import (
    Claim,
    ClusterObjects,
    ObjectName,
    PersistentVolume,
    SnapshotContent,
)
from csi_powerflex.model.snapshot_policy import SnapshotPolicy
from csi_powerflex.names import Kind


class Owner(enum.StrEnum):
    """Whose object it is, by its name on the array."""

    THIS_CLUSTER = "this cluster"
    ADOPTED = "adopted"
    """It has another driver's name, and the systems file says that this cluster may delete it."""
    OTHER_CLUSTER = "other cluster"
    """This driver made it for another cluster."""
    POLICY = "snapshot policy"
    """A snapshot policy of the array has taken it."""
    OTHER = "other"
    """Another driver or a person made it."""


@dataclass(frozen=True, slots=True)
class MappedHost:
    """A host that an object is mapped to.

    Attributes:
        initiator: None for a host that cannot be a node.
        node: the name of the node in Kubernetes; None if it is not known.
    """

    id: str
    name: str | None
    initiator: Initiator | None
    node: str | None
    access: Access
    limits: Limits

    def __str__(self) -> str:
        return self.node or self.name or str(self.initiator or self.id)


@dataclass(frozen=True, slots=True)
class Record:
    """One volume or snapshot.

    Attributes:
        system: the label of its system.
        pool: its protection domain and pool, as ``domain/pool``.
        snapshot: whether it is a snapshot.
        kind: as what this cluster may delete it; None if it may not.
        cluster: the cluster id in its name; None for a name that this driver does not make.
        tree_members: the number of volumes, snapshots and clones in its tree.
        requested: the limits that Kubernetes requests for each mapping; None if they are not known.
        persistent_volumes: those that have its handle, the bound one first.
        waiting: the claim that it was created for, if that claim exists.
        contents: the VolumeSnapshotContents that have its handle, or that it was created for.
        source: the name on the array of the volume that it is a copy of, as far as it exists.
        source_claim: the claim of that volume.
        policy: the snapshot policy that has taken it, or that takes snapshots of it.
    """

    volume: Volume
    system: str
    pool: str
    snapshot: bool
    kind: Kind | None
    owner: Owner
    cluster: str | None
    tree_members: int
    hosts: tuple[MappedHost, ...]
    requested: Limits | None = None
    persistent_volumes: tuple[PersistentVolume, ...] = ()
    waiting: Claim | None = None
    contents: tuple[SnapshotContent, ...] = ()
    source: str | None = None
    source_claim: ObjectName | None = None
    policy: SnapshotPolicy | None = None

    @property
    def handle(self) -> VolumeHandle:
        """Its id in CSI."""
        return self.volume.handle

    @property
    def persistent_volume(self) -> PersistentVolume | None:
        """The PersistentVolume that has its handle."""
        return self.persistent_volumes[0] if self.persistent_volumes else None

    @property
    def claim(self) -> ObjectName | None:
        """The claim that has it, or that it was created for."""
        bound = self.persistent_volume
        if bound is not None:
            return bound.claim
        return self.waiting.name if self.waiting else None

    @property
    def content(self) -> SnapshotContent | None:
        """The VolumeSnapshotContent that has its handle."""
        return self.contents[0] if self.contents else None

    @property
    def uid(self) -> str | None:
        """The UID in its name, see ``names.uid_in``."""
        return names.uid_in(self.volume.name)

    @property
    def wanted(self) -> bool:
        """Whether an object in Kubernetes needs it."""
        return bool(self.persistent_volumes or self.waiting or self.contents)

    def age(self, now: datetime.datetime) -> datetime.timedelta:
        """How long it exists. The clock of the array may differ, so it is never below zero."""
        return max(now - self.volume.created, datetime.timedelta())


@dataclass(frozen=True, slots=True)
class Inventory:
    """The volumes and snapshots that were found.

    Attributes:
        records: ordered by claim, then by name on the array.
        problems: why systems could not be read, a sentence for each.
        cluster: what Kubernetes has.
    """

    records: tuple[Record, ...]
    problems: tuple[str, ...]
    cluster: ClusterObjects
