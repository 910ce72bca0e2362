"""The thin shell around the gateway: HTTP in, HTTP out, and nothing that knows PowerFlex."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from csi_powerflex.simulator.gateway import Gateway
from csi_powerflex.simulator.kinds.kind import Effect
from csi_powerflex.simulator.message import Request, Response

Scope = MutableMapping[str, Any]  # as the ASGI specification has it
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Application:
    """One gateway as an ASGI application.

    Reads are handled on the event loop, where they take some microseconds. Changes are handled one at a
    time; those that move data run in a thread, so that others are still answered meanwhile.
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._changes = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        request = await read_request(scope, receive)
        await send_response(await self._answer(request), send)

    async def _answer(self, request: Request) -> Response:
        route = self._gateway.route(request)
        if route.effect is Effect.READ:
            return self._gateway.run(route, request)
        async with self._changes:
            if route.effect is Effect.SLOW:
                return await asyncio.to_thread(self._gateway.run, route, request)
            return self._gateway.run(route, request)


async def read_request(scope: Scope, receive: Receive) -> Request:
    """The whole request."""
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    client = scope.get("client")
    return Request(
        method=scope["method"],
        path=scope["raw_path"].decode("latin-1"),
        query=scope["query_string"].decode("latin-1"),
        headers={name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]},
        body=body,
        connection=f"{client[0]}:{client[1]}" if client else "",
    )


async def send_response(response: Response, send: Send) -> None:
    """The whole response, piece by piece when it is long."""
    headers = [(b"content-type", response.content_type.encode())] if response.status != 204 else []
    headers += [(name.lower().encode(), value.encode()) for name, value in response.headers.items()]
    if isinstance(response.body, bytes):
        headers.append((b"content-length", str(len(response.body)).encode()))
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": response.body})
        return
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await _send_pieces(response.body, send)


async def _send_pieces(pieces: Iterable[bytes], send: Send) -> None:
    for piece in pieces:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
        await asyncio.sleep(0)  # let others be served between the pieces of a long list
    await send({"type": "http.response.body", "body": b""})
