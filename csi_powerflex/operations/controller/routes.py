"""Routes: by which transport a node reaches a volume, and as which host.

A node may be two hosts for the array, an SDC and an NVMe host. To the array these are two writers, and on the
node the volume would be two devices. So a volume is never mapped to both.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from csi_powerflex.errors import FailedPrecondition, InvalidArgument, NotFound, VolumeInUse
from csi_powerflex.ids import InitiatorKind, NodeIdentity
from csi_powerflex.model.array import Host, NoNvme, Volume
from csi_powerflex.model.moves import MoveState
from csi_powerflex.model.ports import Array
from csi_powerflex.model.qos import QosRequest
from csi_powerflex.model.transport import AUTO, NVME, SDC, TRANSPORTS, TransportType
from csi_powerflex.operations.controller.nvme_hosts import NvmeHosts
from csi_powerflex.operations.controller.qos import refusal_on_nvme


@dataclass(frozen=True, slots=True)
class Route:
    """How a node reaches a volume.

    Attributes:
        transport: the transport.
        host: what the node is for the array over this transport.
        details: what the publish context says for this transport.
    """

    transport: TransportType
    host: Host
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What decides about the route of a volume to a node.

    Attributes:
        node: the node as it has registered.
        known_as: the node with the initiators that it had before it changed its transport.
        transport: what the volume's class asks for: a transport's name, or "auto".
        qos: the limits that are requested for the volume now.
    """

    node: NodeIdentity
    known_as: NodeIdentity
    transport: str
    qos: QosRequest


class _NoRoute(Exception):
    """A transport cannot be used. The text says why."""


class Routes:
    """Chooses routes, and creates the NVMe hosts that they need."""

    def __init__(self) -> None:
        self._nvme_hosts = NvmeHosts()

    def choose(self, array: Array, volume: Volume, wanted: Wanted) -> Route:
        """The route for a volume.

        A volume that is mapped to the node keeps its transport. Otherwise the class decides. "auto" prefers
        the SDC, which has limits of quality of service, if the array is connected to it.

        Raises:
            NotFound: the array does not know the node.
            FailedPrecondition: no transport that the class allows leads from the node to the volume.
            VolumeInUse: the volume is mapped to both hosts of the node.
            ResourceExhausted: the node needs an NVMe host, and the system allows no further one.
        """
        hosts = _hosts(array, volume, wanted.known_as)
        mapped = [host for host in hosts if volume.mapping_to(host) is not None]
        if len(mapped) > 1:
            raise VolumeInUse(
                f"volume {volume} is mapped to {' and to '.join(map(str, mapped))}, which are both node "
                f"{wanted.node}: it would be two devices there; unpublish it from the node, which removes "
                "both mappings, then publish it again"
            )
        if mapped:
            asked, node = _transport_of(mapped[0]).name, wanted.known_as
        else:
            asked, node = wanted.transport, wanted.node
            hosts = [host for host in hosts if host.initiator in node.initiators]
        allowed = TRANSPORTS.values() if asked == AUTO else [TRANSPORTS[asked]]
        lost: Route | None = None
        reasons: list[str] = []
        for transport in allowed:
            try:
                route = (
                    _over_sdc(array, node, hosts)
                    if transport is SDC
                    else self._over_nvme(array, volume, node, wanted.qos, hosts)
                )
            except _NoRoute as reason:
                reasons.append(f"{transport.name}: {reason}")
                continue
            if not route.host.lost:
                return route
            lost = route
        if lost is not None:
            return lost
        raise FailedPrecondition(
            f"volume {volume} cannot be mapped to node {wanted.node}: its class asks for transport "
            f"{wanted.transport}; {'; '.join(reasons)}"
        )

    def connected_sdc(self, array: Array, wanted: Wanted) -> Host | None:
        """The SDC by which the node reaches a volume that is not mapped to it, whatever the volume is.

        None if the volume or a new look at the array's hosts has to decide: ``choose`` does. The volume
        decides if it may be mapped to an NVMe host, because the array's code for a volume that is mapped to
        another host speaks of SDCs alone.
        """
        if wanted.transport not in (AUTO, SDC.name) or wanted.node.initiator(SDC.initiator) is None:
            return None
        try:
            hosts = array.hosts_of(wanted.known_as)
        except NotFound:
            return None
        if wanted.transport == AUTO and array.has_nvme_hosts:
            return None
        host = _of_kind([host for host in hosts if host.initiator in wanted.node.initiators], SDC.initiator)
        return None if host is None or host.lost else host

    def again(self, array: Array, host: Host) -> Host:
        """The same host as the array knows it now. An NVMe host that was removed is created again.

        Raises:
            NotFound: the array does not know it any more.
        """
        if host.kind is InitiatorKind.NVME:
            return self._nvme_hosts.ensure(array, host.initiator)
        (found,) = array.hosts_of(NodeIdentity.of([host.initiator]))
        return found

    def _over_nvme(
        self, array: Array, volume: Volume, node: NodeIdentity, qos: QosRequest, hosts: Sequence[Host]
    ) -> Route:
        """The route over NVMe/TCP. The host is created if all else allows the route."""
        initiator = node.initiator(InitiatorKind.NVME)
        if initiator is None:
            raise _NoRoute("the node has registered no NQN")
        if volume.replicated:
            raise _NoRoute("the volume is replicated, and the array maps such volumes to SDCs only")
        refusal = refusal_on_nvme(volume, qos)
        if refusal is not None:
            raise _NoRoute(refusal)
        try:
            target = array.nvme_target(volume)
        except NoNvme as error:
            raise _NoRoute(str(error)) from error
        host = _of_kind(hosts, InitiatorKind.NVME)
        if host is None or volume.mapping_to(host) is None:
            _require_domain(array, volume)
        host = host or self._nvme_hosts.ensure(array, initiator)
        return Route(NVME, host, target.details())


