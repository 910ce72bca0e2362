"""The servers and disks of the pools, with few fields: SDS, Device, StorageNode and DeviceGroup."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from csi_powerflex.simulator.api_error import (
    ApiError,
    malformed,
    mdm_error,
    missing_parameters,
    uncoded_error,
)
from csi_powerflex.simulator.array import Array
from csi_powerflex.simulator.body import Body
from csi_powerflex.simulator.model import GIB_IN_KIB, Address, Device, Sds, StoragePool
from csi_powerflex.simulator.names import free_name
from csi_powerflex.simulator.resources import statistics, tuning
from csi_powerflex.simulator.resources.resource_type import (
    Action,
    ResourceType,
    View,
    parent_link,
    related_links,
    self_link,
    statistics_links,
)

_NEW_DEVICE_KB = 1024 * GIB_IN_KIB
_LARGEST_CACHE_MB = 1024 * 1024


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
        "faultSetId": server.fault_set_id,
        "numOfIoBuffers": None,
        "softwareVersionInfo": array.dialect.release,
        **server.settings,
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
    parents = [parent_link("StorageNode" if erasure_coded else "Sds", device.sds_id, "sdsId")]
    if not erasure_coded:
        parents.append(parent_link("StoragePool", device.pool_id, "storagePoolId"))
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
        "capacityLimitInKb": device.limit_kb or device.capacity_kb,
        "mediaType": "SSD",
        "deviceType": "Unknown",
        "ledSetting": "Off",
        "ssdEndOfLifeState": "NeverFailed",
        "externalAccelerationType": "None",
        **device.settings,
        "links": [
            self_link("Device", device.id),
            *statistics_links(array, "Device", "device", device.id, array.domain_of(device.pool_id)),
            *parents,
        ],
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


# --- SDSs --------------------------------------------------------------------------------------------

_ROLES = ("all", "sdsOnly", "sdcOnly")


def _create_sds(array: Array, body: Body) -> View:
    domain = array.domains.get(body.required("protectionDomainId").lower())
    if domain is None:
        raise mdm_error(142)
    if domain.generation == "EC":
        raise uncoded_error("SDSs are not supported in an erasure-coded Protection Domain")
    parts = [Body(dict(part.fields.get("SdsIp") or part.fields)) for part in body.parts("sdsIpList")]  # type: ignore[call-overload]
    if not parts:
        raise missing_parameters("sdsIpList")
    fault_set_id = body.text("faultSetId")
    if fault_set_id is not None and fault_set_id.lower() not in array.fault_sets:
        raise uncoded_error("Could not find the FaultSet")
    server = Sds(
        id=array.new_id(array.sdss),
        name=_free_name(array.sdss.values(), body.text("name") or f"sds{len(array.sdss) + 1}", "SDS"),
        domain_id=domain.id,
        addresses=[Address(ip=part.required("ip"), role=_role(part, "role")) for part in parts],
        fault_set_id=fault_set_id.lower() if fault_set_id else None,
    )
    array.put(server)
    try:
        for part in body.parts("deviceInfoList"):
            _add_device(array, server, part, path=part.required("devicePath"), name=part.text("deviceName"))
    except ApiError:
        _drop_with_devices(array, server)
        raise
    return {"id": server.id}


def _role(body: Body, name: str) -> str:
    return body.choice(name, _ROLES) or "all"


def _free_name(items: Iterable[Sds | Device], name: str, kind: str) -> str:
    used = {item.name for item in items}
    return free_name(name, used, uncoded_error(f"The {kind} name is already in use"))


def _rename_sds(array: Array, server: Sds, body: Body) -> View:
    name = body.alternative("name", "newName")[1]
    if name != server.name:
        array.change(server, name=_free_name(array.sdss.values(), name, "SDS"))
    return {}


def _remove_sds(array: Array, server: Sds, body: Body) -> View:
    has_devices = any(device.sds_id == server.id for device in array.devices.values())
    if has_devices and not body.flag("force"):
        raise uncoded_error("The SDS is not empty: it has devices")
    _drop_with_devices(array, server)
    return {}


def _drop_with_devices(array: Array, server: Sds) -> None:
    for device in [item for item in array.devices.values() if item.sds_id == server.id]:
        array.drop(device)
    array.drop(server)


def _add_ip(array: Array, server: Sds, body: Body) -> View:
    address = Address(ip=body.required("ip"), role=_role(body, "role"))
    if any(known.ip == address.ip for known in server.addresses):
        raise uncoded_error("The SDS already has this IP address")
    array.change(server, addresses=[*server.addresses, address])
    return {}


def _remove_ip(array: Array, server: Sds, body: Body) -> View:
    ip = body.required("ip")
    left = [address for address in server.addresses if address.ip != ip]
    if not left or len(left) == len(server.addresses):
        raise uncoded_error("The IP address is the last one of the SDS, or is not one of the SDS")
    array.change(server, addresses=left)
    return {}


def _set_ip_role(array: Array, server: Sds, body: Body) -> View:
    ip = body.required("sdsIpToSet")
    body.required("newRole")
    if not any(address.ip == ip for address in server.addresses):
        raise uncoded_error("The IP address is not one of the SDS")
    role = _role(body, "newRole")
    addresses = [Address(ip=a.ip, role=role if a.ip == ip else a.role) for a in server.addresses]
    array.change(server, addresses=addresses)
    return {}


def _set_rmcache_size(array: Array, server: Sds, body: Body) -> View:
    body.required("rmcacheSizeInMB")
    size = tuning.number(0, _LARGEST_CACHE_MB)(body, "rmcacheSizeInMB")
    if isinstance(size, int):
        tuning.keep(array, server, {"rmcacheSizeInKb": size * 1024})
    return {}


# --- devices -----------------------------------------------------------------------------------------


def _create_device(array: Array, body: Body) -> View:
    server = array.sdss.get(body.alternative("sdsId", "nodeId")[1].lower())
    if server is None:
        raise mdm_error(78)
    path = body.required("deviceCurrentPathname")
    device = _add_device(array, server, body, path=path, name=body.text("name"))
    return {"id": device.id}


def _add_device(array: Array, server: Sds, body: Body, *, path: str, name: str | None) -> Device:
    pool = _pool_of_device(array, server, body)
    size_kb = tuning.number(1)(body, "capacityLimitInKb")
    device = Device(
        id=array.new_id(array.devices, high_slot=1),
        name=_free_name(array.devices.values(), name or f"dev{len(array.devices) + 1}", "device"),
        sds_id=server.id,
        pool_id=pool.id,
        path=path,
        capacity_kb=size_kb if isinstance(size_kb, int) else _NEW_DEVICE_KB,
        settings={"mediaType": body.choice("mediaType", (*tuning.MEDIA, "PMEM")) or pool.media},
    )
    array.put(device)
    return device


def _pool_of_device(array: Array, server: Sds, body: Body) -> StoragePool:
    """The pool of the device's server that the body names, by its id or by that of its device group."""
    _, wanted = body.alternative("storagePoolId", "deviceGroupId")
    for pool in array.pools_of_domain(server.domain_id):
        if wanted.lower() in (pool.id, pool.device_group_id):
            return pool
    raise mdm_error(171)


