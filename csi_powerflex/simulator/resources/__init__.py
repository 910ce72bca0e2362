"""The kinds of objects of a PowerFlex system, one module per family, and the table of them all."""

from __future__ import annotations

from typing import Any

from csi_powerflex.simulator.resources import (
    data_server,
    host,
    protection_domain,
    replication,
    sdt,
    snapshot_policy,
    storage_pool,
    system,
    user,
    volume,
    vtree,
)
from csi_powerflex.simulator.resources.resource_type import ResourceType

KINDS: dict[str, ResourceType[Any]] = {
    kind.name: kind
    for kind in (
        system.KIND,
        protection_domain.KIND,
        storage_pool.KIND,
        volume.KIND,
        vtree.KIND,
        host.KIND,
        host.NVME_KIND,
        sdt.KIND,
        data_server.SDS_KIND,
        data_server.NODE_KIND,
        data_server.OLD_NODE_KIND,
        data_server.DEVICE_KIND,
        data_server.DEVICE_GROUP_KIND,
        snapshot_policy.KIND,
        user.KIND,
        *replication.KINDS,
    )
}
"""Every kind, by the name it has in paths."""
