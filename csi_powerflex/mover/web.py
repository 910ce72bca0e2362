"""Downloads and uploads over HTTP and HTTPS.

Nothing comes from the environment: no proxy and no netrc. Certificates are always verified. A redirect never
leads from HTTPS to HTTP, and credentials are sent only to the server that was named. A URL may have a
signature in its query, so messages show it without its query.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

import urllib3
import urllib3.exceptions

from csi_powerflex import connection_errors, tls
from csi_powerflex.errors import InvalidArgument, Unavailable
from csi_powerflex.model.mover import Phase
from csi_powerflex.mover.disk import Buffer, Disk
from csi_powerflex.mover.outcome import Refused, Work
from csi_powerflex.units import INT64_MAX, MIB, readable, whole_number

_PIECE = 4 * MIB
_REDIRECTS = 5
_CONNECT_SECONDS, _READ_SECONDS = 30.0, 120.0
_LONGEST_CREDENTIALS = 64 * 1024
_ALGORITHMS = ("sha256", "sha512")


@dataclass(frozen=True, slots=True)
class Checksum:
    """The checksum that a file must have. ``digest`` is in hexadecimal form."""

    algorithm: str
    digest: str

    @classmethod
    def parse(cls, text: str) -> Checksum:
        """Read ``sha256:<hex>`` or ``sha512:<hex>``.

        Raises:
            InvalidArgument: it has another form.
        """
        algorithm, _, digest = text.strip().partition(":")
        digest = digest.lower()
        if algorithm in _ALGORITHMS and len(digest) == hashlib.new(algorithm).digest_size * 2:
            with contextlib.suppress(ValueError):
                bytes.fromhex(digest)
                return cls(algorithm, digest)
        raise InvalidArgument(
            f"the checksum {text!r} has another form than sha256:<64 digits> or sha512:<128 digits>"
        )


class Hashes:
    """The SHA-256 of a file that passes, and the checksum that was asked for."""

    def __init__(self, wanted: Checksum | None) -> None:
        self._wanted = wanted
        self._own = hashlib.sha256()
        self._other = None if wanted is None else hashlib.new(wanted.algorithm)

    def update(self, data: bytes | memoryview) -> None:
        """Take the next part of the file."""
        self._own.update(data)
        if self._other is not None:
            self._other.update(data)

    def digest(self, name: str) -> str:
        """The digest of the whole file, as ``sha256:<hex>``.

        Raises:
            Refused: the file has another checksum than the one that was asked for.
        """
        if self._wanted is not None and self._other is not None:
            found = self._other.hexdigest()
            if found != self._wanted.digest:
                raise Refused(
                    f"{name} has the {self._wanted.algorithm} checksum {found}, and {self._wanted.digest} "
                    "was asked for; check the checksum and the source"
                )
        return f"sha256:{self._own.hexdigest()}"


def digest_of(path: Path, wanted: Checksum | None, work: Work) -> str:
    """The digest of a file or device, see ``Hashes.digest``.

    Raises:
        Refused: it has another checksum than the one that was asked for.
        Unavailable: it cannot be read.
        Stopped: the process has to end.
    """
    hashes, done = Hashes(wanted), 0
    try:
        with path.open("rb", buffering=0) as file:
            work.begin(Phase.CHECKING, file.seek(0, os.SEEK_END))
            file.seek(0)
            while piece := file.read(_PIECE):
                hashes.update(piece)
                done += len(piece)
                work.at(done)
    except OSError as error:
        raise Unavailable(f"{path} cannot be read: {error.strerror}") from error
    return hashes.digest(path.name)


@dataclass(frozen=True, slots=True)
class Server:
    """A URL, and what is needed to use it.

    Attributes:
        url: with the scheme http or https. It may be a secret.
        authorities: the certificates to trust, in PEM; None for those of the operating system.
        authorization: the value of the header of this name; empty for none.
    """

    url: str = field(repr=False)
    authorities: bytes | None = field(default=None, repr=False)
    authorization: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        _check_url(self.url, has_credentials=bool(self.authorization))

    @property
    def shown(self) -> str:
        """The URL without what may be secret."""
        return shown(self.url)


@dataclass(frozen=True, slots=True)
class Downloaded:
    """A downloaded file: its size in bytes and its digest, as ``sha256:<hex>``."""

    size: int
    digest: str


def shown(url: str) -> str:
    """A URL without user, query and fragment."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"


