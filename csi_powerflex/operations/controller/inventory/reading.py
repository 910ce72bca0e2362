"""Reading volumes and snapshots for people: all of them, or one by any of its names."""

from __future__ import annotations

import collections
import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from csi_powerflex import names
from csi_powerflex.errors import DriverError, InvalidArgument, NotFound
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model.array import Host, InTrash, Limits, Mapping as VolumeMapping, Volume
from csi_powerflex.model.cluster import (
    ClusterObjects,
    ObjectName,
    PersistentVolume,
    SnapshotContent,
)
from csi_powerflex.model.ports import Array, Fleet
from csi_powerflex.model.qos import QosRequest
from csi_powerflex.model.snapshot_policy import SnapshotPolicy
from csi_powerflex.names import Kind, TrashName
from csi_powerflex.operations.controller.inventory.records import Inventory, MappedHost, Owner, Record
from csi_powerflex.operations.controller.lookup import is_snapshot
from csi_powerflex.operations.controller.ownership import Ownership


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects to read.

    Attributes:
        snapshots: snapshots, else volumes.
        everything: also those of other clusters, other drivers and people.
        system: only those of this system, by name or id.
        pool: only those of this pool: its name, its id, or ``domain/pool``.
    """

    snapshots: bool
    everything: bool = False
    system: str | None = None
    pool: str | None = None


class Reader:
    """Reads the objects on the arrays.

    Args:
        fleet: the arrays.
        cluster: what Kubernetes has.
        cluster_id: that of this cluster.
        driver_name: that of this driver.
    """

    def __init__(self, fleet: Fleet, cluster: ClusterObjects, *, cluster_id: str, driver_name: str) -> None:
        self.cluster = cluster
        self.cluster_id = cluster_id
        self.driver_name = driver_name
        self._fleet = fleet
        self._ownership = Ownership(cluster_id)
        self._volumes = _by_handle(cluster.volumes or ())
        self._contents = _by_handle(cluster.contents or ())
        # The snapshot policies of each system that was asked for them, by its label and their id.
        self._policies: dict[str, Mapping[str, SnapshotPolicy]] = {}
        # What the sidecars have asked for and do not have yet, by the name that it gets on the array.
        self._waiting = {
            names.array_name(Kind.VOLUME, cluster_id, f"pvc-{claim.uid}"): claim
            for claim in cluster.claims or ()
            if not claim.volume
        }
        self._promised = {
            names.array_name(Kind.SNAPSHOT, cluster_id, f"snapshot-{content.snapshot_uid}"): content
            for content in cluster.contents or ()
            if not content.handle
        }

    def read(self, selection: Selection) -> Inventory:
        """The objects of the selection. A system that does not answer is a problem of the inventory.

        Raises:
            InvalidArgument: no such system.
        """
        records: list[Record] = []
        problems: list[str] = []
        for array in self._arrays(selection.system):
            try:
                records += self._on(array, selection)
            except DriverError as error:
                problems.append(f"system {array.label} could not be read: {error}")
        return Inventory(tuple(sorted(records, key=_order)), tuple(problems), self.cluster)

    def find(self, text: str, *, snapshots: bool, system: str | None = None) -> Record:
        """The object with that handle, that name on the array or that name in Kubernetes.

        Args:
            text: a handle, a name on the array, ``namespace/name`` of a claim or VolumeSnapshot, or the name
                of a PersistentVolume or VolumeSnapshotContent.
            snapshots: whether a name in Kubernetes is that of a snapshot.
            system: only on this system, by name or id.

        Raises:
            NotFound: there is none.
            InvalidArgument: several objects are called so, there is no such system, or the text is empty.
        """
        if not text.strip():
            raise InvalidArgument("the name of a volume or snapshot is empty; give a handle or a name")
        found: dict[VolumeHandle, Record] = {}
        for handle in self._handles(text, snapshots=snapshots):
            array = self._fleet.array(handle.system_id)
            found[handle] = self._one(array, _volume(array, handle))
        if not found:
            for array in self._arrays(system):
                for volume in _named(array, self._array_names(text)):
                    found[volume.handle] = self._one(array, volume)
        if len(found) > 1:
            raise InvalidArgument(
                f"{text!r} names several objects: {', '.join(map(str, sorted(found, key=str)))}; "
                "give one of these handles"
            )
        if not found:
            raise NotFound(self._not_found(text))
        return next(iter(found.values()))

    def group(self, text: str) -> tuple[tuple[Record, Record | None], ...]:
        """The snapshots of a group, each with the volume that it was taken of; None if that does not exist.

        Args:
            text: the handle of the group, or one of its snapshots, named as for ``find``.

        Raises:
            NotFound: there is no such group or snapshot.
            InvalidArgument: several objects are called so, or the snapshot is in no group.
        """
        found = self._group_by_handle(text)
        if not found:
            member = self.find(text, snapshots=True)
            if member.volume.group_id is None:
                raise InvalidArgument(f"{member.handle} is in no group of snapshots")
            found = self._group_on(self.array_of(member), member.volume.group_id)
        return found

    def _group_by_handle(self, text: str) -> tuple[tuple[Record, Record | None], ...]:
        """Empty if the text is no handle of a group with members."""
        handle = _as_handle(text)
        return self._group_on(self._fleet.array(handle.system_id), handle.volume_id) if handle else ()

    def _group_on(self, array: Array, group_id: str) -> tuple[tuple[Record, Record | None], ...]:
        volumes = array.volumes()
        members = [volume for volume in volumes if volume.group_id == group_id]
        sources = {member.ancestor_id for member in members}
        by_id = {volume.handle.volume_id: volume for volume in volumes if volume.handle.volume_id in sources}
        by_id = {key: volume for key, volume in by_id.items() if names.trashed(volume.name) is None}
        trees = collections.Counter(volume.tree_id for volume in volumes)
        hosts = _hosts(array, [*members, *by_id.values()])

        def record(volume: Volume) -> Record:
            source = by_id.get(volume.ancestor_id or "")
            return self._record(array, volume, hosts, [source] if source else [], trees[volume.tree_id])

        pairs = ((member, by_id.get(member.ancestor_id or "")) for member in members)
        return tuple((record(member), record(source) if source else None) for member, source in pairs)

    def in_trash(
        self, selection: Selection, undeleted: Callable[[Volume, TrashName], Volume]
    ) -> tuple[list[tuple[Record, TrashName]], tuple[str, ...]]:
        """What this cluster has in the trash, and why systems could not be read.

        Args:
            selection: its system and pool count.
            undeleted: returns the volume as it would be after it is undeleted. The records are of these.

        Raises:
            InvalidArgument: no such system.
        """
        found: list[tuple[Record, TrashName]] = []
        problems: list[str] = []
        for array in self._arrays(selection.system):
            try:
                found += self._trash_on(array, selection, undeleted)
            except DriverError as error:
                problems.append(f"system {array.label} could not be read: {error}")
        return found, tuple(problems)

    def _trash_on(
        self, array: Array, selection: Selection, undeleted: Callable[[Volume, TrashName], Volume]
    ) -> list[tuple[Record, TrashName]]:
        volumes = array.volumes()
        members = collections.Counter(volume.tree_id for volume in volumes)
        named = [(volume, names.trashed(volume.name)) for volume in volumes]
        chosen = [
            (undeleted(volume, name), name)
            for volume, name in named
            if name is not None and name.cluster_id == self.cluster_id
        ]
        hosts = _hosts(array, [volume for volume, _ in chosen])
        return [
            (self._record(array, volume, hosts, [], members[volume.tree_id]), name)
            for volume, name in chosen
            if selection.pool is None or selection.pool in _pool_names(array, volume)
        ]

    def array_of(self, record: Record) -> Array:
        """The system of a record."""
        return self._fleet.array(record.handle.system_id)

    # --- finding one -----------------------------------------------------------------------------

    def _handles(self, text: str, *, snapshots: bool) -> list[VolumeHandle]:
        """The handles that the text is, or that Kubernetes has under this name."""
        texts = [text]
        if snapshots:
            contents = self.cluster.contents or ()
            texts += [item.handle for item in contents if _is_called(text, item.name, item.snapshot)]
        else:
            volumes = self.cluster.volumes or ()
            texts += [item.handle for item in volumes if _is_called(text, item.name, item.claim)]
        handles = (_as_handle(item) for item in dict.fromkeys(texts))
        return [handle for handle in handles if handle is not None]

    def _array_names(self, text: str) -> list[str]:
        """Names on the array that the text may stand for: itself, or those made from it as a CSI name."""
        made = [names.array_name(kind, self.cluster_id, text) for kind in (Kind.VOLUME, Kind.SNAPSHOT)]
        return [text, *made] if len(text) <= names.MAX_LENGTH else made

    def _not_found(self, text: str) -> str:
        message = f"no volume or snapshot is called {text!r}, on the arrays or in Kubernetes"
        if self.cluster.volumes is None and "/" in text:
            reasons = "; ".join(self.cluster.unknown)
            return f"{message}; claims are not known ({reasons}), so give the handle or the name on the array"
        return f"{message}; give a handle, a name on the array, a PersistentVolume, or namespace/claim"

    def _one(self, array: Array, volume: Volume) -> Record:
        hosts = _hosts(array, [volume])
        sources = [volume]
        if volume.ancestor_id is not None:
            # The source may have been removed since the copy was read.
            with contextlib.suppress(NotFound):
                sources.append(array.volume(volume.ancestor_id))
        members = array.tree_members(volume.tree_id)
        return self._record(array, volume, hosts, sources, members)

    # --- reading all -----------------------------------------------------------------------------

    def _arrays(self, system: str | None) -> Sequence[Array]:
        return self._fleet.arrays() if system is None else [self._fleet.choose(system)]

    def _on(self, array: Array, selection: Selection) -> list[Record]:
        volumes = array.volumes()
        members = collections.Counter(volume.tree_id for volume in volumes)
        sources = self._sources_of_policies(array, volumes) if selection.snapshots else frozenset()
        chosen = [volume for volume in volumes if self._is_selected(array, volume, selection, sources)]
        hosts = _hosts(array, chosen)
        needed = {volume.ancestor_id for volume in chosen}
        by_id = {volume.handle.volume_id: [volume] for volume in volumes if volume.handle.volume_id in needed}
        return [
            self._record(
                array, volume, hosts, by_id.get(volume.ancestor_id or "", []), members[volume.tree_id]
            )
            for volume in chosen
        ]

    def _sources_of_policies(self, array: Array, volumes: Sequence[Volume]) -> frozenset[str]:
        """The ids of this cluster's volumes that snapshot policies have taken snapshots of."""
        sources = {volume.ancestor_id for volume in volumes if volume.taken_by is not None}
        if not sources:
            return frozenset()
        ours = (item for item in volumes if item.volume_id in sources and self._is_ours(array, item))
        return frozenset(volume.volume_id for volume in ours)

    def _is_selected(
        self, array: Array, volume: Volume, selection: Selection, sources: frozenset[str]
    ) -> bool:
        if names.trashed(volume.name) is not None:
            return False
        if self._is_snapshot(array, volume) is not selection.snapshots:
            return False
        if selection.pool is not None and selection.pool not in _pool_names(array, volume):
            return False
        if volume.taken_by is not None and volume.ancestor_id in sources:
            return True
        return selection.everything or self._is_ours(array, volume)

    def _is_ours(self, array: Array, volume: Volume) -> bool:
        """Whether this cluster may delete it, or uses it by a PersistentVolume or snapshot of this driver."""
        handle = str(volume.handle)
        users = (*self._volumes.get(handle, ()), *self._contents.get(handle, ()))
        return self._ownership.kind_of(array, volume) is not None or any(
            user.driver == self.driver_name for user in users
        )

    def _is_snapshot(self, array: Array, volume: Volume) -> bool:
        """By the use in Kubernetes, else by the name, else by being a copy."""
        handle = str(volume.handle)
        if handle in self._volumes:
            return False
        if handle in self._contents:
            return True
        kind = self._ownership.kind_of(array, volume)
        return is_snapshot(volume) if kind is None else kind is not Kind.VOLUME

    def _record(
        self,
        array: Array,
        volume: Volume,
        hosts: Mapping[str, Host],
        sources: Iterable[Volume],
        members: int,
    ) -> Record:
        handle = str(volume.handle)
        source = next((item for item in sources if item.handle.volume_id == volume.ancestor_id), None)
        promised = self._promised.get(volume.name or "")
        contents = self._contents.get(handle) or ([promised] if promised else [])
        return Record(
            volume=volume,
            system=array.label,
            pool=_pool(array, volume),
            snapshot=self._is_snapshot(array, volume),
            kind=self._ownership.kind_of(array, volume),
            owner=self._owner(array, volume),
            cluster=names.cluster_of(volume.name),
            tree_members=members,
            hosts=tuple(self._host(mapping, hosts) for mapping in volume.mappings),
            requested=self._requested(volume),
            persistent_volumes=tuple(self._volumes.get(handle, ())),
            waiting=self._waiting.get(volume.name or ""),
            contents=tuple(contents),
            source=source.name or str(source.handle) if source else None,
            source_claim=self._claim_of(source) if source else None,
            policy=self._policy(array, volume.taken_by or volume.policy_id),
        )

    def _policy(self, array: Array, policy_id: str | None) -> SnapshotPolicy | None:
        """The policy with that id. The array is asked once, and only if a volume has a policy."""
        if policy_id is None:
            return None
        if array.label not in self._policies:
            found: Sequence[SnapshotPolicy] = ()
            # A user of the array who may not list them still sees the ids.
            with contextlib.suppress(DriverError):
                found = array.snapshot_policies()
            self._policies[array.label] = {policy.id: policy for policy in found}
        unknown = SnapshotPolicy(policy_id, policy_id, paused=False, minutes=0, retained=())
        return self._policies[array.label].get(policy_id, unknown)

    def _requested(self, volume: Volume) -> Limits | None:
        """The limits of the PersistentVolume's classes, as ControllerPublishVolume would set them."""
        found = next(iter(self._volumes.get(str(volume.handle), ())), None)
        if found is None:
            return None
        try:
            of_class = self.cluster.classes[found.attributes_class] if found.attributes_class else {}
            request = QosRequest.parse(found.attributes).merged_with(QosRequest.parse(of_class))
        except (InvalidArgument, KeyError):
            return None
        return request.limits_for(volume.size)

    def _claim_of(self, volume: Volume) -> ObjectName | None:
        found = self._volumes.get(str(volume.handle))
        return found[0].claim if found else None

    def _owner(self, array: Array, volume: Volume) -> Owner:
        if volume.taken_by is not None:
            return Owner.POLICY
        if names.belongs_to(volume.name, self.cluster_id):
            return Owner.THIS_CLUSTER
        if self._ownership.kind_of(array, volume) is not None:
            return Owner.ADOPTED
        return Owner.OTHER if names.kind_of(volume.name) is None else Owner.OTHER_CLUSTER

    def _host(self, mapping: VolumeMapping, hosts: Mapping[str, Host]) -> MappedHost:
        host = hosts.get(mapping.host_id)
        return MappedHost(
            id=mapping.host_id,
            name=mapping.host_name,
            initiator=host.initiator if host else None,
            node=self.cluster.nodes.get(host.initiator) if host else None,
            access=mapping.access,
            limits=mapping.limits,
        )


