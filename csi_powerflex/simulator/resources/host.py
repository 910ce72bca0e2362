"""Hosts: SDCs and NVMe hosts. Lists of SDCs show NVMe hosts too."""

from __future__ import annotations

from collections.abc import Iterable

from csi_powerflex.simulator.api_error import malformed, mdm_error, missing_one_of, uncoded_error
from csi_powerflex.simulator.array import Array
from csi_powerflex.simulator.body import Body
from csi_powerflex.simulator.model import NVME, SDC, Host, NvmeController
from csi_powerflex.simulator.names import free_name
from csi_powerflex.simulator.nvme.ports import assigned_ports
from csi_powerflex.simulator.resources import statistics, volume
from csi_powerflex.simulator.resources.mapping import is_approved
from csi_powerflex.simulator.resources.resource_type import (
    Action,
    Effect,
    ResourceType,
    View,
    parent_link,
    related_links,
    self_link,
    statistics_links,
)


def view(array: Array, host: Host) -> View:
    """The object as the gateway shows it."""
    is_sdc = host.type == SDC
    release = array.dialect.release.rsplit(".", 1)[0] + ".0"
    shown: View = {
        "id": host.id,
        "name": host.name,
        "systemId": array.system.id,
        "sdcGuid": host.guid,
        "sdcIp": host.ip,
        "sdcIps": [host.ip] if host.ip else None,
        "osType": "Linux" if is_sdc else None,
        "hostOsFullType": None if is_sdc else "Generic",
        "hostType": host.type,
        "sdcType": "AppSdc" if is_sdc else None,
        "sdcApproved": is_approved(array, host) if is_sdc else None,
        "sdcApprovedIps": host.approved_ips or None,
        "mdmConnectionState": _connection(host) if is_sdc else None,
        "perfProfile": host.profile if is_sdc else None,
        "versionInfo": release if is_sdc else None,
        "softwareVersionInfo": release if is_sdc else None,
        "installedSoftwareVersionInfo": release if is_sdc else None,
        "kernelVersion": "6.1.0" if is_sdc else None,
        "kernelBuildNumber": None,
        "sdcAgentActive": False if is_sdc else None,
        "mdmIpAddressesCurrent": False if is_sdc else None,
        "memoryAllocationFailure": None,
        "socketAllocationFailure": None,
        "peerMdmId": None,
        "sdrId": None,
        "sdtId": None,
        "links": _links(array, host),
    }
    if array.dialect.nvme:
        shown |= {"nqn": host.nqn, "maxNumPaths": host.max_paths, "maxNumSysPorts": host.max_ports}
    return shown


def _connection(host: Host) -> str:
    return "Connected" if host.connected else "Disconnected"


def _links(array: Array, host: Host) -> list[View]:
    type_name, related = ("Sdc", ["Volume"]) if host.type == SDC else ("Host", ["NvmeController", "Volume"])
    return [
        self_link(type_name, host.id),
        *(statistics_links(array, "Sdc", "sdc", host.id) if host.type == SDC else []),
        *related_links(type_name, host.id, *related),
        parent_link("System", array.system.id, "systemId"),
    ]


def _free_host_name(array: Array, name: str | None) -> str | None:
    used = {host.name for host in array.hosts.values()}
    return None if name is None else free_name(name, used, mdm_error(92))


def register_sdc(array: Array, name: str | None, guid: str, ip: str | None) -> Host:
    """Add an SDC to the system. A real SDC does this by itself when it knows the MDM's address."""
    host = Host(
        id=array.new_id(array.hosts),
        name=name,
        type=SDC,
        guid=guid.upper(),
        ip=ip,
        approved=array.system.restricted_mode == "None",
    )
    array.put(host)
    return host


def _create_nvme(array: Array, body: Body) -> View:
    nqn = body.required("nqn")
    if not nqn.startswith("nqn."):
        raise malformed(f"nqn ({nqn}) must be an NVMe Qualified Name")
    if array.host_by_nqn(nqn) is not None:
        raise uncoded_error("A host with this NQN already exists")
    if sum(host.type == NVME for host in array.hosts.values()) >= array.settings.max_nvme_hosts:
        raise mdm_error(67)
    host = Host(
        id=array.new_id(array.hosts, high_slot=1),
        name=_free_host_name(array, body.text("name")),
        type=NVME,
        nqn=nqn,
        connected=False,
        max_paths=body.number("maxNumPaths") or 4,
        max_ports=body.number("maxNumSysPorts") or 10,
    )
    array.put(host)
    return {"id": host.id}


