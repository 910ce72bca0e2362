"""The servers and disks of the pools, with few fields: SDS, Device, StorageNode and DeviceGroup."""

from __future__ import annotations

import dataclasses

from csi_powerflex.simulator.array import Array
from csi_powerflex.simulator.model import Device, Sds
from csi_powerflex.simulator.resources import statistics
from csi_powerflex.simulator.resources.resource_type import (
    ResourceType,
    View,
    parent_link,
    related_links,
    self_link,
)


def sds_view(array: Array, server: Sds) -> View:
    """An SDS as the gateway shows it."""
    return {
        "id": server.id,
        "name": server.name,
        "protectionDomainId": server.domain_id,
        "ipList": [{"ip": address.ip, "role": address.role} for address in server.addresses],
        "port": 7072,
        "sdsState": "Normal",
        "membershipState": "Joined",
        "mdmConnectionState": "Connected",
        "drlMode": "Volatile",
        "rmcacheEnabled": False,
        "rmcacheSizeInKb": 0,
        "rmcacheFrozen": False,
        "rfcacheEnabled": False,
        "rfcacheErrorApiVersionMismatch": False,
        "maintenanceState": "NoMaintenance",
        "maintenanceType": "NoMaintenance",
        "perfProfile": "HighPerformance",
        "faultSetId": None,
        "numOfIoBuffers": None,
        "softwareVersionInfo": array.dialect.release,
        "links": [
            self_link("Sds", server.id),
            *related_links("Sds", server.id, "Statistics", "Device"),
            parent_link("ProtectionDomain", server.domain_id, "protectionDomainId"),
        ],
    }


def _node_view(array: Array, server: Sds) -> View:
    return {
        "id": server.id,
        "name": server.name,
        "protectionDomainId": server.domain_id,
        "genType": "EC",
        "ips": [{"ip": address.ip, "role": address.role} for address in server.addresses],
        "softwareVersionInfo": array.dialect.release,
        "links": [
            self_link("StorageNode", server.id),
            parent_link("ProtectionDomain", server.domain_id, "protectionDomainId"),
        ],
    }


def device_view(array: Array, device: Device) -> View:
    """A disk as the gateway shows it."""
    erasure_coded = array.is_erasure_coded(device.pool_id)
    owner: View = (
        {"storageNodeId": device.sds_id, "deviceGroupId": array.pools[device.pool_id].device_group_id}
        if erasure_coded
        else {"sdsId": device.sds_id, "storagePoolId": device.pool_id}
    )
    return {
        "id": device.id,
        "name": device.name,
        **owner,
        "deviceState": "Normal",
        "errorState": "None",
        "deviceCurrentPathName": device.path,
        "deviceOriginalPathName": device.path,
        "maxCapacityInKb": device.capacity_kb,
        "capacityLimitInKb": device.capacity_kb,
        "mediaType": "SSD",
        "deviceType": "Unknown",
        "ledSetting": "Off",
        "ssdEndOfLifeState": "NeverFailed",
        "links": [self_link("Device", device.id), *related_links("Device", device.id, "Statistics")],
    }


def _of_generation(array: Array, *, erasure_coded: bool) -> dict[str, Sds]:
    return {
        server.id: server
        for server in array.sdss.values()
        if (array.domains[server.domain_id].generation == "EC") == erasure_coded
    }


def sdss_of_domain(array: Array, domain_id: str) -> list[View]:
    """The SDSs of a domain of the first generation, rendered."""
    servers = _of_generation(array, erasure_coded=False).values()
    return [sds_view(array, server) for server in servers if server.domain_id == domain_id]


def nodes_of_domain(array: Array, domain_id: str) -> list[View]:
    """The storage nodes of an erasure-coded domain, rendered."""
    servers = _of_generation(array, erasure_coded=True).values()
    return [_node_view(array, server) for server in servers if server.domain_id == domain_id]


def devices_of_pool(array: Array, pool_id: str) -> list[View]:
    """The disks of a pool, rendered."""
    return [device_view(array, device) for device in array.devices.values() if device.pool_id == pool_id]


def _derived_id(domain_id: str, number: int) -> str:
    return f"{int(domain_id, 16) ^ (number << 16):016x}"


def data_group(domain_id: str) -> str:
    """The id of a domain's device group for data."""
    return _derived_id(domain_id, 0xD0)


def write_cache_group(domain_id: str) -> str:
    """The id of a domain's device group for the write cache."""
    return _derived_id(domain_id, 0xC0)


def device_group_name(array: Array, domain_id: str) -> str:
    """The name of a domain's device group for data."""
    return f"{array.domains[domain_id].name}-dg"[:31]


def device_groups_of_domain(array: Array, domain_id: str) -> list[View]:
    """The two device groups of an erasure-coded domain, rendered; none in the first generation."""
    if array.domains[domain_id].generation != "EC":
        return []
    name = device_group_name(array, domain_id)
    return [
        {
            "id": group_id,
            "name": shown_name,
            "protectionDomainId": domain_id,
            "genType": "EC",
            "mediaType": media,
            "links": [
                self_link("DeviceGroup", group_id),
                parent_link("ProtectionDomain", domain_id, "protectionDomainId"),
            ],
        }
        for group_id, shown_name, media in (
            (data_group(domain_id), name, "SSD"),
            (write_cache_group(domain_id), f"{name[:27]}-wrc", "PMEM"),
        )
    ]


def _all_device_groups(array: Array) -> dict[str, View]:
    groups = [view for domain_id in array.domains for view in device_groups_of_domain(array, domain_id)]
    return {str(group["id"]): group for group in groups}


SDS_RESOURCE_TYPE: ResourceType[Sds] = ResourceType(
    name="Sds",
    listed="sdsList",
    objects=lambda array: _of_generation(array, erasure_coded=False),
    view=sds_view,
    missing=78,
    related={
        "Device": lambda array, server: [
            device_view(array, device) for device in array.devices.values() if device.sds_id == server.id
        ],
    },
    statistics=statistics.of_server,
)

STORAGE_NODE_RESOURCE_TYPE: ResourceType[Sds] = ResourceType(
    name="StorageNode",
    listed="storageNodeList",
    objects=lambda array: _of_generation(array, erasure_coded=True),
    view=_node_view,
    missing=78,
    offered=lambda dialect: dialect.second_generation,
)

NODE_RESOURCE_TYPE = dataclasses.replace(STORAGE_NODE_RESOURCE_TYPE, name="Node", listed="")
"""The same resource type under the name that PyPowerFlex uses."""

DEVICE_RESOURCE_TYPE: ResourceType[Device] = ResourceType(
    name="Device",
    listed="deviceList",
    objects=lambda array: array.devices,
    view=device_view,
    missing=0,
    statistics=statistics.of_device,
)

DEVICE_GROUP_RESOURCE_TYPE: ResourceType[View] = ResourceType(
    name="DeviceGroup",
    listed="deviceGroupList",
    objects=_all_device_groups,
    view=lambda _array, shown: shown,
    missing=0,
    offered=lambda dialect: dialect.second_generation,
)
