"""Tokens of one system: one login at a time, however many calls find theirs expired.

PowerFlex 4.x and later give a token at ``/rest/auth/login``, used as Bearer and renewed with another; 3.x
answers 404 there and gives one at ``/api/login``, used as the password of Basic (protocol notes, 1.2, 1.3).
"""

from __future__ import annotations

import base64
import concurrent.futures
import dataclasses
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec

from csi_powerflex import call_context
from csi_powerflex.config.secret import Secret
from csi_powerflex.config.systems.schema import SystemSettings
from csi_powerflex.errors import (
    DeadlineExceeded,
    DriverError,
    FailedPrecondition,
    Unauthenticated,
    Unavailable,
)
from csi_powerflex.gateway.http import Reply
from csi_powerflex.gateway.payloads import UNREADABLE, TokenPayload
from csi_powerflex.observability import metrics
from csi_powerflex.observability.log import Log

log = Log(__name__)

# A token is renewed this long before its end, so that no request starts with one about to expire.
_MARGIN_SECONDS = 30.0
# A gateway token lives for 8 hours and dies after 10 idle minutes (protocol notes, 1.2). Renewing it after 9
# minutes covers both without keeping track of when it was last used.
_GATEWAY_TOKEN_SECONDS = 9 * 60.0
# After a renewal that failed, a token that still works is kept, and the next renewal tried this much later.
_TIMEOUT_SECONDS = 5.0

# What a 3.x gateway may answer where later ones log in: it knows no such path, or wants a token first.
_NOT_OFFERED = (401, 404, 405)

_JSON = {"Content-Type": "application/json"}
_BASIC = "Basic"

Send = Callable[[str, str, Mapping[str, str], bytes | None], Reply]
"""(method, path, headers, body) to an answer: one request without a token."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token as the Authorization header that carries it; times are values of ``time.monotonic()``.

    ``platform`` holds the answer of a 4.x login, with what renewing it and logging out need.
    """

    header: Secret
    renew_at: float
    expires: float
    platform: TokenPayload | None = None

    def secrets(self) -> list[Secret]:
        """All that must not be shown: what the header carries, as it is and decoded, and what renews it."""
        scheme, _, carried = self.header.reveal().partition(" ")
        secrets = [carried]
        if scheme == _BASIC:
            secrets.append(base64.b64decode(carried).decode().partition(":")[2])
        if self.platform is not None:
            secrets += [self.platform.refresh_token or "", self.platform.id_token or ""]
        return [Secret(secret) for secret in secrets]


