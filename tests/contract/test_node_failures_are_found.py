"""Failures of a node without devices, as an operator meets them in a process of the node.

Each ends with a line of the log, a metric with its alert, and a line of the doctor. All of them lead to a
place in the documentation that exists. docs/conformance.md lists the tests.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest

from csi_powerflex.model.checks import Check, Level
from csi_powerflex.pb import csi_pb2, csi_pb2_grpc
from tests import leads
from tests.children import wait_for_socket
from tests.controller.eventually import eventually
from tests.observed import Observed

_PYTHON = (sys.executable, "-m", "csi_powerflex")
# Another user than root has no capability anyway.
_WITHOUT_MOUNTS = (
    ("setpriv", "--inh-caps=-sys_admin", "--bounding-set=-sys_admin") if os.geteuid() == 0 else ()
)


class Site(Observed):
    """A node process on a host without SDC, and what an operator sees of it."""

    def __init__(self, folder: Path, socket: Path) -> None:
        self.log = folder / "log"
        self._socket = socket
        self.kubelet = folder / "kubelet"
        (self.kubelet / "pods").mkdir(parents=True)
        self._sdc = [f"--drv-cfg={folder}/absent/drv_cfg", f"--scini-device={folder}/absent/scini"]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *before: str) -> None:
        """Start it, with the words ``before`` in front of the command."""
        command = [
            *(*before, *_PYTHON, "node", f"--endpoint=unix://{self._socket}", "--log-format=json"),
            *("--metrics-address=127.0.0.1:0", f"--kubelet-dir={self.kubelet}", *self._sdc),
        ]
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(command, stderr=output)
        wait_for_socket(self._socket, lambda: self.process is not None and self.process.poll() is None)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def line(self, event: str, **fields: str) -> dict[str, Any]:
        """Wait for the only line of the log with this event and these fields."""

        def found() -> list[dict[str, Any]]:
            return [line for line in self.lines(event) if fields.items() <= line.items()]

        eventually(lambda: bool(found()))
        (line,) = found()
        return line

    def log_text(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def metrics_text(self) -> str:
        port = self.line("metrics served")["port"]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            return str(answer.read().decode())

    def doctor(self, before: Sequence[str] = ()) -> dict[str, Check]:
        """What the doctor finds, without what is ok."""
        command = [*before, *_PYTHON, "doctor", "node", "--output=json"]
        done = subprocess.run(
            [*command, f"--kubelet-dir={self.kubelet}", *self._sdc],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1, done.stderr
        checks = json.loads(done.stdout)["checks"]
        names = ("check", "subject", "level", "found", "remedy")
        return leads.problems(
            [
                Check(name, subject, Level(level), found, remedy)
                for name, subject, level, found, remedy in ([each[key] for key in names] for each in checks)
            ]
        )


@pytest.fixture
def site(socket: Path, tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path, socket)
    yield site
    site.stop()


def test_a_host_without_an_sdc(site: Site, socket: Path) -> None:
    site.start()
    with grpc.insecure_channel(f"unix:{socket}") as channel, pytest.raises(grpc.RpcError) as error:
        csi_pb2_grpc.NodeStub(channel).NodeGetInfo(csi_pb2.NodeGetInfoRequest(), timeout=30)
    text, code = str(error.value.details()), error.value.code().name
    assert "drv_cfg is not found" in leads.entries(text), text
    line = site.line("call failed", rpc="NodeGetInfo")
    assert (line["error"], line["level"]) == (text, "warning")
    assert line["request_id"]
    counted = {"method": "NodeGetInfo", "code": code}
    site.is_alerted("CSIPowerFlexCallsFail", "csi_powerflex_rpc_duration_seconds_count", 1, **counted)
    assert code in leads.alert("CSIPowerFlexCallsFail")
    found = site.doctor()
    assert {"sdc module", "sdc guid"} <= {
        check.name for check in found.values() if check.level is Level.FAULT
    }


def test_a_missing_kubelet_folder(site: Site) -> None:
    (site.kubelet / "pods").rmdir()
    site.kubelet.rmdir()
    site.start()
    line = site.line("host check failed", check="kubelet folder")
    assert "A host check failed" in leads.entries(line["event"])
    assert line["remedy"].startswith("correct --kubelet-dir (the chart's kubeletDir)")
    failed = "csi_powerflex_host_check_failed"
    eventually(lambda: site.metric(failed, check="kubelet_folder") == 1)
    assert failed in leads.alert("CSIPowerFlexHostCheckFailed")
    assert leads.words_of("CSIPowerFlexHostCheckFailed") == [line["event"]]
    assert site.doctor()["kubelet folder"].level is Level.FAULT


def test_a_missing_capability(site: Site) -> None:
    site.start(*_WITHOUT_MOUNTS)
    line = site.line("host check failed", check="capabilities")
    assert "CAP_SYS_ADMIN is missing" in line["found"]
    assert "A host check failed" in leads.entries(line["event"])
    eventually(lambda: site.metric("csi_powerflex_host_check_failed", check="capabilities") == 1)
    assert site.metric("csi_powerflex_host_check_failed", check="kubelet_folder") == 0
    assert site.doctor(_WITHOUT_MOUNTS)["capabilities"].level is Level.FAULT