def _rename(array: Array, host: Host, body: Body) -> View:
    name = body.alternative("sdcName", "newName", "name")[1]
    if name != host.name:
        array.change(host, name=_free_host_name(array, name))
    return {}


def _remove(array: Array, host: Host, _: Body) -> View:
    if array.volume_ids_by_host.get(host.id):
        raise mdm_error(180)
    if array.is_connected(host):
        raise mdm_error(307)
    array.drop(host)
    return {}


def _set_profile(array: Array, host: Host, body: Body) -> View:
    body.required("perfProfile")
    array.change(host, profile=body.choice("perfProfile", ("Compact", "HighPerformance", "Default")))
    return {}


def _set_paths(array: Array, host: Host, body: Body) -> View:
    body.required("newMaxNumPaths")
    array.change(host, max_paths=body.number("newMaxNumPaths"))
    return {}


def _set_ports(array: Array, host: Host, body: Body) -> View:
    body.required("newMaxNumSysPorts")
    array.change(host, max_ports=body.number("newMaxNumSysPorts"))
    return {}


def _counters(array: Array, host: Host, _: Body) -> list[View]:
    none = {"totalWeightInKb": 0, "numOccured": 0, "numSeconds": 5}
    return [
        {"volumeId": item.id, "readBwc": dict(none), "writeBwc": dict(none), "trimBwc": dict(none)}
        for item in array.volumes_of_host(host.id)
    ]


def by_ip(array: Array, ip: str) -> str:
    """The id of the SDC with this address.

    Raises:
        ApiError: 80 when there is none.
    """
    for host in array.hosts.values():
        if host.ip is not None and host.ip == ip:
            return host.id
    raise mdm_error(80)


def _find(array: Array, body: Body) -> str:
    if body.text("ip"):
        return by_ip(array, body.required("ip"))
    if body.text("guid") or body.text("sdcGuid"):
        found = array.host_by_guid(body.alternative("guid", "sdcGuid")[1])
        if found is None:
            raise mdm_error(80)
        return found.id
    if body.text("name"):
        return RESOURCE_TYPE.by_name(array, body.required("name")).id
    raise missing_one_of("ip", "name", "guid")


def _volumes(array: Array, host: Host) -> Iterable[View]:
    return (volume.view(array, item) for item in array.volumes_of_host(host.id))


def _controllers(array: Array, host: Host) -> list[View]:
    """The NVMe controllers that the host is connected to."""
    assigned = {(port.sdt_id, port.address) for port in assigned_ports(array, host)}
    ports = [(sdt.id, address.ip) for sdt in array.sdts.values() for address in sdt.addresses]
    return [
        _controller(
            item,
            port=ports.index((item.sdt_id, item.sdt_ip)) + 1 if (item.sdt_id, item.sdt_ip) in ports else None,
            assigned=(item.sdt_id, item.sdt_ip) in assigned,
        )
        for item in array.nvme_controllers.values()
        if item.host_id == host.id
    ]


def _controller(item: NvmeController, *, port: int | None, assigned: bool) -> View:
    return {
        "id": f"{int(item.host_id, 16) + item.number:016x}",
        "name": None,
        "isConnected": True,
        "sdtId": item.sdt_id,
        "hostIp": item.host_ip,
        "hostId": item.host_id,
        "controllerId": item.number,
        "sysPortId": port,
        "sysPortIp": item.sdt_ip,
        "subsystem": "Io",
        "isAssigned": assigned,
    }


_ACTIONS: dict[str, Action[Host]] = {
    "setSdcName": Action(_rename),
    "renameHost": Action(_rename),
    "removeSdc": Action(_remove),
    "removeHost": Action(_remove),
    "setSdcPerformanceParameters": Action(_set_profile),
    "modifyMaxNumPaths": Action(_set_paths),
    "modifyMaxNumSysPorts": Action(_set_ports),
    "queryVolumeSdcBwc": Action(_counters, Effect.READ),
}

RESOURCE_TYPE: ResourceType[Host] = ResourceType(
    name="Sdc",
    listed="sdcList",
    objects=lambda array: array.hosts,
    view=view,
    missing=80,
    find=_find,
    statistics=statistics.of_host,
    related={"Volume": _volumes},
    actions=_ACTIONS,
)

NVME_RESOURCE_TYPE: ResourceType[Host] = ResourceType(
    name="Host",
    listed="hostList",
    objects=lambda array: array.hosts,
    view=view,
    missing=91,
    create=_create_nvme,
    find=_find,
    related={"Volume": _volumes, "NvmeController": _controllers},
    actions=_ACTIONS,
    offered=lambda dialect: dialect.nvme,
)
