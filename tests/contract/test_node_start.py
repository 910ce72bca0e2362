"""The node says at its start what keeps volumes from being mounted, and serves all the same."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.children import wait_for_socket


@pytest.mark.parametrize("role", ["node", "unified"])
def test_a_missing_kubelet_folder_is_one_line_of_the_log(socket: Path, tmp_path: Path, role: str) -> None:
    log = tmp_path / "log"
    command = [
        *(sys.executable, "-m", "csi_powerflex", role, f"--endpoint=unix://{socket}"),
        *(f"--drv-cfg={tmp_path}/absent", f"--kubelet-dir={tmp_path}/kubelet"),
    ]
    if role == "unified":
        systems = tmp_path / "systems.yaml"
        systems.write_text("systems: [{endpoints: ['https://127.0.0.1:1'], username: u, password: p}]\n")
        command += [f"--systems={systems}", "--cluster-id=k8s1", "--watch-seconds=0"]
    with log.open("wb") as stderr, subprocess.Popen(command, stderr=stderr) as process:
        wait_for_socket(socket, lambda: process.poll() is None)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    lines = [line for line in log.read_text(encoding="utf-8").splitlines() if "kubelet folder" in line]
    assert len(lines) == 1
    assert (
        f'host check failed check="kubelet folder" subject={tmp_path}/kubelet found="there is no' in lines[0]
    )
    assert "correct --kubelet-dir" in lines[0]


def test_the_socket_is_served_before_the_host_is_checked(socket: Path, tmp_path: Path) -> None:
    # A check of a host can be slow. The registrar and the liveness probe must not wait for it.
    log = tmp_path / "log"
    command = [
        *(sys.executable, "-m", "csi_powerflex", "node", f"--endpoint=unix://{socket}"),
        f"--kubelet-dir={tmp_path}/kubelet",
    ]
    with log.open("wb") as stderr, subprocess.Popen(command, stderr=stderr) as process:
        wait_for_socket(socket, lambda: process.poll() is None)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    text = log.read_text(encoding="utf-8")
    assert 0 < text.index(f"serving socket={socket}") < text.index("host check failed")
