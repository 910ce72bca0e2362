"""Mapping volumes to nodes and taking them away again.

A mapping is the fence: a node that has lost its mapping cannot write. So the driver maps only what a request
asks for, and unmaps only the node that a request names.
"""

from __future__ import annotations

from csi_powerflex.errors import AlreadyExists, NotFound, VolumeInUse
from csi_powerflex.ids import NodeIdentity, VolumeHandle
from csi_powerflex.model.array import (
    Access,
    AlreadyMapped,
    Host,
    HostGone,
    MappedElsewhere,
    NotMapped,
    Volume,
)
from csi_powerflex.model.capability import Capability
from csi_powerflex.model.node import Ticket
from csi_powerflex.model.ports import Array, Fleet
from csi_powerflex.observability.log import Log

log = Log(__name__)

SDC = "sdc"


class Attachment:
    """Which node has which volume."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def publish(
        self, handle: VolumeHandle, node: NodeIdentity, capability: Capability, *, read_only: bool
    ) -> Ticket:
        """Make the volume available on the node and return the node's ticket.

        Raises:
            NotFound: no such volume or node.
            AlreadyExists: the node has it already with another access.
            VolumeInUse: another node has it, which is named, and the access mode does not share.
            InvalidArgument: the capability can never work.
        """
        capability.check()
        access = Access.READ_ONLY if read_only else capability.mode.access
        array = self._fleet.array(handle.system_id)
        volume = array.volume(handle.volume_id)
        host = array.host(node)
        if not _is_mapped(volume, host, access):
            self._map(array, volume, host, capability, access)
        return Ticket(handle=handle, transport=SDC, size=volume.size, read_only=access is Access.READ_ONLY)

    def _map(self, array: Array, volume: Volume, host: Host, capability: Capability, access: Access) -> None:
        shared = capability.mode.shared
        if volume.mappings and not shared:
            raise _in_use(volume)
        try:
            array.map_volume(volume.handle.volume_id, host, access=access, shared=shared)
        except HostGone:
            # The host was looked up in memory; asked again, the array knows it by a new id or not at all.
            host = array.host(host.identity)
            array.map_volume(volume.handle.volume_id, host, access=access, shared=shared)
        except (AlreadyMapped, MappedElsewhere) as error:
            # Someone mapped it since we looked, or our own request was repeated after its answer was lost.
            volume = array.volume(volume.handle.volume_id)
            if not _is_mapped(volume, host, access):
                raise _in_use(volume) from error
        log.info("volume mapped", volume=volume.handle, host=host, access=access)

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
