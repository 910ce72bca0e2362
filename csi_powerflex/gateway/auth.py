"""The tokens of one system. One call logs in at a time, even if many calls need a token.

PowerFlex 4.x and later return a platform token at ``/rest/auth/login``. It is sent as Bearer, and renewed
with a refresh token. 3.x answers 404 there. It returns a gateway token at ``/api/login``, sent as the
password of Basic authentication (protocol notes, 1.2 and 1.3).
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
from csi_powerflex.gateway.http import ConnectionLost, Reply
from csi_powerflex.gateway.identity import WrongSystem
from csi_powerflex.gateway.payloads import UNREADABLE, LoginErrorPayload, TokenPayload
from csi_powerflex.gateway.refusals import Refusals
from csi_powerflex.observability import metrics
from csi_powerflex.observability.log import Log

log = Log(__name__)

# A token is renewed this long before it expires, so no request starts with one that is about to expire.
_MARGIN_SECONDS = 30.0
# A gateway token is valid for 8 hours, and expires after 10 idle minutes (protocol notes, 1.2). A renewal
# after 9 minutes covers both cases, so the driver need not know when the token was last used.
_GATEWAY_TOKEN_SECONDS = 9 * 60.0
# If a renewal fails while the old token still works, the next renewal is tried after this time.
_RETRY_SECONDS = 5.0

# A 3.x gateway has no platform login: it has no such path, or it requires a token for it.
_NO_PLATFORM_LOGIN = (401, 404, 405)

OVERLOADED = (429, 503)
"""What a gateway answers that is overloaded. It did nothing, so the request is sent again."""

# The user is refused. A repetition may lock the account, or keep it locked.
_REFUSED = (401, 403, 423)
# An endpoint that leads to another system gets no login for this long.
_WRONG_SYSTEM_SECONDS = 10.0

_JSON = {"Content-Type": "application/json"}
_BASIC = "Basic"
# The most characters of a gateway's text about a refused login.
_MOST_WORDS = 300

Send = Callable[[str, str, Mapping[str, str], bytes | None], Reply]
"""Sends one request without adding a token. The arguments are method, path, headers and body."""

Verify = Callable[[Mapping[str, str]], None]
"""Checks which system the endpoint leads to. The argument is the headers with a new token."""


class TokenRefused(Unavailable):
    """The gateway refuses a new token, so the request had no effect.

    The user and password are correct: the gateway accepted them for that token. It may end sessions soon
    after they begin. A final error could make a sidecar forget what an earlier attempt of the call created.
    """


class LoginFailed(Unavailable):
    """The login got no usable answer. So no request was sent, and the login may be repeated."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token.

    Attributes:
        header: the value of the Authorization header.
        renew_at: when to renew it, a value of ``time.monotonic()``.
        expires: when it expires, a value of ``time.monotonic()``.
        platform: the answer to a platform login, which renewal and logout need; None for a gateway token.
    """

    header: Secret
    renew_at: float
    expires: float
    platform: TokenPayload | None = None

    def secrets(self) -> list[Secret]:
        """Every text that must not be shown: the token, also decoded from Basic, and those for renewal."""
        scheme, _, carried = self.header.reveal().partition(" ")
        secrets = [carried]
        if scheme == _BASIC:
            secrets.append(base64.b64decode(carried).decode().partition(":")[2])
        if self.platform is not None:
            secrets += [self.platform.refresh_token or "", self.platform.id_token or ""]
        return [Secret(secret) for secret in secrets]


class Authenticator:
    """Returns the current token of one endpoint. It gets a new one if that is missing, expires or is refused.

    Args:
        settings: the system.
        send: sends to the endpoint.
        verify: called after each login, before any other request has the new token.
        refusals: the refused password, which all endpoints of the system share.
    """

    def __init__(self, settings: SystemSettings, send: Send, verify: Verify, refusals: Refusals) -> None:
        self._settings = settings
        self._send = send
        self._verify = verify
        self._refusals = refusals
        self._wrong_system: tuple[float, WrongSystem] | None = None
        self._lock = threading.Lock()
        self._token: Token | None = None
        self._renewal: concurrent.futures.Future[Token] | None = None
        # None until a login has shown whether this version returns gateway tokens or platform tokens.
        self._gateway_tokens: bool | None = None
        self._logged_out = False
        self._last_password: Secret | None = None

    def token(self, refused: Token | None = None) -> Token:
        """A token that is not the ``refused`` one.

        If a token is about to expire, one call renews it. Other calls use the old one meanwhile.

        Raises:
            Unauthenticated: the array refuses the user name or password.
            WrongSystem: the endpoint leads to another system.
            LoginFailed: the login may be repeated at once.
            Unavailable, DeadlineExceeded: no login succeeded in time, or ``log_out`` was called.
        """
        while True:
            with self._lock:
                if self._logged_out:
                    raise self._logged_out_error()
                now = time.monotonic()
                token = None if self._token is refused else self._token
                if token is not None and token.renew_at > now:
                    return token
                other_renewal = self._renewal
                if other_renewal is not None and token is not None and token.expires > now:
                    return token
                renewal = self._renewal = other_renewal or concurrent.futures.Future()
            if other_renewal is None:
                return self._renew_for_all(renewal, token)
            try:
                return renewal.result(timeout=call_context.remaining(self._settings.request_timeout))
            except concurrent.futures.TimeoutError as error:
                raise DeadlineExceeded(
                    f"the login to PowerFlex system {self._settings.label} took too long; repeat the call"
                ) from error
            except DeadlineExceeded:
                # The deadline of the call that logs in has passed. The deadline of this call may be later.
                call_context.remaining(self._settings.request_timeout)

    def log_out(self) -> None:
        """End the session; ``token`` fails from now on. The array has 128 sessions (protocol notes, 4)."""
        with self._lock:
            self._logged_out = True
            token, self._token = self._token, None
        if token is not None:
            self._end_session(token)

    def redact(self, text: str) -> str:
        """A text of the gateway without the driver's credentials, which the gateway may repeat."""
        with self._lock:
            known = [self._last_password, *(self._token.secrets() if self._token else ())]
        for secret in known:
            if secret is not None and secret.reveal():
                text = text.replace(secret.reveal(), str(secret))
        return text

    def _end_session(self, token: Token) -> None:
        headers = {"Authorization": token.header.reveal(), **_JSON}
        try:
            if token.platform is None:
                self._send("GET", "/api/logout", headers, None)
            else:
                # The protocol spells the key like this (protocol notes, 1.3).
                body = {"refresh_token": token.platform.refresh_token, "idT_token": token.platform.id_token}
                self._send("POST", "/rest/auth/logout", headers, msgspec.json.encode(body))
        except DriverError as error:
            log.warning("could not log out", system=self._settings.label, reason=error)
        else:
            log.info("logged out", system=self._settings.label)

    def _renew_for_all(self, renewal: concurrent.futures.Future[Token], old: Token | None) -> Token:
        """Get a new token for this call and for every call that waits for ``renewal``.

        Args:
            renewal: gets the token or the error.
            old: the token that is about to expire; None if there is none or it was refused.
        """
        try:
            token = self._renew(old)
        except BaseException as error:
            with self._lock:
                self._renewal = None
            renewal.set_exception(error)
            raise
        with self._lock:
            logged_out, self._renewal = self._logged_out, None
            if not logged_out:
                self._token = token
        if logged_out:
            # ``log_out`` was called during this login, so nothing else would end the new session.
            self._end_session(token)
            renewal.set_exception(self._logged_out_error())
            raise self._logged_out_error()
        renewal.set_result(token)
        return token

    def _renew(self, old: Token | None) -> Token:
        try:
            token = self._refresh(old) or self._log_in()
        except DriverError as error:
            metrics.GATEWAY_LOGINS.labels(self._settings.label, metrics.error_label(error)).inc()
            now = time.monotonic()
            if old is None or old.expires <= now or isinstance(error, Unauthenticated | WrongSystem):
                raise
            log.warning("token not renewed, kept the old one", system=self._settings.label, reason=error)
            return dataclasses.replace(old, renew_at=now + _RETRY_SECONDS)
        metrics.GATEWAY_LOGINS.labels(self._settings.label, "ok").inc()
        # A platform token is renewed every few minutes.
        log_login = log.info if old is None else log.debug
        log_login("logged in", system=self._settings.label)
        return token

    def _refresh(self, old: Token | None) -> Token | None:
        """A new token for the refresh token of ``old``; None if there is none, or it is not accepted."""
        if old is None or old.platform is None or not old.platform.refresh_token:
            return None
        body = msgspec.json.encode({"refresh_token": old.platform.refresh_token})
        reply = self._send("POST", "/rest/auth/update-token", _JSON, body)
        return self._platform_token(reply) if reply.status == 200 else None

    def _log_in(self) -> Token:
        """A token of the right system."""
        if self._wrong_system is not None and time.monotonic() < self._wrong_system[0]:
            raise WrongSystem(str(self._wrong_system[1]))
        try:
            token = self._log_in_at_gateway() if self._gateway_tokens else self._log_in_at_platform()
            self._verify_system(token)
        except ConnectionLost as error:
            raise LoginFailed(f"{error}; this was the login, so nothing else was sent") from error
        return token

    def _verify_system(self, token: Token) -> None:
        """End the session if it is not one of the right system.

        Raises:
            DriverError: the system is another one, or could not be checked.
        """
        try:
            self._verify({"Authorization": token.header.reveal(), "Accept": "application/json"})
        except DriverError as error:
            if isinstance(error, WrongSystem):
                self._wrong_system = (time.monotonic() + _WRONG_SYSTEM_SECONDS, error)
            self._end_session(token)
            raise

    def _password(self) -> Secret:
        """The password. If its file cannot be read now, this is the password that was read last."""
        try:
            self._last_password = self._settings.read_password()
        except FailedPrecondition as error:
            if self._last_password is None:
                raise
            log.warning("password file not read, used the last password", reason=error)
        return self._last_password

    def _log_in_at_platform(self) -> Token:
        password = self._password()
        self._refusals.check(password)
        body = {"username": self._settings.username, "password": password.reveal()}
        reply = self._send("POST", "/rest/auth/login", _JSON, msgspec.json.encode(body))
        unknown = reply.status in _NO_PLATFORM_LOGIN and not _is_of_platform(reply)
        if unknown and self._gateway_tokens is None:
            token = self._log_in_at_gateway()
            self._gateway_tokens = True
            return token
        self._check(reply, password)
        self._gateway_tokens = False
        return self._platform_token(reply)

    def _platform_token(self, reply: Reply) -> Token:
        try:
            answer = msgspec.json.decode(reply.body, type=TokenPayload, strict=False)
        except UNREADABLE as error:
            raise self._no_token_error() from error
        now = time.monotonic()
        return Token(
            header=Secret(f"Bearer {answer.access_token}"),
            renew_at=now + max(answer.expires_in - _MARGIN_SECONDS, answer.expires_in / 2),
            expires=now + answer.expires_in,
            platform=answer,
        )

    def _log_in_at_gateway(self) -> Token:
        password = self._password()
        self._refusals.check(password)
        user = f"{self._settings.username}:{password.reveal()}"
        reply = self._send("GET", "/api/login", {"Authorization": _basic(user)}, None)
        self._check(reply, password)
        try:
            token = msgspec.json.decode(reply.body, type=str)
        except UNREADABLE as error:
            raise self._no_token_error() from error
        renew_at = time.monotonic() + _GATEWAY_TOKEN_SECONDS
        return Token(
            header=Secret(_basic(f"{self._settings.username}:{token}")),
            renew_at=renew_at,
            expires=renew_at + _MARGIN_SECONDS,
        )

    def _check(self, reply: Reply, password: Secret) -> None:
        """Return if the login succeeded. Remember the password if it was refused."""
        if reply.status == 200:
            self._refusals.clear(password)
            return
        error = self._login_error(reply)
        if reply.status in _REFUSED:
            self._refusals.add(password, error)
        raise error

    def _login_error(self, reply: Reply) -> DriverError:
        label, words = self._settings.label, self.redact(_words(reply))
        if reply.status == 401:
            return Unauthenticated(
                f"PowerFlex system {label} refused user {self._settings.username!r} or its password; correct "
                f"them in the systems file{words}"
            )
        kind = LoginFailed if reply.status in OVERLOADED else Unavailable
        return kind(f"PowerFlex system {label} answered the login with HTTP {reply.status}{words}")

    def _logged_out_error(self) -> Unavailable:
        return Unavailable(
            f"the driver has logged out of PowerFlex system {self._settings.label}, because it stops or the "
            "system's settings were replaced; repeat the call"
        )

    def _no_token_error(self) -> Unavailable:
        return Unavailable(
            f"PowerFlex system {self._settings.label} did not answer the login with a token; is its endpoint "
            "a PowerFlex gateway?"
        )


def _basic(user_and_password: str) -> str:
    return f"{_BASIC} " + base64.b64encode(user_and_password.encode()).decode("ascii")


def _is_of_platform(reply: Reply) -> bool:
    """Whether the error has the form of the platform, which 3.x does not have (protocol notes, 1.3)."""
    try:
        return bool(msgspec.json.decode(reply.body, type=LoginErrorPayload, strict=False).messages)
    except UNREADABLE:
        return False


def _words(reply: Reply) -> str:
    """What the gateway says about a refused login, in brackets; empty if it says nothing."""
    try:
        error = msgspec.json.decode(reply.body, type=LoginErrorPayload, strict=False)
    except UNREADABLE:
        return ""
    texts = [message.message for message in error.messages] if error.messages else [error.message]
    text = " ".join(" ".join(texts).split())[:_MOST_WORDS]
    return f" (the gateway says: {text})" if text else ""
