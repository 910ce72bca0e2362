"""The paths of the block API.

Finding a route and running it are two steps, so that faults and the request log know its name before the
request has an effect. Names are, for example, ``Volume.addMappedSdc``, ``StoragePool.list`` and
``System.get``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from csi_powerflex.simulator.api_error import ApiError, malformed, mdm_error, missing_one_of
from csi_powerflex.simulator.array import Array
from csi_powerflex.simulator.body import Body
from csi_powerflex.simulator.message import Request, Response, json_list, json_response
from csi_powerflex.simulator.resources import RESOURCE_TYPES, host, metrics, storage_pool, system, volume
from csi_powerflex.simulator.resources.resource_type import Effect, ResourceType, View
from csi_powerflex.simulator.resources.statistics import requested

Run = Callable[[Array, Body], Response]


@dataclass(frozen=True, slots=True)
class Route:
    """What a request asks for. ``subject`` is the id or name of the object, if the path has one."""

    name: str
    effect: Effect
    run: Run
    subject: str = ""


def unknown(path: str) -> ApiError:
    """The error for an unknown path."""
    return ApiError(404, 0, f"No route handled for {path}")


def _plain(segment: str) -> str:
    """A decoded path segment. Some clients encode names twice."""
    for _ in range(3):
        decoded = unquote(segment)
        if decoded == segment:
            break
        segment = decoded
    return segment


def find(array: Array, request: Request) -> Route:
    """The route of a request below /api or /dtapi.

    Raises:
        ApiError: there is none.
    """
    segments = [_plain(segment) for segment in request.path.strip("/").split("/")]
    route = None
    match (request.method, segments):
        case ("GET", ["api", "instances"]):
            route = Route("everything", Effect.READ, lambda array, _: json_response(_everything(array)))
        case ("POST", ["api", "instances", "querySelectedStatistics"]):
            route = Route("querySelectedStatistics", Effect.READ, _statistics_of_types)
        case ("POST", ["api", "instances", "System", "queryMdmCluster"]):
            route = _system_action(array, "queryMdmCluster")
        case (_, ["api", "types", resource_type, *rest]):
            route = _of_resource_type(array, request, resource_type, rest)
        case (_, ["api", "instances", subject, *rest]):
            route = _of_instance(array, request, subject, rest)
        case ("POST", ["dtapi", "rest", "v1", "metrics", "query"]) if array.dialect.second_generation:
            route = Route(
                "metrics", Effect.READ, lambda array, body: json_response(metrics.query(array, body))
            )
    if route is None:
        raise unknown(request.path)
    return route


def _resource_type(array: Array, name: str) -> ResourceType[Any]:
    resource_type = RESOURCE_TYPES.get(name)
    if resource_type is None or not resource_type.offered(array.dialect):
        raise unknown(name)
    return resource_type


# --- /api/types/... ------------------------------------------------------------------------------


def _of_resource_type(array: Array, request: Request, name: str, rest: list[str]) -> Route | None:
    match (request.method, rest):
        case ("GET", ["instances"]):
            resource_type = _resource_type(array, name)
            return Route(
                f"{name}.list", Effect.READ, lambda array, _: json_list(_rendered(array, resource_type))
            )
        case ("POST", ["instances"]):
            return _creation(_resource_type(array, name))
        case ("GET", ["instances", lookup]) if "::" in lookup:
            return _legacy_lookup(name, lookup)
        case ("POST", ["instances", "action", action]):
            return _class_action(_resource_type(array, name), action)
    return None


def _rendered(array: Array, resource_type: ResourceType[Any]) -> Iterable[View]:
    return (resource_type.view(array, item) for item in list(resource_type.listed_objects(array)))


def _creation(resource_type: ResourceType[Any]) -> Route | None:
    create = resource_type.create
    if create is None:
        return None
    return Route(
        f"{resource_type.name}.create", Effect.WRITE, lambda array, body: json_response(create(array, body))
    )


def _class_action(resource_type: ResourceType[Any], action: str) -> Route | None:
    name = f"{resource_type.name}.{action}"
    match action:
        case "queryIdByKey" if resource_type.find is not None:
            find_id = resource_type.find
            return Route(name, Effect.READ, lambda array, body: json_response(find_id(array, body)))
        case "queryBySelectedIds":
            return Route(
                name, Effect.READ, lambda array, body: json_response(_by_ids(array, resource_type, body))
            )
        case "querySelectedStatistics" if resource_type.statistics is not None:
            return Route(
                name, Effect.READ, lambda array, body: json_response(_statistics(array, resource_type, body))
            )
    special = resource_type.class_actions.get(action)
    if special is None:
        return None
    return Route(name, special.effect, lambda array, body: json_response(special.run(array, body)))


def _by_ids(array: Array, resource_type: ResourceType[Any], body: Body) -> list[View]:
    if not body.texts("ids"):
        raise missing_one_of("ids")
    return [resource_type.view(array, resource_type.get(array, object_id)) for object_id in body.texts("ids")]


def _statistics(array: Array, resource_type: ResourceType[Any], body: Body) -> View:
    of = resource_type.statistics
    if of is None:
        raise malformed(f"{resource_type.name} has no statistics")
    names = requested(resource_type.name, body)
    if resource_type.name == "System":
        values = of(array, array.system)
        return {name: values[name] for name in names}
    items = list(resource_type.objects(array).values())
    if not body.has("allIds"):
        items = [resource_type.get(array, object_id) for object_id in body.texts("ids")]
    found = ((item.id, of(array, item)) for item in items)
    return {object_id: {name: values[name] for name in names} for object_id, values in found}


def _statistics_of_types(array: Array, body: Body) -> Response:
    parts = body.parts("selectedStatisticsList")
    names = [part.required("type") for part in parts]
    return json_response(
        {
            name: _statistics(array, _resource_type(array, name), part)
            for name, part in zip(names, parts, strict=True)
        }
    )


# --- legacy lookups by name ----------------------------------------------------------------------


def _legacy_lookup(name: str, lookup: str) -> Route | None:
    key, _, value = lookup.partition("::")
    run = LOOKUPS.get((name, key))
    if run is None:
        return None
    return Route(f"{name}.{key}", Effect.READ, lambda array, _: _found(array, run, value), subject=value)


def _pool_by_name(array: Array, value: str) -> str:
    domain_id, _, name = value.partition(",")
    return storage_pool.by_name(array, domain_id, name).id


LOOKUPS: dict[tuple[str, str], Callable[[Array, str], str]] = {
    ("Domain", "getByName"): lambda array, name: RESOURCE_TYPES["ProtectionDomain"].by_name(array, name).id,
    ("Pool", "getByName"): _pool_by_name,
    ("Volume", "getByName"): volume.id_of_name,
    ("Client", "getByIp"): host.by_ip,
}
"""The look-ups of old clients, such as ``GET /api/types/Volume/instances/getByName::NAME``."""


def _found(array: Array, run: Callable[[Array, str], str], value: str) -> Response:
    try:
        return json_response(run(array, value))
    except ApiError as error:
        if error.code in (79, 80, 142, 171):
            raise mdm_error(3) from None
        raise


# --- /api/instances/... --------------------------------------------------------------------------


def _of_instance(array: Array, request: Request, subject: str, rest: list[str]) -> Route | None:
    name, separator, object_id = subject.partition("::")
    if not separator:
        return _without_id(array, request, name, rest)
    resource_type = _resource_type(array, name)
    match (request.method, rest):
        case ("GET", []):
            return Route(
                f"{name}.get",
                Effect.READ,
                lambda array, _: json_response(
                    resource_type.view(array, resource_type.get(array, object_id))
                ),
                subject=object_id,
            )
        case ("GET", ["relationships", relationship]):
            return _relationship(resource_type, object_id, relationship)
        case ("POST", ["action", action]):
            return _action(resource_type, object_id, action)
        case ("POST", ["queryMdmCluster"]) if name == "System":
            return _action(resource_type, object_id, "queryMdmCluster")
    return None


def _without_id(array: Array, request: Request, name: str, rest: list[str]) -> Route | None:
    match (request.method, name, rest):
        case ("POST", "System", ["action", action]):
            return _system_action(array, action)
        case ("POST", _, ["action", action]) if name in RESOURCE_TYPES:
            return _class_action(_resource_type(array, name), action)
    return None


def _system_action(array: Array, action: str) -> Route | None:
    return _action(system.RESOURCE_TYPE, array.system.id, action)


def _relationship(resource_type: ResourceType[Any], object_id: str, relationship: str) -> Route | None:
    name = f"{resource_type.name}.{relationship}"
    if relationship == "Statistics":
        of = resource_type.statistics
        if of is None:
            return None
        return Route(
            name,
            Effect.READ,
            lambda array, _: json_response(of(array, resource_type.get(array, object_id))),
            subject=object_id,
        )
    related = resource_type.related.get(relationship)
    if related is None:
        return None
    return Route(
        name,
        Effect.READ,
        lambda array, _: json_list(related(array, resource_type.get(array, object_id))),
        subject=object_id,
    )


def _action(resource_type: ResourceType[Any], object_id: str, action: str) -> Route | None:
    known = resource_type.actions.get(action)
    if known is None:
        return None
    return Route(
        f"{resource_type.name}.{action}",
        known.effect,
        lambda array, body: json_response(known.run(array, resource_type.get(array, object_id), body)),
        subject=object_id,
    )


# --- /api/instances ------------------------------------------------------------------------------


def _everything(array: Array) -> View:
    answer: View = {"System": system.view(array, array.system)}
    for resource_type in RESOURCE_TYPES.values():
        if resource_type.listed and resource_type.offered(array.dialect):
            answer[resource_type.listed] = list(_rendered(array, resource_type))
    return answer
