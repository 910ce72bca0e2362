"""Mapping volumes to nodes and taking them away again.

A mapping is the fence: a node that has lost its mapping cannot write. So the driver maps only what a request
asks for, and unmaps only the node that a request names.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass

from csi_powerflex.errors import AlreadyExists, DriverError, NotFound, VolumeInUse
from csi_powerflex.ids import NodeIdentity, VolumeHandle
from csi_powerflex.model.array import (
    Access,
    AlreadyMapped,
    Host,
    HostGone,
    HostNotApproved,
    Limits,
    MappedElsewhere,
    NotMapped,
    Volume,
)
from csi_powerflex.model.capability import Capability
from csi_powerflex.model.node import PublishContext
from csi_powerflex.model.ports import Array, Fleet
from csi_powerflex.observability.log import Log
from csi_powerflex.operations.controller.known_nodes import Nodes
from csi_powerflex.operations.controller.qos import Qos

log = Log(__name__)

SDC = "sdc"


@dataclass(frozen=True, slots=True)
class PublishRequest:
    """What ControllerPublishVolume asks for; ``context`` is the volume's context."""

    handle: VolumeHandle
    node: NodeIdentity
    capability: Capability
    read_only: bool
    context: Mapping[str, str]


class Attachment:
    """Which node has which volume."""

    def __init__(self, fleet: Fleet, qos: Qos, nodes: Nodes) -> None:
        self._fleet = fleet
        self._qos = qos
        self._nodes = nodes

    def publish(self, request: PublishRequest) -> PublishContext:
        """Make the volume available on the node and return the node's ticket.

        Raises:
            NotFound: no such volume or node.
            AlreadyExists: the node has it already with another access.
            VolumeInUse: another node has it, which is named, and the access mode does not share.
            InvalidArgument: the capability can never work.
            ResourceExhausted: the node has as many volumes as it may.
        """
        request.capability.check()
        array = self._fleet.array(request.handle.system_id)
        volume = array.volume(request.handle.volume_id)
        host = array.host(request.node)
        self._nodes.meet(request.node)
        access = _access(request, volume)
        limits = self._qos.limits(volume, request.context)
        with contextlib.ExitStack() as undo:
            if not _is_mapped(volume, host, access):
                host = self._map(array, volume, host, access, shared=request.capability.mode.shared)
                undo.callback(self._unmap_quietly, array, volume, host)
            mapping = volume.mapping_to(host)
            if limits != (mapping.limits if mapping else Limits()):
                array.limit_mapping(volume.handle.volume_id, host.id, limits)
            undo.pop_all()
        return PublishContext(
            handle=request.handle,
            transport=SDC,
            size=volume.size,
            read_only=access is Access.READ_ONLY,
        )

    def _map(self, array: Array, volume: Volume, host: Host, access: Access, *, shared: bool) -> Host:
        """Map the volume and return the host as the array knows it now."""
        if volume.mappings and not shared:
            raise _in_use(volume)
        try:
            self._map_to_present(array, volume, host, access, shared=shared)
        except HostGone:
            # The host was looked up in memory; asked again, the array knows it by a new id or not at all.
            host = array.host(host.identity)
            self._map_to_present(array, volume, host, access, shared=shared)
        except (AlreadyMapped, MappedElsewhere) as error:
            # Someone mapped it since we looked, or our own request was repeated after its answer was lost.
            volume = array.volume(volume.handle.volume_id)
            if not _is_mapped(volume, host, access):
                raise _in_use(volume) from error
        log.info("volume mapped", volume=volume.handle, host=host, access=access)
        return host

    @staticmethod
    def _map_to_present(array: Array, volume: Volume, host: Host, access: Access, *, shared: bool) -> None:
        try:
            array.map_volume(volume.handle.volume_id, host, access=access, shared=shared)
        except HostNotApproved as error:
            if not array.approves_hosts:
                raise HostNotApproved(
                    f"system {array.label} has not approved the SDC of node {host}; approve it there, or set "
                    "approveHosts: true for this system in the systems file"
                ) from error
            array.approve(host.identity)
            array.map_volume(volume.handle.volume_id, array.host(host.identity), access=access, shared=shared)

    @staticmethod
    def _unmap_quietly(array: Array, volume: Volume, host: Host) -> None:
        """Take back a mapping that this very call made, as the call fails with an error of its own."""
        try:
            array.unmap_volume(volume.handle.volume_id, host)
        except DriverError as error:
            # The mapping stays; the repeated call finds it and sets its limits.
            log.warning("could not take back a mapping", volume=volume.handle, host=host, reason=error)

    def unpublish(self, handle: VolumeHandle, node: NodeIdentity | None) -> None:
        """Take the volume away from the node, or from every node; done already is done.

        A volume or node that no longer exists has no mapping, so it counts as done.
        """
        array = self._fleet.array(handle.system_id)
        try:
            if node is None:
                array.unmap_everywhere(handle.volume_id)
            else:
                self._unmap(array, handle, node)
        except NotMapped:
            log.info("volume was not mapped", volume=handle, node=node or "every node")
        except NotFound as error:
            log.info("nothing to unmap", volume=handle, node=node or "every node", reason=error)
        else:
            log.info("volume unmapped", volume=handle, node=node or "every node")

    @staticmethod
    def _unmap(array: Array, handle: VolumeHandle, node: NodeIdentity) -> None:
        try:
            array.unmap_volume(handle.volume_id, array.host(node))
        except HostGone:
            array.unmap_volume(handle.volume_id, array.host(node))


def _access(request: PublishRequest, volume: Volume) -> Access:
    """What the mapping shall allow.

    Raises:
        InvalidArgument: writing is asked of a volume that the array keeps read-only.
    """
    access = Access.READ_ONLY if request.read_only else request.capability.mode.access
    volume.check_allows(access)
    return access


def _is_mapped(volume: Volume, host: Host, access: Access) -> bool:
    """Whether the volume is mapped to the host as asked.

    Raises:
        AlreadyExists: it is mapped there with another access (specification, ControllerPublishVolume).
    """
    mapping = volume.mapping_to(host)
    if mapping is None:
        return False
    if mapping.access is not access:
        raise AlreadyExists(
            f"volume {volume.handle} is mapped to node {host} as {mapping.access}, and {access} was asked; "
            "unpublish it there first"
        )
    return True


def _in_use(volume: Volume) -> VolumeInUse:
    hosts = ", ".join(str(mapping) for mapping in volume.mappings) or "another node"
    return VolumeInUse(
        f"volume {volume.handle} is mapped to {hosts}; its access mode allows one node at a time, so unmap "
        "it there or wait for its VolumeAttachment to go"
    )
