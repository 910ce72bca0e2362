"""The CSI socket: how it is created, who may open it, and when it is removed."""

import contextlib
import os
import signal
import socket as sockets
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from csi_powerflex.csi import server
from csi_powerflex.errors import FailedPrecondition
from csi_powerflex.pb import csi_pb2, csi_pb2_grpc
from tests.contract.conftest import PATIENCE_SECONDS, Scripted, registrations, stage_request

ROOT = Path(__file__).parents[2]


def probe(socket: Path) -> bool:
    # A new connection, not one that other channels of this process share and that has just failed.
    alone = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(f"unix:{socket}", options=alone) as channel:
        identity = csi_pb2_grpc.IdentityStub(channel)
        return identity.Probe(csi_pb2.ProbeRequest(), timeout=PATIENCE_SECONDS).ready.value


def test_only_owner_and_group_can_open_the_socket_whatever_the_umask(socket: Path) -> None:
    mask = os.umask(0)
    try:
        with server.serving(f"unix://{socket}", registrations(Scripted())):
            assert stat.S_ISSOCK(socket.lstat().st_mode)
            assert stat.S_IMODE(socket.lstat().st_mode) == 0o660
            assert os.umask(0) == 0
    finally:
        os.umask(mask)


def test_the_folder_has_only_the_socket_which_is_removed_at_the_end(socket: Path) -> None:
    with server.serving(f"unix://{socket}", registrations(Scripted())) as path:
        assert path == socket
        assert list(socket.parent.iterdir()) == [socket]
    assert list(socket.parent.iterdir()) == []


def test_the_threads_of_the_server_end_with_it(socket: Path) -> None:
    before = set(threading.enumerate())
    with server.serving(f"unix://{socket}", registrations(Scripted())):
        assert probe(socket)
    for thread in set(threading.enumerate()) - before:
        thread.join(PATIENCE_SECONDS)
    assert set(threading.enumerate()) <= before


def test_a_stale_socket_is_replaced(socket: Path) -> None:
    with contextlib.closing(sockets.socket(sockets.AF_UNIX)) as old:
        old.bind(str(socket))
    assert socket.exists()
    with server.serving(f"unix://{socket}", registrations(Scripted())):
        assert probe(socket)


def test_a_socket_of_a_running_server_is_not_replaced(socket: Path) -> None:
    with server.serving(f"unix://{socket}", registrations(Scripted())):
        with (
            pytest.raises(FailedPrecondition, match=f"another process listens on {socket}"),
            server.serving(f"unix://{socket}", registrations(Scripted())),
        ):
            pass
        assert probe(socket)
        assert list(socket.parent.iterdir()) == [socket]


def test_a_socket_of_a_server_that_is_too_busy_to_answer_is_not_replaced(socket: Path) -> None:
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(contextlib.closing(sockets.socket(sockets.AF_UNIX)))
        listening.bind(str(socket))
        listening.listen(0)
        for _ in range(2):  # one can wait to be accepted
            waiting = stack.enter_context(contextlib.closing(sockets.socket(sockets.AF_UNIX)))
            waiting.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                waiting.connect(str(socket))
        with (
            pytest.raises(FailedPrecondition, match=f"another process listens on {socket}"),
            server.serving(f"unix://{socket}", registrations(Scripted())),
        ):
            pass


def test_a_file_in_place_of_the_socket_is_not_changed(socket: Path) -> None:
    socket.write_text("precious", encoding="ascii")
    with (
        pytest.raises(FailedPrecondition, match=f"{socket} exists and is not a socket; it was not changed"),
        server.serving(f"unix://{socket}", registrations(Scripted())),
    ):
        pass
    assert socket.read_text(encoding="ascii") == "precious"
    assert list(socket.parent.iterdir()) == [socket]


def test_a_link_in_place_of_the_socket_is_not_changed(socket: Path, tmp_path: Path) -> None:
    socket.symlink_to(tmp_path / "elsewhere")
    with (
        pytest.raises(FailedPrecondition, match="is not a socket; it was not changed"),
        server.serving(f"unix://{socket}", registrations(Scripted())),
    ):
        pass
    assert socket.is_symlink()


def test_the_error_names_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    with (
        pytest.raises(
            FailedPrecondition, match=f"the folder {tmp_path}/absent of the CSI socket does not exist"
        ),
        server.serving(f"unix://{tmp_path}/absent/csi.sock", registrations(Scripted())),
    ):
        pass


