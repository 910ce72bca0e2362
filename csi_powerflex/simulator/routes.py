"""The grammar of the block API: which path means what.

A route is found first and run later, so that faults and the request log can know its name before
anything happens. Names read like ``Volume.addMappedSdc``, ``StoragePool.list``, ``System.get``.
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
from csi_powerflex.simulator.resources import KINDS, host, metrics, storage_pool, system, volume
from csi_powerflex.simulator.resources.resource_type import Effect, ResourceType, View
from csi_powerflex.simulator.resources.statistics import selected

Run = Callable[[Array, Body], Response]


@dataclass(frozen=True, slots=True)
class Route:
    """What a request asks for. ``subject`` is the id or name of the object, when the path has one."""

    name: str
    effect: Effect
    run: Run
    subject: str = ""


def unknown(path: str) -> ApiError:
    """The refusal of a path that leads nowhere."""
    return ApiError(404, 0, f"No route handled for {path}")


def _plain(segment: str) -> str:
    """A path segment as meant: some clients encode names twice."""
    for _ in range(3):
        decoded = unquote(segment)
        if decoded == segment:
            break
        segment = decoded
    return segment


def find(array: Array, request: Request) -> Route:
    """The route of a request below /api or /dtapi.

    Raises:
        Refusal: there is none.
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
        case (_, ["api", "types", kind, *rest]):
            route = _of_kind(array, request, kind, rest)
        case (_, ["api", "instances", subject, *rest]):
            route = _of_instance(array, request, subject, rest)
        case ("POST", ["dtapi", "rest", "v1", "metrics", "query"]) if array.dialect.second_generation:
            route = Route(
                "metrics", Effect.READ, lambda array, body: json_response(metrics.query(array, body))
            )
    if route is None:
        raise unknown(request.path)
    return route


def _kind(array: Array, name: str) -> ResourceType[Any]:
    kind = KINDS.get(name)
    if kind is None or not kind.offered(array.dialect):
        raise unknown(name)
    return kind


# --- /api/types/... ------------------------------------------------------------------------------


def _of_kind(array: Array, request: Request, name: str, rest: list[str]) -> Route | None:
    match (request.method, rest):
        case ("GET", ["instances"]):
            kind = _kind(array, name)
            return Route(f"{name}.list", Effect.READ, lambda array, _: json_list(_rendered(array, kind)))
        case ("POST", ["instances"]):
            return _creation(_kind(array, name))
        case ("GET", ["instances", lookup]) if "::" in lookup:
            return _legacy_lookup(name, lookup)
        case ("POST", ["instances", "action", action]):
            return _class_action(_kind(array, name), action)
    return None


def _rendered(array: Array, kind: ResourceType[Any]) -> Iterable[View]:
    return (kind.view(array, item) for item in list(kind.listed_objects(array)))


def _creation(kind: ResourceType[Any]) -> Route | None:
    create = kind.create
    if create is None:
        return None
    return Route(f"{kind.name}.create", Effect.WRITE, lambda array, body: json_response(create(array, body)))


def _class_action(kind: ResourceType[Any], action: str) -> Route | None:
    name = f"{kind.name}.{action}"
    match action:
        case "queryIdByKey" if kind.find is not None:
            find_id = kind.find
            return Route(name, Effect.READ, lambda array, body: json_response(find_id(array, body)))
        case "queryBySelectedIds":
            return Route(name, Effect.READ, lambda array, body: json_response(_by_ids(array, kind, body)))
        case "querySelectedStatistics" if kind.statistics is not None:
            return Route(name, Effect.READ, lambda array, body: json_response(_statistics(array, kind, body)))
    special = kind.class_actions.get(action)
    if special is None:
        return None
    return Route(name, special.effect, lambda array, body: json_response(special.run(array, body)))


def _by_ids(array: Array, kind: ResourceType[Any], body: Body) -> list[View]:
    if not body.texts("ids"):
        raise missing_one_of("ids")
    return [kind.view(array, kind.get(array, object_id)) for object_id in body.texts("ids")]


