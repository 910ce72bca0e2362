"""Listing volumes and snapshots: one list request for each system, however many pages and callers.

The volumes of this cluster are those whose names carry the cluster's id, and those that are mapped to nodes
of this cluster. The second rule covers volumes that were not created by this driver. All other volumes on a
shared array belong to other clusters.
"""

from __future__ import annotations

import array
import itertools
import time
from collections.abc import Callable, Collection, Mapping, Sequence, Set
from dataclasses import dataclass

from csi_powerflex import names
from csi_powerflex.errors import NotFound
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model.array import Host, VolumeOutline
from csi_powerflex.model.ports import Array, Fleet
from csi_powerflex.operations.controller.known_nodes import KnownNodes
from csi_powerflex.operations.controller.lookup import is_snapshot, is_snapshot_of_kind
from csi_powerflex.operations.controller.pagination import KeptLists, LazyList, Page, Paginator
from csi_powerflex.shared_read import SharedRead

# A call waits no longer for the list that another call reads. Its own deadline is mostly shorter.
_LONGEST_SECONDS = 300.0
_PAUSE = 0.05


@dataclass(frozen=True, slots=True)
class ListedVolume:
    """A volume of a system, and the ids of the nodes that it is published to."""

    system_id: str
    volume: VolumeOutline
    node_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ListedSnapshot:
    """A snapshot of a system."""

    system_id: str
    snapshot: VolumeOutline


@dataclass(frozen=True, slots=True)
class SystemContents:
    """What one system has of this cluster.

    Attributes:
        system_id: the system.
        label: its label.
        all: every volume and snapshot of the system. The positions below are those in it.
        snapshots: the positions of the cluster's snapshots.
        pools: by pool id, the positions of the cluster's volumes in it.
        node_ids: the node id of each host, by the id of the host.
    """

    system_id: str
    label: str
    all: Sequence[VolumeOutline]
    snapshots: Sequence[int]
    pools: Mapping[str, Sequence[int]]
    node_ids: Mapping[str, str]

    def volumes_in(self, pools: Collection[str]) -> Sequence[int]:
        """The positions of the cluster's volumes in these pools."""
        return array.array("I", sorted(itertools.chain(*(self.pools[pool] for pool in pools))))

    def volume(self, position: int) -> ListedVolume:
        """The volume at a position, with its nodes."""
        return _listed(self.system_id, self.all[position], self.node_ids)

    def snapshot(self, position: int) -> ListedSnapshot:
        """The snapshot at a position."""
        return ListedSnapshot(self.system_id, self.all[position])


class Contents:
    """What all systems have of this cluster at one time. Its length is the number of volumes in memory."""

    def __init__(self, systems: Sequence[SystemContents]) -> None:
        self.systems = sorted(systems, key=lambda system: system.system_id)
        self.volumes = LazyList(
            self, [(system.volumes_in(system.pools), system.volume) for system in self.systems]
        )
        self.snapshots = LazyList(self, [(system.snapshots, system.snapshot) for system in self.systems])

    def __len__(self) -> int:
        return sum(len(system.all) for system in self.systems)


AfterRead = Callable[[Contents, float], None]
"""Called with what was read, and with the value of ``time.monotonic()`` when the read began."""


class _Found:
    """What one pass over the volumes of a system has found of a cluster."""

    def __init__(self, cluster_id: str) -> None:
        self.snapshots = array.array("I")
        self.pools: dict[str, array.array[int]] = {}
        # The ids of all hosts with a volume, and of those with a volume of the cluster.
        self.mapped: set[str] = set()
        self.our_hosts: set[str] = set()
        self._foreign: list[tuple[int, str, tuple[str, ...]]] = []
        self._cluster_id = cluster_id

    def add(self, position: int, volume: VolumeOutline) -> None:
        kind, cluster_id = names.kind_and_cluster(volume.name)
        ours = cluster_id == self._cluster_id
        if is_snapshot_of_kind(volume, kind):
            if ours:
                self.snapshots.append(position)
            return
        hosts = volume.host_ids
        self.mapped.update(hosts)
        if ours:
            self.our_hosts.update(hosts)
            self._add_to_pool(position, volume.pool_id)
        elif hosts and names.trashed(volume.name) is None:
            self._foreign.append((position, volume.pool_id, hosts))

    def add_foreign(self, hosts: Set[str]) -> None:
        """Add the volumes with another name that are mapped to one of these hosts."""
        for position, pool_id, mapped in self._foreign:
            if not hosts.isdisjoint(mapped):
                self._add_to_pool(position, pool_id)

    def _add_to_pool(self, position: int, pool_id: str) -> None:
        if pool_id not in self.pools:
            self.pools[pool_id] = array.array("I")
        self.pools[pool_id].append(position)


