"""The mappings of volumes, compared with the nodes that the cluster has.

A host that was reinstalled or removed from the cluster keeps its mappings, and no one asks to remove them.
The operator may allow the driver to do that. It does so only if nothing speaks against it:

- The volume's name says that this cluster created it.
- The array knows the host, and reports that it is disconnected.
- This controller has seen the host as a node of this cluster, and no node has it now.
- No VolumeAttachment wants the volume, except on the node that it is to be published to.

All of this is read just before. The array cannot remove a mapping on condition that the host is disconnected.
So a host that comes back to the cluster between the last look and the removal loses the mapping.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence

from csi_powerflex.errors import FailedPrecondition
from csi_powerflex.ids import InitiatorKind, NodeIdentity, VolumeHandle
from csi_powerflex.model.array import Host, HostNotFound, Mapping as VolumeMapping, NotMapped, Volume
from csi_powerflex.model.notices import Notice, Notices
from csi_powerflex.model.ports import Array, NodeRegistry
from csi_powerflex.observability.log import Log
from csi_powerflex.operations.controller.ownership import Ownership

log = Log(__name__)


STALE_MAPPING = (
    "If it has none, the host may be removed from the cluster, or reinstalled, so that the array knows it as "
    "another one now: make sure that nothing uses the volume there, and unmap it from this host at the array"
)
"""What to do about a mapping that no VolumeAttachment stands for. No one asks the driver to remove it."""


class ClusterNodes:
    """What the nodes of the cluster say about mappings.

    Args:
        registry: the nodes of the cluster; None where they are not known.
        ownership: which volumes this cluster created.
        notices: where it is told that a mapping was removed, or is to a host that is not connected.
        may_remove: whether mappings to hosts that are no nodes any more may be removed.
    """

    def __init__(
        self, registry: NodeRegistry | None, ownership: Ownership, notices: Notices, *, may_remove: bool
    ) -> None:
        self._registry = registry
        self._ownership = ownership
        self._notices = notices
        self._may_remove = may_remove

    def require_distinct(self, node: NodeIdentity) -> None:
        """Check that no other node has the node id or a part of it, as far as is known.

        Raises:
            FailedPrecondition: several nodes have it, which are named.
        """
        names = self._registry.nodes_of(node) if self._registry is not None else ()
        if len(names) > 1:
            raise FailedPrecondition(
                f"no volume is published to node id {node}, because nodes {', '.join(names)} have the same "
                "SDC GUID or NQN and the array takes them for one host; if one was copied from the other, "
                "give the copy a GUID and NQN of its own; if one does not exist any more, delete its Node "
                "object"
            )

    def with_former(self, node: NodeIdentity) -> NodeIdentity:
        """The node with the initiators that it had before it changed its transport, as far as is known.

        Its volumes may be mapped to them still. It is the same node, so no other writer is meant.
        """
        former = self._registry.former_initiators(node) if self._registry is not None else ()
        both = {initiator.kind: initiator for initiator in (*node.initiators, *former)}
        ordered = tuple(both[kind] for kind in InitiatorKind if kind in both)
        return NodeIdentity(ordered, node.skipped)

    def described(self, array: Array, mappings: Sequence[VolumeMapping]) -> str:
        """The hosts of the mappings in words, with the nodes that they are or were."""
        registry = self._registry
        if registry is None:
            return ", ".join(map(str, mappings))
        hosts = array.hosts_by_id([mapping.host_id for mapping in mappings])
        found = [(mapping, hosts.get(mapping.host_id)) for mapping in mappings]
        described = [
            (mapping, registry.describe(host.initiator) if host is not None else "")
            for mapping, host in found
        ]
        return ", ".join(f"{mapping}, {words}" if words else str(mapping) for mapping, words in described)

    def remove_stale(self, array: Array, volume: Volume, node: NodeIdentity | None) -> str | None:
        """Remove the mappings of a volume if no host of them is a node any more. Either all go, or none.

        Args:
            array: the system of the volume.
            volume: the volume with its mappings.
            node: the node that may want the volume; None if no node may want it.

        Returns:
            None if they are removed. Else what to add to a message: nothing, or why they are kept.
        """
        if self._registry is None or not self._may_remove:
            return ""
        try:
            hosts = self._hosts_left(self._registry, array, volume, node)
        except _Kept as reason:
            log.info("stale mapping was kept", volume=volume.handle, reason=reason)
            return f". The driver did not remove the mapping, because {reason}"
        for host in hosts:
            # Another controller may have removed it, or an operator the host.
            with contextlib.suppress(NotMapped, HostNotFound):
                array.unmap_volume(volume.handle.volume_id, host)
            log.warning("stale mapping was removed", volume=volume.handle, host=host)
            self._notices.tell(
                volume.handle,
                Notice.STALE_MAPPING_REMOVED,
                f"The volume was still mapped to host {host}, which was a node of this cluster and is not "
                "one any more. The driver removed this mapping.",
            )
        return None

    def tell_lost(self, array: Array, volume: VolumeHandle, host: Host) -> None:
        """Tell that a volume was mapped to a host that the array is not connected to."""
        log.warning(
            "volume mapped to a host that the array is not connected to",
            volume=volume,
            host=host,
            system=array.label,
        )
        self._notices.tell(
            volume,
            Notice.HOST_NOT_CONNECTED,
            f"The volume was mapped to host {host}, and PowerFlex system {array.label} reports that this "
            "host is not connected. Pods on this node wait for the volume until it is: look at the node's "
            "SDC and its network.",
        )

    def _hosts_left(
        self, registry: NodeRegistry, array: Array, volume: Volume, node: NodeIdentity | None
    ) -> Sequence[Host]:
        """The hosts that the volume is mapped to, if none of them is a node any more.

        Raises:
            _Kept: one may be. The text says why.
        """
        if not self._ownership.is_named_by_cluster(volume):
            raise _Kept("the name of the volume is none that this cluster gave")
        ids = [mapping.host_id for mapping in volume.mappings]
        hosts = [_host(array.hosts_by_id(ids), host_id) for host_id in ids]
        if doubt := registry.doubt(volume.handle, [host.initiator for host in hosts], node):
            raise _Kept(doubt)
        # Whether a host is connected is not known from a cache.
        now = array.hosts_now()
        for host in hosts:
            _require_left(host, _host(now, host.id))
        return hosts


def _host(hosts: Mapping[str, Host], host_id: str) -> Host:
    """The host with that id.

    Raises:
        _Kept: it is none that can be a node.
    """
    host = hosts.get(host_id)
    if host is None:
        raise _Kept(f"the array knows no host {host_id} that can be a node")
    return host


def _require_left(host: Host, now: Host) -> None:
    """Check that a host is still the same, and disconnected.

    Raises:
        _Kept: it is not, or the array does not say so.
    """
    if now.initiator != host.initiator:
        raise _Kept(f"host {host.id} was {host} and is {now} now")
    if now.connected:
        raise _Kept(f"host {now} is connected to the array")
    if not now.disconnected:
        raise _Kept(f"the array does not say whether host {now} is connected")


class _Kept(Exception):
    """Mappings are kept. The text says why."""