def authorization_in(content: bytes, name: str) -> str:
    """The header for a file of credentials: one line with a bearer token, or two with a user and a password.

    Raises:
        InvalidArgument: it has another form.
    """
    lines = content.decode("utf-8", "replace").rstrip("\r\n").splitlines()
    usable = len(content) <= _LONGEST_CREDENTIALS and all(line.isprintable() and line for line in lines)
    if usable and len(lines) == 1 and lines[0].isascii() and " " not in lines[0]:
        return f"Bearer {lines[0]}"
    if usable and len(lines) == 2 and ":" not in lines[0]:
        return f"Basic {base64.b64encode(':'.join(lines).encode()).decode()}"
    raise InvalidArgument(
        f"the credentials file {name} is not usable; give one line with a bearer token, or two lines with "
        "a user and a password"
    )


def download(server: Server, into: Path, *, limit: int, checksum: Checksum | None, work: Work) -> Downloaded:
    """Download a whole file.

    The server must say how long it is, or end it as HTTP's chunks do. Otherwise a broken connection looks
    like the end, so a checksum is needed.

    Raises:
        Refused: the file does not exist, is longer than ``limit``, or has another checksum.
        Unavailable: the server does not answer, or the connection broke.
        Stopped: the process has to end.
    """
    with _answer("GET", server, {"Accept-Encoding": "identity"}) as answer:
        length = _length_of(answer, server, limit=limit, has_checksum=checksum is not None)
        work.begin(Phase.DOWNLOADING, length)
        hashes, size = Hashes(checksum), 0
        try:
            with into.open("wb") as file:
                for piece in answer.stream(_PIECE, decode_content=False):
                    size += len(piece)
                    if size > limit:
                        raise _too_long(server, size, limit)
                    hashes.update(piece)
                    file.write(piece)
                    work.at(size)
                file.flush()
                os.fsync(file.fileno())
        except urllib3.exceptions.HTTPError as error:
            # urllib3 tells of a chunk without its end in Python's words.
            is_chunk = isinstance(connection_errors.causes(error)[-1], ValueError)
            why = "the answer ended too early" if is_chunk else connection_errors.reason(error)
            raise Unavailable(
                f"the download of {server.shown} broke off after {size} bytes: {why}"
            ) from error
        except OSError as error:
            raise Unavailable(f"the download cannot be written to {into}: {error.strerror}") from error
    if length is not None and size != length:
        raise Unavailable(f"{server.shown} has {length} bytes, and only {size} came; try again")
    work.end(size)
    return Downloaded(size, hashes.digest(server.shown))


def upload(server: Server, disk: Disk, work: Work) -> Downloaded:
    """Send a whole disk or file with HTTP PUT; returns what was sent.

    Raises:
        Refused: the server refuses it.
        Unavailable: the server does not answer, or the connection broke.
        Stopped: the process has to end.
    """
    hashes = Hashes(None)

    def body() -> Iterator[bytes]:
        buffer, sent = Buffer(_PIECE), 0
        work.begin(Phase.UPLOADING, disk.size)
        while sent < disk.size:
            length = min(_PIECE, disk.size - sent)
            disk.read(buffer, sent, length)
            hashes.update(buffer.view[:length])
            yield bytes(buffer.view[:length])
            sent += length
            work.at(sent)
        work.end(sent)

    headers = {"Content-Length": str(disk.size), "Content-Type": "application/octet-stream"}
    with _answer("PUT", server, headers, body=body()):
        return Downloaded(disk.size, hashes.digest(server.shown))


def _check_url(url: str, *, has_credentials: bool) -> None:
    parts = _parts(url)
    if parts is None:
        raise InvalidArgument("the URL is not usable; give one with http or https and a host")
    if "@" in parts.netloc:
        raise InvalidArgument(f"the URL {shown(url)} has a user in it; give a credentials file instead")
    if has_credentials and parts.scheme != "https":
        raise InvalidArgument(f"credentials are not sent to {shown(url)}, because it is not HTTPS; use HTTPS")


def _parts(url: str) -> SplitResult | None:
    """The parts of a URL; None if it is not usable."""
    if not url.isascii() or not url.isprintable() or " " in url:
        return None
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return None
    return parts if usable else None