_O = TypeVar("_O", PersistentVolume, SnapshotContent)


def _by_handle(found: Iterable[_O]) -> dict[str, list[_O]]:
    """The objects by their handle, of several the bound one first."""
    by_handle: dict[str, list[_O]] = {}
    for item in found:
        if item.handle:
            by_handle.setdefault(item.handle, []).append(item)
    for items in by_handle.values():
        items.sort(key=lambda item: getattr(item, "phase", "Bound") != "Bound")
    return by_handle


def _is_called(text: str, name: str, bound: ObjectName | None) -> bool:
    """Whether an object of this name, and the claim or VolumeSnapshot that has it, are called so."""
    return text == name or (bound is not None and text == str(bound))


def _as_handle(text: str) -> VolumeHandle | None:
    try:
        return VolumeHandle.parse(text)
    except NotFound:
        return None


def _volume(array: Array, handle: VolumeHandle) -> Volume:
    try:
        return array.volume(handle.volume_id)
    except InTrash:
        raise
    except NotFound as error:
        raise NotFound(
            f"{handle} does not exist on system {array.label}: it was removed, or the id is wrong"
        ) from error


def _named(array: Array, candidates: Iterable[str]) -> list[Volume]:
    """The volumes of the system that have one of these names."""
    found = []
    for name in candidates:
        try:
            found.append(array.volume(array.volume_id_by_name(name)))
        except NotFound:
            continue
    return found


def _hosts(array: Array, volumes: Iterable[Volume]) -> Mapping[str, Host]:
    mapped = {mapping.host_id for volume in volumes for mapping in volume.mappings}
    return array.hosts_by_id(mapped) if mapped else {}


def _pool(array: Array, volume: Volume) -> str:
    try:
        return str(array.pool_by_id(volume.pool_id))
    except InvalidArgument:
        # The pool was removed since the volume was read.
        return volume.pool_id


def _pool_names(array: Array, volume: Volume) -> tuple[str, ...]:
    try:
        pool = array.pool_by_id(volume.pool_id)
    except InvalidArgument:
        return (volume.pool_id,)
    return pool.id, pool.name, str(pool)


def _order(record: Record) -> tuple[bool, str, str, str]:
    """Those that Kubernetes has first, by namespace and name; then by the name on the array."""
    name = record.content.snapshot if record.snapshot and record.content else record.claim
    return name is None, str(name), record.volume.name or "", str(record.handle)
