"""Tokens of one system: one login at a time, however many calls find theirs expired.

PowerFlex 4.x and later give a token at ``/rest/auth/login``, used as Bearer; 3.x answers 404 there and gives
one at ``/api/login``, used as the password of Basic (REST reference, 1.2 and 1.3).
"""

from __future__ import annotations

import base64
import concurrent.futures
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec

from csi_powerflex import scope
from csi_powerflex.config.secret import Secret
from csi_powerflex.config.systems import SystemSettings
from csi_powerflex.errors import DeadlineExceeded, DriverError, Unauthenticated, Unavailable
from csi_powerflex.gateway.http import Reply
from csi_powerflex.gateway.payloads import TokenPayload
from csi_powerflex.observability import metrics
from csi_powerflex.observability.log import Log

log = Log(__name__)

# A token is renewed this long before its end, so that no request starts with one about to expire.
_MARGIN_SECONDS = 30.0
# A gateway token lives for 8 hours and dies after 10 idle minutes (REST reference, 1.2). Renewing it after 9
# minutes covers both without keeping track of when it was last used.
_GATEWAY_TOKEN_SECONDS = 9 * 60.0

Send = Callable[[str, str, Mapping[str, str], bytes | None], Reply]
"""(method, path, headers, body) to an answer: one request without a token."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token as the Authorization header that carries it; ``expires`` is a value of ``time.monotonic()``."""

    header: Secret
    expires: float


class Authenticator:
    """Gives the current token, and logs in for a new one when it is missing, old or refused."""

    def __init__(self, settings: SystemSettings, send: Send) -> None:
        self._settings = settings
        self._send = send
        self._lock = threading.Lock()
        self._token: Token | None = None
        self._login: concurrent.futures.Future[Token] | None = None
        self._basic_only = False

    def token(self, refused: Token | None = None) -> Token:
        """A token to use, other than the ``refused`` one.

        Raises:
            Unauthenticated: the array refuses the user name or password.
            Unavailable, DeadlineExceeded: no login could be made in time.
        """
        while True:
            with self._lock:
                token = self._token
                if token is not None and token is not refused and token.expires > time.monotonic():
                    return token
                login, leading = self._login, self._login is None
                if login is None:
                    login = self._login = concurrent.futures.Future()
            if leading:
                return self._lead(login)
            try:
                return login.result(timeout=scope.remaining(self._settings.request_timeout))
            except concurrent.futures.TimeoutError as error:
                raise DeadlineExceeded(
                    f"waited for a login at {self._settings.label}; repeat the call"
                ) from error
            except DeadlineExceeded:
                # The call that was logging in ran out of its own time; ours may not be over yet.
                scope.remaining(self._settings.request_timeout)

    def _lead(self, login: concurrent.futures.Future[Token]) -> Token:
        try:
            token = self._log_in()
        except BaseException as error:
            with self._lock:
                self._login = None
            login.set_exception(error)
            raise
        with self._lock:
            self._token, self._login = token, None
        login.set_result(token)
        return token

    def _log_in(self) -> Token:
        try:
            token = self._log_in_by_gateway() if self._basic_only else self._log_in_by_platform()
        except DriverError as error:
            metrics.GATEWAY_LOGINS.labels(self._settings.label, type(error).__name__).inc()
            raise
        metrics.GATEWAY_LOGINS.labels(self._settings.label, "OK").inc()
        log.info("logged in", system=self._settings.label)
        return token

    def _log_in_by_platform(self) -> Token:
        body = {"username": self._settings.username, "password": self._settings.read_password().reveal()}
        reply = self._send(
            "POST", "/rest/auth/login", {"Content-Type": "application/json"}, msgspec.json.encode(body)
        )
        if reply.status == 404:
            self._basic_only = True
            return self._log_in_by_gateway()
        self._check(reply)
        try:
            answer = msgspec.json.decode(reply.body, type=TokenPayload, strict=False)
        except msgspec.MsgspecError as error:
            raise self._not_a_token() from error
        return Token(
            header=Secret(f"Bearer {answer.access_token}"),
            expires=time.monotonic() + max(answer.expires_in - _MARGIN_SECONDS, answer.expires_in / 2),
        )

    def _log_in_by_gateway(self) -> Token:
        user = f"{self._settings.username}:{self._settings.read_password().reveal()}"
        reply = self._send("GET", "/api/login", {"Authorization": _basic(user)}, None)
        self._check(reply)
        try:
            token = msgspec.json.decode(reply.body, type=str)
        except msgspec.MsgspecError as error:
            raise self._not_a_token() from error
        return Token(
            header=Secret(_basic(f"{self._settings.username}:{token}")),
            expires=time.monotonic() + _GATEWAY_TOKEN_SECONDS,
        )

    def _check(self, reply: Reply) -> None:
        if reply.status == 401:
            raise Unauthenticated(
                f"PowerFlex system {self._settings.label} refused user {self._settings.username!r} or its "
                "password; correct them in the systems file"
            )
        if reply.status != 200:
            raise Unavailable(f"PowerFlex system {self._settings.label}: login answered HTTP {reply.status}")

    def _not_a_token(self) -> Unavailable:
        return Unavailable(
            f"PowerFlex system {self._settings.label}: login did not answer with a token; "
            "is its endpoint a PowerFlex gateway?"
        )


def _basic(user_and_password: str) -> str:
    return "Basic " + base64.b64encode(user_and_password.encode()).decode("ascii")
