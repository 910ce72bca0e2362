"""Mappings of volumes to SDCs and NVMe hosts, with their access modes and limits."""

from __future__ import annotations

from csi_powerflex.simulator.api_error import (
    malformed,
    mdm_error,
    missing_one_of,
    uncoded_error,
    unknown_id,
)
from csi_powerflex.simulator.array import Array
from csi_powerflex.simulator.body import Body
from csi_powerflex.simulator.model import (
    NO_ACCESS,
    NVME,
    READ_ONLY,
    READ_ONLY_SNAPSHOT,
    READ_WRITE,
    Host,
    Mapping,
    Volume,
)
from csi_powerflex.simulator.resources.removal import refuse_other_class
from csi_powerflex.simulator.resources.resource_type import Action, Effect, View

_MODES = (READ_WRITE, READ_ONLY, NO_ACCESS)


def _named_host(array: Array, body: Body) -> Host:
    """The host with the given ``sdcId``, ``hostId``, ``guid`` or ``nqn``, in calls for SDCs and for hosts."""
    key, value = body.alternative("sdcId", "hostId", "guid", "nqn")
    match key:
        case "guid":
            host, error = array.host_by_guid(value), mdm_error(80)
        case "nqn":
            host, error = array.host_by_nqn(value), mdm_error(91)
        case _:
            host, error = array.hosts.get(value.lower()), unknown_id(value, mdm_error(80))
    if host is None:
        raise error
    return host


def _wants_all(body: Body) -> bool:
    return body.has("allSdcs") or body.has("allHosts")


def _add(array: Array, volume: Volume, body: Body) -> View:
    refuse_other_class(volume, body)
    mode = _requested_mode(volume, body)
    several = bool(body.flag("allowMultipleMappings"))
    if _wants_all(body):
        missing = [host for host in array.sdcs() if volume.mapping_of(host.id) is None]
        _refuse_hosts(array, missing)
        added = [Mapping(host_id=host.id, access_mode=mode) for host in missing]
        array.change(volume, mappings=[*volume.mappings, *added])
        return {}
    host = _named_host(array, body)
    if volume.mapping_of(host.id) is not None:
        raise mdm_error(array.dialect.already_mapped)
    if volume.mappings and not several:
        raise mdm_error(306)
    _refuse_hosts(array, [host])
    array.change(volume, mappings=[*volume.mappings, Mapping(host_id=host.id, access_mode=mode)])
    return {}


def _requested_mode(volume: Volume, body: Body) -> str:
    """The access mode of a new mapping. It never exceeds the volume's limit."""
    if volume.type == READ_ONLY_SNAPSHOT:
        raise uncoded_error("A read-only snapshot cannot be mapped: create a thin clone of it")
    mode = body.choice("accessMode", _MODES)
    if mode is None:
        return volume.access_limit
    _refuse_mode(volume, mode)
    return mode


def _refuse_mode(volume: Volume, mode: str) -> None:
    if mode == READ_WRITE and volume.access_limit == READ_ONLY:
        raise uncoded_error("The access mode exceeds the access mode limit of the volume")


def _refuse_hosts(array: Array, hosts: list[Host]) -> None:
    for host in hosts:
        if not is_approved(array, host):
            raise mdm_error(331)
        if len(array.volume_ids_by_host.get(host.id, ())) >= array.settings.max_volumes_per_host:
            raise mdm_error(303)


def is_approved(array: Array, host: Host) -> bool:
    """Whether the system's restricted mode allows the host to use volumes."""
    match array.system.restricted_mode:
        case "None":
            return True
        case "ApprovedIp":
            return host.approved and host.ip in host.approved_ips
    return host.approved or host.type == NVME


def _remove(array: Array, volume: Volume, body: Body) -> View:
    if _wants_all(body):
        if not volume.mappings:
            raise mdm_error(array.dialect.not_mapped)
        array.change(volume, mappings=[])
        return {}
    host = _named_host(array, body)
    if volume.mapping_of(host.id) is None:
        raise mdm_error(array.dialect.not_mapped)
    array.change(volume, mappings=[entry for entry in volume.mappings if entry.host_id != host.id])
    return {}


def _existing(array: Array, volume: Volume, body: Body) -> Mapping:
    host = _named_host(array, body)
    entry = volume.mapping_of(host.id)
    if entry is None:
        raise mdm_error(array.dialect.not_mapped)
    return entry


def _set_limits(array: Array, volume: Volume, body: Body) -> View:
    entry = _existing(array, volume, body)
    if array.hosts[entry.host_id].type == NVME and not array.settings.qos_for_nvme:
        raise uncoded_error("Limits are not supported for NVMe hosts")
    bandwidth = body.number("bandwidthLimitInKbps")
    iops = body.number("iopsLimit")
    if bandwidth is None and iops is None:
        raise missing_one_of("bandwidthLimitInKbps", "iopsLimit")
    if bandwidth is not None and (bandwidth < 0 or bandwidth % 1024):
        raise malformed(f"bandwidthLimitInKbps ({bandwidth}) must be 0 or a multiple of 1024")
    if iops is not None and iops != 0 and iops <= 10:
        raise mdm_error(64)
    if bandwidth is not None:
        entry.limit_bw_mbps = bandwidth // 1024
    if iops is not None:
        entry.limit_iops = iops
    array.change(volume)
    return {}


def _set_mode(array: Array, volume: Volume, body: Body) -> View:
    entry = _existing(array, volume, body)
    mode = _required_mode(body)
    _refuse_mode(volume, mode)
    entry.access_mode = mode
    array.change(volume)
    return {}


def _set_all_modes(array: Array, volume: Volume, body: Body) -> View:
    mode = _required_mode(body)
    _refuse_mode(volume, mode)
    for entry in volume.mappings:
        entry.access_mode = mode
    array.change(volume)
    return {}


def _required_mode(body: Body) -> str:
    body.required("accessMode")
    return body.choice("accessMode", _MODES) or READ_WRITE


def _set_limit(array: Array, volume: Volume, body: Body) -> View:
    body.required("accessModeLimit")
    limit = body.choice("accessModeLimit", (READ_WRITE, READ_ONLY)) or READ_WRITE
    if limit == READ_ONLY and any(entry.access_mode == READ_WRITE for entry in volume.mappings):
        raise uncoded_error("The volume is mapped with an access mode that exceeds the limit")
    array.change(volume, access_limit=limit)
    return {}


def _counters(array: Array, volume: Volume, body: Body) -> list[View]:
    entries = volume.mappings
    if body.has("sdcId"):
        entries = [_existing(array, volume, body)]
    none = {"totalWeightInKb": 0, "numOccured": 0, "numSeconds": 5}
    return [
        {"sdcId": entry.host_id, "readBwc": dict(none), "writeBwc": dict(none), "trimBwc": dict(none)}
        for entry in entries
    ]


def _clear_reservation(_array: Array, _volume: Volume, _body: Body) -> View:
    return {}


ACTIONS: dict[str, Action[Volume]] = {
    "addMappedSdc": Action(_add),
    "addMappedHost": Action(_add),
    "removeMappedSdc": Action(_remove),
    "removeMappedHost": Action(_remove),
    "setMappedSdcLimits": Action(_set_limits),
    "setVolumeMappingAccessMode": Action(_set_mode),
    "setAllVolumeMappingsAccessMode": Action(_set_all_modes),
    "setVolumeAccessModeLimit": Action(_set_limit),
    "queryVolumeSdcBwc": Action(_counters, Effect.READ),
    "clearScsi2Reservation": Action(_clear_reservation),
    "clearScsi3Reservation": Action(_clear_reservation),
}
