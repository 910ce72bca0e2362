"""Requests and responses of the simulated gateway, as plain values without sockets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

import msgspec

JSON = "application/json"
HTML = "text/html"


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request.

    ``path`` is percent-encoded, as the client sent it. The names in ``headers`` are in lower case.
    ``connection`` is the client's address and port, for the request log.
    """

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    connection: str = ""


@dataclass(frozen=True, slots=True)
class Response:
    """One HTTP response. A ``body`` that is not bytes is sent in pieces."""

    status: int
    body: bytes | Iterable[bytes] = b""
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)

    def content(self) -> bytes:
        """The whole body in one piece."""
        return self.body if isinstance(self.body, bytes) else b"".join(self.body)


_encoder = msgspec.json.Encoder()

PIECE = 256
"""The number of objects in one piece of a long list."""


def json_response(value: object, status: int = 200) -> Response:
    """``value`` as JSON."""
    return Response(status, _encoder.encode(value))


def json_list(rendered: Iterable[object]) -> Response:
    """A JSON array. A long one is encoded while it is sent."""
    source = iter(rendered)
    first = list(islice(source, PIECE))
    if len(first) < PIECE:
        return json_response(first)
    return Response(200, _pieces(first, source))


def _pieces(batch: list[object], source: Iterator[object]) -> Iterator[bytes]:
    opening = b"["
    while batch:
        yield opening + _encoder.encode(batch)[1:-1]
        opening = b","
        batch = list(islice(source, PIECE))
    yield b"]"
