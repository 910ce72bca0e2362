"""Mapping volumes to nodes, and removing the mappings.

A mapping is the fence: a node without one cannot write. So the driver creates only the mapping that a request
asks for, and removes only those of the node that a request names.
"""

from __future__ import annotations

import contextlib
import dataclasses
from dataclasses import dataclass

from csi_powerflex.errors import AlreadyExists, DriverError, NotFound, VolumeInUse, is_final
from csi_powerflex.ids import InitiatorKind, NodeIdentity, VolumeHandle
from csi_powerflex.model.array import (
    Access,
    AlreadyMapped,
    Host,
    HostNotApproved,
    HostNotFound,
    Limits,
    MappedElsewhere,
    Mapping,
    NotMapped,
    Volume,
)
from csi_powerflex.model.capability import Capability
from csi_powerflex.model.ports import Array, Fleet
from csi_powerflex.model.publish_context import PublishContext
from csi_powerflex.model.transport import SDC
from csi_powerflex.model.volume_context import VolumeContext
from csi_powerflex.observability.log import Log
from csi_powerflex.operations.controller.cluster_nodes import STALE_MAPPING, ClusterNodes
from csi_powerflex.operations.controller.known_nodes import KnownNodes
from csi_powerflex.operations.controller.lookup import volume_or_trashed
from csi_powerflex.operations.controller.new_volumes import NewVolumes
from csi_powerflex.operations.controller.ownership import Ownership
from csi_powerflex.operations.controller.qos import Qos
from csi_powerflex.operations.controller.routes import Route, Routes, Wanted, hosts_of_volume

log = Log(__name__)


@dataclass(frozen=True, slots=True)
class PublishRequest:
    """What ControllerPublishVolume asks for."""

    handle: VolumeHandle
    node: NodeIdentity
    capability: Capability
    read_only: bool
    volume_context: VolumeContext


