"""Answers of the gateway that a test changes before the driver gets them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from csi_powerflex.simulator.message import Request, Response
from csi_powerflex.simulator.routes import Route
from tests.controller.driver import refused
from tests.controller.world import World

Change = Callable[[Any], Any]
"""Gets a decoded answer and returns the one to send instead: decoded, as bytes or as a whole response."""

ChangeAnswer = Callable[[str, Change], None]
"""Change what a route answers from now on."""


@contextlib.contextmanager
def changed_answers(world: World) -> Iterator[ChangeAnswer]:
    """Change the answers of the first system. Asserts at the end that each change was used."""
    gateway = world.simulator.gateway
    run, changes, changed_routes = gateway.run, dict[str, Change](), set[str]()

    def answer(route: Route, request: Request) -> Response:
        response = run(route, request)
        if route.name not in changes:
            return response
        changed_routes.add(route.name)
        changed = changes[route.name](json.loads(response.content()))
        if isinstance(changed, Response):
            return changed
        content = changed if isinstance(changed, bytes) else json.dumps(changed).encode()
        return Response(response.status, content, response.content_type, response.headers)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(gateway, "run", answer)
        yield changes.__setitem__
    assert changed_routes == changes.keys(), "no request got a changed answer"


def unreadable(call: Callable[[], object]) -> str:
    """Make a call that fails because the array's answer cannot be used; returns the error message."""
    text = refused(grpc.StatusCode.UNAVAILABLE, call)
    assert "unexpected" not in text
    return text
