"""Authenticated, typed requests to one system's gateway: the one place for tokens, retries and errors.

Whether a failed request is sent again depends on what it may have done (``Effect``) and on the deadline of
the call. Operations do not retry: the sidecars repeat the whole call.
"""

from __future__ import annotations

import enum
import random
import time
from collections.abc import Mapping
from typing import TypeVar

import msgspec

from csi_powerflex import call_context
from csi_powerflex.config.systems.schema import SystemSettings
from csi_powerflex.errors import (
    ConnectFailed,
    DeadlineExceeded,
    DriverError,
    PermissionDenied,
    Unavailable,
)
from csi_powerflex.gateway import codes
from csi_powerflex.gateway.auth import Authenticator, Token
from csi_powerflex.gateway.http import ConnectionLost, Http, Reply
from csi_powerflex.gateway.payloads import UNREADABLE, ErrorPayload
from csi_powerflex.observability import metrics
from csi_powerflex.observability.log import Log

log = Log(__name__)

RETRY_SECONDS = 0.2
"""The longest pause before a request is sent a second time. Each further pause is twice as long."""

_ATTEMPTS = 4
_OVERLOADED = (429, 503)

# The metric's label for paths that name no type of object.
_OBJECTS = {
    "/api/login": "login",
    "/api/logout": "login",
    "/rest/auth/": "login",
    "/dtapi/rest/v1/metrics/": "metrics",
}

T = TypeVar("T")


class Effect(enum.Enum):
    """What a request changes. This decides when it may be sent again."""

    READ = enum.auto()
    """It changes nothing, so it may always be repeated."""
    IDEMPOTENT = enum.auto()
    """A repetition changes nothing more, so it may always be repeated."""
    ONCE = enum.auto()
    """Each repetition changes something. It is repeated only if the first request had no effect."""


class TokenRefused(Unavailable):
    """The gateway refuses a new token, so the request had no effect.

    The user and password are correct: the gateway accepted them for that token. It may end sessions soon
    after they begin. A final error could make a sidecar forget what an earlier attempt of the call created.
    """


