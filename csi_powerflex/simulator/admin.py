"""The admin port: faults, the request log and special states of the system, below ``/_sim``.

It is plain HTTP on loopback without login. With several systems, every path takes ``?system=NAME``. Without
it, the clock and the reset concern all systems, and everything else the first one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict
from urllib.parse import parse_qsl, unquote, urlsplit

from csi_powerflex.simulator import faults, not_simulated, route_list
from csi_powerflex.simulator.api_error import ApiError
from csi_powerflex.simulator.body import Body
from csi_powerflex.simulator.gateway import Gateway
from csi_powerflex.simulator.message import Request, Response, json_response
from csi_powerflex.simulator.model import DEGRADED, FAILED, HEALTHY
from csi_powerflex.simulator.request_log import Entry
from csi_powerflex.simulator.reset import CannotReset

_HEALTH = (HEALTHY, DEGRADED, FAILED)

# For each field of an SDT: the key in bodies, and its values.
_SDT_STATES = {
    "state": ("sdtState", ("Normal", "RemovePending")),
    "membership": ("membershipState", ("JoinPending", "Joined", "Decoupled")),
    "mdm_connection": ("mdmConnectionState", ("Connected", "Disconnected")),
}

_MOST_SECONDS = 100 * 365 * 24 * 3600
"""How far a clock is put forward at once: a hundred years."""

Query = Mapping[str, str]
Handler = Callable[[Gateway, Query, Body, str], object]


def _refuse(status: int, message: str) -> ApiError:
    return ApiError(status, 0, message)


# --- faults ----------------------------------------------------------------------------------------


def _list_faults(gateway: Gateway, _query: Query, _body: Body, _name: str) -> object:
    return gateway.faults.list()


def _add_faults(gateway: Gateway, _query: Query, body: Body, _name: str) -> object:
    try:
        wanted = [faults.parse(item.fields) for item in body.parts("faults") or [body]]
    except ValueError as error:
        raise _refuse(400, f"this is not a valid fault: {error}") from error
    return {"ids": [gateway.inject(fault) for fault in wanted]}


def _clear_faults(gateway: Gateway, _query: Query, _body: Body, _name: str) -> object:
    gateway.faults.clear()
    return {}


def _remove_fault(gateway: Gateway, _query: Query, _body: Body, name: str) -> object:
    if not name.isdigit() or not gateway.faults.remove(int(name)):
        raise _refuse(404, f"there is no fault {name}")
    return {}


# --- requests --------------------------------------------------------------------------------------


def _found(gateway: Gateway, query: Query) -> list[Entry]:
    patterns = {key: query[key] for key in ("method", "path", "route") if key in query}
    since = int(query.get("since", "0"))
    status = int(query["status"]) if "status" in query else None
    return gateway.log.find(since=since, status=status, **patterns)


def _list_requests(gateway: Gateway, query: Query, _body: Body, _name: str) -> object:
    return {"last": gateway.log.last, "requests": _found(gateway, query)}


def _count_requests(gateway: Gateway, query: Query, _body: Body, _name: str) -> object:
    routes: dict[str, int] = {}
    for entry in _found(gateway, query):
        routes[entry.route] = routes.get(entry.route, 0) + 1
    return {"last": gateway.log.last, "count": sum(routes.values()), "routes": routes}


def _clear_requests(gateway: Gateway, _query: Query, _body: Body, _name: str) -> object:
    gateway.log.clear()
    return {}


def _limit_requests(gateway: Gateway, _query: Query, body: Body, _name: str) -> object:
    body.required("bytes")
    size = body.number("bytes")
    if size is None or size < 0:
        raise _refuse(400, "bytes must be a number that is not negative; 0 turns the log off")
    gateway.log.limit(size)
    return {"bytes": size}


# --- states ----------------------------------------------------------------------------------------


def _revoke(gateway: Gateway, _query: Query, _body: Body, _name: str) -> object:
    return {"revoked": gateway.sessions.revoke_all()}


def _set_pool(gateway: Gateway, _query: Query, body: Body, name: str) -> object:
    full, health = body.flag("full"), body.text("health")
    if full is None and health is None:
        raise _refuse(400, "the body must say whether the pool is full: true or false, or its health")
    if health is not None and health not in _HEALTH:
        raise _refuse(400, f"the health of a pool is one of {', '.join(_HEALTH)}")
    found = full is None or gateway.set_full(name, full=full)
    if not (found and (health is None or gateway.set_health(name, health))):
        raise _refuse(404, f"there is no pool {name}")
    return {}


def _set_host(gateway: Gateway, _query: Query, body: Body, name: str) -> object:
    connected = body.flag("connected")
    if connected is None:
        raise _refuse(400, "the body must say whether the host is connected: true or false")
    if not gateway.set_connected(name, connected=connected):
        raise _refuse(404, f"there is no SDC {name}; an NVMe host is connected while it has connections")
    return {}


def _set_sdt(gateway: Gateway, _query: Query, body: Body, name: str) -> object:
    states = {
        field: state
        for field, (key, choices) in _SDT_STATES.items()
        if (state := body.choice(key, choices)) is not None
    }
    if not states:
        keys = ", ".join(key for key, _ in _SDT_STATES.values())
        raise _refuse(400, f"the body must have a state of the SDT: {keys}")
    if not gateway.set_sdt(name, **states):
        raise _refuse(404, f"there is no SDT {name}")
    return {}


def _advance(gateway: Gateway, _query: Query, body: Body, _name: str) -> object:
    try:
        seconds = float(body.required("seconds"))
    except ValueError as error:
        raise _refuse(400, "seconds must be a number") from error
    if not 0 <= seconds <= _MOST_SECONDS:
        raise _refuse(400, f"seconds ({seconds}) must be a number from 0 to {_MOST_SECONDS}")
    gateway.move_clock(seconds)
    return {"now": gateway.array.clock.now()}


def _reset(gateway: Gateway, _query: Query, _body: Body, _name: str) -> object:
    try:
        gateway.reset()
    except CannotReset as error:
        raise _refuse(409, f"the system {gateway.array.system.name} was not reset: {error}") from error
    return {"name": gateway.array.system.name, "systemId": gateway.array.system.id}


def _list_routes(gateway: Gateway, _query: Query, _body: Body, _name: str) -> object:
    dialect = gateway.array.dialect
    return {
        "version": dialect.version,
        "routes": [asdict(listed) for listed in route_list.listing(dialect)],
        "notSimulated": [asdict(missing) for missing in not_simulated.TABLE],
    }


def _overview(gateway: Gateway, _query: Query, _body: Body, _name: str) -> object:
    array = gateway.array
    return {
        "version": array.dialect.version,
        "systemId": array.system.id,
        "name": array.system.name,
        "volumes": len(array.volumes),
        "sessions": len(gateway.sessions),
        "requests": gateway.log.last,
        "data": array.plane.description,
        "pools": {pool.name: {"full": pool.full, "health": pool.health} for pool in array.pools.values()},
        "hosts": {
            host.name or host.id: {"connected": array.is_connected(host)} for host in array.hosts.values()
        },
    }


_ROUTES: tuple[tuple[str, re.Pattern[str], Handler], ...] = (
    ("GET", re.compile("/_sim"), _overview),
    ("GET", re.compile("/_sim/routes"), _list_routes),
    ("GET", re.compile("/_sim/faults"), _list_faults),
    ("POST", re.compile("/_sim/faults"), _add_faults),
    ("DELETE", re.compile("/_sim/faults"), _clear_faults),
    ("DELETE", re.compile("/_sim/faults/([^/]+)"), _remove_fault),
    ("GET", re.compile("/_sim/requests"), _list_requests),
    ("GET", re.compile("/_sim/requests/count"), _count_requests),
    ("POST", re.compile("/_sim/requests"), _limit_requests),
    ("DELETE", re.compile("/_sim/requests"), _clear_requests),
    ("POST", re.compile("/_sim/revoke"), _revoke),
    ("POST", re.compile("/_sim/clock"), _advance),
    ("POST", re.compile("/_sim/reset"), _reset),
    ("POST", re.compile("/_sim/pools/([^/]+)"), _set_pool),
    ("POST", re.compile("/_sim/hosts/([^/]+)"), _set_host),
    ("POST", re.compile("/_sim/sdts/([^/]+)"), _set_sdt),
)


_EVERYWHERE = (_advance, _reset)
"""What concerns all systems if the request names none."""


class Admin:
    """The admin port of all systems of a simulator."""

    def __init__(self, gateways: Mapping[str, Gateway]) -> None:
        self._gateways = gateways

    def handle(self, request: Request) -> Response:
        """Answer one request.

        A web page that a browser on this machine shows must not change the simulator. A browser names the
        page in ``Origin``, and the host of the URL in ``Host``, which may be a foreign name for this machine.
        """
        try:
            for header in ("host", "origin"):
                if not _is_of_this_machine(request.headers.get(header, "")):
                    raise _refuse(403, f"the header {header} names another machine than this one")
            return json_response(self._answer(request))
        except ApiError as error:
            return error.response()
        except ValueError as error:
            return _refuse(400, str(error)).response()

    def _answer(self, request: Request) -> object:
        query = dict(parse_qsl(request.query))
        gateways = self._named(query.get("system"))
        path = request.path.rstrip("/")
        for method, pattern, handler in _ROUTES:
            match = pattern.fullmatch(path)
            if match is not None and method == request.method:
                name = unquote(match[1]) if match.groups() else ""
                concerned = gateways if handler in _EVERYWHERE else gateways[:1]
                body = Body.parse(request.body)
                answers = [handler(gateway, query, body, name) for gateway in concerned]
                return answers[0]
        raise _refuse(404, f"{request.method} {request.path} is not known; see docs/simulator.md")

    def _named(self, name: str | None) -> list[Gateway]:
        """The system of this name; all systems if there is no name."""
        if name is None:
            return list(self._gateways.values())
        if name not in self._gateways:
            raise _refuse(404, f"there is no system {name}; there are {', '.join(self._gateways)}")
        return [self._gateways[name]]


def _is_of_this_machine(value: str) -> bool:
    """Whether the value of ``Host`` or ``Origin`` names the loopback address; a missing one counts."""
    try:
        host = urlsplit(value if "://" in value else f"//{value}").hostname
    except ValueError:
        return False
    return not value or host in ("127.0.0.1", "localhost", "::1")
