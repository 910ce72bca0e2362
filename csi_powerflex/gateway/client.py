"""Authenticated, typed requests to one system's gateway: the one place for tokens, retries and errors.

Whether a failed request is sent again depends on what it may have done (``Effect``) and on the deadline of
the call. Operations do not retry: the sidecars repeat the whole call.
"""

from __future__ import annotations

import datetime
import email.utils
import enum
import random
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import TypeVar

import msgspec

from csi_powerflex import call_context, units
from csi_powerflex.config.systems.schema import SystemSettings
from csi_powerflex.errors import (
    ConnectFailed,
    DeadlineExceeded,
    DriverError,
    PermissionDenied,
    Unavailable,
)
from csi_powerflex.gateway import codes
from csi_powerflex.gateway.auth import OVERLOADED, Authenticator, LoginFailed, Token, TokenRefused
from csi_powerflex.gateway.elements import Elements
from csi_powerflex.gateway.http import ConnectionLost, Http, Reader, Reply, Request
from csi_powerflex.gateway.identity import Claim, SystemIdentity, WrongSystem
from csi_powerflex.gateway.payloads import UNREADABLE, ErrorPayload, SystemPayload
from csi_powerflex.gateway.refusals import Refusals
from csi_powerflex.observability import metrics
from csi_powerflex.observability.log import Log

log = Log(__name__)

RETRY_SECONDS = 0.2
"""The longest pause before a request is sent a second time. Each further pause is twice as long."""

_ATTEMPTS = 4
# A list of 131,072 volumes has about 130 MB. Each mapping adds about 250 bytes. It is never in memory as a
# whole: ``elements`` limits what is.
_LONGEST_LIST = 1024 * units.MIB
_LONGEST_ANSWER = 16 * units.MIB
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})
_SYSTEMS = "/api/types/System/instances"

# The metric's label for paths that name no type of object.
_OBJECTS = {
    "/api/login": "login",
    "/api/logout": "login",
    "/rest/auth/": "login",
    "/rest/v1/users": "user",
    "/api/version": "version",
    "/dtapi/rest/v1/metrics/": "metrics",
}

T = TypeVar("T")
K = TypeVar("K")


def _everything(payloads: list[T]) -> list[T]:
    return payloads


class Effect(enum.Enum):
    """What a request changes. This decides when it may be sent again."""

    READ = enum.auto()
    """It changes nothing, so it may always be repeated."""
    IDEMPOTENT = enum.auto()
    """A repetition changes nothing more, so it may always be repeated."""
    ONCE = enum.auto()
    """Each repetition changes something. It is repeated only if the first request had no effect."""


@dataclass(frozen=True, slots=True)
class _Question:
    """A request apart from its endpoint and token. ``reader`` is as for ``http.Request``.

    ``headers`` are those besides the ones of each request.
    """

    method: str
    path: str
    body: bytes | None = None
    effect: Effect = Effect.READ
    reader: Reader | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


class Overloaded(Unavailable):
    """The gateway did nothing, because it is overloaded."""


