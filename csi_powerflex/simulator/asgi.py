"""The ASGI application around the gateway. It reads requests, sends responses and applies faults.

It knows nothing of PowerFlex. It handles reads on the event loop, where they take some microseconds. It
handles one change at a time. A change that copies data runs in a thread, so that other requests do not wait
for it.
"""

from __future__ import annotations

import asyncio
import email.utils
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from csi_powerflex.simulator.admin import Admin
from csi_powerflex.simulator.faults import FaultKind, Plan, truncated, wrong_json
from csi_powerflex.simulator.gateway import Gateway
from csi_powerflex.simulator.message import Request, Response
from csi_powerflex.simulator.resources.resource_type import Effect
from csi_powerflex.simulator.routes import Route

Scope = MutableMapping[str, Any]  # the name in the ASGI specification
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_TRANSPORT = "simulator.transport"
_FREEZE_CHECK_SECONDS = 0.02
_ENDLESS_INTERVAL_SECONDS = 0.2


class Protocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol, extended so that the application can break the connection."""

    def on_message_begin(self) -> None:
        """Give the transport to the application in the scope."""
        super().on_message_begin()
        self.scope["extensions"] = {_TRANSPORT: {"transport": self.transport}}


class Application:
    """One gateway as an ASGI application."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._changes = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request and apply its faults."""
        request = await read_request(scope, receive)
        route = self._gateway.route(request)
        entry, plan = self._gateway.begin(route, request)
        began = time.perf_counter()
        try:
            response = await self._answer(route, request, plan)
            if response is None or plan.has(FaultKind.LOST_REPLY):
                _break_connection(scope)
                return
            entry.status = response.status
            if plan.has(FaultKind.ENDLESS):
                await _never_end(response, send)
            date = email.utils.formatdate(self._gateway.array.clock.now(), usegmt=True)
            await send_response(_damaged(response, plan), send, {"Date": date})
        finally:
            entry.seconds = time.perf_counter() - began

    async def _answer(self, route: Route, request: Request, plan: Plan) -> Response | None:
        """The response; None when the connection must break before the request has an effect."""
        if not plan.faults:
            return await self._run(route, request)
        if plan.delay:
            await asyncio.sleep(plan.delay)
        freeze = plan.has(FaultKind.FREEZE)
        while freeze is not None and self._gateway.faults.is_there(freeze.id):
            await asyncio.sleep(_FREEZE_CHECK_SECONDS)
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
    """The admin port as an ASGI application. Requests run in threads, as they may wait for a change."""

    def __init__(self, admin: Admin) -> None:
        self._admin = admin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        request = await read_request(scope, receive)
        await send_response(await asyncio.to_thread(self._admin.handle, request), send)


def _damaged(response: Response, plan: Plan) -> Response:
    if plan.has(FaultKind.TRUNCATED):
        response = truncated(response)
    if plan.has(FaultKind.WRONG_JSON):
        response = wrong_json(response)
    return response


def _break_connection(scope: Scope) -> None:
    """Close the connection so that the client sees a reset."""
    transport = scope["extensions"][_TRANSPORT]["transport"]
    opened = transport.get_extra_info("socket")
    if opened is not None:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


async def _never_end(response: Response, send: Send) -> None:
    """Start a response, then send spaces until the client or the server closes the connection."""
    headers = [(b"content-type", response.content_type.encode())]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    while True:
        await send({"type": "http.response.body", "body": b" ", "more_body": True})
        await asyncio.sleep(_ENDLESS_INTERVAL_SECONDS)


async def read_request(scope: Scope, receive: Receive) -> Request:
    """Read the whole request."""
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


async def send_response(response: Response, send: Send, more: Mapping[str, str] | None = None) -> None:
    """Send the whole response with ``more`` headers, a long one in pieces."""
    headers = [(b"content-type", response.content_type.encode())] if response.status != 204 else []
    named = {**response.headers, **(more or {})}
    headers += [(name.lower().encode(), value.encode()) for name, value in named.items()]
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
        await asyncio.sleep(0)  # serve other requests between the pieces of a long list
    await send({"type": "http.response.body", "body": b""})
