"""HTTPS requests to a gateway, each with a deadline.

This module knows nothing about tokens or PowerFlex. A caller must know whether a failed request may have had
an effect. So there are three errors: ``ConnectFailed``, ``ConnectionLost`` and ``ReadTimeout``.
"""

from __future__ import annotations

import http.cookiejar
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import requests
import urllib3.exceptions

from csi_powerflex import call_context
from csi_powerflex.config.systems.schema import SystemSettings
from csi_powerflex.errors import ConnectFailed, DeadlineExceeded, Unavailable
from csi_powerflex.gateway import deadline
from csi_powerflex.gateway.deadline import DeadlineAdapter
from csi_powerflex.observability.log import Log

log = Log(__name__)

_CONNECT_SECONDS = 10.0
_TIMED_OUT = (urllib3.exceptions.ReadTimeoutError, TimeoutError)
# The most connections that are kept open to one gateway.
_POOL_SIZE = 100


class ConnectionLost(Unavailable):
    """The connection broke after the request was sent. The request may or may not have had its effect."""


class ReadTimeout(DeadlineExceeded):
    """No whole answer arrived in time. The request may or may not have had its effect."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete HTTP answer."""

    status: int
    body: bytes


class Http:
    """A pool of keep-alive connections to the endpoints of one system. Threads may share it.

    The session does not change after it is created. It uses nothing from the environment: a ``.netrc`` would
    replace the token, and ``REQUESTS_CA_BUNDLE`` the configured certificate authority.
    """

    def __init__(self, settings: SystemSettings) -> None:
        self._timeout = settings.request_timeout
        self._verify: bool | str = settings.ca_file or True if settings.verify_certificate else False
        if not settings.verify_certificate:
            log.warning("certificates of this system are not verified", system=settings.label)
            # This is logged once, here. urllib3 would warn at each request.
            warnings.filterwarnings("ignore", category=urllib3.exceptions.InsecureRequestWarning)
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.headers.clear()
        self._session.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
        self._session.mount(
            "https://",
            DeadlineAdapter(
                verify=settings.verify_certificate,
                pool_connections=len(settings.endpoints),
                pool_maxsize=_POOL_SIZE,
                pool_block=False,
                max_retries=0,
            ),
        )

    def send(self, method: str, url: str, *, headers: Mapping[str, str], body: bytes | None) -> Reply:
        """Send one request and read the whole answer. Redirects are not followed: they are answers.

        Raises:
            ConnectFailed: no connection could be made, so the request had no effect.
            ConnectionLost, ReadTimeout: it is not known whether the request had its effect.
            DeadlineExceeded: the call has no time left, so nothing was sent.
        """
        timeout = call_context.remaining(self._timeout)
        with deadline.exchange(time.monotonic() + timeout) as exchange:
            try:
                response = self._session.request(
                    method,
                    url,
                    headers=dict(headers),
                    data=body,
                    timeout=(min(_CONNECT_SECONDS, timeout), timeout),
                    verify=self._verify,
                    allow_redirects=False,
                )
            except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
                failure = _failure_after_sending if exchange.sent else _failure_before_sending
                raise failure(_origin(url), error, timeout) from error
        return Reply(status=response.status_code, body=response.content)

    def close(self) -> None:
        """Close the idle connections."""
        self._session.close()


def _failure_before_sending(origin: str, error: Exception, timeout: float) -> ConnectFailed:
    """The error for a request that was not sent: there was no connection, or no valid certificate.

    Args:
        origin: the gateway.
        error: an error of requests, urllib3 or the socket.
        timeout: the seconds that the request had.
    """
    chain = _chain(error)
    if isinstance(error, requests.exceptions.SSLError):
        return ConnectFailed(f"{origin}: the certificate was not accepted: {_reason(chain)}")
    if isinstance(error, requests.exceptions.Timeout) or isinstance(chain[-1], TimeoutError):
        return ConnectFailed(f"{origin}: no connection within {min(_CONNECT_SECONDS, timeout):.1f} s")
    return ConnectFailed(f"{origin}: cannot connect: {_reason(chain)}")


def _failure_after_sending(origin: str, error: Exception, timeout: float) -> ConnectionLost | ReadTimeout:
    """The error for a request that may have had its effect. Arguments as for ``_failure_before_sending``."""
    chain = _chain(error)
    if isinstance(error, (requests.exceptions.ReadTimeout, urllib3.exceptions.ReadTimeoutError)):
        return ReadTimeout(f"{origin}: no answer within {timeout:.1f} s")
    if any(isinstance(cause, _TIMED_OUT) for cause in chain):
        # The library requests reports a timeout in the middle of a body as a connection error.
        return ReadTimeout(f"{origin}: the answer did not end within {timeout:.1f} s")
    return ConnectionLost(f"{origin}: the connection broke: {_reason(chain)}")


def _reason(chain: list[BaseException]) -> str:
    """A short text of the innermost cause. The outer ones repeat the URL and addresses in memory."""
    innermost = chain[-1]
    return getattr(innermost, "strerror", None) or str(innermost) or type(innermost).__name__


def _chain(error: BaseException) -> list[BaseException]:
    """The error and its causes, the innermost one last."""
    chain: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in chain:
        chain.append(following)
        reason = getattr(following, "reason", None)
        first = following.args[0] if following.args else None
        inner = next((item for item in (reason, first) if isinstance(item, BaseException)), None)
        following = inner or following.__cause__ or following.__context__
    return chain


def _origin(url: str) -> str:
    """The scheme, host and port of a URL."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}"