class Listing:
    """The volumes and snapshots of one cluster.

    Args:
        fleet: the systems.
        nodes: the nodes that were seen in calls.
        cluster_id: the cluster.
        kept: the lists whose next pages may be asked for.
    """

    def __init__(self, fleet: Fleet, nodes: KnownNodes, cluster_id: str, kept: KeptLists) -> None:
        self._fleet = fleet
        self._nodes = nodes
        self._cluster_id = cluster_id
        self._after_read: AfterRead | None = None
        self._contents = SharedRead(self._read, seconds=_LONGEST_SECONDS, pause=_PAUSE)
        self._volume_pages: Paginator[ListedVolume] = Paginator(kept, "v")
        self._snapshot_pages: Paginator[ListedSnapshot] = Paginator(kept, "s")

    def volumes(self, *, token: str, max_entries: int) -> Page[ListedVolume]:
        """A page of the cluster's volumes, ordered by id. Raises as ``Paginator.page``.

        A system that does not answer fails the call: a caller takes a volume that is not listed for deleted.
        """
        return self._volume_pages.page(lambda: self.contents().volumes, token=token, max_entries=max_entries)

    def contents(self) -> Contents:
        """What all systems have of the cluster. Callers at the same time share one read."""
        return self._contents.get()

    def volume(self, handle: VolumeHandle) -> ListedVolume:
        """One volume and the nodes that it is published to.

        Raises:
            NotFound: it does not exist.
        """
        system = self._fleet.array(handle.system_id)
        volume = system.volume(handle.volume_id)
        hosts = system.hosts_by_id({mapping.host_id for mapping in volume.mappings})
        return _listed(handle.system_id, volume, self._node_ids(hosts))

    def snapshots(
        self, *, token: str, max_entries: int, snapshot_id: str = "", source_id: str = ""
    ) -> Page[ListedSnapshot]:
        """A page of the cluster's snapshots, ordered by id. Raises as ``Paginator.page``.

        Args:
            token: as for ``Paginator.page``.
            max_entries: as for ``Paginator.page``.
            snapshot_id: list this snapshot only.
            source_id: list the snapshots of this volume only. An id that names nothing gives an empty page
                (specification, ListSnapshots). So do both ids together if the snapshot is of another volume.
        """

        def read() -> Sequence[ListedSnapshot]:
            if snapshot_id:
                found = self._one_snapshot(snapshot_id)
                return [item for item in found if source_id in ("", _source_of(item))]
            if source_id:
                return self._snapshots_of_volume(source_id)
            return self.contents().snapshots

        return self._snapshot_pages.page(read, token=token, max_entries=max_entries)

    def after_read(self, take: AfterRead) -> None:
        """Call ``take`` after each read, in the call that has read. It must return at once."""
        self._after_read = take

    def _read(self) -> Contents:
        began = time.monotonic()
        contents = Contents([self._contents_of(system) for system in self._fleet.arrays()])
        if self._after_read is not None:
            self._after_read(contents, began)
        return contents

    def _contents_of(self, system: Array) -> SystemContents:
        """One pass over the volumes of the system, which become objects one after another."""
        found = _Found(self._cluster_id)
        volumes = system.outlines()
        for position, volume in enumerate(volumes):
            found.add(position, volume)
        hosts = system.hosts_by_id(found.mapped) if found.mapped else {}
        found.add_foreign(found.our_hosts | self._seen(hosts))
        return SystemContents(
            system.system_id(),
            system.label,
            volumes,
            found.snapshots,
            found.pools,
            self._node_ids(hosts),
        )

    def _seen(self, hosts: Mapping[str, Host]) -> set[str]:
        """The ids of hosts that were seen in calls."""
        return {host.id for host in hosts.values() if self._nodes.with_initiator(host.initiator) is not None}

    def _node_ids(self, hosts: Mapping[str, Host]) -> Mapping[str, str]:
        return {host.id: str(self._nodes.identity_of(host.initiator)) for host in hosts.values()}

    def _is_ours(self, volume: VolumeOutline) -> bool:
        return names.belongs_to(volume.name, self._cluster_id)

    def _snapshots_of_volume(self, source_id: str) -> Sequence[ListedSnapshot]:
        try:
            source = VolumeHandle.parse(source_id)
        except NotFound:
            return []
        return [
            ListedSnapshot(source.system_id, volume)
            for volume in self._fleet.array(source.system_id).outlines()
            if volume.ancestor_id == source.volume_id and is_snapshot(volume) and self._is_ours(volume)
        ]

    def _one_snapshot(self, snapshot_id: str) -> Sequence[ListedSnapshot]:
        try:
            handle = VolumeHandle.parse(snapshot_id)
            found = self._fleet.array(handle.system_id).volume(handle.volume_id)
        except NotFound:
            return []
        return [ListedSnapshot(handle.system_id, found)] if is_snapshot(found) else []


def _source_of(item: ListedSnapshot) -> str:
    """The id of the volume that the snapshot was taken of."""
    return f"{item.system_id}-{item.snapshot.ancestor_id}"


def _listed(system_id: str, volume: VolumeOutline, node_ids: Mapping[str, str]) -> ListedVolume:
    mapped = [node_ids[host_id] for host_id in volume.host_ids if host_id in node_ids]
    return ListedVolume(system_id, volume, tuple(dict.fromkeys(mapped)))