def _rename_device(array: Array, device: Device, body: Body) -> View:
    name = body.required("newName")
    if name != device.name:
        array.change(device, name=_free_name(array.devices.values(), name, "device"))
    return {}


def _remove_device(array: Array, device: Device, _: Body) -> View:
    array.drop(device)
    return {}


def _limit_device(array: Array, device: Device, body: Body) -> View:
    body.required("capacityLimitInGB")
    limit = (body.number("capacityLimitInGB") or 0) * GIB_IN_KIB
    if not 0 < limit <= device.capacity_kb:
        raise malformed("capacityLimitInGB must be positive and not more than the capacity of the device")
    array.change(device, limit_kb=limit)
    return {}


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
    create=_create_sds,
    find=lambda array, body: SDS_RESOURCE_TYPE.by_name(array, body.required("name")).id,
    actions={
        "setSdsName": Action(_rename_sds),
        "removeSds": Action(_remove_sds),
        "addSdsIp": Action(_add_ip),
        "removeSdsIp": Action(_remove_ip),
        "setSdsIpRole": Action(_set_ip_role),
        "setSdsRmcacheSize": Action(_set_rmcache_size),
        **tuning.SDS_ACTIONS,
    },
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
    create=_create_device,
    find=lambda array, body: DEVICE_RESOURCE_TYPE.by_name(array, body.required("name")).id,
    actions={
        "setDeviceName": Action(_rename_device),
        "removeDevice": Action(_remove_device),
        "setDeviceCapacityLimit": Action(_limit_device),
        **tuning.DEVICE_ACTIONS,
    },
)

DEVICE_GROUP_RESOURCE_TYPE: ResourceType[View] = ResourceType(
    name="DeviceGroup",
    listed="deviceGroupList",
    objects=_all_device_groups,
    view=lambda _array, shown: shown,
    missing=0,
    offered=lambda dialect: dialect.second_generation,
)
