"""One hardened HTTP session to a gateway: bytes out, bytes in, before a deadline.

Knows nothing of tokens or of PowerFlex. What a failed request may have done is the question that every
caller has, so failures come in three kinds: not sent, cut, and out of time.
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
_POOL_SIZE = 100
"""Connections kept to one gateway; the array serves 128 sessions in all (protocol notes, limits)."""


class ConnectionLost(Unavailable):
    """The connection broke after the request was sent: it may or may not have had its effect."""


class ReadTimeout(DeadlineExceeded):
    """No answer came in time: the request may or may not have had its effect."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer, read to its end."""

    status: int
    content_type: str
    body: bytes


class Http:
    """A pool of keep-alive connections to the endpoints of one system, safe to share between threads.

    Nothing in the session changes after it is made, and nothing is taken from the environment: a ``.netrc``
    would replace our token, and ``REQUESTS_CA_BUNDLE`` our authority.
    """

    def __init__(self, settings: SystemSettings) -> None:
        self._timeout = settings.request_timeout
        self._verify: bool | str = settings.ca_file or True if settings.verify_certificate else False
        if not settings.verify_certificate:
            log.warning("certificates of this system are not verified", system=settings.label)
            # Said once, here; urllib3 would say it at each request.
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
        """Send one request and read the whole answer.

        Raises:
            NotSent, Cut, OutOfTime: as named. A redirect is an answer, not followed.
        """
        timeout = call_context.remaining(self._timeout)
        try:
            with deadline.of(time.monotonic() + timeout):
                response = self._session.request(
                    method,
                    url,
                    headers=dict(headers),
                    data=body,
                    timeout=(min(_CONNECT_SECONDS, timeout), timeout),
                    verify=self._verify,
                    allow_redirects=False,
                )
            return Reply(
                status=response.status_code,
                content_type=response.headers.get("Content-Type", ""),
                body=response.content,
            )
        except requests.exceptions.SSLError as error:
            raise ConnectFailed(
                f"{_base(url)}: the certificate was not accepted: {_reason(error)}"
            ) from error
        except (requests.exceptions.ConnectTimeout, urllib3.exceptions.ConnectTimeoutError) as error:
            raise ConnectFailed(
                f"{_base(url)}: no connection within {min(_CONNECT_SECONDS, timeout):.1f} s"
            ) from error
        except (requests.exceptions.ReadTimeout, urllib3.exceptions.ReadTimeoutError) as error:
            raise ReadTimeout(f"{_base(url)}: no answer within {timeout:.1f} s") from error
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            if any(isinstance(cause, _TIMED_OUT) for cause in _causes(error)):
                # requests calls a timeout in the middle of a body a connection error.
                raise ReadTimeout(f"{_base(url)}: the answer did not end within {timeout:.1f} s") from error
            if _never_connected(error):
                raise ConnectFailed(f"{_base(url)}: cannot connect: {_reason(error)}") from error
            raise ConnectionLost(f"{_base(url)}: the connection broke: {_reason(error)}") from error

    def close(self) -> None:
        """Close the idle connections."""
        self._session.close()


def _never_connected(error: BaseException) -> bool:
    return any(isinstance(cause, urllib3.exceptions.NewConnectionError) for cause in _causes(error))


def _reason(error: BaseException) -> str:
    """The innermost cause in few words: the outer ones repeat the URL and object addresses."""
    innermost = list(_causes(error))[-1]
    return getattr(innermost, "strerror", None) or str(innermost) or type(innermost).__name__


def _causes(error: BaseException) -> list[BaseException]:
    chain: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in chain:
        chain.append(following)
        reason = getattr(following, "reason", None)
        first = following.args[0] if following.args else None
        inner = next((item for item in (reason, first) if isinstance(item, BaseException)), None)
        following = inner or following.__cause__ or following.__context__
    return chain


def _base(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}"
