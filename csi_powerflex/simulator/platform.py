"""Routes outside the block API: the version, and status and users of PowerFlex Manager."""

from __future__ import annotations

from csi_powerflex.simulator.array import Array
from csi_powerflex.simulator.message import Request, Response, json_response
from csi_powerflex.simulator.model import User
from csi_powerflex.simulator.resources.resource_type import Effect, View
from csi_powerflex.simulator.routes import Route


class Platform:
    """The routes outside /api/types and /api/instances. They need a token."""

    def __init__(self, array: Array) -> None:
        self._array = array

    def find(self, request: Request) -> Route | None:
        """The route of the request; None when it is not one of these routes."""
        if request.method != "GET":
            return None
        platform = self._array.dialect.platform
        match request.path.rstrip("/"):
            case "/api/version":
                return Route("version", Effect.READ, lambda array, _: json_response(array.dialect.version))
            case "/api/v1/corelcm/status" if platform:
                return Route("lcmStatus", Effect.READ, lambda array, _: _lifecycle(array))
            case "/rest/v1/users" if platform:
                return Route("users", Effect.READ, lambda array, _: _users(array))
        return None


def _lifecycle(array: Array) -> Response:
    version = array.dialect.release.removeprefix("R").replace("_", ".")
    return json_response({"lcmStatus": "READY", "clusterVersion": version, "clusterBuild": version})


def _users(array: Array) -> Response:
    return json_response({"paging": None, "results": [_user(user) for user in array.users.values()]})


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
