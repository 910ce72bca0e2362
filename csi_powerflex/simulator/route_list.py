"""The list of all routes of a version: for ``GET /_sim/routes``, and for a page of the docs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from csi_powerflex.simulator import logins, platform, routes
from csi_powerflex.simulator.dialect import Dialect
from csi_powerflex.simulator.resources import RESOURCE_TYPES
from csi_powerflex.simulator.resources.resource_type import ResourceType


@dataclass(frozen=True, slots=True)
class Listed:
    """One route. ``path`` has placeholders such as ``{id}``; ``route`` is its name for faults and the log."""

    method: str
    path: str
    route: str


def listing(dialect: Dialect) -> list[Listed]:
    """All routes of a version, in the order of the docs."""
    found = [
        *(Listed(method, path, path) for method, path in logins.paths(dialect)),
        *(Listed("GET", path, name) for path, name in platform.paths(dialect)),
        *_fixed(dialect),
    ]
    for resource_type in RESOURCE_TYPES.values():
        if resource_type.offered(dialect):
            found += _of_type(resource_type)
    return found


def _fixed(dialect: Dialect) -> Iterable[Listed]:
    yield Listed("GET", "/api/instances", "everything")
    yield Listed("POST", "/api/instances/querySelectedStatistics", "querySelectedStatistics")
    yield Listed("POST", "/api/instances/System/queryMdmCluster", "System.queryMdmCluster")
    if dialect.second_generation:
        yield Listed("POST", "/dtapi/rest/v1/metrics/query", "metrics")
    for name, key in routes.LOOKUPS:
        yield Listed("GET", f"/api/types/{name}/instances/{key}::{{value}}", f"{name}.{key}")


def class_calls(resource_type: ResourceType[object]) -> list[str]:
    """The names of the POST actions on a type as a whole."""
    names = ["queryBySelectedIds", *resource_type.class_actions]
    if resource_type.find is not None:
        names.append("queryIdByKey")
    if resource_type.statistics is not None:
        names.append("querySelectedStatistics")
    return sorted(names)


def relationships(resource_type: ResourceType[object]) -> list[str]:
    """The names of the relationships of an object."""
    names = list(resource_type.related)
    if resource_type.statistics is not None:
        names.append("Statistics")
    return sorted(names)


def _of_type(resource_type: ResourceType[object]) -> Iterable[Listed]:
    name = resource_type.name
    types, instance = f"/api/types/{name}/instances", f"/api/instances/{name}::{{id}}"
    yield Listed("GET", types, f"{name}.list")
    if resource_type.create is not None:
        yield Listed("POST", types, f"{name}.create")
    for action in class_calls(resource_type):
        yield Listed("POST", f"{types}/action/{action}", f"{name}.{action}")
    for action in sorted(resource_type.class_actions):
        yield Listed("POST", f"/api/instances/{name}/action/{action}", f"{name}.{action}")
    yield Listed("GET", instance, f"{name}.get")
    for related in relationships(resource_type):
        yield Listed("GET", f"{instance}/relationships/{related}", f"{name}.{related}")
    for action in sorted(resource_type.actions):
        yield Listed("POST", f"{instance}/action/{action}", f"{name}.{action}")
        if name == "System":
            yield Listed("POST", f"/api/instances/System/action/{action}", f"{name}.{action}")
