"""Controller and node in one process: all CSI services answer on one socket."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from csi_powerflex.pb import csi_pb2, csi_pb2_grpc
from tests.commands import output_of
from tests.contract.conftest import PATIENCE_SECONDS

GUID = "B0E3BFB8-C20B-43BF-93C8-13339E85AA50"


@pytest.fixture
def process(socket: Path, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The command, with variables of its own and options of both roles."""
    systems = tmp_path / "systems.yaml"
    systems.write_text(
        "systems: [{endpoints: ['https://127.0.0.1:1'], username: u, password: p}]\n", encoding="utf-8"
    )
    tool = tmp_path / "drv_cfg"
    tool.write_text(f"#!/bin/sh\necho {GUID}\n", encoding="utf-8")
    tool.chmod(0o755)
    command = [
        sys.executable,
        "-m",
        "csi_powerflex",
        "unified",
        "--cluster-id=k8s1",
        f"--drv-cfg={tool}",
        f"--kubelet-dir={tmp_path}",
        "--watch-seconds=0",
    ]
    environment = os.environ | {
        "CSI_ENDPOINT": f"unix://{socket}",
        "POWERFLEX_CSI_UNIFIED_SYSTEMS": str(systems),
        "POWERFLEX_CSI_UNIFIED_DRIVER_NAME": "csi.example.org",
    }
    with subprocess.Popen(command, env=environment) as process:
        try:
            wait_for(socket)
            yield process
        finally:
            process.kill()


def wait_for(socket: Path) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not socket.exists():
        assert time.monotonic() < end, "the socket was not created"
        time.sleep(0.01)


def test_every_service_answers_on_the_socket_and_a_signal_ends_them_all(
    process: subprocess.Popen[bytes], socket: Path
) -> None:
    with grpc.insecure_channel(f"unix:{socket}") as channel:
        identity = csi_pb2_grpc.IdentityStub(channel)
        info = identity.GetPluginInfo(csi_pb2.GetPluginInfoRequest(), timeout=PATIENCE_SECONDS)
        assert info.name == "csi.example.org"
        controller = csi_pb2_grpc.ControllerStub(channel).ControllerGetCapabilities(
            csi_pb2.ControllerGetCapabilitiesRequest(), timeout=PATIENCE_SECONDS
        )
        group = csi_pb2_grpc.GroupControllerStub(channel).GroupControllerGetCapabilities(
            csi_pb2.GroupControllerGetCapabilitiesRequest(), timeout=PATIENCE_SECONDS
        )
        node = csi_pb2_grpc.NodeStub(channel)
        abilities = node.NodeGetCapabilities(csi_pb2.NodeGetCapabilitiesRequest(), timeout=PATIENCE_SECONDS)
        assert controller.capabilities
        assert group.capabilities
        assert abilities.capabilities
        with pytest.raises(grpc.RpcError) as refusal:
            csi_pb2_grpc.ControllerStub(channel).DeleteVolume(
                csi_pb2.DeleteVolumeRequest(volume_id=f"{'a' * 16}-{'b' * 16}"), timeout=PATIENCE_SECONDS
            )
        assert refusal.value.code() is grpc.StatusCode.UNAVAILABLE
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_SECONDS) == 0
    assert not socket.exists()


def test_sighup_ends_no_process(process: subprocess.Popen[bytes], socket: Path) -> None:
    process.send_signal(signal.SIGHUP)
    with grpc.insecure_channel(f"unix:{socket}") as channel:
        csi_pb2_grpc.IdentityStub(channel).Probe(csi_pb2.ProbeRequest(), timeout=PATIENCE_SECONDS)
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_SECONDS) == 0


def test_the_help_has_the_options_of_both_roles() -> None:
    help_text = output_of([sys.executable, "-m", "csi_powerflex", "unified", "--help"])
    assert {"--systems", "--kubelet-dir", "--cluster-id", "--by-id-dir"} <= set(help_text.split())