class Authenticator:
    """Gives the current token, and gets a new one when it is missing, old or refused."""

    def __init__(self, settings: SystemSettings, send: Send) -> None:
        self._settings = settings
        self._send = send
        self._lock = threading.Lock()
        self._token: Token | None = None
        self._renewal: concurrent.futures.Future[Token] | None = None
        # None until a login has shown which kind of token this version gives.
        self._gateway_tokens: bool | None = None
        self._ended = False
        self._last_password: Secret | None = None

    def token(self, refused: Token | None = None) -> Token:
        """A token to use, other than the ``refused`` one.

        One that nears its end is renewed by one call, while the others go on with it.

        Raises:
            Unauthenticated: the array refuses the user name or password.
            Unavailable, DeadlineExceeded: no login could be made in time, or the session was given back.
        """
        while True:
            with self._lock:
                if self._ended:
                    raise self._over()
                now = time.monotonic()
                token = None if self._token is refused else self._token
                if token is not None and token.renew_at > now:
                    return token
                renewal, leading = self._renewal, self._renewal is None
                if not leading and token is not None and token.expires > now:
                    return token
                if renewal is None:
                    renewal = self._renewal = concurrent.futures.Future()
            if leading:
                return self._lead(renewal, token)
            try:
                return renewal.result(timeout=call_context.remaining(self._settings.request_timeout))
            except concurrent.futures.TimeoutError as error:
                raise DeadlineExceeded(
                    f"waited for a login at {self._settings.label}; repeat the call"
                ) from error
            except DeadlineExceeded:
                # The call that was logging in ran out of its own time; ours may not be over yet.
                call_context.remaining(self._settings.request_timeout)

    def log_out(self) -> None:
        """Give the session back, for good: the array has 128 of them (protocol notes, limits)."""
        with self._lock:
            self._ended = True
            token, self._token = self._token, None
        if token is not None:
            self._give_back(token)

    def redact(self, text: str) -> str:
        """What the gateway said, without the credentials of ours that it may have repeated."""
        with self._lock:
            known = [self._last_password, *(self._token.secrets() if self._token else ())]
        for secret in known:
            if secret is not None and secret.reveal():
                text = text.replace(secret.reveal(), str(secret))
        return text

    def _give_back(self, token: Token) -> None:
        headers = {"Authorization": token.header.reveal(), **_JSON}
        try:
            if token.platform is None:
                self._send("GET", "/api/logout", headers, None)
            else:
                # The misspelt key is the protocol's (protocol notes, 1.3).
                body = {"refresh_token": token.platform.refresh_token, "idT_token": token.platform.id_token}
                self._send("POST", "/rest/auth/logout", headers, msgspec.json.encode(body))
        except DriverError as error:
            log.warning("could not log out", system=self._settings.label, reason=error)
        else:
            log.info("logged out", system=self._settings.label)

    def _lead(self, renewal: concurrent.futures.Future[Token], old: Token | None) -> Token:
        """Get a new token for every call that waits; ``old`` is one that still works but nears its end."""
        try:
            token = self._renew(old)
        except BaseException as error:
            with self._lock:
                self._renewal = None
            renewal.set_exception(error)
            raise
        with self._lock:
            ended, self._renewal = self._ended, None
            if not ended:
                self._token = token
        if ended:
            # The session was given back while this call was getting the next one, which nobody would end.
            self._give_back(token)
            renewal.set_exception(self._over())
            raise self._over()
        renewal.set_result(token)
        return token

    def _renew(self, old: Token | None) -> Token:
        try:
            token = self._refresh(old) or self._log_in()
        except DriverError as error:
            metrics.GATEWAY_LOGINS.labels(self._settings.label, metrics.error_label(error)).inc()
            now = time.monotonic()
            if old is None or old.expires <= now or isinstance(error, Unauthenticated):
                raise
            log.warning("kept a token that could not be renewed", system=self._settings.label, reason=error)
            return dataclasses.replace(old, renew_at=now + _TIMEOUT_SECONDS)
        metrics.GATEWAY_LOGINS.labels(self._settings.label, "ok").inc()
        log.info("logged in", system=self._settings.label)
        return token

    def _refresh(self, old: Token | None) -> Token | None:
        """A new token for the old one's refresh token, or None where that does not work any more."""
        if old is None or old.platform is None or not old.platform.refresh_token:
            return None
        body = msgspec.json.encode({"refresh_token": old.platform.refresh_token})
        reply = self._send("POST", "/rest/auth/update-token", _JSON, body)
        return self._platform_token(reply) if reply.status == 200 else None

    def _log_in(self) -> Token:
        return self._log_in_at_gateway() if self._gateway_tokens else self._log_in_at_platform()

    def _password(self) -> Secret:
        """The password as its file says it, or as it last did while the file cannot be used."""
        try:
            self._last_password = self._settings.read_password()
        except FailedPrecondition as error:
            if self._last_password is None:
                raise
            log.warning("used the last password that could be read", reason=error)
        return self._last_password

    def _log_in_at_platform(self) -> Token:
        body = {"username": self._settings.username, "password": self._password().reveal()}
        reply = self._send("POST", "/rest/auth/login", _JSON, msgspec.json.encode(body))
        if reply.status in _NOT_OFFERED and self._gateway_tokens is None:
            token = self._log_in_at_gateway()
            self._gateway_tokens = True
            return token
        self._check(reply)
        self._gateway_tokens = False
        return self._platform_token(reply)

    def _platform_token(self, reply: Reply) -> Token:
        try:
            answer = msgspec.json.decode(reply.body, type=TokenPayload, strict=False)
        except UNREADABLE as error:
            raise self._not_a_token() from error
        now = time.monotonic()
        return Token(
            header=Secret(f"Bearer {answer.access_token}"),
            renew_at=now + max(answer.expires_in - _MARGIN_SECONDS, answer.expires_in / 2),
            expires=now + answer.expires_in,
            platform=answer,
        )

    def _log_in_at_gateway(self) -> Token:
        user = f"{self._settings.username}:{self._password().reveal()}"
        reply = self._send("GET", "/api/login", {"Authorization": _basic(user)}, None)
        self._check(reply)
        try:
            token = msgspec.json.decode(reply.body, type=str)
        except UNREADABLE as error:
            raise self._not_a_token() from error
        renew_at = time.monotonic() + _GATEWAY_TOKEN_SECONDS
        return Token(
            header=Secret(_basic(f"{self._settings.username}:{token}")),
            renew_at=renew_at,
            expires=renew_at + _MARGIN_SECONDS,
        )

    def _check(self, reply: Reply) -> None:
        if reply.status == 401:
            raise Unauthenticated(
                f"PowerFlex system {self._settings.label} refused user {self._settings.username!r} or its "
                "password; correct them in the systems file"
            )
        if reply.status != 200:
            raise Unavailable(f"PowerFlex system {self._settings.label}: login answered HTTP {reply.status}")

    def _over(self) -> Unavailable:
        return Unavailable(
            f"PowerFlex system {self._settings.label}: its session was given back: the process ends, or its "
            "settings were replaced; repeat the call"
        )

    def _not_a_token(self) -> Unavailable:
        return Unavailable(
            f"PowerFlex system {self._settings.label}: login did not answer with a token; "
            "is its endpoint a PowerFlex gateway?"
        )


def _basic(user_and_password: str) -> str:
    return f"{_BASIC} " + base64.b64encode(user_and_password.encode()).decode("ascii")
