"""Listing volumes and snapshots: one list request for each system, however many pages.

Volumes of ours are those whose names carry the cluster's id, and those that are mapped to nodes of ours,
which covers volumes that were made elsewhere and provisioned by hand. Other clusters' volumes on a shared
pool are theirs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from csi_powerflex import names
from csi_powerflex.errors import NotFound
from csi_powerflex.ids import NodeIdentity, VolumeHandle
from csi_powerflex.model.array import Host, Volume
from csi_powerflex.model.ports import Array, Fleet
from csi_powerflex.operations.controller.known_nodes import Nodes
from csi_powerflex.operations.controller.pagination import Page, Paginator
from csi_powerflex.operations.controller.snapshots import is_snapshot


@dataclass(frozen=True, slots=True)
class ListedVolume:
    """A volume and the nodes that have it."""

    volume: Volume
    nodes: tuple[NodeIdentity, ...]


class Listing:
    """What exists, for one cluster."""

    def __init__(self, fleet: Fleet, nodes: Nodes, cluster_id: str) -> None:
        self._fleet = fleet
        self._nodes = nodes
        self._cluster_id = cluster_id
        self._volume_pages: Paginator[ListedVolume] = Paginator()
        self._snapshot_pages: Paginator[Volume] = Paginator()

    def volumes(self, *, token: str, max_entries: int) -> Page[ListedVolume]:
        """A page of the cluster's volumes, ordered by id. Raises as ``Pages.page``.

        A system that cannot be asked fails the call: to a caller, a volume that is not listed is gone.
        """
        return self._volume_pages.page(self.all_volumes, token=token, max_entries=max_entries)

    def all_volumes(self) -> Sequence[ListedVolume]:
        """Every volume of the cluster, ordered by id."""
        listed = [item for array in self._fleet.arrays() for item in self._volumes_of(array)]
        return sorted(listed, key=lambda item: str(item.volume.handle))

    def volume(self, handle: VolumeHandle) -> ListedVolume:
        """One volume and the nodes that have it.

        Raises:
            NotFound: it does not exist.
        """
        array = self._fleet.array(handle.system_id)
        volume = array.volume(handle.volume_id)
        hosts = array.hosts_by_id({mapping.host_id for mapping in volume.mappings})
        return _listed(volume, hosts)

    def snapshots(
        self, *, token: str, max_entries: int, snapshot_id: str = "", source_id: str = ""
    ) -> Page[Volume]:
        """A page of the cluster's snapshots, ordered by id; of one id, or of one source, where that is given.

        An id that names nothing gives an empty page (specification, ListSnapshots). Raises as ``Pages.page``.
        """
        if snapshot_id:
            return self._snapshot_pages.page(
                lambda: self._one(snapshot_id), token=token, max_entries=max_entries
            )
        if source_id:
            return self._snapshot_pages.page(
                lambda: self._of_source(source_id), token=token, max_entries=max_entries
            )
        return self._snapshot_pages.page(self._all_snapshots, token=token, max_entries=max_entries)

    def _volumes_of(self, array: Array) -> list[ListedVolume]:
        everything = [volume for volume in array.volumes() if not is_snapshot(volume)]
        ours = {volume.handle for volume in everything if names.belongs_to(volume.name, self._cluster_id)}
        needed = {mapping.host_id for volume in everything for mapping in volume.mappings}
        hosts = array.hosts_by_id(needed) if needed else {}
        our_hosts = {host.id for host in hosts.values() if host.identity in self._nodes.met} | {
            mapping.host_id for volume in everything if volume.handle in ours for mapping in volume.mappings
        }
        return [
            _listed(volume, hosts)
            for volume in everything
            if volume.handle in ours or any(mapping.host_id in our_hosts for mapping in volume.mappings)
        ]

    def _all_snapshots(self) -> Sequence[Volume]:
        return self._snapshots_of(self._fleet.arrays())

    def _snapshots_of(self, arrays: Sequence[Array]) -> Sequence[Volume]:
        found = [
            volume
            for array in arrays
            for volume in array.volumes()
            if is_snapshot(volume) and names.belongs_to(volume.name, self._cluster_id)
        ]
        return sorted(found, key=lambda volume: str(volume.handle))

    def _of_source(self, source_id: str) -> Sequence[Volume]:
        try:
            source = VolumeHandle.parse(source_id)
        except NotFound:
            return []
        return [
            snapshot
            for snapshot in self._snapshots_of([self._fleet.array(source.system_id)])
            if snapshot.ancestor_id == source.volume_id
        ]

    def _one(self, snapshot_id: str) -> Sequence[Volume]:
        try:
            handle = VolumeHandle.parse(snapshot_id)
            found = self._fleet.array(handle.system_id).volume(handle.volume_id)
        except NotFound:
            return []
        return [found] if is_snapshot(found) else []


def _listed(volume: Volume, hosts: Mapping[str, Host]) -> ListedVolume:
    nodes = [hosts[mapping.host_id].identity for mapping in volume.mappings if mapping.host_id in hosts]
    return ListedVolume(volume, tuple(nodes))
