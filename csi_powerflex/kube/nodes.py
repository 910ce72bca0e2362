"""The nodes of the cluster, and what its VolumeAttachments want, as Kubernetes keeps them.

CSINodes are followed by list and watch, so a ControllerPublishVolume call needs no request. Before a mapping
is removed, everything is read again. The driver needs the permission to list and watch CSINodes. To remove
mappings, it also needs the permission to list VolumeAttachments and PersistentVolumes. It changes nothing in
the cluster.
"""

from __future__ import annotations

import collections
import threading
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import msgspec

from csi_powerflex.errors import DriverError, NotFound
from csi_powerflex.ids import Initiator, NodeIdentity, VolumeHandle
from csi_powerflex.kube import config
from csi_powerflex.kube.client import Client, KubeObject
from csi_powerflex.kube.informer import Informer
from csi_powerflex.observability import metrics
from csi_powerflex.observability.log import Log

log = Log(__name__)

CSI_NODES = "/apis/storage.k8s.io/v1/csinodes"
ATTACHMENTS = "/apis/storage.k8s.io/v1/volumeattachments"
VOLUMES = "/api/v1/persistentvolumes"

# The initiators of nodes that were removed from the cluster. One that is forgotten keeps its mappings.
_MAX_SEEN = 16384


class NodeDriver(msgspec.Struct, frozen=True):
    """One driver of a CSINode."""

    name: str = ""
    node_id: str = msgspec.field(default="", name="nodeID")


class CsiNodeSpec(msgspec.Struct, frozen=True):
    """The ``spec`` of a CSINode."""

    drivers: tuple[NodeDriver, ...] | None = None


class CsiNode(KubeObject, frozen=True):
    """The fields of a CSINode that are read."""

    spec: CsiNodeSpec = CsiNodeSpec()

    def id_for(self, driver_name: str) -> str | None:
        """The node id that the driver has registered; None if it has registered none."""
        return next((item.node_id for item in self.spec.drivers or () if item.name == driver_name), None)


class CsiSource(msgspec.Struct, frozen=True, rename="camel"):
    """The ``spec.csi`` of a PersistentVolume."""

    volume_handle: str = ""


class VolumeSpec(msgspec.Struct, frozen=True):
    """The ``spec`` of a PersistentVolume."""

    csi: CsiSource | None = None


class AttachedVolume(KubeObject, frozen=True):
    """The fields of a PersistentVolume that are read."""

    spec: VolumeSpec = VolumeSpec()


class AttachmentSource(msgspec.Struct, frozen=True, rename="camel"):
    """The volume of a VolumeAttachment: a PersistentVolume by name, or the spec of one."""

    persistent_volume_name: str | None = None
    inline_volume_spec: VolumeSpec | None = None


class AttachmentSpec(msgspec.Struct, frozen=True, rename="camel"):
    """The ``spec`` of a VolumeAttachment."""

    attacher: str = ""
    node_name: str = ""
    source: AttachmentSource = AttachmentSource()


class VolumeAttachment(KubeObject, frozen=True):
    """The fields of a VolumeAttachment that are read."""

    spec: AttachmentSpec = AttachmentSpec()


# msgspec crashes if two threads are the first to decode a type. Here only one thread runs.
for _type in (CsiNode, AttachedVolume, VolumeAttachment):
    msgspec.json.Decoder(_type)


