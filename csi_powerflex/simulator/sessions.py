"""Sessions and their tokens.

Tokens are in memory only, so they are lost when a gateway restarts. Clients must expect this.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import secrets
from dataclasses import dataclass

from csi_powerflex.simulator.api_error import mdm_error
from csi_powerflex.simulator.clock import Clock
from csi_powerflex.simulator.dialect import Dialect
from csi_powerflex.simulator.settings import Settings

GATEWAY_LIFE = 8 * 3600.0
GATEWAY_IDLE = 600.0
ACCESS_LIFE = 300.0
REFRESH_LIFE = 1800.0


@dataclass(slots=True)
class Session:
    """One token. It is valid until ``expires``, but only if it is used at least every ``idle`` seconds."""

    user: str
    expires: float
    idle: float | None
    last_used: float

    def is_valid(self, now: float) -> bool:
        """Whether the token may still be used."""
        return now < self.expires and (self.idle is None or now - self.last_used < self.idle)


@dataclass(frozen=True, slots=True)
class Grant:
    """The tokens of a login to PowerFlex Manager."""

    access_token: str
    refresh_token: str
    id_token: str
    session_state: str


class Sessions:
    """The tokens of one gateway."""

    def __init__(self, dialect: Dialect, clock: Clock, settings: Settings) -> None:
        self._dialect = dialect
        self._clock = clock
        self._settings = settings
        self._tokens: dict[str, Session] = {}
        self._refresh: dict[str, tuple[Session, str]] = {}

    def login_to_gateway(self, user: str) -> str:
        """A token of /api/login. It ends after eight hours, or after ten minutes without use."""
        self._refuse_beyond_limit()
        now = self._clock.now()
        token = self._web_token(user) if self._dialect.platform else _gateway_token(user, now)
        self._tokens[token] = Session(user, now + GATEWAY_LIFE, GATEWAY_IDLE, now)
        return token

    def login_to_platform(self, user: str) -> Grant:
        """The tokens of /rest/auth/login. They end after five minutes and can be renewed for thirty."""
        self._refuse_beyond_limit()
        now = self._clock.now()
        access, refresh = self._web_token(user), self._web_token(user)
        self._tokens[access] = Session(user, now + ACCESS_LIFE, None, now)
        self._refresh[refresh] = (Session(user, now + REFRESH_LIFE, None, now), access)
        return Grant(access, refresh, self._web_token(user), secrets.token_hex(16))

    def renew(self, refresh_token: str) -> Grant | None:
        """New tokens for a refresh token; None when it is not valid."""
        found = self._refresh.pop(refresh_token, None)
        if found is None or not found[0].is_valid(self._clock.now()):
            return None
        return self.login_to_platform(found[0].user)

    def user_of(self, token: str) -> str | None:
        """The user of a valid token, or None. This counts as a use of the token."""
        session = self._tokens.get(token)
        now = self._clock.now()
        if session is None:
            return None
        if not session.is_valid(now):
            del self._tokens[token]
            return None
        session.last_used = now
        return session.user

    def end(self, token: str, refresh_token: str | None = None) -> None:
        """End a session."""
        self._tokens.pop(token, None)
        for refresh, (_, access) in list(self._refresh.items()):
            if refresh == refresh_token or access == token:
                del self._refresh[refresh]

    def revoke_all(self) -> int:
        """End all sessions. Returns their number."""
        count = len(self._tokens)
        self._tokens.clear()
        self._refresh.clear()
        return count

    def __len__(self) -> int:
        now = self._clock.now()
        return sum(session.is_valid(now) for session in self._tokens.values())

    def _refuse_beyond_limit(self) -> None:
        limit = self._settings.session_limit
        if limit is not None and len(self) >= limit:
            raise mdm_error(252)
        if len(self._tokens) > 4096:
            self._forget_expired()

    def _forget_expired(self) -> None:
        now = self._clock.now()
        self._tokens = {token: session for token, session in self._tokens.items() if session.is_valid(now)}
        self._refresh = {token: pair for token, pair in self._refresh.items() if pair[0].is_valid(now)}

    def _web_token(self, user: str) -> str:
        """A token that looks like a JSON web token. Its signature is random."""
        now = int(self._clock.now())
        parts = (
            {"alg": "RS256", "typ": "JWT"},
            {"iat": now, "sub": user, "jti": secrets.token_hex(8), "azp": "powerflex"},
        )
        encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
        return ".".join((*encoded, secrets.token_urlsafe(32)))


def _gateway_token(user: str, now: float) -> str:
    digest = hashlib.sha256(secrets.token_bytes(16)).hexdigest()[:32]
    return base64.b64encode(f"{user}:{int(now * 1000)}:{digest}".encode()).decode()


def basic_credentials(header: str) -> tuple[str, str] | None:
    """User and password (or token) of a Basic authorization header; None for any other header."""
    scheme, _, value = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(value.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return (user, password) if colon else None


def token_of(header: str) -> str | None:
    """The token in an authorization header of scheme Bearer or Basic. The user part is ignored."""
    scheme, _, value = header.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    credentials = basic_credentials(header)
    return credentials[1] if credentials else None
