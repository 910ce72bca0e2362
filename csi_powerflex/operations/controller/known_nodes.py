"""The nodes of this cluster, as far as this controller has seen them in calls or in the cluster.

An array knows the hosts of every cluster that uses it. It does not know which of them belong to this one, nor
which two of them are one node.
"""

from __future__ import annotations

import threading

from csi_powerflex.ids import Initiator, NodeIdentity
from csi_powerflex.model.ports import NodeRegistry


class KnownNodes:
    """Nodes that volumes were published to since the controller started; safe to share between threads.

    Args:
        registry: the nodes of the cluster; None where they are not known.
    """

    def __init__(self, registry: NodeRegistry | None = None) -> None:
        self._registry = registry
        self._lock = threading.Lock()
        self._nodes: dict[Initiator, NodeIdentity] = {}

    def add(self, node: NodeIdentity) -> None:
        """Remember a node of this cluster."""
        if any(self._nodes.get(initiator) != node for initiator in node.initiators):
            with self._lock:
                self._nodes = self._nodes | dict.fromkeys(node.initiators, node)

    def with_initiator(self, initiator: Initiator) -> NodeIdentity | None:
        """The node that has this initiator and was seen in a call; None if none was."""
        return self._nodes.get(initiator)

    def identity_of(self, initiator: Initiator) -> NodeIdentity:
        """The whole id of the node with this initiator, as the cluster has it now.

        Kubernetes compares it with the id of the node. A part of it would mean another node.
        """
        registered = self._registry.identity_of(initiator) if self._registry is not None else None
        return registered or self._nodes.get(initiator) or NodeIdentity.of([initiator])
