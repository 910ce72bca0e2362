"""A CSI client that calls the driver as Kubernetes does."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import grpc

from csi_powerflex.pb import csi_pb2, csi_pb2_grpc

_SECONDS = 60.0

Request = TypeVar("Request")
Answer = TypeVar("Answer")


class Refused(Exception):
    """The driver answered with an error."""

    def __init__(self, rpc: str, code: grpc.StatusCode, detail: str) -> None:
        super().__init__(f"{rpc} answered {code.name}: {detail}")
        self.code = code
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of a call, as the driver reports it."""

    gateway_requests: int


class Client:
    """A client of one CSI endpoint. ``cost`` is the cost of the last call."""

    def __init__(self, socket: Path) -> None:
        self._channel = grpc.insecure_channel(f"unix:{socket}")
        self.controller = csi_pb2_grpc.ControllerStub(self._channel)
        self.node = csi_pb2_grpc.NodeStub(self._channel)
        self.identity = csi_pb2_grpc.IdentityStub(self._channel)
        self.cost = Cost(0)

    def call(self, rpc: grpc.UnaryUnaryMultiCallable[Request, Answer], request: Request) -> Answer:
        """Make one call. Wait for the endpoint, which may have just been restarted.

        Raises:
            Refused: the driver answered with an error.
        """
        try:
            answer, call = rpc.with_call(request, timeout=_SECONDS, wait_for_ready=True)
        except grpc.RpcError as error:
            self._note_cost(error.trailing_metadata() or ())
            name = type(request).__name__.removesuffix("Request")
            raise Refused(name, error.code(), error.details() or "") from error
        self._note_cost(call.trailing_metadata() or ())
        return answer

    def _note_cost(self, metadata: Iterable[Any]) -> None:
        costs = {entry.key: entry.value for entry in metadata}
        self.cost = Cost(int(costs.get("x-gateway-requests", "0")))

    def answers(self) -> bool:
        """Whether the endpoint answers that it is ready."""
        try:
            return bool(self.identity.Probe(csi_pb2.ProbeRequest(), timeout=1.0).ready.value)
        except grpc.RpcError:
            return False

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()
