"""RPCs that answer with a stream pass the same interceptor as all others."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from csi_powerflex import call_context
from csi_powerflex.csi import server
from csi_powerflex.errors import NotFound
from csi_powerflex.pb import csi_pb2, csi_pb2_grpc
from tests.contract.conftest import PATIENCE_SECONDS, failure

Answers = Iterator[csi_pb2.GetMetadataAllocatedResponse]
REQUEST = csi_pb2.GetMetadataAllocatedRequest(snapshot_id="s1")


class Metadata(csi_pb2_grpc.SnapshotMetadataServicer):
    """Answers as the test says."""

    answers: Callable[[], Answers]

    def GetMetadataAllocated(  # noqa: N802 - the protocol's name
        self,
        request: csi_pb2.GetMetadataAllocatedRequest,  # noqa: ARG002
        context: grpc.ServicerContext,  # noqa: ARG002
    ) -> Answers:
        yield from self.answers()


@pytest.fixture
def metadata() -> Metadata:
    return Metadata()


@pytest.fixture
def stub(socket: Path, metadata: Metadata) -> Iterator[csi_pb2_grpc.SnapshotMetadataStub]:
    def register(grpc_server: grpc.Server) -> None:
        csi_pb2_grpc.add_SnapshotMetadataServicer_to_server(metadata, grpc_server)

    with (
        server.serving(f"unix://{socket}", [register]),
        grpc.insecure_channel(f"unix:{socket}") as channel,
    ):
        yield csi_pb2_grpc.SnapshotMetadataStub(channel)


def test_a_stream_has_a_call_context_and_is_logged(
    stub: csi_pb2_grpc.SnapshotMetadataStub, metadata: Metadata, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", logger="csi_powerflex")
    seen: list[call_context.CallContext] = []

    def answers() -> Answers:
        for size in (1, 2):
            context = call_context.current()
            assert context is not None
            seen.append(context)
            yield csi_pb2.GetMetadataAllocatedResponse(volume_capacity_bytes=size)

    metadata.answers = answers
    call = stub.GetMetadataAllocated(REQUEST, timeout=PATIENCE_SECONDS)
    assert [answer.volume_capacity_bytes for answer in call] == [1, 2]
    assert seen[0] is seen[1]
    assert (seen[0].rpc, seen[0].deadline is not None) == ("GetMetadataAllocated", True)
    assert dict(call.trailing_metadata())["x-request-id"] == seen[0].request_id
    assert [event for event in caplog.messages if event.startswith("call ")] == ["call began", "call ended"]


@pytest.mark.parametrize("answered", [0, 2])
def test_an_error_in_a_stream_gets_the_code_that_it_stands_for(
    stub: csi_pb2_grpc.SnapshotMetadataStub, metadata: Metadata, answered: int
) -> None:
    def answers() -> Answers:
        for size in range(answered):
            yield csi_pb2.GetMetadataAllocatedResponse(volume_capacity_bytes=size)
        raise NotFound("there is no such snapshot")

    metadata.answers = answers
    got: list[int] = []

    def read() -> None:
        call = stub.GetMetadataAllocated(REQUEST, timeout=PATIENCE_SECONDS)
        got.extend(answer.volume_capacity_bytes for answer in call)

    assert failure(read) == (grpc.StatusCode.NOT_FOUND, "there is no such snapshot")
    assert len(got) == answered


def test_an_unexpected_error_in_a_stream_is_told_by_its_kind(
    stub: csi_pb2_grpc.SnapshotMetadataStub, metadata: Metadata
) -> None:
    def answers() -> Answers:
        yield csi_pb2.GetMetadataAllocatedResponse()
        raise ZeroDivisionError("a defect")

    metadata.answers = answers
    code, text = failure(lambda: list(stub.GetMetadataAllocated(REQUEST, timeout=PATIENCE_SECONDS)))
    assert code is grpc.StatusCode.INTERNAL
    assert re.fullmatch(
        r"unexpected ZeroDivisionError in GetMetadataAllocated; the driver's log has its stack .*", text
    )


def test_a_stream_that_the_caller_leaves_gives_back_what_it_held(
    stub: csi_pb2_grpc.SnapshotMetadataStub, metadata: Metadata
) -> None:
    closed = threading.Semaphore(0)

    def answers() -> Answers:
        with contextlib.closing(Closer(closed)):
            while True:
                yield csi_pb2.GetMetadataAllocatedResponse()

    metadata.answers = answers
    for _ in range(server.WORKERS + 1):  # more than there are threads
        call = stub.GetMetadataAllocated(REQUEST, timeout=PATIENCE_SECONDS)
        next(call)
        call.cancel()
        with contextlib.suppress(grpc.RpcError):
            list(call)

    metadata.answers = lambda: iter([csi_pb2.GetMetadataAllocatedResponse(volume_capacity_bytes=7)])
    assert [
        answer.volume_capacity_bytes
        for answer in stub.GetMetadataAllocated(REQUEST, timeout=PATIENCE_SECONDS)
    ] == [7]
    for _ in range(server.WORKERS + 1):
        assert closed.acquire(timeout=PATIENCE_SECONDS)
    assert not closed.acquire(blocking=False)


class Closer:
    """Tells that it was closed."""

    def __init__(self, closed: threading.Semaphore) -> None:
        self._closed = closed

    def close(self) -> None:
        self._closed.release()


def test_a_kind_of_method_that_is_not_guarded_is_refused_at_the_start(socket: Path) -> None:
    def register(grpc_server: grpc.Server) -> None:
        upload: Any = lambda requests, _context: next(requests)  # noqa: E731 - typed, as its stub needs
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "Upload": grpc.stream_unary_rpc_method_handler(upload)
        }
        grpc_server.add_registered_method_handlers("csi.v1.Upload", handlers)

    with (
        pytest.raises(TypeError, match=r"csi\.v1\.Upload/Upload takes a stream of requests"),
        server.serving(f"unix://{socket}", [register]),
    ):
        pass
    assert not socket.exists()
