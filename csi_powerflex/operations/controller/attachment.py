"""Mapping volumes to nodes, and removing the mappings.

A mapping is the fence: a node without one cannot write. So the driver creates only the mapping that a request
asks for, and removes only those of the node that a request names.
"""

from __future__ import annotations

import contextlib
import dataclasses
from dataclasses import dataclass

from csi_powerflex.errors import AlreadyExists, NotFound, VolumeInUse
from csi_powerflex.ids import InitiatorKind, NodeIdentity, VolumeHandle
from csi_powerflex.model.array import (
    Access,
    AlreadyMapped,
    Host,
    HostNotApproved,
    HostNotFound,
    MappedElsewhere,
    Mapping,
    NotMapped,
    Volume,
)
from csi_powerflex.model.capability import Capability
from csi_powerflex.model.notices import Notice, Notices
from csi_powerflex.model.ports import Array, Fleet
from csi_powerflex.model.publish_context import PublishContext
from csi_powerflex.model.transport import SDC
from csi_powerflex.model.volume_context import VolumeContext
from csi_powerflex.observability.log import Log
from csi_powerflex.operations.controller.cluster_nodes import STALE_MAPPING, ClusterNodes
from csi_powerflex.operations.controller.known_nodes import KnownNodes
from csi_powerflex.operations.controller.lookup import volume_or_trashed
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
        notices: Notices,
    ) -> None:
        self._fleet = fleet
        self._notices = notices
        self._cluster_nodes = cluster_nodes
        self._ownership = ownership
        self._qos = qos
        self._nodes = nodes
        self._routes = Routes()

    def publish(self, request: PublishRequest) -> PublishContext:
        """Map the volume to the node, and return what the node has to know.

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
        volume = array.volume(request.handle.volume_id)
        self._ownership.seen(array, volume)
        access = _access(request, volume)
        self._qos.record_initial(volume.handle, request.volume_context.qos)
        requested = self._qos.requested_for(volume.handle, request.volume_context.qos)
        known_as = self._cluster_nodes.with_former(request.node)
        wanted = Wanted(request.node, known_as, request.volume_context.transport, requested)
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
        limits = requested.limits_for(volume.size)
        if limits != mapping.limits and route.transport is SDC:
            array.limit_mapping(volume.handle.volume_id, mapping, limits)
        host = route.host
        if host.lost:
            self._tell_lost(array, volume, host)
        return PublishContext(
            handle=request.handle,
            transport=route.transport.name,
            size=volume.size,
            read_only=access is Access.READ_ONLY,
            host_connected=not host.lost,
            details=route.details,
        )

    def _tell_lost(self, array: Array, volume: Volume, host: Host) -> None:
        log.warning(
            "volume mapped to a host that the array is not connected to",
            volume=volume.handle,
            host=host,
            system=array.label,
        )
        self._notices.tell(
            volume.handle,
            Notice.HOST_NOT_CONNECTED,
            f"The volume was mapped to host {host}, and PowerFlex system {array.label} reports that this "
            "host is not connected. Pods on this node wait for the volume until it is: look at the node's "
            "SDC and its network.",
        )

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


def _access(request: PublishRequest, volume: Volume) -> Access:
    """What the mapping must allow.

    Raises:
        InvalidArgument: the request wants to write to a volume that is read-only on the array.
    """
    access = Access.READ_ONLY if request.read_only else request.capability.mode.access
    volume.check_allows(access)
    return access


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
