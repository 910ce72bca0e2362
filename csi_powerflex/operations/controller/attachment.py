"""Mapping volumes to nodes, and removing the mappings.

A mapping is the fence: a node without one cannot write. So the driver creates only the mapping that a request
asks for, and removes only those of the node that a request names.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from csi_powerflex.errors import AlreadyExists, FailedPrecondition, NotFound, VolumeInUse
from csi_powerflex.ids import NodeIdentity, VolumeHandle
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
from csi_powerflex.model.transport import AUTO, TRANSPORTS, TransportType
from csi_powerflex.model.volume_context import VolumeContext
from csi_powerflex.observability.log import Log
from csi_powerflex.operations.controller.cluster_nodes import STALE_MAPPING, ClusterNodes
from csi_powerflex.operations.controller.known_nodes import KnownNodes
from csi_powerflex.operations.controller.ownership import Ownership
from csi_powerflex.operations.controller.qos import Qos

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
        transport, host = _choose_host(array.hosts_of(request.node), request)
        if host.lost:
            transport, host = _choose_host(array.hosts_of(request.node, fresh=True), request)
        self._nodes.add(request.node)
        access = _access(request, volume)
        self._qos.record_initial(volume.handle, request.volume_context.qos)
        limits = self._qos.limits_for(volume, request.volume_context.qos)
        mapping = _mapping(volume, host, access)
        if mapping is None:
            shared = request.capability.mode.shared
            if volume.mappings and not shared:
                self._free(array, volume, request.node)
            mapping = self._map(array, volume, host, access, shared=shared)
        # If this fails, the mapping stays: another controller may have found it and answered that the volume
        # is published. The repeated call sets the limits, and a call that unpublishes removes the mapping.
        if limits != mapping.limits:
            array.limit_mapping(volume.handle.volume_id, mapping, limits)
        if host.lost:
            self._tell_lost(array, volume, host)
        return PublishContext(
            handle=request.handle,
            transport=transport.name,
            size=volume.size,
            read_only=access is Access.READ_ONLY,
            host_connected=not host.lost,
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

    def _map(self, array: Array, volume: Volume, host: Host, access: Access, *, shared: bool) -> Mapping:
        """Map the volume. Returns the mapping, with the host as the array knows it now."""
        try:
            try:
                _map_approved(array, volume, host, access, shared=shared)
            except HostNotFound:
                # The host came from the cache. The array has it under a new id, or not at all.
                host = _again(array, host)
                _map_approved(array, volume, host, access, shared=shared)
        except (AlreadyMapped, MappedElsewhere) as error:
            # It was mapped since it was read, or our own request was sent again after its answer was lost.
            volume = array.volume(volume.handle.volume_id)
            mapping = _mapping(volume, host, access)
            if mapping is None:
                raise self._in_use(array, volume) from error
            return mapping
        log.info("volume mapped", volume=volume.handle, host=host, access=access)
        return host.new_mapping()

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
            removed = _unmap_all(array, handle) if node is None else _unmap(array, handle, node)
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
            volume = array.volume(handle.volume_id)
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


def _choose_host(hosts: Sequence[Host], request: PublishRequest) -> tuple[TransportType, Host]:
    """The transport for the volume, and the host that the node is for it.

    Raises:
        FailedPrecondition: the node has no host for a transport that the volume's class allows.
    """
    asked = request.volume_context.transport
    allowed = TRANSPORTS.values() if asked == AUTO else [TRANSPORTS[asked]]
    for transport in allowed:
        for host in hosts:
            if host.kind is transport.initiator:
                return transport, host
    raise FailedPrecondition(
        f"volume {request.handle} cannot be mapped to node {request.node}: its class asks for transport "
        f"{asked}, and the array knows the node as {', '.join(map(str, hosts))}"
    )


def _map_approved(array: Array, volume: Volume, host: Host, access: Access, *, shared: bool) -> None:
    try:
        array.map_volume(volume.handle.volume_id, host, access=access, shared=shared)
    except HostNotApproved as error:
        if not array.approves_hosts:
            raise HostNotApproved(
                f"system {array.label} has not approved the SDC of node {host}; approve it there, or set "
                "approveHosts: true for this system in the systems file"
            ) from error
        array.approve(host)
        array.map_volume(volume.handle.volume_id, _again(array, host), access=access, shared=shared)


def _again(array: Array, host: Host) -> Host:
    """The same host, as the array knows it now."""
    (found,) = array.hosts_of(NodeIdentity.of([host.initiator]))
    return found


def _unmap(array: Array, handle: VolumeHandle, node: NodeIdentity) -> bool:
    """Remove the mappings to every host that the node is; whether there was one."""
    removed = False
    for host in array.hosts_of(node):
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
        array.unmap_volume(handle.volume_id, _again(array, host))


def _unmap_all(array: Array, handle: VolumeHandle) -> bool:
    """Remove every mapping of the volume; whether there was one."""
    kinds = {mapping.host_kind for mapping in array.volume(handle.volume_id).mappings}
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
