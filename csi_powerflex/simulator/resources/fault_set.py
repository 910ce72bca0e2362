"""Fault sets: groups of SDSs that may fail together. They have no effect on data here."""

from __future__ import annotations

from csi_powerflex.simulator.api_error import mdm_error, uncoded_error
from csi_powerflex.simulator.array import Array
from csi_powerflex.simulator.body import Body
from csi_powerflex.simulator.model import FaultSet
from csi_powerflex.simulator.names import free_name
from csi_powerflex.simulator.resources import statistics, tuning
from csi_powerflex.simulator.resources.data_server import sds_view
from csi_powerflex.simulator.resources.resource_type import (
    Action,
    ResourceType,
    View,
    parent_link,
    related_links,
    self_link,
)


def view(_array: Array, fault_set: FaultSet) -> View:
    """The object as the gateway shows it."""
    return {
        "id": fault_set.id,
        "name": fault_set.name,
        "protectionDomainId": fault_set.domain_id,
        "links": [
            self_link("FaultSet", fault_set.id),
            *related_links("FaultSet", fault_set.id, "Sds", "Statistics"),
            parent_link("ProtectionDomain", fault_set.domain_id, "protectionDomainId"),
        ],
    }


def of_domain(array: Array, domain_id: str) -> list[View]:
    """The fault sets of a domain, rendered."""
    return [view(array, item) for item in array.fault_sets.values() if item.domain_id == domain_id]


def _create(array: Array, body: Body) -> View:
    domain = array.domains.get(body.required("protectionDomainId").lower())
    if domain is None:
        raise mdm_error(142)
    if domain.generation == "EC":
        raise uncoded_error("Fault sets are not supported in an erasure-coded Protection Domain")
    name = _free_fault_set_name(array, body.required("name"))
    fault_set = FaultSet(id=array.new_id(array.fault_sets), name=name, domain_id=domain.id)
    array.put(fault_set)
    return {"id": fault_set.id}


def _free_fault_set_name(array: Array, name: str) -> str:
    used = {item.name for item in array.fault_sets.values()}
    return free_name(name, used, uncoded_error("The Fault Set name is already in use"))


def _rename(array: Array, fault_set: FaultSet, body: Body) -> View:
    array.change(fault_set, name=_free_fault_set_name(array, body.required("newName")))
    return {}


def _remove(array: Array, fault_set: FaultSet, _: Body) -> View:
    if any(server.fault_set_id == fault_set.id for server in array.sdss.values()):
        raise uncoded_error("The Fault Set is not empty: it has SDSs")
    array.drop(fault_set)
    return {}


def _set_profile(array: Array, fault_set: FaultSet, body: Body) -> View:
    for server in array.sdss.values():
        if server.fault_set_id == fault_set.id:
            tuning.SDS_ACTIONS["setSdsPerformanceParameters"].run(array, server, body)
    return {}


RESOURCE_TYPE: ResourceType[FaultSet] = ResourceType(
    name="FaultSet",
    listed="faultSetList",
    objects=lambda array: array.fault_sets,
    view=view,
    missing=0,
    create=_create,
    find=lambda array, body: RESOURCE_TYPE.by_name(array, body.required("name")).id,
    statistics=statistics.of_fault_set,
    related={
        "Sds": lambda array, fault_set: [
            sds_view(array, server) for server in array.sdss.values() if server.fault_set_id == fault_set.id
        ],
    },
    actions={
        "setFaultSetName": Action(_rename),
        "removeFaultSet": Action(_remove),
        "setSdsPerformanceParameters": Action(_set_profile),
        "clearFaultSet": tuning.nothing(),
    },
)