class Attachment:
    """The mappings of volumes to nodes."""

    def __init__(
        self,
        fleet: Fleet,
        qos: Qos,
        nodes: KnownNodes,
        ownership: Ownership,
        cluster_nodes: ClusterNodes,
        new_volumes: NewVolumes,
    ) -> None:
        self._fleet = fleet
        self._new_volumes = new_volumes
        self._cluster_nodes = cluster_nodes
        self._ownership = ownership
        self._qos = qos
        self._nodes = nodes
        self._routes = Routes()

    def publish(self, request: PublishRequest) -> PublishContext:
        """Map the volume to the node, and return what the node has to know.

        A volume that this process has just created is mapped without a look at it, if possible.

        Raises:
            NotFound: no such volume or node.
            AlreadyExists: the volume is mapped to the node with another access.
            VolumeInUse: it is mapped to another node, which is named, and the access mode does not share it.
            InvalidArgument: the capability can never work.
            FailedPrecondition: the node lacks the transport that the volume's class asks for, or another node
                has the same node id.
            ResourceExhausted: the node has as many volumes as the array allows.
        """
        request.capability.check()
        self._cluster_nodes.require_distinct(request.node)
        array = self._fleet.array(request.handle.system_id)
        size = self._new_volumes.take(request.handle)
        published = self._publish_new(array, request, size) if size is not None else None
        return published or self._publish_read(array, request)

    def _publish_new(self, array: Array, request: PublishRequest, size: int) -> PublishContext | None:
        """Publish a volume that was just created with ``size`` bytes. None: it has to be read first.

        Of a volume that was deleted or mapped to another node since, the array refuses the mapping, and
        nothing was changed. A system with a trash maps volumes that are in it, so there each volume is read.
        So are volumes whose limits depend on their size, and those of shared volumes that could be mapped to
        two hosts of the node.
        """
        handle, shared = request.handle, request.capability.mode.shared
        wanted = self._wanted(request)
        several_hosts = shared and len(wanted.known_as.initiators) > 1
        if array.trash is not None or wanted.qos.depends_on_size or several_hosts:
            return None
        host = self._routes.connected_sdc(array, wanted)
        if host is None:
            return None
        self._nodes.add(request.node)
        access = _access(request)
        try:
            array.map_volume(handle.volume_id, host, access=access, shared=shared)
        except DriverError as error:
            if not is_final(error):
                raise
            log.info("new volume was not mapped and is read", volume=handle, host=host, reason=error)
            return None
        log.info("volume mapped", volume=handle, host=host, access=access)
        limits = wanted.qos.limits_for(size)
        if limits != Limits():
            array.limit_mapping(handle.volume_id, host.new_mapping(), limits)
        return _context(request, Route(SDC, host), size, access)

    def _wanted(self, request: PublishRequest) -> Wanted:
        """What decides about the route of a volume that exists."""
        initial = request.volume_context.qos
        self._qos.record_initial(request.handle, initial)
        requested = self._qos.requested_for(request.handle, initial)
        known_as = self._cluster_nodes.with_former(request.node)
        return Wanted(request.node, known_as, request.volume_context.transport, requested)

    def _publish_read(self, array: Array, request: PublishRequest) -> PublishContext:
        """Read the volume, and publish it as it is."""
        volume = array.volume(request.handle.volume_id)
        self._ownership.seen(array, volume)
        access = _access(request)
        volume.check_allows(access)
        wanted = self._wanted(request)
        route = self._routes.choose(array, volume, wanted)
        self._nodes.add(request.node)
        mapping = _mapping(volume, route.host, access)
        if mapping is None:
            shared = request.capability.mode.shared
            if volume.mappings and not shared:
                self._free(array, volume, request.node)
            route, mapping = self._map(array, volume, wanted, route, access, shared=shared)
        # If this fails, the mapping stays: another controller may have found it and answered that the volume
        # is published. The repeated call sets the limits, and a call that unpublishes removes the mapping.
        limits = wanted.qos.limits_for(volume.size)
        if limits != mapping.limits and route.transport is SDC:
            array.limit_mapping(volume.handle.volume_id, mapping, limits)
        if route.host.lost:
            self._cluster_nodes.tell_lost(array, volume.handle, route.host)
        return _context(request, route, volume.size, access)

    def _free(self, array: Array, volume: Volume, node: NodeIdentity) -> None:
        """Remove the mappings to hosts that are no nodes any more, if the operator allows that.

        Raises:
            VolumeInUse: a mapping is left.
        """
        kept = self._cluster_nodes.remove_stale(array, volume, node)
        if kept is not None:
            raise self._in_use(array, volume, kept)

    def _map(
        self, array: Array, volume: Volume, wanted: Wanted, route: Route, access: Access, *, shared: bool
    ) -> tuple[Route, Mapping]:
        """Map the volume. Returns the mapping, and the route with the host as the array knows it now."""
        try:
            try:
                self._map_approved(array, volume, route.host, access, shared=shared)
            except HostNotFound:
                # The host came from the cache. The array has it under a new id, or not at all.
                route = dataclasses.replace(route, host=self._routes.again(array, route.host))
                self._map_approved(array, volume, route.host, access, shared=shared)
        except (AlreadyMapped, MappedElsewhere) as error:
            # It was mapped since it was read, or our own request was sent again after its answer was lost.
            volume = array.volume(volume.handle.volume_id)
            route = self._routes.choose(array, volume, wanted)
            mapping = _mapping(volume, route.host, access)
            if mapping is None:
                raise self._in_use(array, volume) from error
            return route, mapping
        log.info("volume mapped", volume=volume.handle, host=route.host, access=access)
        if shared and len(wanted.known_as.initiators) > 1:
            # The array did not refuse a second mapping. Another controller may have used the other host.
            self._routes.choose(array, array.volume(volume.handle.volume_id), wanted)
        return route, route.host.new_mapping()

    def _map_approved(
        self, array: Array, volume: Volume, host: Host, access: Access, *, shared: bool
    ) -> None:
        try:
            array.map_volume(volume.handle.volume_id, host, access=access, shared=shared)
        except HostNotApproved as error:
            if host.kind is not InitiatorKind.SDC:
                raise HostNotApproved(
                    f"system {array.label} has not approved the NVMe host {host}; approve its IP addresses "
                    f"there, or let the system have another mode of restricted hosts: {error}"
                ) from error
            if not array.approves_hosts:
                raise HostNotApproved(
                    f"system {array.label} has not approved the SDC of node {host}; approve it there, or set "
                    "approveHosts: true for this system in the systems file"
                ) from error
            array.approve(host)
            found = self._routes.again(array, host)
            array.map_volume(volume.handle.volume_id, found, access=access, shared=shared)

    def _in_use(self, array: Array, volume: Volume, kept: str = "") -> VolumeInUse:
        hosts = self._cluster_nodes.described(array, volume.mappings) or "another node"
        return VolumeInUse(
            f"volume {volume} is mapped to {hosts}; its access mode allows one node at a time, so "
            f"wait until its VolumeAttachment is deleted. {STALE_MAPPING}{kept}"
        )

    def unpublish(self, handle: VolumeHandle, node: NodeIdentity | None) -> None:
        """Remove the mappings to the node, or all mappings where no node is named.

        Returns without error if the volume is not mapped there. A volume or host that does not exist has no
        mappings.

        Raises:
            NotFound: the node id has parts that this version does not know, and mappings are left.
        """
        array = self._fleet.array(handle.system_id)
        try:
            if node is None:
                removed = _unmap_all(array, handle)
            else:
                removed = _unmap(array, handle, self._cluster_nodes.with_former(node))
        except NotFound as error:
            log.info("nothing to unmap", volume=handle, node=node or "every node", reason=error)
            removed = False
        else:
            event = "volume unmapped" if removed else "volume was not mapped"
            log.info(event, volume=handle, node=node or "every node")
        if node is not None and node.skipped and not removed:
            self.require_unmapped(handle, str(node))

    def require_unmapped(self, handle: VolumeHandle, node_id: str) -> None:
        """Check that a volume has no mapping, where the node to unmap it from is not known.

        Raises:
            NotFound: it has mappings, and one of them may be the node's.
        """
        array = self._fleet.array(handle.system_id)
        try:
            volume = volume_or_trashed(array, handle.volume_id)
        except NotFound as error:
            log.info("nothing to unmap", volume=handle, node=node_id, reason=error)
            return
        if volume.mappings:
            raise NotFound(
                f"volume {volume} is mapped to {', '.join(map(str, volume.mappings))}, and node "
                f"{node_id!r} is none that this version of the driver knows; unmap the volume at the array "
                "if the node no longer uses it"
            )
        log.info("volume was not mapped", volume=handle, node=node_id)


