"""Listing volumes and snapshots: one list request for each system, however many pages.

The volumes of this cluster are those whose names carry the cluster's id, and those that are mapped to nodes
of this cluster. The second rule covers volumes that were not created by this driver. All other volumes on a
shared array belong to other clusters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from csi_powerflex import names
from csi_powerflex.errors import NotFound
from csi_powerflex.ids import NodeIdentity, VolumeHandle
from csi_powerflex.model.array import Host, Volume
from csi_powerflex.model.ports import Array, Fleet
from csi_powerflex.operations.controller.known_nodes import KnownNodes
from csi_powerflex.operations.controller.lookup import is_snapshot
from csi_powerflex.operations.controller.pagination import Page, Paginator


@dataclass(frozen=True, slots=True)
class ListedVolume:
    """A volume and the nodes that it is published to."""

    volume: Volume
    nodes: tuple[NodeIdentity, ...]


class Listing:
    """The volumes and snapshots of one cluster."""

    def __init__(self, fleet: Fleet, nodes: KnownNodes, cluster_id: str) -> None:
        self._fleet = fleet
        self._nodes = nodes
        self._cluster_id = cluster_id
        self._volume_pages: Paginator[ListedVolume] = Paginator()
        self._snapshot_pages: Paginator[Volume] = Paginator()

    def volumes(self, *, token: str, max_entries: int) -> Page[ListedVolume]:
        """A page of the cluster's volumes, ordered by id. Raises as ``Paginator.page``.

        A system that does not answer fails the call: a caller takes a volume that is not listed for deleted.
        """
        return self._volume_pages.page(self.all_volumes, token=token, max_entries=max_entries)

    def all_volumes(self) -> Sequence[ListedVolume]:
        """Every volume of the cluster, ordered by id."""
        listed = [item for array in self._fleet.arrays() for item in self._volumes_of(array)]
        return sorted(listed, key=lambda item: str(item.volume.handle))

    def volume(self, handle: VolumeHandle) -> ListedVolume:
        """One volume and the nodes that it is published to.

        Raises:
            NotFound: it does not exist.
        """
        array = self._fleet.array(handle.system_id)
        volume = array.volume(handle.volume_id)
        hosts = array.hosts_by_id({mapping.host_id for mapping in volume.mappings})
        return self._listed(volume, hosts)

    def snapshots(
        self, *, token: str, max_entries: int, snapshot_id: str = "", source_id: str = ""
    ) -> Page[Volume]:
        """A page of the cluster's snapshots, ordered by id. Raises as ``Paginator.page``.

        Args:
            token: as for ``Paginator.page``.
            max_entries: as for ``Paginator.page``.
            snapshot_id: list this snapshot only.
            source_id: list the snapshots of this volume only. An id that names nothing gives an empty page
                (specification, ListSnapshots).
        """

        def read() -> Sequence[Volume]:
            if snapshot_id:
                return self._one_snapshot(snapshot_id)
            if source_id:
                return self._snapshots_of_volume(source_id)
            return self._snapshots_on(self._fleet.arrays())

        return self._snapshot_pages.page(read, token=token, max_entries=max_entries)

    def _volumes_of(self, array: Array) -> list[ListedVolume]:
        volumes = [volume for volume in array.volumes() if not is_snapshot(volume)]
        mapped = {mapping.host_id for volume in volumes for mapping in volume.mappings}
        hosts = array.hosts_by_id(mapped) if mapped else {}
        our_hosts = self._our_hosts(volumes, hosts)
        return [
            self._listed(volume, hosts)
            for volume in volumes
            if self._is_ours(volume) or any(mapping.host_id in our_hosts for mapping in volume.mappings)
        ]

    def _our_hosts(self, volumes: Sequence[Volume], hosts: Mapping[str, Host]) -> set[str]:
        """The ids of hosts that are nodes of this cluster: seen in calls, or mapped to one of its volumes."""
        seen = {host.id for host in hosts.values() if self._nodes.with_initiator(host.initiator) is not None}
        ours = (volume for volume in volumes if self._is_ours(volume))
        return seen | {mapping.host_id for volume in ours for mapping in volume.mappings}

    def _is_ours(self, volume: Volume) -> bool:
        return names.belongs_to(volume.name, self._cluster_id)

    def _snapshots_on(self, arrays: Sequence[Array]) -> Sequence[Volume]:
        found = [
            volume
            for array in arrays
            for volume in array.volumes()
            if is_snapshot(volume) and self._is_ours(volume)
        ]
        return sorted(found, key=lambda volume: str(volume.handle))

    def _snapshots_of_volume(self, source_id: str) -> Sequence[Volume]:
        try:
            source = VolumeHandle.parse(source_id)
        except NotFound:
            return []
        return [
            snapshot
            for snapshot in self._snapshots_on([self._fleet.array(source.system_id)])
            if snapshot.ancestor_id == source.volume_id
        ]

    def _one_snapshot(self, snapshot_id: str) -> Sequence[Volume]:
        try:
            handle = VolumeHandle.parse(snapshot_id)
            found = self._fleet.array(handle.system_id).volume(handle.volume_id)
        except NotFound:
            return []
        return [found] if is_snapshot(found) else []

    def _listed(self, volume: Volume, hosts: Mapping[str, Host]) -> ListedVolume:
        mapped = (hosts[mapping.host_id] for mapping in volume.mappings if mapping.host_id in hosts)
        nodes = (
            self._nodes.with_initiator(host.initiator) or NodeIdentity.of([host.initiator]) for host in mapped
        )
        return ListedVolume(volume, tuple(dict.fromkeys(nodes)))
