"""The thin shell around the gateway: HTTP in, HTTP out, and the carrying out of faults.

It knows nothing of PowerFlex. Reads are handled on the event loop, where they take some microseconds;
changes one at a time; those that move data in a thread, so that others are still answered meanwhile.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from csi_powerflex.simulator.admin import Admin
from csi_powerflex.simulator.faults import FaultKind, Plan, cut_short, of_wrong_shape
from csi_powerflex.simulator.gateway import Gateway
from csi_powerflex.simulator.message import Request, Response
from csi_powerflex.simulator.resources.resource_type import Effect
from csi_powerflex.simulator.routes import Route

Scope = MutableMapping[str, Any]  # as the ASGI specification has it
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_TRANSPORT = "simulator.transport"
_THAW_SECONDS = 0.02
_DRIP_SECONDS = 0.2


class Protocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol, which lets the application cut the connection."""

    def on_message_begin(self) -> None:
        """Put the transport where the application finds it."""
        super().on_message_begin()
        self.scope["extensions"] = {_TRANSPORT: {"transport": self.transport}}


class Application:
    """One gateway as an ASGI application."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._changes = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, with the trouble it meets."""
        request = await read_request(scope, receive)
        route = self._gateway.route(request)
        entry, plan = self._gateway.begin(route, request)
        began = time.perf_counter()
        try:
            response = await self._answer(route, request, plan)
            if response is None or plan.has(FaultKind.LOST_REPLY):
                _cut(scope)
                return
            entry.status = response.status
            if plan.has(FaultKind.ENDLESS):
                await _never_end(response, send)
            await send_response(_spoiled(response, plan), send)
        finally:
            entry.seconds = time.perf_counter() - began

    async def _answer(self, route: Route, request: Request, plan: Plan) -> Response | None:
        """The response; None when the connection is to be cut before anything happens."""
        if not plan.faults:
            return await self._run(route, request)
        if plan.delay:
            await asyncio.sleep(plan.delay)
        freeze = plan.has(FaultKind.FREEZE)
        while freeze is not None and self._gateway.faults.is_there(freeze.id):
            await asyncio.sleep(_THAW_SECONDS)
        if plan.has(FaultKind.RESET):
            return None
        error = plan.error
        if error is not None and not error.after_effect:
            return error.answer()
        stale = plan.has(FaultKind.STALE)
        if stale is not None and route.effect is Effect.READ:
            return self._gateway.run_in_the_past(route, request, stale)
        response = await self._run(route, request)
        return response if error is None else error.answer()

    async def _run(self, route: Route, request: Request) -> Response:
        if route.effect is Effect.READ:
            return self._gateway.run(route, request)
        async with self._changes:
            if route.effect is Effect.SLOW:
                return await asyncio.to_thread(self._gateway.run, route, request)
            return self._gateway.run(route, request)


class AdminApplication:
    """The admin port as an ASGI application; its calls may wait for a change in progress, so in a thread."""

    def __init__(self, admin: Admin) -> None:
        self._admin = admin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        request = await read_request(scope, receive)
        await send_response(await asyncio.to_thread(self._admin.handle, request), send)


def _spoiled(response: Response, plan: Plan) -> Response:
    if plan.has(FaultKind.TRUNCATED):
        response = cut_short(response)
    if plan.has(FaultKind.WRONG_JSON):
        response = of_wrong_shape(response)
    return response


def _cut(scope: Scope) -> None:
    """Cut the connection at once: the client sees a reset."""
    transport = scope["extensions"][_TRANSPORT]["transport"]
    opened = transport.get_extra_info("socket")
    if opened is not None:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


async def _never_end(response: Response, send: Send) -> None:
    """Begin to answer, then drip blanks for ever: until the client or the server goes away."""
    headers = [(b"content-type", response.content_type.encode())]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    while True:
        await send({"type": "http.response.body", "body": b" ", "more_body": True})
        await asyncio.sleep(_DRIP_SECONDS)


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
