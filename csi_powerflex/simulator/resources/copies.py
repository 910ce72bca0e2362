"""Making snapshots and clones: their data are copied, then they join the VTrees of their sources."""

from __future__ import annotations

from collections.abc import Sequence

from csi_powerflex.simulator.array import Array
from csi_powerflex.simulator.model import Volume


def take(array: Array, pairs: Sequence[tuple[Volume, Volume]]) -> None:
    """Copy the data of each source to its new snapshot, all at one time, and add the snapshots to the array.

    The lock is free while data are copied. A VTree may arrive in another pool meanwhile, so what a snapshot
    has of its source's pool is taken afterwards.
    """
    ids = [(source.id, made.id) for source, made in pairs]
    with array.lock_released(), array.paused({source_id for source_id, _ in ids}):
        array.plane.snapshot(ids)
    for source, made in pairs:
        tree = array.vtrees[source.vtree_id]
        made.pool_id, made.compression = tree.pool_id, source.compression
        array.put(made)
        array.change(tree, volume_ids=[*tree.volume_ids, made.id])
