"""A client for tests that calls a gateway without sockets. A call takes microseconds."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from csi_powerflex.simulator.gateway import Gateway
from csi_powerflex.simulator.message import Request, Response


class Unexpected(Exception):
    """The gateway answered with a status other than 200; see ``answer``."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"HTTP {answer.status}: {answer.value}")
        self.answer = answer


@dataclass(frozen=True, slots=True)
class Answer:
    """A response with decoded JSON. HTML stays text."""

    status: int
    value: Any
    response: Response

    @property
    def code(self) -> int:
        """``errorCode`` of an error."""
        return int(self.value["errorCode"])


class Client:
    """A client that is logged in to a gateway."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.log_in()

    def log_in(self) -> None:
        """Get a new token."""
        user = self.gateway.array.settings.username
        self.authorization = f"Bearer {self.gateway.sessions.login_to_gateway(user)}"

    def send(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        """Send a request. Returns the answer, even if it is an error."""
        request = Request(
            method=method,
            path=path,
            headers={"authorization": self.authorization, **headers},
            body=b"" if body is None else json.dumps(body).encode(),
        )
        response = self.gateway.handle(request)
        content = response.content()
        is_json = response.content_type == "application/json" and content
        return Answer(response.status, json.loads(content) if is_json else content.decode(), response)

    def get(self, path: str) -> Any:
        """The decoded answer of a GET.

        Raises:
            Unexpected: the status is not 200.
        """
        return _expected(self.send("GET", path))

    def post(self, path: str, body: object = None) -> Any:
        """The decoded answer of a POST.

        Raises:
            Unexpected: the status is not 200.
        """
        return _expected(self.send("POST", path, {} if body is None else body))

    def act(self, type_name: str, object_id: str, action: str, **body: object) -> Any:
        """The decoded answer of an action on one object.

        Raises:
            Unexpected: the status is not 200.
        """
        return self.post(f"/api/instances/{type_name}::{object_id}/action/{action}", body)

    def error(self, type_name: str, object_id: str, action: str, **body: object) -> Answer:
        """The answer to an action, even if it is an error."""
        return self.send("POST", f"/api/instances/{type_name}::{object_id}/action/{action}", body)


def _expected(answer: Answer) -> Any:
    if answer.status != 200:
        raise Unexpected(answer)
    return answer.value