class Client:
    """Requests to one PowerFlex system. If an endpoint cannot be reached, the next one is used.

    Each endpoint has a session of its own. So the id of the system is read at each endpoint, before any other
    request is sent there.

    Args:
        settings: the system.
        retry_seconds: as ``RETRY_SECONDS``.
        claim: as for ``SystemIdentity``.
    """

    def __init__(
        self,
        settings: SystemSettings,
        *,
        retry_seconds: float = RETRY_SECONDS,
        claim: Claim = lambda _: None,
    ) -> None:
        self._settings = settings
        self._retry_seconds = retry_seconds
        self._identity = SystemIdentity(settings, claim)
        self._http = Http(settings)
        self._endpoints = tuple(endpoint.rstrip("/") for endpoint in settings.endpoints)
        refusals = Refusals()
        self._authenticators = tuple(
            Authenticator(
                settings, partial(self._send_once, endpoint), partial(self._verify, endpoint), refusals
            )
            for endpoint in self._endpoints
        )
        # The position of the endpoint in use.
        self._position = 0
        # See the properties of the same names.
        self._state = object()
        self._system_nqn: str | None = None
        # The Date header of the last answer, and when it came.
        self._dated = ("", 0.0)

    def close(self) -> None:
        """Log out and close the connections."""
        for authenticator in self._authenticators:
            authenticator.log_out()
        self._http.close()

    @property
    def cached_system_id(self) -> str | None:
        """The id of the system, if it is known without a request."""
        return self._identity.known

    @property
    def system_nqn(self) -> str | None:
        """The NQN of the system as the last login read it; None before that, and where the array has none."""
        return self._system_nqn

    @property
    def time(self) -> float | None:
        """The time of the gateway in seconds since 1970, by the Date of its last answer; None without one."""
        date, came = self._dated
        try:
            then = email.utils.parsedate_to_datetime(date)
        except ValueError:
            return None
        return then.replace(tzinfo=then.tzinfo or datetime.UTC).timestamp() + time.monotonic() - came

    def system_id(self) -> str:
        """The id of the system. A login reads it if it is not known. Raises as ``post``."""
        if self._identity.known is None:
            self._repeated(lambda position: self._authenticators[position].token(), Effect.READ)
        if self._identity.known is None:
            raise AssertionError("each login reads the id")
        return self._identity.known

    def _verify(self, endpoint: str, headers: Mapping[str, str]) -> None:
        """Check that ``endpoint`` leads to this system. Raises as ``post``, and WrongSystem."""
        reply = self._send_once(endpoint, "GET", _SYSTEMS, headers, None)
        where = self._where(endpoint, _SYSTEMS)
        if reply.status == 401:
            raise self._token_refused(where)
        systems = self._decode("GET", where, reply, tuple[SystemPayload, ...])
        self._identity.check(tuple(system.id for system in systems), endpoint)
        self._system_nqn = systems[0].system_nqn

    def get_list(self, path: str, payload: type[T], *, about: str = "") -> list[T]:
        """GET a list of objects. Arguments and errors as for ``post``."""
        return self.get_kept(path, payload, _everything, about=about)

    def get_kept(
        self, path: str, payload: type[T], keep: Callable[[list[T]], Iterable[K]], *, about: str = ""
    ) -> list[K]:
        """GET a list, decode it while it is read, and return what is kept of it. Raises as ``post``.

        Args:
            path: of the list.
            payload: the type of each object.
            keep: takes some decoded objects and returns what is kept of them.
            about: as for ``post``.
        """
        return self._list("GET", path, None, Elements(payload, keep, max_bytes=_LONGEST_LIST), about)

    def post_list(
        self, path: str, body: Mapping[str, object], payload: type[T], *, about: str = ""
    ) -> list[T]:
        """POST a question, which changes nothing, and decode the list that answers it. Raises as ``post``."""
        elements = Elements(payload, _everything, max_bytes=_LONGEST_LIST)
        return self._list("POST", path, msgspec.json.encode(body), elements, about)

    def _list(
        self, method: str, path: str, body: bytes | None, elements: Elements[T, K], about: str
    ) -> list[K]:
        where, reply = self._answered(_Question(method, path, body, reader=elements))
        return self._decoded(method, where, reply, elements.finish, about)

    def get(self, path: str, answer: type[T], *, about: str = "") -> T:
        """GET ``path`` and decode the answer. Arguments and errors as for ``post``."""
        return self._call(_Question("GET", path), answer, about)

    def post(
        self,
        path: str,
        body: Mapping[str, object],
        answer: type[T],
        effect: Effect,
        *,
        about: str = "",
        headers: Mapping[str, str] = _NO_HEADERS,
    ) -> T:
        """POST ``body`` to ``path`` and decode the answer as ``answer``.

        Args:
            path: the path of the URL.
            body: the JSON body.
            answer: the type of the answer.
            effect: what the request changes.
            about: what is asked for, with the object's id and name, for the error of an array that refuses
                it: "to remove volume 7a3064dd1279f10f-b1f0000e00000000".
            headers: are sent in addition to those of each request.

        Raises:
            DriverError: the error for the array's code, see ``codes``.
            Unauthenticated, PermissionDenied: the user was refused.
            Unavailable, DeadlineExceeded: there was no answer. It is not known whether the request had its
                effect.
        """
        question = _Question("POST", path, msgspec.json.encode(body), effect, headers=headers)
        if effect is Effect.READ:
            return self._call(question, answer, about)
        self._state = object()
        try:
            return self._call(question, answer, about)
        finally:
            self._state = object()

    @property
    def state(self) -> object:
        """The same object as long as no request of this client that may change something begins or ends."""
        return self._state

    def _call(self, question: _Question, answer: type[T], about: str) -> T:
        where, reply = self._answered(question)
        return self._decode(question.method, where, reply, answer, about)

    def _answered(self, question: _Question) -> tuple[str, Reply]:
        """The answer, and where it came from."""
        position, reply = self._repeated(
            lambda position: (position, self._authorised(position, question)), question.effect
        )
        return self._where(self._endpoints[position], question.path), reply

    def _repeated(self, send: Callable[[int], T], effect: Effect) -> T:
        """What ``send`` returns for the position of an endpoint. It is called again if it may be."""
        failure: DriverError | None = None
        for attempt in range(1, _ATTEMPTS + 1):
            last = attempt == _ATTEMPTS
            position = self._position
            try:
                return send(position)
            except DeadlineExceeded as error:
                if failure is None or effect is not Effect.READ:
                    raise
                # A read changes nothing, so the error of the earlier attempt says more than the deadline.
                raise failure from error
            except (ConnectFailed, WrongSystem) as error:
                last = last or (isinstance(error, WrongSystem) and len(self._endpoints) == 1)
                self._leave(position)
                failure = error
            except (TokenRefused, LoginFailed, Overloaded) as error:
                failure = error
            except ConnectionLost as error:
                last = last or effect is Effect.ONCE
                failure = error
            self._pause_or_raise(attempt, last=last, error=failure)
        raise AssertionError("the last attempt returns or raises")

    def _leave(self, position: int) -> None:
        """Use the next endpoint, if no other call has done so."""
        if self._position == position:
            self._position = (position + 1) % len(self._endpoints)

    def _pause_or_raise(self, attempt: int, *, last: bool, error: DriverError) -> None:
        """Wait before the next attempt.

        Args:
            attempt: the number of the attempt that failed, from 1.
            last: whether the request is not sent again.
            error: why the attempt failed.

        Raises:
            DriverError: ``error``, if the request is not sent again or there is no time left for the pause.
        """
        if last:
            raise error
        pause = self._retry_seconds * 2 ** (attempt - 1)
        pause *= random.uniform(0.5, 1.0)  # noqa: S311 - it spreads load and needs no secrecy
        try:
            enough = call_context.remaining(pause) >= pause
        except DeadlineExceeded:
            enough = False
        if not enough:
            raise error
        metrics.GATEWAY_RETRIES.labels(self._settings.label, metrics.error_label(error)).inc()
        log.debug("request will be sent again", reason=error, pause_seconds=f"{pause:.2f}")
        time.sleep(pause)

    def _authorised(self, position: int, question: _Question) -> Reply:
        """Send with a token. If the token is refused, send once more with a new one."""
        endpoint, authenticator = self._endpoints[position], self._authenticators[position]
        token = authenticator.token()
        reply = self._send_with(token, endpoint, question)
        if reply.status == 401:
            token = authenticator.token(refused=token)
            reply = self._send_with(token, endpoint, question)
        where = self._where(endpoint, question.path)
        if reply.status == 401:
            raise self._token_refused(where)
        if reply.status in OVERLOADED:
            raise Overloaded(f"{where} answered HTTP {reply.status}: it is overloaded")
        return reply

    def _token_refused(self, where: str) -> TokenRefused:
        return TokenRefused(f"{where} refuses the new token of user {self._settings.username!r}")

    def _send_with(self, token: Token, endpoint: str, question: _Question) -> Reply:
        own = {"Authorization": token.header.reveal(), "Accept": "application/json"}
        headers = {**question.headers, **own}
        if question.body is not None:
            headers["Content-Type"] = "application/json"
        return self._send(endpoint, headers, question)

    def _send_once(
        self, endpoint: str, method: str, path: str, headers: Mapping[str, str], body: bytes | None
    ) -> Reply:
        """Send what changes no object of the array: a login, for example."""
        return self._send(endpoint, headers, _Question(method, path, body))

    def _send(self, endpoint: str, headers: Mapping[str, str], question: _Question) -> Reply:
        call_context.count("gateway_requests")
        method, path = question.method, question.path
        began = time.monotonic()
        status = "none"
        try:
            reply = self._http.send(
                Request(
                    method,
                    endpoint + path,
                    headers,
                    question.body,
                    repeatable=question.effect is not Effect.ONCE,
                    max_bytes=_LONGEST_ANSWER,
                    reader=question.reader,
                )
            )
            status = str(reply.status)
            self._dated = (reply.date, time.monotonic())
        finally:
            took = time.monotonic() - began
            labels = (self._settings.label, metrics.label_value(method), _object(path), status)
            metrics.GATEWAY_REQUEST_DURATION.labels(*labels).observe(took)
            fields = {"system": self._settings.label, "method": method, "path": path, "status": status}
            log.debug("gateway answered", **fields, seconds=f"{took:.3f}")
        return reply

    def _decode(self, method: str, where: str, reply: Reply, answer: type[T], about: str = "") -> T:
        return self._decoded(
            method,
            where,
            reply,
            lambda: msgspec.json.decode(reply.body or b"{}", type=answer, strict=False),
            about,
        )

    def _decoded(self, method: str, where: str, reply: Reply, decode: Callable[[], T], about: str) -> T:
        if not 200 <= reply.status < 300:
            raise self._refusal(method, where, reply, about)
        try:
            return decode()
        except UNREADABLE as error:
            # The request may have had its effect, so the error is not final.
            raise Unavailable(f"{where}: the answer cannot be read: {error}") from error

    def _refusal(self, method: str, where: str, reply: Reply, about: str) -> DriverError:
        """The error for an answer with another status than 2xx (protocol notes, 3.1)."""
        try:
            error = msgspec.json.decode(reply.body, type=ErrorPayload, strict=False)
        except UNREADABLE:
            if reply.status == 403:
                return PermissionDenied(
                    f"{where} does not allow this for user {self._settings.username!r}; {codes.MORE_RIGHTS}"
                )
            return Unavailable(
                f"{where} answered {method} with HTTP {reply.status} and no PowerFlex error; "
                "is its endpoint a PowerFlex gateway?"
            )
        code, message = error.error_code, error.message
        if error.details:
            first = error.details[0]
            code, message = first.rc or code, first.error_message or first.error or message
        for authenticator in self._authenticators:
            message = authenticator.redact(message)
        if reply.status == 403:
            return PermissionDenied(f"{where}: {message}; {codes.MORE_RIGHTS}")
        label = self._settings.label
        text = f"PowerFlex system {label}: {message} (code {code})"
        if about:
            text = f"PowerFlex system {label} refuses {about}: {message} (code {code})"
        remedy = codes.remedy_for(code)
        kind = codes.error_for(reply.status, code, message)
        return kind(f"{text}; {remedy}" if remedy else text)

    def _where(self, endpoint: str, path: str) -> str:
        return f"PowerFlex system {self._settings.label} ({endpoint}{path})"


def _object(path: str) -> str:
    """The type of object in ``path``, as a metric's label. With ids, each volume would have a series."""
    for prefix, name in _OBJECTS.items():
        if path.startswith(prefix):
            return name
    kind = path.removeprefix("/api/types/").removeprefix("/api/instances/")
    return metrics.label_value(kind.partition("/")[0].partition("::")[0])
