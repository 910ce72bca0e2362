"""The routes that give, renew and end tokens: /api/login and /rest/auth."""

from __future__ import annotations

from collections.abc import Callable

from csi_powerflex.simulator.array import Array
from csi_powerflex.simulator.body import Body
from csi_powerflex.simulator.dialect import Dialect
from csi_powerflex.simulator.message import HTML, Request, Response, json_response
from csi_powerflex.simulator.model import User
from csi_powerflex.simulator.sessions import (
    ACCESS_LIFE,
    REFRESH_LIFE,
    Grant,
    Sessions,
    basic_credentials,
    token_of,
)

_UNAUTHORIZED_PAGE = b"""<html>
<head><title>401 Authorization Required</title></head>
<body><center><h1>401 Authorization Required</h1></center></body>
</html>
"""


_GATEWAY = ("/api/login", "/api/logout", "/api/gatewayLogin", "/api/gatewayLogout")
_PLATFORM = ("/rest/auth/login", "/rest/auth/update-token", "/rest/auth/logout")


def paths(dialect: Dialect) -> list[tuple[str, str]]:
    """The method and path of each route of a version."""
    found = [("GET", path) for path in _GATEWAY]
    return [*found, *(("POST", path) for path in _PLATFORM)] if dialect.platform else found


class Logins:
    """Gives tokens to clients and finds the user of a token."""

    def __init__(self, array: Array, sessions: Sessions) -> None:
        self._array = array
        self._sessions = sessions
        run: dict[tuple[str, str], Callable[[Request], Response]] = {
            ("GET", "/api/login"): self._login,
            ("GET", "/api/logout"): self._logout,
            ("GET", "/api/gatewayLogin"): self._login,
            ("GET", "/api/gatewayLogout"): self._logout,
            ("POST", "/rest/auth/login"): self._login_to_platform,
            ("POST", "/rest/auth/update-token"): self._renew,
            ("POST", "/rest/auth/logout"): self._logout_of_platform,
        }
        self.routes = {key: run[key] for key in paths(array.dialect)}

    def user_of(self, request: Request) -> User | None:
        """The user who sends the request, by its token; None without a valid token."""
        token = token_of(request.headers.get("authorization", ""))
        name = self._sessions.user_of(token) if token else None
        return self._user(name) if name else None

    def unauthorized(self) -> Response:
        """The 401 response of this version: HTML of the ingress on 4.0 and newer, else JSON."""
        headers = {"WWW-Authenticate": "Basic realm=Restricted"}
        if self._array.dialect.platform:
            return Response(401, _UNAUTHORIZED_PAGE, HTML, headers)
        body = {"message": "Unauthorized", "httpStatusCode": 401, "errorCode": 0}
        return Response(401, json_response(body).content(), headers=headers)

    def _user(self, name: str) -> User | None:
        return next((user for user in self._array.users.values() if user.name == name), None)

    def _checked(self, name: str | None, password: str | None) -> User | None:
        user = self._user(name) if name else None
        return user if user is not None and user.password == password else None

    def _login(self, request: Request) -> Response:
        credentials = basic_credentials(request.headers.get("authorization", ""))
        user = self._checked(*credentials) if credentials else None
        if user is None:
            body = {"message": "Unauthorized", "httpStatusCode": 401, "errorCode": 0}
            return json_response(body, 401)
        return json_response(self._sessions.login_to_gateway(user.name))

    def _logout(self, request: Request) -> Response:
        if self.user_of(request) is None:
            return self.unauthorized()
        self._sessions.end(token_of(request.headers["authorization"]) or "")
        return json_response({})

    def _login_to_platform(self, request: Request) -> Response:
        body = Body.parse(request.body)
        user = self._checked(body.text("username"), body.text("password"))
        if user is None:
            return self._platform_error(401, "Invalid username or password")
        return _granted(self._sessions.login_to_platform(user.name))

    def _renew(self, request: Request) -> Response:
        grant = self._sessions.renew(Body.parse(request.body).text("refresh_token") or "")
        if grant is None:
            return self._platform_error(400, "Invalid refresh token")
        return _granted(grant)

    def _logout_of_platform(self, request: Request) -> Response:
        if self.user_of(request) is None:
            return self.unauthorized()
        refresh = Body.parse(request.body).text("refresh_token")
        self._sessions.end(token_of(request.headers["authorization"]) or "", refresh)
        return Response(204)

    def _platform_error(self, status: int, text: str) -> Response:
        message = {
            "code": "0x51001401",
            "timestamp": "1970-01-01T00:00:00Z",
            "severity": "ERROR",
            "message": text,
            "message_l10n": text,
            "substitution_args": [],
        }
        return json_response({"http_status_code": status, "messages": [message]}, status)


def _granted(grant: Grant) -> Response:
    return json_response(
        {
            "scope": "openid profile email",
            "access_token": grant.access_token,
            "expires_in": int(ACCESS_LIFE),
            "refresh_expires_in": int(REFRESH_LIFE),
            "refresh_token": grant.refresh_token,
            "token_type": "Bearer",
            "id_token": grant.id_token,
            "session_state": grant.session_state,
        }
    )