class Client:
    """Requests to one PowerFlex system. If an endpoint cannot be reached, the next one is used.

    Args:
        settings: the system.
        retry_seconds: as ``RETRY_SECONDS``.
    """

    def __init__(self, settings: SystemSettings, *, retry_seconds: float = RETRY_SECONDS) -> None:
        self._settings = settings
        self._retry_seconds = retry_seconds
        self._http = Http(settings)
        self._authenticator = Authenticator(settings, self._send_once)
        self._endpoint = 0

    def close(self) -> None:
        """Log out and close the connections."""
        self._authenticator.log_out()
        self._http.close()

    def get(self, path: str, answer: type[T]) -> T:
        """GET ``path`` and decode the answer. Raises as ``post``."""
        return self._call("GET", path, None, answer, Effect.READ)

    def post(self, path: str, body: Mapping[str, object], answer: type[T], effect: Effect) -> T:
        """POST ``body`` to ``path`` and decode the answer as ``answer``.

        Raises:
            DriverError: the error for the array's code, see ``codes``.
            Unauthenticated, PermissionDenied: the user was refused.
            Unavailable, DeadlineExceeded: there was no answer. It is not known whether the request had its
                effect.
        """
        return self._call("POST", path, msgspec.json.encode(body), answer, effect)

    def _call(self, method: str, path: str, body: bytes | None, answer: type[T], effect: Effect) -> T:
        failure: DriverError | None = None
        for attempt in range(1, _ATTEMPTS + 1):
            last = attempt == _ATTEMPTS
            try:
                reply = self._authorised(method, path, body)
            except DeadlineExceeded as error:
                if failure is None or effect is not Effect.READ:
                    raise
                # A read changes nothing, so the error of the earlier attempt says more than the deadline.
                raise failure from error
            except ConnectFailed as error:
                self._endpoint = (self._endpoint + 1) % len(self._settings.endpoints)
                failure = error
            except TokenRefused as error:
                failure = error
            except ConnectionLost as error:
                last = last or effect is Effect.ONCE
                failure = error
            else:
                if reply.status not in _OVERLOADED:
                    return self._decode(method, path, reply, answer)
                failure = Unavailable(f"{self._where(path)} answered HTTP {reply.status}: it is overloaded")
            self._pause_or_raise(attempt, last=last, error=failure)
        raise AssertionError("the last attempt returns or raises")

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

    def _authorised(self, method: str, path: str, body: bytes | None) -> Reply:
        """Send with a token. If the token is refused, send once more with a new one."""
        token = self._authenticator.token()
        reply = self._send_with(token, method, path, body)
        if reply.status != 401:
            return reply
        reply = self._send_with(self._authenticator.token(refused=token), method, path, body)
        if reply.status == 401:
            raise TokenRefused(
                f"{self._where(path)} refuses the new token of user {self._settings.username!r}"
            )
        return reply

    def _send_with(self, token: Token, method: str, path: str, body: bytes | None) -> Reply:
        headers = {"Authorization": token.header.reveal(), "Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        return self._send_once(method, path, headers, body)

    def _send_once(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Reply:
        url = self._settings.endpoints[self._endpoint].rstrip("/") + path
        call_context.count("gateway_requests")
        began = time.monotonic()
        status = "none"
        try:
            reply = self._http.send(method, url, headers=headers, body=body)
            status = str(reply.status)
        finally:
            took = time.monotonic() - began
            labels = (self._settings.label, metrics.label_value(method), _object(path), status)
            metrics.GATEWAY_REQUEST_DURATION.labels(*labels).observe(took)
            fields = {"system": self._settings.label, "method": method, "path": path, "status": status}
            log.debug("gateway answered", **fields, seconds=f"{took:.3f}")
        return reply

    def _decode(self, method: str, path: str, reply: Reply, answer: type[T]) -> T:
        if not 200 <= reply.status < 300:
            raise self._refusal(method, path, reply)
        try:
            return msgspec.json.decode(reply.body or b"{}", type=answer, strict=False)
        except UNREADABLE as error:
            # The request may have had its effect, so the error is not final.
            raise Unavailable(f"{self._where(path)}: the answer cannot be read: {error}") from error

    def _refusal(self, method: str, path: str, reply: Reply) -> DriverError:
        """The error for an answer with another status than 2xx (protocol notes, 3.1)."""
        try:
            error = msgspec.json.decode(reply.body, type=ErrorPayload, strict=False)
        except UNREADABLE:
            if reply.status == 403:
                return PermissionDenied(
                    f"{self._where(path)} does not allow this for user {self._settings.username!r}"
                )
            return Unavailable(
                f"{self._where(path)} answered {method} with HTTP {reply.status} and no PowerFlex error; "
                "is its endpoint a PowerFlex gateway?"
            )
        code, message = error.error_code, error.message
        if error.details:
            first = error.details[0]
            code, message = first.rc or code, first.error_message or first.error or message
        message = self._authenticator.redact(message)
        if reply.status == 403:
            return PermissionDenied(f"{self._where(path)}: {message}")
        return codes.error_for(reply.status, code, message)(
            f"PowerFlex system {self._settings.label}: {message} (code {code})"
        )

    def _where(self, path: str) -> str:
        return f"PowerFlex system {self._settings.label} ({self._settings.endpoints[self._endpoint]}{path})"


def _object(path: str) -> str:
    """The type of object in ``path``, as a metric's label. With ids, each volume would have a series."""
    for prefix, name in _OBJECTS.items():
        if path.startswith(prefix):
            return name
    kind = path.removeprefix("/api/types/").removeprefix("/api/instances/")
    return metrics.label_value(kind.partition("/")[0].partition("::")[0])