def _statistics(array: Array, kind: ResourceType[Any], body: Body) -> View:
    of = kind.statistics
    if of is None:
        raise malformed(f"{kind.name} has no statistics")
    if kind.name == "System":
        return selected(of(array, array.system), body)
    items = list(kind.objects(array).values())
    if not body.has("allIds"):
        items = [kind.get(array, object_id) for object_id in body.texts("ids")]
    return {item.id: selected(of(array, item), body) for item in items}


def _statistics_of_types(array: Array, body: Body) -> Response:
    parts = body.parts("selectedStatisticsList")
    names = [part.required("type") for part in parts]
    return json_response(
        {name: _statistics(array, _kind(array, name), part) for name, part in zip(names, parts, strict=True)}
    )


# --- lookups by name of old ----------------------------------------------------------------------


def _legacy_lookup(name: str, lookup: str) -> Route | None:
    key, _, value = lookup.partition("::")
    run = _LOOKUPS.get((name, key))
    if run is None:
        return None
    return Route(f"{name}.{key}", Effect.READ, lambda array, _: _found(array, run, value), subject=value)


def _pool_by_name(array: Array, value: str) -> str:
    domain_id, _, name = value.partition(",")
    return storage_pool.by_name(array, domain_id, name).id


_LOOKUPS: dict[tuple[str, str], Callable[[Array, str], str]] = {
    ("Domain", "getByName"): lambda array, name: KINDS["ProtectionDomain"].by_name(array, name).id,
    ("Pool", "getByName"): _pool_by_name,
    ("Volume", "getByName"): volume.id_of_name,
    ("Client", "getByIp"): host.by_ip,
}


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
    kind = _kind(array, name)
    match (request.method, rest):
        case ("GET", []):
            return Route(
                f"{name}.get",
                Effect.READ,
                lambda array, _: json_response(kind.view(array, kind.get(array, object_id))),
                subject=object_id,
            )
        case ("GET", ["relationships", relationship]):
            return _relationship(kind, object_id, relationship)
        case ("POST", ["action", action]):
            return _action(kind, object_id, action)
        case ("POST", ["queryMdmCluster"]) if name == "System":
            return _action(kind, object_id, "queryMdmCluster")
    return None


def _without_id(array: Array, request: Request, name: str, rest: list[str]) -> Route | None:
    match (request.method, name, rest):
        case ("POST", "System", ["action", action]):
            return _system_action(array, action)
        case ("POST", _, ["action", action]) if name in KINDS:
            return _class_action(_kind(array, name), action)
    return None


def _system_action(array: Array, action: str) -> Route | None:
    return _action(system.KIND, array.system.id, action)


def _relationship(kind: ResourceType[Any], object_id: str, relationship: str) -> Route | None:
    name = f"{kind.name}.{relationship}"
    if relationship == "Statistics":
        of = kind.statistics
        if of is None:
            return None
        return Route(
            name,
            Effect.READ,
            lambda array, _: json_response(of(array, kind.get(array, object_id))),
            subject=object_id,
        )
    related = kind.related.get(relationship)
    if related is None:
        return None
    return Route(
        name,
        Effect.READ,
        lambda array, _: json_list(related(array, kind.get(array, object_id))),
        subject=object_id,
    )


def _action(kind: ResourceType[Any], object_id: str, action: str) -> Route | None:
    known = kind.actions.get(action)
    if known is None:
        return None
    return Route(
        f"{kind.name}.{action}",
        known.effect,
        lambda array, body: json_response(known.run(array, kind.get(array, object_id), body)),
        subject=object_id,
    )


# --- /api/instances ------------------------------------------------------------------------------


def _everything(array: Array) -> View:
    answer: View = {"System": system.view(array, array.system)}
    for kind in KINDS.values():
        if kind.listed and kind.offered(array.dialect):
            answer[kind.listed] = list(_rendered(array, kind))
    return answer
