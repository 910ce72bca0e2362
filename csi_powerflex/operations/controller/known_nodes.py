"""The nodes of this cluster, as far as this controller has seen them in calls.

An array knows the hosts of every cluster that uses it, and does not know which of them belong to this one.
"""

from __future__ import annotations

import threading

from csi_powerflex.ids import Initiator, NodeIdentity


class KnownNodes:
    """Nodes that volumes were published to since the controller started; safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._nodes: dict[Initiator, NodeIdentity] = {}

    def add(self, node: NodeIdentity) -> None:
        """Remember a node of this cluster."""
        if any(self._nodes.get(initiator) != node for initiator in node.initiators):
            with self._lock:
                self._nodes = self._nodes | dict.fromkeys(node.initiators, node)

    def with_initiator(self, initiator: Initiator) -> NodeIdentity | None:
        """The node that has this initiator, or None."""
        return self._nodes.get(initiator)
