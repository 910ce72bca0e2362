"""HTTPS requests to a gateway, each with a deadline.

This module knows nothing about tokens or PowerFlex. A caller must know whether a failed request may have had
an effect. So there are three errors: ``ConnectFailed``, ``ConnectionLost`` and ``ReadTimeout``.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import requests
import urllib3.exceptions

from csi_powerflex import call_context, connection_errors, units
from csi_powerflex.config.systems.schema import SystemSettings
from csi_powerflex.config.systems.trust import trust_of
from csi_powerflex.errors import ConnectFailed, DeadlineExceeded, Unavailable
from csi_powerflex.gateway import deadline
from csi_powerflex.gateway.deadline import DeadlineAdapter, Exchange, origin_of
from csi_powerflex.observability.log import Log

log = Log(__name__)

_CONNECT_SECONDS = 10.0
_TIMED_OUT = (urllib3.exceptions.ReadTimeoutError, TimeoutError)
# How long a repeatable request waits for an answer on a connection that was idle.
_PATIENCE_SECONDS = 5.0
_PART_BYTES = 1 << 20
# The most connections that are kept open to one gateway.
_POOL_SIZE = 100


# Which authorities are trusted without a caFile.
_SYSTEMS_STORE = "the operating system's list of authorities (caFile is not set)"


class ConnectionLost(Unavailable):
    """The connection broke after the request was sent. The request may or may not have had its effect."""


class ReadTimeout(DeadlineExceeded):
    """No whole answer arrived in time. The request may or may not have had its effect."""


class UnusableAnswer(Unavailable):
    """The answer is too long or compressed. The request may or may not have had its effect."""


class Reader(Protocol):
    """Takes the body of a successful answer part by part, so that it is never in memory as a whole."""

    max_bytes: int
    """The longest body."""

    def begin(self) -> None:
        """A new body begins. If there was one before, its request is sent again."""
        ...

    def add(self, part: bytes) -> bool:
        """Take the next part. Returns False if no further part is of use."""
        ...


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete HTTP answer. The body is empty if the request's reader took it.

    ``date`` is the Date header; empty if there is none.
    """

    status: int
    body: bytes | bytearray
    date: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """One request.

    Attributes:
        method: GET or POST.
        url: the whole URL.
        headers: the headers, with the token.
        body: the body, or None.
        repeatable: whether it may be sent twice.
        max_bytes: the longest body of an answer that is accepted.
        reader: takes the body of a successful answer; None to return it with the answer.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None
    repeatable: bool
    max_bytes: int
    reader: Reader | None = None


class Http:
    """A pool of keep-alive connections to the endpoints of one system. Threads may share it.

    Requests go straight to the adapter of the library requests. Its Session would merge its own settings into
    each request, which takes much processor time. A Session also reads the environment: a ``.netrc`` would
    replace the token, and ``REQUESTS_CA_BUNDLE`` the configured certificate authority.

    Raises:
        FailedPrecondition: caFile cannot be used. It is read only here.
    """

    def __init__(self, settings: SystemSettings) -> None:
        self._timeout = settings.request_timeout
        self._connect_share = len(settings.endpoints)
        self._authority = f"caFile {settings.ca_file}" if settings.ca_file else _SYSTEMS_STORE
        if not settings.verify_certificate:
            log.warning("certificates of this system are not verified", system=settings.label)
            # This is logged once, here. urllib3 would warn at each request.
            warnings.filterwarnings("ignore", category=urllib3.exceptions.InsecureRequestWarning)
        self._adapter = DeadlineAdapter(
            trust=trust_of(settings) if settings.verify_certificate else None,
            pool_connections=len(settings.endpoints),
            pool_maxsize=_POOL_SIZE,
            pool_block=False,
            max_retries=0,
        )

    def send(self, request: Request) -> Reply:
        """Send one request and read the whole answer. Redirects are not followed: they are answers.

        If a connection that was idle gives no answer, a repeatable request is sent again on a new one.

        Raises:
            ConnectFailed: no connection could be made, so the request had no effect.
            ConnectionLost, ReadTimeout: it is not known whether the request had its effect.
            UnusableAnswer: the answer is too long or compressed.
            DeadlineExceeded: the call has no time left, so nothing was sent.
        """
        until = time.monotonic() + call_context.remaining(self._timeout)
        patience = _PATIENCE_SECONDS if request.repeatable else math.inf
        with deadline.exchange(until, patience=patience) as exchange:
            try:
                return self._exchange(request, exchange)
            except (ConnectionLost, ReadTimeout) as error:
                repeated = request.repeatable and exchange.old_connection and time.monotonic() < until
                if not repeated:
                    raise
                log.debug("request sent again on a new connection", reason=error)
        with deadline.exchange(until, new_connection=True) as exchange:
            return self._exchange(request, exchange)

    def _exchange(self, request: Request, exchange: Exchange) -> Reply:
        timeout = max(exchange.deadline - time.monotonic(), deadline.SHORTEST_SECONDS)
        # A further endpoint must still have time if this one accepts no connection.
        connect = min(_CONNECT_SECONDS, timeout / self._connect_share)
        try:
            with self._adapter.send(_prepared(request), stream=True, timeout=(connect, timeout)) as response:
                return _reply(response, request)
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            origin = origin_of(request.url)
            if exchange.sent:
                raise _failure_after_sending(origin, error, timeout) from error
            late = _no_connection(exchange, connect)
            raise _failure_before_sending(origin, error, late, self._authority) from error

    def close(self) -> None:
        """Close the idle connections."""
        self._adapter.close()


def _prepared(request: Request) -> requests.PreparedRequest:
    """The request in the form that an adapter takes. Its headers are complete and need no merging."""
    prepared = requests.PreparedRequest()
    headers = {**request.headers, "Accept-Encoding": "identity"}
    if request.body is not None:
        # Without a length the adapter would send the body in chunks.
        headers["Content-Length"] = str(len(request.body))
    prepared.method, prepared.url, prepared.body = request.method, request.url, request.body
    # The adapter and urllib3 only read them, so a plain dictionary will do.
    prepared.headers = headers  # type: ignore[assignment]
    return prepared


def _reply(response: requests.Response, request: Request) -> Reply:
    """Read the whole answer. Raises as ``_parts``."""
    date = response.raw.headers.get("Date", "")
    reader = request.reader if 200 <= response.status_code < 300 else None
    if reader is None:
        body = bytearray()
        for part in _parts(response.raw, request.url, request.max_bytes):
            body += part
        return Reply(response.status_code, body, date)
    reader.begin()
    for part in _parts(response.raw, request.url, reader.max_bytes):
        if not reader.add(part):
            break
    return Reply(response.status_code, b"", date)


def _parts(raw: urllib3.BaseHTTPResponse, url: str, max_bytes: int) -> Iterator[bytes]:
    """The body of an answer. If it is not read to its end, the connection is closed.

    Raises:
        UnusableAnswer: the body is too long, or is compressed although that was not asked for.
    """
    origin = origin_of(url)
    encoding = raw.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise UnusableAnswer(
            f"{origin}: the answer is compressed with {encoding[:20]!r}, which was not asked for; is a "
            "proxy between the driver and the gateway?"
        )
    length = 0
    while part := raw.read(_PART_BYTES, decode_content=False):
        length += len(part)
        if length > max_bytes:
            raise UnusableAnswer(
                f"{origin}: the answer is longer than {max_bytes // units.MIB} MiB; "
                "is its endpoint a PowerFlex gateway?"
            )
        yield part


def _no_connection(exchange: Exchange, seconds: float) -> str:
    """What was missing when the time to connect was over."""
    kind = "TLS connection" if exchange.connected else "connection"
    return f"no {kind} within {units.seconds(seconds)}"


def _failure_before_sending(origin: str, error: Exception, late: str, authority: str) -> ConnectFailed:
    """The error for a request that was not sent: there was no connection, or no valid certificate.

    Args:
        origin: the gateway.
        error: an error of requests, urllib3 or the socket.
        late: what to say if the time was over.
        authority: as for ``connection_errors.before_sending``.
    """
    innermost = connection_errors.causes(error)[-1]
    if isinstance(error, requests.exceptions.Timeout) or isinstance(innermost, TimeoutError):
        return ConnectFailed(f"{origin}: {late}")
    return ConnectFailed(f"{origin}: {connection_errors.before_sending(error, authority)}")


def _failure_after_sending(origin: str, error: Exception, timeout: float) -> ConnectionLost | ReadTimeout:
    """The error for a request that may have had its effect.

    Args:
        origin: the gateway.
        error: as for ``_failure_before_sending``.
        timeout: the seconds that the request had.
    """
    if isinstance(error, (requests.exceptions.ReadTimeout, urllib3.exceptions.ReadTimeoutError)):
        return ReadTimeout(f"{origin}: no answer within {units.seconds(timeout)}")
    if any(isinstance(cause, _TIMED_OUT) for cause in connection_errors.causes(error)):
        # The library requests reports a timeout in the middle of a body as a connection error.
        return ReadTimeout(f"{origin}: the answer did not end within {units.seconds(timeout)}")
    return ConnectionLost(f"{origin}: the connection broke: {connection_errors.reason(error)}")