class KubernetesNodes:
    """A NodeRegistry for one driver. Call ``start`` before use and ``close`` at the end.

    Args:
        driver_name: the driver's CSI name.
        client: how to reach the cluster.
        max_seen: how many initiators are remembered.
    """

    def __init__(self, driver_name: str, client: Client, *, max_seen: int = _MAX_SEEN) -> None:
        self._driver = driver_name
        self._client = client
        self._max_seen = max_seen
        self._lock = threading.Lock()
        # The names of the CSINodes that have an initiator now, and of those that have had it.
        self._now: dict[Initiator, frozenset[str]] = {}
        self._shared: set[Initiator] = set()
        # By name of the CSINode.
        self._identities: dict[str, NodeIdentity] = {}
        self._seen: collections.OrderedDict[Initiator, frozenset[str]] = collections.OrderedDict()
        # The same the other way round, so that a call need not look at every initiator.
        self._seen_at: dict[frozenset[str], dict[Initiator, None]] = {}
        self._informer: Informer[CsiNode] = Informer(
            client, CSI_NODES, CsiNode, self._take, relevant=lambda node: node.id_for(driver_name) is not None
        )

    def start(self) -> None:
        """Begin to follow the cluster, in a thread."""
        self._informer.start()

    def close(self) -> None:
        """Stop following the cluster."""
        self._informer.close()
        self._client.close()

    def nodes_of(self, node: NodeIdentity) -> Sequence[str]:
        """See ``NodeRegistry.nodes_of``."""
        with self._lock:
            found = (self._now.get(initiator, frozenset()) for initiator in node.initiators)
            return sorted(frozenset().union(*found))

    def identity_of(self, initiator: Initiator) -> NodeIdentity | None:
        """See ``NodeRegistry.identity_of``."""
        with self._lock:
            names = self._now.get(initiator, frozenset())
            return self._identities[next(iter(names))] if len(names) == 1 else None

    def former_initiators(self, node: NodeIdentity) -> Sequence[Initiator]:
        """See ``NodeRegistry.former_initiators``. The result has those that were seen last."""
        with self._lock:
            names = {self._now.get(initiator, frozenset()) for initiator in node.initiators}
            kinds = {initiator.kind for initiator in node.initiators}
            seen = self._seen_at.get(next(iter(names)), {}) if len(names) == 1 else {}
            found = {
                initiator.kind: initiator
                for initiator in seen
                if initiator.kind not in kinds and initiator not in self._now
            }
        return tuple(found.values())

    def describe(self, initiator: Initiator) -> str:
        """See ``NodeRegistry.describe``."""
        with self._lock:
            now, seen = self._now.get(initiator), self._seen.get(initiator)
        if now:
            return f"node {', '.join(sorted(now))}"
        if seen:
            return f"once node {', '.join(sorted(seen))}, now of no node of this cluster"
        return ""

    def doubt(self, handle: VolumeHandle, hosts: Collection[Initiator], node: NodeIdentity | None) -> str:
        """See ``NodeRegistry.doubt``."""
        with self._lock:
            seen = {initiator: self._seen.get(initiator, frozenset()) for initiator in hosts}
            now = {initiator: sorted(self._now[initiator]) for initiator in hosts if initiator in self._now}
        for initiator, names in now.items():
            return f"node {', '.join(names)} has registered {initiator}"
        for initiator, known_as in seen.items():
            if not known_as:
                return f"this controller has not seen {initiator} at a node of this cluster since it started"
        try:
            # A node registers before a volume is attached to it. So nodes that come meanwhile are seen.
            attachments = self._client.list(ATTACHMENTS, VolumeAttachment).items
            volumes = self._client.list(VOLUMES, AttachedVolume).items
            nodes = self._client.list(CSI_NODES, CsiNode).items
        except DriverError as error:
            return f"the cluster cannot be read: {error}"
        by_name = {item.metadata.name: item for item in nodes}
        doubts = [
            *self._wanted(str(handle), attachments, volumes, self._named(by_name.values(), node)),
            *self._registered(by_name, seen),
        ]
        return next(iter(doubts), "")

    def _named(self, nodes: Collection[CsiNode], node: NodeIdentity | None) -> frozenset[str]:
        """The names of the CSINodes that are this node."""
        found = ((item.metadata.name, _identity(item.id_for(self._driver))) for item in nodes)
        return frozenset(name for name, identity in found if identity is not None and identity == node)

    def _wanted(
        self,
        handle: str,
        attachments: Sequence[VolumeAttachment],
        volumes: Sequence[AttachedVolume],
        allowed: Collection[str],
    ) -> Iterator[str]:
        """Which VolumeAttachments may want the volume on other nodes. Other drivers use the same handles."""
        handles = {item.metadata.name: item.spec.csi for item in volumes}
        for attachment in attachments:
            source, node_name = attachment.spec.source, attachment.spec.node_name
            volume = handles.get(source.persistent_volume_name or "") or (
                source.inline_volume_spec.csi if source.inline_volume_spec else None
            )
            label = f"VolumeAttachment {attachment.metadata.name}"
            if volume is None:
                if attachment.spec.attacher == self._driver:
                    yield f"the volume of {label} is not known"
            elif volume.volume_handle == handle and node_name not in allowed:
                yield f"{label} wants the volume on node {node_name}"

    def _registered(self, nodes: dict[str, CsiNode], seen: dict[Initiator, frozenset[str]]) -> Iterator[str]:
        """The CSINodes that have one of the initiators, or may have it."""
        for name, node in nodes.items():
            for driver in node.spec.drivers or ():
                if driver.name == self._driver and _identity(driver.node_id) is None:
                    yield f"node {name} has the node id {driver.node_id!r}, which cannot be read"
                for initiator in seen:
                    if initiator.value.casefold() in driver.node_id.casefold():
                        yield f"node {name} has registered {initiator} for driver {driver.name}"
        for initiator, names in seen.items():
            for name in names & nodes.keys():
                if nodes[name].id_for(self._driver) is None:
                    yield f"node {name} had {initiator}, and the driver is not registered there now"

    def _take(self, before: CsiNode | None, after: CsiNode | None) -> None:
        earlier, later = self._initiators(before), self._initiators(after)
        with self._lock:
            self._identities.pop(_name(before), None)
            if after is not None and later:
                self._identities[_name(after)] = NodeIdentity(later)
            for initiator in earlier:
                self._keep(initiator, self._now.get(initiator, frozenset()) - {_name(before)})
            for initiator in later:
                self._keep(initiator, self._now.get(initiator, frozenset()) | {_name(after)})
                self._remember(initiator, _name(after))
            shared = {initiator: self._now[initiator] for initiator in later if initiator in self._shared}
            metrics.SHARED_INITIATORS.set(len(self._shared))
        if earlier != later:
            for initiator, names in shared.items():
                log.warning("nodes had the same node id", initiator=initiator, nodes=", ".join(sorted(names)))

    def _keep(self, initiator: Initiator, names: frozenset[str]) -> None:
        """Keep which nodes have the initiator now. Needs the lock."""
        self._now[initiator] = names
        if not names:
            del self._now[initiator]
        if len(names) > 1:
            self._shared.add(initiator)
        else:
            self._shared.discard(initiator)

    def _remember(self, initiator: Initiator, name: str) -> None:
        """Remember that the node has had the initiator. Needs the lock."""
        names = self._forget(initiator) | {name}
        self._seen[initiator] = names
        self._seen_at.setdefault(names, {})[initiator] = None
        if len(self._seen) > self._max_seen:
            self._forget(next(iter(self._seen)))

    def _forget(self, initiator: Initiator) -> frozenset[str]:
        """Forget that nodes have had the initiator; returns their names. Needs the lock."""
        names = self._seen.pop(initiator, frozenset())
        same = self._seen_at.get(names, {})
        same.pop(initiator, None)
        if not same:
            self._seen_at.pop(names, None)
        return names

    def _initiators(self, node: CsiNode | None) -> tuple[Initiator, ...]:
        identity = _identity(node.id_for(self._driver)) if node is not None else None
        return identity.initiators if identity is not None else ()


def _name(node: CsiNode | None) -> str:
    return node.metadata.name if node is not None else ""


def _identity(node_id: str | None) -> NodeIdentity | None:
    """The node with this id; None if there is no id, or none that this driver could have given."""
    try:
        return NodeIdentity.parse(node_id) if node_id is not None else None
    except NotFound:
        return None


def connect(driver_name: str, kubeconfig: Path | None) -> KubernetesNodes:
    """The nodes of the cluster of ``kubeconfig``, or of the one of this pod if it is None.

    Raises:
        FailedPrecondition: there is no usable configuration.
    """
    return KubernetesNodes(driver_name, Client(config.load(kubeconfig)))