@contextlib.contextmanager
def _answer(
    method: str, server: Server, headers: Mapping[str, str], body: Iterator[bytes] | None = None
) -> Iterator[urllib3.BaseHTTPResponse]:
    """The successful answer to a request, after redirects. A PUT is not redirected: its body passes once."""
    try:
        context = tls.trusting(server.authorities)
    except tls.UnusableAuthorities as error:
        raise InvalidArgument(f"the file of certificate authorities is not usable: {error}") from error
    timeout = urllib3.Timeout(connect=_CONNECT_SECONDS, read=_READ_SECONDS)
    with urllib3.PoolManager(ssl_context=context, timeout=timeout, retries=False) as pool:
        url = server.url
        for _ in range(_REDIRECTS + 1):
            answer = _request(pool, method, url, server, headers, body)
            try:
                location = _redirect(answer, url, server) if method == "GET" else None
                if location is None:
                    _check_status(answer, method, url)
                    yield answer
                    return
                url = location
            finally:
                answer.close()
    raise Refused(f"{server.shown} redirects more than {_REDIRECTS} times; give the URL of the file itself")


def _request(
    pool: urllib3.PoolManager,
    method: str,
    url: str,
    server: Server,
    headers: Mapping[str, str],
    body: Iterator[bytes] | None,
) -> urllib3.BaseHTTPResponse:
    sent = dict(headers)
    if server.authorization and _origin(url) == _origin(server.url):
        sent["Authorization"] = server.authorization
    extra: dict[str, Any] = {} if body is None else {"body": body}
    try:
        return pool.request(method, url, headers=sent, preload_content=False, redirect=False, **extra)
    except (urllib3.exceptions.HTTPError, OSError, UnicodeError) as error:
        why = connection_errors.before_sending(error, "the given file of authorities")
        raise Unavailable(f"{method} {shown(url)} failed: {why}") from error


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port


def _redirect(answer: urllib3.BaseHTTPResponse, url: str, server: Server) -> str | None:
    """Where the answer leads to; None if it is no redirect."""
    if answer.status not in (301, 302, 303, 307, 308):
        return None
    given = answer.headers.get("Location", "")
    try:
        # urljoin would complete a URL that has a scheme and no host.
        location = given if urlsplit(given).scheme else urljoin(url, given)
        _check_url(location, has_credentials=False)
    except (InvalidArgument, ValueError) as error:
        raise Refused(f"{shown(url)} redirects to something that is no URL of HTTP: {error}") from error
    if urlsplit(url).scheme == "https" and urlsplit(location).scheme != "https":
        raise Refused(
            f"{server.shown} redirects from HTTPS to HTTP, which is not followed; give a URL with HTTPS"
        )
    return location


def _check_status(answer: urllib3.BaseHTTPResponse, method: str, url: str) -> None:
    accepted = (200,) if method == "GET" else (200, 201, 204)
    if answer.status in accepted:
        return
    text = f"{method} {shown(url)} was answered with status {answer.status}"
    if answer.status in (408, 425, 429) or answer.status >= 500:
        raise Unavailable(f"{text}; try again later")
    if answer.status in (401, 403):
        raise Refused(f"{text}: the credentials, or the signature in the URL, are not accepted; renew them")
    raise Refused(f"{text}; check the URL")


def _length_of(
    answer: urllib3.BaseHTTPResponse, server: Server, *, limit: int, has_checksum: bool
) -> int | None:
    """The length of the file in bytes; None if the server does not say it."""
    encoding = answer.headers.get("Content-Encoding", "identity")
    if encoding.lower() != "identity":
        raise Refused(
            f"{server.shown} sends the file with the encoding {encoding[:40]!r}, which was not asked for"
        )
    stated = answer.headers.get("Content-Length")
    if stated is None:
        if "chunked" in answer.headers.get("Transfer-Encoding", "").lower() or has_checksum:
            return None
        raise Refused(
            f"{server.shown} does not say how long the file is, so a broken download would look like a "
            "whole one; give a checksum"
        )
    length = whole_number(stated.strip(), digits=len(str(INT64_MAX)))
    if length is None:
        raise Unavailable(f"{server.shown} says an unusable length of the file: {stated[:40]!r}")
    if length > limit:
        raise _too_long(server, length, limit)
    return length


def _too_long(server: Server, length: int, limit: int) -> Refused:
    return Refused(
        f"{server.shown} has at least {readable(length)}, and at most {readable(limit)} is accepted; give "
        "a larger volume, or check the URL"
    )
