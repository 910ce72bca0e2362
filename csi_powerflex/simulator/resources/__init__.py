"""The resource types of a PowerFlex system and the table of all of them."""

from __future__ import annotations

from typing import Any

from csi_powerflex.simulator.resources import (
    data_server,
    fault_set,
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

RESOURCE_TYPES: dict[str, ResourceType[Any]] = {
    resource_type.name: resource_type
    for resource_type in (
        system.RESOURCE_TYPE,
        protection_domain.RESOURCE_TYPE,
        storage_pool.RESOURCE_TYPE,
        volume.RESOURCE_TYPE,
        vtree.RESOURCE_TYPE,
        host.RESOURCE_TYPE,
        host.NVME_RESOURCE_TYPE,
        sdt.RESOURCE_TYPE,
        data_server.SDS_RESOURCE_TYPE,
        data_server.STORAGE_NODE_RESOURCE_TYPE,
        data_server.NODE_RESOURCE_TYPE,
        data_server.DEVICE_RESOURCE_TYPE,
        data_server.DEVICE_GROUP_RESOURCE_TYPE,
        fault_set.RESOURCE_TYPE,
        snapshot_policy.RESOURCE_TYPE,
        user.RESOURCE_TYPE,
        *replication.EMPTY_RESOURCE_TYPES,
    )
}
"""Every resource type, by its name in paths."""
