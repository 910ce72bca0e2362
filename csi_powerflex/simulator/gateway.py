"""The simulated gateway: a request goes in, a response comes out. No sockets, no threads of its own.

Requests that only read may be handled at any time. Requests that change something are handled one
after the other, as the MDM does; a slow one lets readers in while it works.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from csi_powerflex.simulator import routes
from csi_powerflex.simulator.array import Array
from csi_powerflex.simulator.body import Body
from csi_powerflex.simulator.kinds.kind import Effect
from csi_powerflex.simulator.logins import Logins
from csi_powerflex.simulator.message import Request, Response
from csi_powerflex.simulator.model import User
from csi_powerflex.simulator.platform import Platform
from csi_powerflex.simulator.refusal import Refusal, by_mdm
from csi_powerflex.simulator.routes import Route
from csi_powerflex.simulator.sessions import Sessions


class Gateway:
    """One system's REST endpoint."""

    def __init__(self, array: Array) -> None:
        self.array = array
        self.sessions = Sessions(array.dialect, array.clock, array.settings)
        self._logins = Logins(array, self.sessions)
        self._platform = Platform(array)
        self._changes = threading.Lock()

    def handle(self, request: Request) -> Response:
        """Answer one request."""
        return self.run(self.route(request), request)

    def route(self, request: Request) -> Route:
        """What the request asks for; an unknown path is a route that refuses."""
        login = self._logins.routes.get((request.method, request.path))
        if login is not None:
            return Route(request.path, Effect.READ, _public(login, request))
        try:
            route = self._platform.find(request) or routes.find(self.array, request)
        except Refusal as refusal:
            return Route("unknown", Effect.READ, _refusing(refusal))
        return route

    def run(self, route: Route, request: Request) -> Response:
        """Carry out a route that :meth:`route` found."""
        if route.effect is Effect.READ:
            with self.array.lock:
                return self._answer(route, request)
        with self._changes, self.array.lock:
            return self._answer(route, request)

    def _answer(self, route: Route, request: Request) -> Response:
        try:
            if (request.method, request.path) in self._logins.routes:
                return route.run(self.array, Body({}))
            user = self._logins.user_of(request)
            if user is None:
                return self._logins.unauthorized()
            self._refuse_role(user, route)
            return route.run(self.array, Body.parse(request.body))
        except Refusal as refusal:
            return refusal.response()
        finally:
            self.array.commit()

    def _refuse_role(self, user: User, route: Route) -> None:
        if route.effect is not Effect.READ and user.role == "Monitor":
            if self.array.dialect.platform:
                raise Refusal(403, 0, "The user is not authorized for this operation")
            raise by_mdm(168)


def _public(login: Callable[[Request], Response], request: Request) -> Callable[[Array, Body], Response]:
    return lambda _array, _body: login(request)


def _refusing(refusal: Refusal) -> Callable[[Array, Body], Response]:
    def run(_array: Array, _body: Body) -> Response:
        raise refusal

    return run
