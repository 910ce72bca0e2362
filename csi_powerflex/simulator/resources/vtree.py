"""VTrees: a volume with its snapshots and clones."""

from __future__ import annotations

from csi_powerflex.simulator.array import Array
from csi_powerflex.simulator.model import FINE, Volume, VTree
from csi_powerflex.simulator.resources import migration, statistics, volume
from csi_powerflex.simulator.resources.resource_type import (
    ResourceType,
    View,
    parent_link,
    related_links,
    self_link,
    statistics_links,
)


def view(array: Array, tree: VTree) -> View:
    """The object as the gateway shows it."""
    info = migration.view(array, tree)
    pool = array.pools[tree.pool_id]
    members = [array.volumes[volume_id] for volume_id in tree.volume_ids]
    shown: View = {
        "id": tree.id,
        "name": _name(array, tree, members),
        "storagePoolId": tree.pool_id,
        "rootVolumes": [member.id for member in members if member.ancestor_id is None],
        "baseVolumeId": tree.base_volume_id,
        "compressionMethod": pool.compression if pool.layout == FINE else array.dialect.no_compression,
        "dataLayout": pool.layout,
        "inDeletion": False,
        "vtreeMigrationInfo": info,
        "links": [
            self_link("VTree", tree.id),
            *related_links("VTree", tree.id, "Volume"),
            *statistics_links(array, "VTree", "vtree", tree.id, array.domain_of(tree.pool_id)),
            parent_link("StoragePool", tree.pool_id, "storagePoolId"),
            parent_link("Volume", tree.base_volume_id, "baseVolumeId"),
        ],
    }
    if array.dialect.second_generation:
        shown["genType"] = array.domain_of(tree.pool_id).generation
    return shown


def _name(array: Array, tree: VTree, members: list[Volume]) -> str | None:
    """The name of the base volume, or that of the oldest member if the base volume was removed."""
    base = array.volumes.get(tree.base_volume_id)
    return (base or members[0]).name


RESOURCE_TYPE: ResourceType[VTree] = ResourceType(
    name="VTree",
    listed="vTreeList",
    objects=lambda array: array.vtrees,
    view=view,
    missing=230,
    statistics=lambda array, tree: {
        **statistics.of_vtree(array, tree),
        "vtreeMigrationProgress": migration.progress(array, tree),
    },
    related={
        "Volume": lambda array, tree: [
            volume.view(array, array.volumes[volume_id]) for volume_id in list(tree.volume_ids)
        ],
    },
)
