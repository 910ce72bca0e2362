"""The nodes of this cluster, as far as this controller has met them.

The array knows every host of every cluster that shares it; which ones are ours is not written there.
"""

from __future__ import annotations

import threading

from csi_powerflex.ids import NodeIdentity


class Nodes:
    """Nodes that volumes were published to since the controller started; safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._met: frozenset[NodeIdentity] = frozenset()

    def meet(self, node: NodeIdentity) -> None:
        """Remember a node of ours."""
        if node not in self._met:
            with self._lock:
                self._met |= {node}

    @property
    def met(self) -> frozenset[NodeIdentity]:
        """Every node met."""
        return self._met
