"""Authenticated, typed calls to one system's gateway: the one place for tokens, retries and errors.

A retry depends on what the failed request may have done (``Effect``) and ends with the call's deadline.
Operations never loop: the sidecars are the outer loop.
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

_ATTEMPTS = 4
_FIRST_PAUSE_SECONDS = 0.1
_OVERLOADED = (429, 503)

# What the paths that name no type of object are for.
_OBJECTS = {
    "/api/login": "login",
    "/api/logout": "login",
    "/rest/auth/": "login",
    "/dtapi/rest/v1/metrics/": "metrics",
}

T = TypeVar("T")


class Effect(enum.Enum):
    """What a request does, which decides when it may be sent again."""

    READ = enum.auto()
    """Nothing: it may always be repeated."""
    IDEMPOTENT = enum.auto()
    """The same when done twice: it may always be repeated."""
    ONCE = enum.auto()
    """Something more each time: repeated only when the first surely had no effect."""


class TokenRefused(Unavailable):
    """A token that was given a moment ago is refused, so the request had no effect.

    That says nothing against user and password, which were just accepted: sessions may be ending as fast as
    they are made. A final code would let a sidecar forget what an earlier attempt of the call has made.
    """


class Client:
    """Calls to one PowerFlex system, whichever of its endpoints answers."""

    def __init__(self, settings: SystemSettings) -> None:
        self._settings = settings
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
            DriverError: what the array's code means, see ``codes``.
            Unauthenticated, PermissionDenied: the user was refused.
            Unavailable, DeadlineExceeded: no answer; whether it had its effect is not known.
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
                # A read leaves nothing in doubt, so the reason of the repetition says more.
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
        """Wait a little longer before each attempt; raise ``error`` where there is no time or use for one."""
        pause = _FIRST_PAUSE_SECONDS * 2**attempt * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, hides nothing
        if last:
            raise error
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
        """Send with a token, and once more with a new one where the token is refused."""
        token = self._authenticator.token()
        reply = self._send_with(token, method, path, body)
        if reply.status != 401:
            return reply
        reply = self._send_with(self._authenticator.token(refused=token), method, path, body)
        if reply.status == 401:
            raise TokenRefused(
                f"{self._where(path)} refuses a token it has just given to user {self._settings.username!r}"
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
            # It may have had its effect all the same, so this is no final failure.
            raise Unavailable(f"{self._where(path)} gave an answer that cannot be read: {error}") from error

    def _refusal(self, method: str, path: str, reply: Reply) -> DriverError:
        """The error that a reply other than 2xx stands for (protocol notes, 3.1)."""
        try:
            error = msgspec.json.decode(reply.body, type=ErrorPayload, strict=False)
        except UNREADABLE:
            if reply.status == 403:
                return PermissionDenied(
                    f"{self._where(path)} forbids this to user {self._settings.username!r}"
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
    """The type of object in ``path`` as a metric's label: with the ids, each volume would have a series."""
    for prefix, name in _OBJECTS.items():
        if path.startswith(prefix):
            return name
    kind = path.removeprefix("/api/types/").removeprefix("/api/instances/")
    return metrics.label_value(kind.partition("/")[0].partition("::")[0])