def _unmap(array: Array, handle: VolumeHandle, node: NodeIdentity) -> bool:
    """Remove the mappings to every host that the node is; whether there was one.

    A node with several initiators may not have a host for each on this system, and another controller may
    have created one since the hosts were read. So the mappings of the volume show which hosts count.
    """
    if len(node.initiators) == 1:
        hosts = array.hosts_of(node)
    else:
        volume = volume_or_trashed(array, handle.volume_id)
        known = hosts_of_volume(array, volume, node) if volume.mappings else ()
        hosts = [host for host in known if volume.mapping_to(host) is not None]
    removed = False
    for host in hosts:
        try:
            _unmap_from(array, handle, host)
        except NotMapped:
            continue
        removed = True
    return removed


def _unmap_from(array: Array, handle: VolumeHandle, host: Host) -> None:
    try:
        array.unmap_volume(handle.volume_id, host)
    except HostNotFound:
        # It was removed and added again. A host that does not exist any more has no mapping.
        (found,) = array.hosts_of(NodeIdentity.of([host.initiator]))
        array.unmap_volume(handle.volume_id, found)


def _unmap_all(array: Array, handle: VolumeHandle) -> bool:
    """Remove every mapping of the volume; whether there was one."""
    kinds = {mapping.host_kind for mapping in volume_or_trashed(array, handle.volume_id).mappings}
    for kind in kinds:
        with contextlib.suppress(NotMapped):
            array.unmap_everywhere(handle.volume_id, kind)
    return bool(kinds)


def _access(request: PublishRequest) -> Access:
    """What the mapping must allow."""
    return Access.READ_ONLY if request.read_only else request.capability.mode.access


def _context(request: PublishRequest, route: Route, size: int, access: Access) -> PublishContext:
    """What the node has to know about a volume of ``size`` bytes that is mapped over the route."""
    return PublishContext(
        handle=request.handle,
        transport=route.transport.name,
        size=size,
        read_only=access is Access.READ_ONLY,
        host_connected=not route.host.lost,
        details=route.details,
    )


def _mapping(volume: Volume, host: Host, access: Access) -> Mapping | None:
    """The mapping of the volume to the host, if it is mapped there as asked; None if it is not mapped there.

    Raises:
        AlreadyExists: it is mapped there with another access (specification, ControllerPublishVolume).
    """
    mapping = volume.mapping_to(host)
    if mapping is not None and mapping.access is not access:
        raise AlreadyExists(
            f"volume {volume} is mapped to node {host} as {mapping.access}, and {access} was asked; "
            "unpublish it there first"
        )
    return mapping
