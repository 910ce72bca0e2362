"""The system object. There is exactly one."""

from __future__ import annotations

from csi_powerflex.simulator.api_error import mdm_error, missing_one_of, missing_parameters, uncoded_error
from csi_powerflex.simulator.array import Array
from csi_powerflex.simulator.body import Body
from csi_powerflex.simulator.model import SDC, SNAPSHOT, THICK, THIN, Host, System
from csi_powerflex.simulator.names import free_name
from csi_powerflex.simulator.nvme.ports import system_nqn
from csi_powerflex.simulator.resources import (
    host,
    limits,
    protection_domain,
    snapshot,
    snapshot_policy,
    statistics,
    tuning,
    user,
)
from csi_powerflex.simulator.resources.resource_type import (
    Action,
    Effect,
    ResourceType,
    View,
    related_links,
    self_link,
    statistics_links,
)

_DAY = 86400
_TIE_BREAKER = 3


def view(array: Array, system: System) -> View:
    """The object as the gateway shows it."""
    dialect = array.dialect
    shown: View = {
        "id": system.id,
        "name": system.name,
        "installId": system.install_id,
        "systemVersionName": dialect.system_version_name,
        "mdmMode": None,
        "mdmClusterState": "ClusteredNormal",
        "restrictedSdcModeEnabled": system.restricted_mode != "None",
        "restrictedSdcMode": system.restricted_mode,
        "perfProfile": "HighPerformance",
        "upgradeState": "NoUpgrade",
        "capacityAlertHighThresholdPercent": 80,
        "capacityAlertCriticalThresholdPercent": 90,
        "remoteReadOnlyLimitState": False,
        "mdmManagementPort": 8611,
        "mdmExternalPort": 7611,
        "sdcMdmNetworkDisconnectionsCounterParameters": None,
        "cliPasswordAllowed": True,
        "managementClientSecureCommunicationEnabled": True,
        "tlsVersion": "TLSv1.2",
        "showGuid": True,
        "authenticationMethod": "Native",
        "defaultIsVolumeObfuscated": False,
        "swid": "",
        "daysInstalled": int(array.clock.now() - system.created) // _DAY,
        "maxCapacityInGb": "Unlimited",
        "capacityTimeLeftInDays": "Unlimited",
        "enterpriseFeaturesEnabled": True,
        "isInitialLicense": True,
        "defragmentationEnabled": True,
        "addressSpaceUsage": "Normal",
        **_counts(array),
        **system.settings,
        "mdmCluster": _cluster(array),
        "links": [
            self_link("System", system.id),
            *statistics_links(array, "System", "system", system.id),
            *related_links("System", system.id, "ProtectionDomain", "Sdc", "User", "SnapshotPolicy"),
        ],
    }
    if dialect.nvme and array.settings.show_system_nqn:
        shown["systemNqn"] = system_nqn(system.id)
    return shown


def _counts(array: Array) -> View:
    totals = array.totals.values()
    return {
        "numOfVolumes": len(array.volumes),
        "numOfSnapshots": sum(part.count[SNAPSHOT] for part in totals),
        "numOfThinBaseVolumes": sum(part.count[THIN] for part in totals),
        "numOfThickBaseVolumes": sum(part.count[THICK] for part in totals),
        "numOfVtrees": len(array.vtrees),
        "numOfProtectionDomains": len(array.domains),
        "numOfStoragePools": len(array.pools),
        "numOfSds": len(array.sdss),
        "numOfDevices": len(array.devices),
        "numOfSdc": len(array.sdcs()),
        "numOfFaultSets": len(array.fault_sets),
    }


def _mdm_id(array: Array, number: int) -> str:
    return f"{int(array.system.id, 16) ^ number:016x}"


def _mdm_number(array: Array, body: Body) -> int:
    """The number of the MDM whose id is in the body."""
    mdm_id = body.required("id").lower()
    for number in (1, 2, 3):
        if _mdm_id(array, number) == mdm_id:
            return number
    raise uncoded_error("Could not find the MDM")


def _rename_mdm(array: Array, system: System, body: Body) -> View:
    mdm_id = _mdm_id(array, _mdm_number(array, body))
    name = free_name(
        body.required("newName"),
        {shown for other, shown in system.mdm_names.items() if other != mdm_id},
        uncoded_error("The MDM name is already in use"),
    )
    array.change(system, mdm_names={**system.mdm_names, mdm_id: name})
    return {}


def _change_ownership(array: Array, system: System, body: Body) -> View:
    number = _mdm_number(array, body)
    if number == _TIE_BREAKER:
        raise uncoded_error("A tie breaker cannot be the master MDM")
    array.change(system, manager=number)
    return {}


def _rename_system(array: Array, system: System, body: Body) -> View:
    array.change(system, name=free_name(body.required("newName"), (), uncoded_error("")))
    return {}


