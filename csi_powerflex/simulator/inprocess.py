"""A client that talks to a gateway without sockets: for tests, in microseconds per call."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from csi_powerflex.simulator.gateway import Gateway
from csi_powerflex.simulator.message import Request, Response


class Unexpected(Exception):
    """The gateway answered with another status than 200; ``answer`` is what it said."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"HTTP {answer.status}: {answer.value}")
        self.answer = answer


@dataclass(frozen=True, slots=True)
class Answer:
    """A response with its JSON decoded; HTML stays text."""

    status: int
    value: Any
    response: Response

    @property
    def code(self) -> int:
        """``errorCode`` of a refusal."""
        return int(self.value["errorCode"])


class Client:
    """Someone who is logged in to a gateway."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.log_in()

    def log_in(self) -> None:
        """Take a new token."""
        user = self.gateway.array.settings.username
        self.authorization = f"Bearer {self.gateway.sessions.login_to_gateway(user)}"

    def send(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        """Send a request and return whatever the answer is."""
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

    def act(self, kind: str, object_id: str, action: str, **body: object) -> Any:
        """The decoded answer of an action on one object.

        Raises:
            Unexpected: the status is not 200.
        """
        return self.post(f"/api/instances/{kind}::{object_id}/action/{action}", body)

    def error(self, kind: str, object_id: str, action: str, **body: object) -> Answer:
        """The answer to an action that is expected to be refused."""
        return self.send("POST", f"/api/instances/{kind}::{object_id}/action/{action}", body)


def _expected(answer: Answer) -> Any:
    if answer.status != 200:
        raise Unexpected(answer)
    return answer.value
