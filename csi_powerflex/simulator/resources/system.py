"""The system object. There is exactly one."""

from __future__ import annotations

from csi_powerflex.simulator.api_error import mdm_error, missing_one_of, missing_parameters
from csi_powerflex.simulator.array import Array
from csi_powerflex.simulator.body import Body
from csi_powerflex.simulator.model import SDC, Host, System
from csi_powerflex.simulator.nvme.ports import system_nqn
from csi_powerflex.simulator.resources import (
    host,
    limits,
    protection_domain,
    snapshot,
    snapshot_policy,
    statistics,
    user,
)
from csi_powerflex.simulator.resources.resource_type import (
    Action,
    Effect,
    ResourceType,
    View,
    related_links,
    self_link,
    statistics_link,
)

_DAY = 86400


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
        "mdmCluster": _cluster(array),
        "links": [
            self_link("System", system.id),
            statistics_link(array, "System", "system", system.id),
            *related_links("System", system.id, "ProtectionDomain", "Sdc", "User", "SnapshotPolicy"),
        ],
    }
    if dialect.nvme and array.settings.show_system_nqn:
        shown["systemNqn"] = system_nqn(system.id)
    return shown


def _cluster(array: Array) -> View:
    def server(number: int, role: str) -> View:
        address = f"192.0.2.{10 + number}"
        return {
            "id": f"{int(array.system.id, 16) ^ number:016x}",
            "name": f"mdm{number}",
            "ips": [address],
            "managementIPs": [address],
            "port": 9011,
            "role": role,
            "status": None if number == 1 else "Normal",
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
        "master": server(1, "Manager"),
        "slaves": [server(2, "Manager")],
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
        **snapshot.ACTIONS,
    },
)
