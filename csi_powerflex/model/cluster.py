"""What a Kubernetes cluster knows of volumes and snapshots, as frozen values.

Names and fields are those of Kubernetes. An empty string is a field that is not set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from csi_powerflex.ids import Initiator


@dataclass(frozen=True, slots=True, order=True)
class ObjectName:
    """The namespace and the name of a claim or of a VolumeSnapshot."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class PersistentVolume:
    """A PersistentVolume of a CSI driver.

    Attributes:
        handle: its ``volumeHandle``.
        claim: the claim that it is bound to, or reserved for.
        phase: such as Bound or Released.
        attributes: its ``volumeAttributes``, the volume context of CSI.
        attributes_class: the name of its VolumeAttributesClass.
        hold: who holds the volume and why (see ``model.hold``); empty if it is not held.
    """

    name: str
    driver: str
    handle: str
    claim: ObjectName | None = None
    phase: str = ""
    reclaim_policy: str = ""
    storage_class: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    attributes_class: str = ""
    hold: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """A PersistentVolumeClaim.

    Attributes:
        volume: the name of the PersistentVolume that it is bound to; empty while it waits for one.
    """

    name: ObjectName
    uid: str
    volume: str = ""


@dataclass(frozen=True, slots=True)
class SnapshotContent:
    """A VolumeSnapshotContent.

    Attributes:
        handle: the ``snapshotHandle`` of its status or source; empty until the snapshot was taken.
        snapshot: the VolumeSnapshot that it belongs to.
        snapshot_uid: the UID of that VolumeSnapshot.
    """

    name: str
    driver: str
    handle: str
    snapshot: ObjectName | None = None
    snapshot_uid: str = ""
    deletion_policy: str = ""


@dataclass(frozen=True, slots=True)
class ClusterObjects:
    """The objects of a cluster, as far as they could be read. None: they could not be read.

    Attributes:
        nodes: the names of the nodes, by initiator.
        classes: the parameters of the VolumeAttributesClasses, by name.
        unknown: why objects could not be read, a sentence for each kind.
    """

    volumes: tuple[PersistentVolume, ...] | None = None
    claims: tuple[Claim, ...] | None = None
    contents: tuple[SnapshotContent, ...] | None = None
    nodes: Mapping[Initiator, str] = field(default_factory=dict)
    classes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Needed:
    """What the objects of a cluster need on the arrays.

    Attributes:
        handles: of volumes and snapshots that PersistentVolumes and VolumeSnapshotContents have.
        names: the names on the array of volumes and snapshots that were asked for and are being created.
    """

    handles: frozenset[str]
    names: frozenset[str]