def test_serve_restores_the_signal_handlers_when_it_cannot_start(tmp_path: Path) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with pytest.raises(FailedPrecondition):
        server.serve(f"unix://{tmp_path}/absent/csi.sock", registrations(Scripted()))
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


@contextlib.contextmanager
def serving_process(socket: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.contract.serving_process", f"unix://{socket}", *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            wait_for_line(process, "serving")
            yield process
        finally:
            process.kill()


@pytest.fixture
def process(socket: Path) -> Iterator[subprocess.Popen[str]]:
    with serving_process(socket) as process:
        yield process


def wait_for_line(process: subprocess.Popen[str], text: str) -> str:
    assert process.stdout
    for line in process.stdout:
        if text in line:
            return line
    raise AssertionError(f"the process ended without a line with {text!r}")


def wait_until_connections_are_refused(socket: Path) -> None:
    """Connect until it is refused: then the stopping server accepts no calls any more.

    A call cannot tell this. It can meet a socket that still listens and accepts no one. gRPC waits 20 seconds
    for such a connection, and then the grace of the server is over too.
    """
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        with contextlib.closing(sockets.socket(sockets.AF_UNIX)) as client:
            try:
                client.connect(str(socket))
            except ConnectionRefusedError:
                return
        time.sleep(0.001)
    raise AssertionError("the server still listens")


def test_a_process_that_ends_does_not_remove_the_socket_of_the_next_process(
    process: subprocess.Popen[str], socket: Path
) -> None:
    """The next process can start before the last call of the old one has ended."""
    assert process.stdin
    with grpc.insecure_channel(f"unix:{socket}") as channel:
        call = csi_pb2_grpc.NodeStub(channel).NodeStageVolume.future(stage_request())
        wait_for_line(process, "call is inside")
        process.terminate()
        wait_until_connections_are_refused(socket)
        with server.serving(f"unix://{socket}", registrations(Scripted())):
            process.stdin.write("go on\n")
            process.stdin.flush()
            assert isinstance(call.result(PATIENCE_SECONDS), csi_pb2.NodeStageVolumeResponse)
            assert process.wait(PATIENCE_SECONDS) == 0
            assert probe(socket)
    assert not socket.exists()


def test_a_hanging_call_does_not_keep_a_process_from_ending(socket: Path) -> None:
    with (
        serving_process(socket, "0.3") as process,
        grpc.insecure_channel(f"unix:{socket}") as channel,
    ):
        call = csi_pb2_grpc.NodeStub(channel).NodeStageVolume.future(stage_request())
        wait_for_line(process, "call is inside")
        process.terminate()
        assert "calls=1" in wait_for_line(process, "calls left behind")
        wait_for_line(process, "served to the end")
        assert process.wait(PATIENCE_SECONDS) == 0
        assert call.code() in (grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE)
    assert not socket.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_after_a_signal_the_running_call_ends_and_the_socket_is_removed(
    process: subprocess.Popen[str], socket: Path, number: signal.Signals
) -> None:
    assert process.stdin
    with grpc.insecure_channel(f"unix:{socket}") as channel:
        call = csi_pb2_grpc.NodeStub(channel).NodeStageVolume.future(stage_request())
        wait_for_line(process, "call is inside")
        process.send_signal(number)
        assert f"signal={number.name}" in wait_for_line(process, "stopping")
        wait_until_connections_are_refused(socket)
        with pytest.raises(grpc.FutureTimeoutError):
            call.result(0.3)  # a server that does not wait would have cancelled it
        process.stdin.write("go on\n")
        process.stdin.flush()
        assert isinstance(call.result(PATIENCE_SECONDS), csi_pb2.NodeStageVolumeResponse)
    wait_for_line(process, "served to the end")
    assert process.wait(PATIENCE_SECONDS) == 0
    assert not socket.exists()


def test_a_signal_without_calls_ends_the_process_at_once(
    process: subprocess.Popen[str], socket: Path
) -> None:
    process.terminate()
    assert process.wait(server.GRACE_SECONDS / 2) == 0
    assert not socket.exists()


def test_the_socket_of_a_killed_process_is_replaced(process: subprocess.Popen[str], socket: Path) -> None:
    process.kill()
    process.wait(PATIENCE_SECONDS)
    assert socket.exists()
    with server.serving(f"unix://{socket}", registrations(Scripted())):
        assert probe(socket)
