"""The simulated gateway: it turns a request into a response. It has no sockets and no threads.

Read-only requests run at any time. Changes run one after the other, as in the MDM. Reads can run while a slow
change works.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from csi_powerflex.simulator import reset, routes
from csi_powerflex.simulator.api_error import ApiError, mdm_error
from csi_powerflex.simulator.array import Array
from csi_powerflex.simulator.body import Body
from csi_powerflex.simulator.faults import Fault, FaultKind, Faults, Plan
from csi_powerflex.simulator.logins import Logins
from csi_powerflex.simulator.message import Request, Response
from csi_powerflex.simulator.model import SDC, User
from csi_powerflex.simulator.platform import Platform
from csi_powerflex.simulator.request_log import Entry, RequestLog
from csi_powerflex.simulator.resources import migration, removal, schedule
from csi_powerflex.simulator.resources.resource_type import Effect
from csi_powerflex.simulator.routes import Route
from csi_powerflex.simulator.sessions import Sessions

UNKNOWN = "unknown"
"""The name of the route of unknown paths. They need no token."""


class Gateway:
    """One system's REST endpoint. ``sdc_names`` are the names of the simulated SDCs, by GUID."""

    def __init__(self, array: Array) -> None:
        self.array = array
        self.sessions = Sessions(array.dialect, array.clock, array.settings)
        self._logins = Logins(array, self.sessions)
        self._platform = Platform(array)
        self._changes = threading.Lock()
        self.faults = Faults()
        self.log = RequestLog(array.settings.log_bytes)
        self.sdc_names: dict[str, str] = {}
        self._past: dict[int, Array] = {}

    def handle(self, request: Request) -> Response:
        """Answer one request without faults."""
        return self.run(self.route(request), request)

    def begin(self, route: Route, request: Request) -> tuple[Entry, Plan]:
        """Add a request to the log and find the faults that strike it."""
        plan = self.faults.plan(route, request)
        entry = self.log.add(
            started=self.array.clock.now(),
            method=request.method,
            path=request.path,
            route=route.name,
            connection=request.connection,
            faults=plan.names,
        )
        if plan.has(FaultKind.REVOKE):
            self.sessions.revoke_all()
        return entry, plan

    def inject(self, fault: Fault) -> int:
        """Add a fault and return its id. Stale reads show the state at this time."""
        if fault.kind is FaultKind.STALE:
            with self.array.lock:
                self._past[fault.id] = self.array.copy()
        return self.faults.add(fault)

    def route(self, request: Request) -> Route:
        """The route of a request. The route of an unknown path answers with an error."""
        login = self._logins.routes.get((request.method, request.path))
        if login is not None:
            return Route(request.path, Effect.READ, _public(login, request))
        try:
            route = self._platform.find(request) or routes.find(self.array, request)
        except ApiError as error:
            return Route(UNKNOWN, Effect.READ, _refusing(error))
        return route

    # --- special states ------------------------------------------------------------------------

    def set_full(self, pool_name: str, *, full: bool) -> bool:
        """Make a pool full, or not full. False when there is no such pool."""
        return self._set_pool(pool_name, full=full)

    def set_health(self, pool_name: str, health: str) -> bool:
        """Make a pool healthy, degraded or failed in its figures. False when there is no such pool."""
        return self._set_pool(pool_name, health=health)

    def _set_pool(self, pool_name: str, **state: object) -> bool:
        with self._changes, self.array.lock:
            for pool in self.array.pools.values():
                if pool_name in (pool.name, pool.id):
                    migration.advance(self.array)
                    self.array.change(pool, **state)
                    migration.advance(self.array)
                    self.array.commit()
                    return True
        return False

    def set_sdt(self, name: str, **states: str) -> bool:
        """Change the states that an SDT shows. ``states`` are its fields for them.

        False when there is no such SDT.
        """
        with self._changes, self.array.lock:
            for sdt in self.array.sdts.values():
                if name in (sdt.name, sdt.id):
                    self.array.change(sdt, **states)
                    self.array.commit()
                    return True
        return False

    def set_connected(self, host_name: str, *, connected: bool) -> bool:
        """Connect or disconnect an SDC. False when there is no such SDC.

        A disconnected SDC keeps its devices. It learns of new mappings and sizes when it connects again.
        """
        with self._changes, self.array.lock:
            for host in self.array.hosts.values():
                if host.type == SDC and host_name in (host.name, host.id, host.guid):
                    self.array.change(host, connected=connected)
                    self.array.commit()
                    return True
        return False

    def reset(self) -> None:
        """Bring the system back to its initial state, and forget faults, sessions and the request log.

        Raises:
            CannotReset: see its message.
        """
        with self._changes, self.array.lock:
            reset.reset(self.array, self.sdc_names)
        self.faults.clear()
        self._past.clear()
        self.sessions.revoke_all()
        self.log.clear()

    # --- answers -------------------------------------------------------------------------------

    def run(self, route: Route, request: Request) -> Response:
        """Run a route that :meth:`route` returned, and answer."""
        self.catch_up()
        if route.effect is Effect.READ:
            with self.array.lock:
                return self._answer(route, request)
        with self._changes, self.array.lock:
            return self._answer(route, request)

    def move_clock(self, seconds: float) -> None:
        """Put the clock forward. What is due before happens first, what becomes due happens at once."""
        self._settle()
        self.array.clock.advance(seconds)
        self._settle()

    def _settle(self) -> None:
        self.catch_up()
        with self.array.lock:
            removal.advance(self.array)
            migration.advance(self.array)
            self.array.commit()

    def catch_up(self) -> None:
        """Let snapshot policies take what is due, unless a change runs. Then the next call does it."""
        if not schedule.is_due(self.array) or not self._changes.acquire(blocking=False):
            return
        try:
            with self.array.lock:
                schedule.advance(self.array)
        finally:
            self._changes.release()

    def run_in_the_past(self, route: Route, request: Request, fault: Fault) -> Response:
        """Answer a read with the state at the time when the fault was injected. Changes run as usual."""
        past = self._past.get(fault.id)
        if route.effect is not Effect.READ or past is None:
            return self.run(route, request)
        with self.array.lock:
            return self._answer(route, request, past)

    def _answer(self, route: Route, request: Request, array: Array | None = None) -> Response:
        try:
            if route.name == UNKNOWN or (request.method, request.path) in self._logins.routes:
                return route.run(self.array, Body({}))
            user = self._logins.user_of(request)
            if user is None and self._is_public(route, request):
                return route.run(array or self.array, Body({}))
            if user is None:
                return self._logins.unauthorized()
            self._refuse_role(user, route)
            removal.advance(self.array)
            migration.advance(self.array)
            return self._carried_out(route, request, array or self.array)
        except ApiError as error:
            return error.response()
        finally:
            self.array.commit()

    def _carried_out(self, route: Route, request: Request, array: Array) -> Response:
        answer = route.run(array, Body.parse(request.body))
        if route.effect is not Effect.READ:
            migration.advance(self.array)
        return answer

    def _is_public(self, route: Route, request: Request) -> bool:
        """Whether a request without any token is answered, as older gateways do for their version."""
        allowed = self.array.settings.version_without_login
        if allowed is None:
            allowed = not self.array.dialect.platform
        return allowed and route.name == "version" and not request.headers.get("authorization")

    def _refuse_role(self, user: User, route: Route) -> None:
        if route.effect is not Effect.READ and user.role == "Monitor":
            if self.array.dialect.platform:
                raise ApiError(403, 0, "The user is not authorized for this operation")
            raise mdm_error(168)


def _public(login: Callable[[Request], Response], request: Request) -> Callable[[Array, Body], Response]:
    return lambda _array, _body: login(request)


def _refusing(error: ApiError) -> Callable[[Array, Body], Response]:
    def run(_array: Array, _body: Body) -> Response:
        raise error

    return run
