"""Protection domains."""

from __future__ import annotations

from csi_powerflex.simulator.api_error import mdm_error
from csi_powerflex.simulator.array import Array
from csi_powerflex.simulator.body import Body
from csi_powerflex.simulator.dialect import ERASURE_CODING, MIRRORING
from csi_powerflex.simulator.model import FaultSet, ProtectionDomain, Sds, Sdt
from csi_powerflex.simulator.names import free_name
from csi_powerflex.simulator.resources import data_server, fault_set, sdt, statistics, storage_pool, tuning
from csi_powerflex.simulator.resources.resource_type import (
    Action,
    ResourceType,
    View,
    parent_link,
    related_links,
    self_link,
    statistics_links,
)


def view(array: Array, domain: ProtectionDomain) -> View:
    """The object as the gateway shows it."""
    shown: View = {
        "id": domain.id,
        "name": domain.name,
        "systemId": array.system.id,
        "protectionDomainState": domain.state,
        "rfcacheEnabled": True,
        "rfcacheOpertionalMode": "WriteMiss",
        "rfcachePageSizeKb": 64,
        "rfcacheMaxIoSizeKb": 128,
        "rfcacheAccpId": None,
        "rebuildNetworkThrottlingInKbps": None,
        "rebalanceNetworkThrottlingInKbps": None,
        "overallIoNetworkThrottlingInKbps": None,
        "vtreeMigrationNetworkThrottlingInKbps": None,
        "rebuildNetworkThrottlingEnabled": False,
        "rebalanceNetworkThrottlingEnabled": False,
        "overallIoNetworkThrottlingEnabled": False,
        "vtreeMigrationNetworkThrottlingEnabled": False,
        "fglDefaultNumConcurrentWrites": 1000,
        "fglMetadataCacheEnabled": False,
        "fglDefaultMetadataCacheSize": 0,
        "replicationCapacityMaxRatio": None,
        **domain.settings,
        "links": _links(array, domain),
    }
    if array.dialect.second_generation:
        shown["genType"] = domain.generation
    return shown


def _links(array: Array, domain: ProtectionDomain) -> list[View]:
    related = ["StoragePool", "Sds", "FaultSet"]
    if array.dialect.nvme:
        related.append("Sdt")
    if array.dialect.second_generation:
        related += ["StorageNode", "DeviceGroup"]
    return [
        self_link("ProtectionDomain", domain.id),
        *related_links("ProtectionDomain", domain.id, *related),
        *statistics_links(array, "ProtectionDomain", "protection_domain", domain.id, domain),
        parent_link("System", array.system.id, "systemId"),
    ]


def _create(array: Array, body: Body) -> View:
    domain = ProtectionDomain(
        id=array.new_id(array.domains),
        name=_free_domain_name(array, body.required("name")),
        generation=_generation(array, body),
    )
    array.put(domain)
    return {"id": domain.id}


def _generation(array: Array, body: Body) -> str:
    """The generation of a new domain. Versions with both make an erasure-coded one if none is named."""
    if not array.dialect.second_generation:
        return array.dialect.generation
    named = [body.choice(name, (MIRRORING, ERASURE_CODING)) for name in ("genType", "gen")]
    return next((generation for generation in named if generation), array.dialect.generation)


def _free_domain_name(array: Array, name: str) -> str:
    return free_name(name, {domain.name for domain in array.domains.values()}, mdm_error(141))


def _rename(array: Array, domain: ProtectionDomain, body: Body) -> View:
    name = body.required("name")
    if name != domain.name:
        array.change(domain, name=_free_domain_name(array, name))
    return {"id": domain.id}


def _remove(array: Array, domain: ProtectionDomain, _: Body) -> View:
    """Remove an empty domain. Its SDSs, SDTs and fault sets go with it."""
    if array.pools_of_domain(domain.id):
        raise mdm_error(93)
    parts: list[Sds | Sdt | FaultSet] = []
    parts += [*array.sdss.values()]
    parts += [*array.sdts.values()]
    parts += [*array.fault_sets.values()]
    for part in [item for item in parts if item.domain_id == domain.id]:
        array.drop(part)
    array.drop(domain)
    return {}


def _activate(array: Array, domain: ProtectionDomain, _: Body) -> View:
    array.change(domain, state="Active")
    return {}


def _inactivate(array: Array, domain: ProtectionDomain, _: Body) -> View:
    array.change(domain, state="Inactive")
    return {}


def _find(array: Array, body: Body) -> str:
    return RESOURCE_TYPE.by_name(array, body.required("name")).id


RESOURCE_TYPE: ResourceType[ProtectionDomain] = ResourceType(
    name="ProtectionDomain",
    listed="protectionDomainList",
    objects=lambda array: array.domains,
    view=view,
    missing=142,
    create=_create,
    find=_find,
    statistics=statistics.of_domain,
    related={
        "StoragePool": lambda array, domain: [
            storage_pool.view(array, pool) for pool in array.pools_of_domain(domain.id)
        ],
        "Sds": lambda array, domain: data_server.sdss_of_domain(array, domain.id),
        "StorageNode": lambda array, domain: data_server.nodes_of_domain(array, domain.id),
        "DeviceGroup": lambda array, domain: data_server.device_groups_of_domain(array, domain.id),
        "Sdt": lambda array, domain: sdt.of_domain(array, domain.id),
        "FaultSet": lambda array, domain: fault_set.of_domain(array, domain.id),
        "AccelerationPool": lambda _array, _domain: [],
    },
    actions={
        "setProtectionDomainName": Action(_rename),
        "removeProtectionDomain": Action(_remove),
        "activateProtectionDomain": Action(_activate),
        "inactivateProtectionDomain": Action(_inactivate),
        **tuning.DOMAIN_ACTIONS,
    },
)