def _cluster(array: Array) -> View:
    manager = array.system.manager

    def server(number: int, role: str) -> View:
        address = f"192.0.2.{10 + number}"
        mdm_id = _mdm_id(array, number)
        return {
            "id": mdm_id,
            "name": array.system.mdm_names.get(mdm_id, f"mdm{number}"),
            "ips": [address],
            "managementIPs": [address],
            "port": 9011,
            "role": role,
            "status": None if number == manager else "Normal",
            "versionInfo": array.dialect.release,
            "virtualInterfaces": [],
            "opensslVersion": "N/A",
        }

    return {
        "id": array.system.id,
        "name": None,
        "clusterState": "ClusteredNormal",
        "clusterMode": "ThreeNodes",
        "goodNodesNum": 3,
        "goodReplicasNum": 2,
        "virtualIps": [],
        "perfProfile": array.system.settings.get("perfProfile", "HighPerformance"),
        "master": server(manager, "Manager"),
        "slaves": [server(3 - manager, "Manager")],
        "tieBreakers": [server(3, "TieBreaker")],
        "standbyMDMs": [],
    }


def _query_limits(array: Array, _system: System, _body: Body) -> View:
    return limits.view(array)


def query_cluster(array: Array, _system: System, _body: Body) -> View:
    """The answer to ``queryMdmCluster``."""
    return _cluster(array)


def _set_restricted_mode(array: Array, system: System, body: Body) -> View:
    mode = body.choice("restrictedSdcMode", ("None", "Guid", "ApprovedIp"))
    if mode is None:
        raise missing_parameters("restrictedSdcMode")
    array.change(system, restricted_mode=mode)
    return {}


def _approve(array: Array, _: System, body: Body) -> View:
    """Approve an SDC by GUID or address. A GUID may be approved before its SDC has connected."""
    if not any(body.has(name) for name in ("sdcIp", "sdcIps", "sdcGuid")):
        raise missing_one_of("sdcIp", "sdcIps", "sdcGuid")
    guid = body.text("sdcGuid")
    if guid is None:
        ips = body.texts("sdcIps") or [body.required("sdcIp")]
        found = array.hosts[host.by_ip(array, ips[0])]
        array.change(found, approved=True, approved_ips=ips)
        return {"id": found.id}
    known = array.host_by_guid(guid) or _approved_in_advance(array, guid, body.text("name"))
    array.change(known, approved=True)
    return {"id": known.id}


def _approved_in_advance(array: Array, guid: str, name: str | None) -> Host:
    if len(guid) != 36 or guid.count("-") != 4:
        raise mdm_error(361)
    host = Host(
        id=array.new_id(array.hosts), name=name, type=SDC, guid=guid.upper(), connected=False, approved=True
    )
    array.put(host)
    return host


def _set_approved_ips(array: Array, _: System, body: Body) -> View:
    found = host.RESOURCE_TYPE.get(array, body.required("sdcId"))
    array.change(found, approved_ips=body.texts("sdcApprovedIps"))
    return {}


RESOURCE_TYPE: ResourceType[System] = ResourceType(
    name="System",
    objects=lambda array: array.systems,
    view=view,
    missing=0,
    find=lambda array, body: RESOURCE_TYPE.by_name(array, body.required("name")).id,
    statistics=statistics.of_system,
    related={
        "ProtectionDomain": lambda array, _: [
            protection_domain.view(array, domain) for domain in array.domains.values()
        ],
        "Sdc": lambda array, _: [host.view(array, item) for item in list(array.hosts.values())],
        "User": lambda array, _: [user.view(array, item) for item in array.users.values()],
        "SnapshotPolicy": lambda array, _: [
            snapshot_policy.view(array, policy) for policy in array.policies.values()
        ],
        "ScsiInitiator": lambda _array, _system: [],
    },
    actions={
        "querySystemLimits": Action(_query_limits, Effect.READ),
        "queryMdmCluster": Action(query_cluster, Effect.READ),
        "setRestrictedSdcMode": Action(_set_restricted_mode),
        "approveSdc": Action(_approve),
        "setApprovedSdcIps": Action(_set_approved_ips),
        "renameMdm": Action(_rename_mdm),
        "changeMdmOwnership": Action(_change_ownership),
        "setMdmPerformanceParameters": tuning.setter(
            tuning.Setting("perfProfile", "perfProfile", tuning.one_of(*tuning.PROFILES))
        ),
        "setSystemName": Action(_rename_system),
        "setCapacityAlertThresholds": tuning.setter(
            *(
                tuning.Setting(name, name, tuning.number(1, 100))
                for name in ("capacityAlertHighThresholdPercent", "capacityAlertCriticalThresholdPercent")
            )
        ),
        **snapshot.ACTIONS,
    },
)
