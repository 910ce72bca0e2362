"""SDTs, the NVMe/TCP targets. With simulated NVMe hosts, they listen (``nvme.target``)."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

from csi_powerflex.simulator.api_error import malformed, mdm_error, missing_parameters, uncoded_error
from csi_powerflex.simulator.array import Array
from csi_powerflex.simulator.body import Body
from csi_powerflex.simulator.model import Address, Sdt
from csi_powerflex.simulator.names import free_name
from csi_powerflex.simulator.resources.resource_type import (
    Action,
    ResourceType,
    View,
    parent_link,
    self_link,
    statistics_links,
)

_MAX_PORT = 65535
_ROLES = ("StorageAndHost", "StorageOnly", "HostOnly")


def view(array: Array, target: Sdt) -> View:
    """The object as the gateway shows it."""
    return {
        "id": target.id,
        "name": target.name,
        "systemId": array.system.id,
        "protectionDomainId": target.domain_id,
        "ipList": [{"ip": address.ip, "role": address.role} for address in target.addresses],
        "storagePort": target.storage_port,
        "nvmePort": target.nvme_port,
        "discoveryPort": target.discovery_port,
        "sdtState": target.state,
        "mdmConnectionState": target.mdm_connection,
        "membershipState": target.membership,
        "maintenanceState": "InMaintenance" if target.maintenance else "NoMaintenance",
        "authenticationError": "None",
        "softwareVersionInfo": array.dialect.release,
        "faultSetId": None,
        "certificateInfo": None,
        "persistentDiscoveryControllersNum": 0,
        "links": [
            self_link("Sdt", target.id),
            *statistics_links(array, "Sdt", "sdt", target.id, array.domains.get(target.domain_id)),
            parent_link("ProtectionDomain", target.domain_id, "protectionDomainId"),
        ],
    }


def of_domain(array: Array, domain_id: str) -> list[View]:
    """The targets of a protection domain, rendered."""
    return [view(array, target) for target in array.sdts.values() if target.domain_id == domain_id]


def _create(array: Array, body: Body) -> View:
    name = _free_sdt_name(array, body.required("name"))
    domain_id = body.required("protectionDomainId").lower()
    if domain_id not in array.domains:
        raise mdm_error(142)
    addresses = [_address(part) for part in body.parts("ips")]
    if not addresses:
        raise missing_parameters("ips")
    target = Sdt(
        id=array.new_id(array.sdts),
        name=name,
        domain_id=domain_id,
        addresses=addresses,
        storage_port=_port(body, "storagePort", 12200),
        nvme_port=_port(body, "nvmePort", 4420),
        discovery_port=_port(body, "discoveryPort", 8009),
    )
    array.put(target)
    return {"id": target.id}


def _address(part: Body) -> Address:
    part.required("role")
    ip = part.required("ip")
    try:
        ip = str(ipaddress.ip_address(ip))
    except ValueError:
        raise malformed(f"ip ({ip}) must be an IP address") from None
    return Address(ip=ip, role=part.choice("role", _ROLES) or "StorageAndHost")


def _port(body: Body, name: str, default: int) -> int:
    port = body.number(name)
    if port is None:
        return default
    if not 1 <= port <= _MAX_PORT:
        raise malformed(f"{name} ({port}) must be a port from 1 to {_MAX_PORT}")
    return port


def _free_sdt_name(array: Array, name: str) -> str:
    used = {target.name for target in array.sdts.values()}
    return free_name(name, used, uncoded_error("The SDT name is already in use"))


def _rename(array: Array, target: Sdt, body: Body) -> View:
    array.change(target, name=_free_sdt_name(array, body.required("newName")))
    return {}


def _add_ip(array: Array, target: Sdt, body: Body) -> View:
    array.change(target, addresses=[*target.addresses, _address(body)])
    return {}


def _remove_ip(array: Array, target: Sdt, body: Body) -> View:
    ip = body.required("ip")
    left = [address for address in target.addresses if address.ip != ip]
    if not left:
        raise uncoded_error("The last IP address of an SDT cannot be removed")
    array.change(target, addresses=left)
    return {}


def _modify_role(array: Array, target: Sdt, body: Body) -> View:
    ip = body.required("ip")
    role = body.choice("newRole", _ROLES)
    for address in target.addresses:
        if address.ip == ip and role is not None:
            address.role = role
            array.change(target)
            return {}
    raise malformed(f"ip ({ip}) is not an address of the SDT, or newRole is missing")


def _port_setter(parameter: str, attribute: str) -> Callable[[Array, Sdt, Body], View]:
    def run(array: Array, target: Sdt, body: Body) -> View:
        body.required(parameter)
        array.change(target, **{attribute: _port(body, parameter, 0)})
        return {}

    return run


def _enter_maintenance(array: Array, target: Sdt, _: Body) -> View:
    array.change(target, maintenance=True)
    return {}


def _exit_maintenance(array: Array, target: Sdt, _: Body) -> View:
    array.change(target, maintenance=False)
    return {}


def _remove(array: Array, target: Sdt, _: Body) -> View:
    array.drop(target)
    return {}


RESOURCE_TYPE: ResourceType[Sdt] = ResourceType(
    name="Sdt",
    listed="sdtList",
    objects=lambda array: array.sdts,
    view=view,
    missing=4000,
    create=_create,
    statistics=lambda _array, _target: {},
    actions={
        "renameSdt": Action(_rename),
        "addIp": Action(_add_ip),
        "removeIp": Action(_remove_ip),
        "modifyIpRole": Action(_modify_role),
        "modifyNvmePort": Action(_port_setter("newNvmePort", "nvme_port")),
        "modifyStoragePort": Action(_port_setter("newStoragePort", "storage_port")),
        "modifyDiscoveryPort": Action(_port_setter("newDiscoveryPort", "discovery_port")),
        "enterMaintenanceMode": Action(_enter_maintenance),
        "exitMaintenanceMode": Action(_exit_maintenance),
        "removeSdt": Action(_remove),
    },
    offered=lambda dialect: dialect.nvme,
)
