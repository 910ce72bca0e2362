"""A real CSI endpoint on a unix socket. A test sets what its methods do."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
from google.protobuf.message import Message

from csi_powerflex.csi import server
from csi_powerflex.csi.identity import Identity
from csi_powerflex.pb import csi_pb2, csi_pb2_grpc

PATIENCE_SECONDS = 60.0
"""Longest wait for another thread. Only a failing test waits so long."""


class Gate:
    """Holds calls until it is opened, and shows when a call has arrived."""

    def __init__(self) -> None:
        self._arrived = threading.Semaphore(0)
        self._open = threading.Event()

    def __call__(self, _request: Message) -> None:
        self._arrived.release()
        assert self._open.wait(PATIENCE_SECONDS)

    def wait_for_call(self) -> None:
        assert self._arrived.acquire(timeout=PATIENCE_SECONDS)

    def open(self) -> None:
        self._open.set()


class Scripted(csi_pb2_grpc.NodeServicer):
    """Node calls that do ``act``. The other methods are not implemented."""

    def __init__(self) -> None:
        self.act: Callable[[Any], object] = lambda _request: None

    def NodeStageVolume(  # noqa: N802 - CSI's name
        self, request: csi_pb2.NodeStageVolumeRequest, _context: grpc.ServicerContext
    ) -> csi_pb2.NodeStageVolumeResponse:
        self.act(request)
        return csi_pb2.NodeStageVolumeResponse()

    def NodeUnstageVolume(  # noqa: N802 - CSI's name
        self, request: csi_pb2.NodeUnstageVolumeRequest, _context: grpc.ServicerContext
    ) -> csi_pb2.NodeUnstageVolumeResponse:
        self.act(request)
        return csi_pb2.NodeUnstageVolumeResponse()

    def NodeGetInfo(  # noqa: N802 - CSI's name
        self, request: csi_pb2.NodeGetInfoRequest, _context: grpc.ServicerContext
    ) -> csi_pb2.NodeGetInfoResponse:
        self.act(request)
        return csi_pb2.NodeGetInfoResponse(node_id="node")


@dataclass(frozen=True)
class Edge:
    """The endpoint being served, and clients of it."""

    channel: grpc.Channel
    node: csi_pb2_grpc.NodeStub
    identity: csi_pb2_grpc.IdentityStub
    scripted: Scripted
    gates: list[Gate] = field(default_factory=list)

    def hold(self) -> Gate:
        """Make all calls from now on wait at a gate."""
        gate = Gate()
        self.gates.append(gate)
        self.scripted.act = gate
        return gate

    def act(self, act: Callable[[Any], object]) -> None:
        self.scripted.act = act


def registrations(scripted: Scripted) -> list[server.Register]:
    return [
        lambda grpc_server: csi_pb2_grpc.add_NodeServicer_to_server(scripted, grpc_server),
        lambda grpc_server: csi_pb2_grpc.add_IdentityServicer_to_server(Identity("csi.test"), grpc_server),
    ]


@pytest.fixture
def socket(tmp_path: Path) -> Path:
    return tmp_path / "csi.sock"


@pytest.fixture
def edge(socket: Path) -> Iterator[Edge]:
    scripted = Scripted()
    with (
        server.serving(f"unix://{socket}", registrations(scripted)),
        grpc.insecure_channel(f"unix:{socket}") as channel,
    ):
        edge = Edge(channel, csi_pb2_grpc.NodeStub(channel), csi_pb2_grpc.IdentityStub(channel), scripted)
        try:
            yield edge
        finally:
            for gate in edge.gates:
                gate.open()


def stage_request(volume: str = "v1", **more: Any) -> csi_pb2.NodeStageVolumeRequest:
    """A request with every required field."""
    return csi_pb2.NodeStageVolumeRequest(
        volume_id=volume,
        staging_target_path="/staging",
        volume_capability=csi_pb2.VolumeCapability(block=csi_pb2.VolumeCapability.BlockVolume()),
        **more,
    )


def unstage_request(volume: str = "v1") -> csi_pb2.NodeUnstageVolumeRequest:
    return csi_pb2.NodeUnstageVolumeRequest(volume_id=volume, staging_target_path="/staging")


def failure(call: Callable[[], object]) -> tuple[grpc.StatusCode, str]:
    """The code and message of a call that fails."""
    with pytest.raises(grpc.RpcError) as failed:
        call()
    error = cast("grpc.Call", failed.value)  # a failed call is both, which the stubs cannot say
    return error.code(), error.details() or ""