def _require_domain(array: Array, volume: Volume) -> None:
    """Check that the array does not move the volume to another protection domain, which has other SDTs.

    It costs a request, but none on a system with one protection domain, or without moves.

    Raises:
        _NoRoute: it does.
    """
    if volume.erasure_coded or len({pool.domain_id for pool in array.pools()}) == 1:
        return
    tree = array.tree(volume.tree_id)
    if tree.state is MoveState.NONE:
        return
    left, entered = (_domain_of(array, pool_id) for pool_id in (tree.pool_id, tree.target_id))
    if left != entered:
        raise _NoRoute(
            "the array moves the volume to a pool in another protection domain, where NVMe hosts reach it by "
            "other SDTs; it can be mapped to one when the move has ended"
        )


def _domain_of(array: Array, pool_id: str | None) -> str | None:
    """The id of the pool's protection domain; None if the pool is not known."""
    with contextlib.suppress(InvalidArgument):
        return array.pool_by_id(pool_id or "").domain_id
    return None


def _over_sdc(array: Array, node: NodeIdentity, hosts: Sequence[Host]) -> Route:
    """The route over the SDC. Whether the array has lost the SDC is asked again before it is believed."""
    host = _of_kind(hosts, InitiatorKind.SDC)
    if host is not None and host.lost:
        host = _of_kind(array.hosts_of(node, fresh=True), InitiatorKind.SDC)
    if host is None:
        raise _NoRoute(f"system {array.label} knows no SDC of this node")
    return Route(SDC, host)


def hosts_of_volume(array: Array, volume: Volume, node: NodeIdentity) -> Sequence[Host]:
    """The hosts of the node. Each of them that the volume is mapped to is among them.

    Raises:
        NotFound: the array does not know the node.
    """
    return array.hosts_of(node, mapped=[mapping.host_id for mapping in volume.mappings])


def _hosts(array: Array, volume: Volume, node: NodeIdentity) -> Sequence[Host]:
    """The hosts of the node. A node with an NQN may have none yet."""
    try:
        return hosts_of_volume(array, volume, node)
    except NotFound:
        if node.initiator(InitiatorKind.NVME) is None:
            raise
        return ()


def _of_kind(hosts: Sequence[Host], kind: InitiatorKind) -> Host | None:
    return next((host for host in hosts if host.kind is kind), None)


def _transport_of(host: Host) -> TransportType:
    return next(each for each in TRANSPORTS.values() if each.initiator is host.kind)
