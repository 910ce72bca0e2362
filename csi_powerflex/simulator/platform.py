"""Routes outside the block API: version, configuration, and what PowerFlex Manager has."""

from __future__ import annotations

from collections.abc import Callable

from csi_powerflex.simulator.array import Array
from csi_powerflex.simulator.dialect import Dialect
from csi_powerflex.simulator.message import Request, json_response
from csi_powerflex.simulator.model import User
from csi_powerflex.simulator.resources.resource_type import Effect, View
from csi_powerflex.simulator.routes import Route

Read = Callable[[Array], object]


def _version(array: Array) -> object:
    return array.dialect.version


def _lifecycle(array: Array) -> View:
    version = array.dialect.release.removeprefix("R").replace("_", ".")
    return {"lcmStatus": "READY", "clusterVersion": version, "clusterBuild": version}


def _users(array: Array) -> View:
    return {"paging": None, "results": [_user(user) for user in array.users.values()]}


def _user(user: User) -> View:
    return {
        "id": user.id,
        "username": user.name,
        "created_timestamp": "2024-01-01T00:00:00.000Z",
        "is_enabled": True,
        "first_name": user.name,
        "last_name": "",
        "type": "Local",
        "permission": {"role": user.role, "scope": {"scope_type": "ALL"}},
    }


def _configuration(array: Array) -> View:
    """The gateway's own settings: where it finds the MDMs."""
    return {
        "systemId": array.system.id,
        "mdmAddresses": ["192.0.2.11", "192.0.2.12"],
        "mdmPort": 6611,
        "mdmUsername": array.settings.username,
        "snmpPort": 162,
        "snmpSamplingFrequency": 30,
        "snmpResendFrequency": 0,
        "snmpTrapsReceiverIps": [],
    }


def _collection(_array: Array) -> View:
    return {"paging": None, "results": []}


def _files(_array: Array) -> list[View]:
    return []


_ALWAYS: dict[str, tuple[str, Read]] = {
    "/api/version": ("version", _version),
    "/api/Configuration": ("Configuration", _configuration),
}
_WITH_MANAGER: dict[str, tuple[str, Read]] = {
    "/api/v1/corelcm/status": ("lcmStatus", _lifecycle),
    "/rest/v1/users": ("users", _users),
    "/rest/v1/alerts": ("alerts", _collection),
    "/rest/v1/events": ("events", _collection),
    **{
        f"/rest/v1/{name}": (name, _files)
        for name in (
            "nas-servers",
            "file-systems",
            "nfs-servers",
            "nfs-exports",
            "smb-servers",
            "smb-shares",
            "file-tree-quotas",
            "file-interfaces",
        )
    },
}


def _known(dialect: Dialect) -> dict[str, tuple[str, Read]]:
    return {**_ALWAYS, **_WITH_MANAGER} if dialect.platform else _ALWAYS


def paths(dialect: Dialect) -> list[tuple[str, str]]:
    """The path and the name of each route of a version. The method is GET."""
    return [(path, name) for path, (name, _) in _known(dialect).items()]


class Platform:
    """The routes outside /api/types and /api/instances. They need a token."""

    def __init__(self, array: Array) -> None:
        self._routes = {path: _route(name, read) for path, (name, read) in _known(array.dialect).items()}

    def find(self, request: Request) -> Route | None:
        """The route of the request; None when it is not one of these routes."""
        return self._routes.get(request.path.rstrip("/")) if request.method == "GET" else None


def _route(name: str, read: Read) -> Route:
    return Route(name, Effect.READ, lambda array, _: json_response(read(array)))
