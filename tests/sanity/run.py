"""One run of the official csi-sanity against the driver's own processes and a simulated array."""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from csi_powerflex.demo.orchestrator import Client
from csi_powerflex.demo.processes import Process, ended
from tests.commands import output_of
from tests.node import nvme_remote
from tests.node.nvme_array_kernel import ArrayKernel

_GIB = 1024**3
# The number that csi-sanity publishes, less one that must be refused.
_MAX_VOLUMES = 8
_PORTALS = ("127.0.0.1", "127.0.0.2")
_FREE_PORTS = {"nvme_port": 0, "discovery_port": 0}
_SECRET = "a-secret-that-no-log-may-contain"
_CALLS_WITH_SECRETS = [
    f"{call}Secret"
    for call in (
        "CreateVolume",
        "DeleteVolume",
        "ControllerPublishVolume",
        "ControllerUnpublishVolume",
        "ControllerValidateVolumeCapabilities",
        "ControllerExpandVolume",
        "ControllerModifyVolume",
        "NodeStageVolume",
        "NodePublishVolume",
        "CreateSnapshot",
        "DeleteSnapshot",
        "ListSnapshots",
        "GetSnapshot",
    )
]


@dataclass(frozen=True)
class Cell:
    """One cell of the matrix; ``endpoints`` is one for controller and node in one process, or two."""

    version: str
    access: str
    endpoints: str
    transport: str = "sdc"

    def __str__(self) -> str:
        over = "" if self.transport == "sdc" else f"-{self.transport}"
        return f"{self.endpoints}-{self.version}-{self.access}{over}"

    @property
    def parameters(self) -> dict[str, str]:
        """The parameters of its class. Over NVMe/TCP, limits have no effect and have to be let through."""
        limits = {"provisioning": "thin", "iopsLimit": "2000"}
        return limits if self.transport == "sdc" else {**limits, "transport": "nvme", "qosOnNvme": "ignore"}


@dataclass(frozen=True)
class Outcome:
    """The outcome of one case. ``status`` is passed, skipped, pending or failed."""

    status: str
    message: str


def cases(sanity: str) -> list[str]:
    """The names of all its cases."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [
            sanity,
            "--csi.endpoint=unix:///none",
            "--ginkgo.dry-run",
            f"--ginkgo.junit-report={report}",
        ]
        output_of(command)
        return sorted(_read(report))


def run(sanity: str, cell: Cell) -> dict[str, Outcome]:
    """Run every case in one cell, against the driver's own processes and a simulated array."""
    with tempfile.TemporaryDirectory(prefix="s-") as name:
        folder = Path(name)
        report = folder / "report.xml"
        with _driver(folder, cell) as (controller, node):
            command = [
                sanity,
                f"--csi.endpoint={node}",
                *([] if controller == node else [f"--csi.controllerendpoint={controller}"]),
                f"--csi.mountdir={folder / 'kubelet' / 'mount'}",
                f"--csi.stagingdir={folder / 'kubelet' / 'staging'}",
                # Multiples of 8 GiB, the granularity of the pool.
                f"--csi.testvolumesize={16 * _GIB}",
                f"--csi.testvolumeexpandsize={24 * _GIB}",
                f"--csi.testvolumeaccesstype={cell.access}",
                *(f"--csi.{option}={file}" for option, file in _inputs(folder, cell).items()),
                "--csi.testnodevolumeattachlimit",
                "--ginkgo.no-color",
                f"--ginkgo.junit-report={report}",
            ]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        if not report.exists():
            raise AssertionError(f"csi-sanity gave no report:\n{done.stdout}{done.stderr}")
        written = "".join(log.read_text(errors="replace") for log in folder.glob("*.log"))
        if _SECRET in written:
            raise AssertionError("a secret of a request is in the log of a process")
        return _read(report)


def _inputs(folder: Path, cell: Cell) -> dict[str, Path]:
    """The files for the options of csi-sanity: secrets and parameters of its requests."""
    contents = {
        "secrets": {call: {"canary": _SECRET} for call in _CALLS_WITH_SECRETS},
        "testvolumeparameters": cell.parameters,
        "testvolumemutableparameters": {"iopsLimit": "1000"},
        "testsnapshotparameters": {"snapshotAccessMode": "ReadOnly"},
    }
    files = {}
    for option, content in contents.items():
        files[option] = folder / f"{option}.yaml"
        files[option].write_text(json.dumps(content))
    return files


@contextlib.contextmanager
def _driver(folder: Path, cell: Cell) -> Iterator[tuple[str, str]]:
    """The processes of a cell; the endpoints of controller and node, which may be one."""
    with contextlib.ExitStack() as running:

        def process(name: str, *arguments: str, module: str = "csi_powerflex") -> Process:
            log = folder / f"{name}.log"
            return running.enter_context(ended(Process(name, [name, *arguments], log, module=module)))

        def serve(role: str, *arguments: str, module: str = "csi_powerflex") -> str:
            socket = folder / f"{role}.sock"
            client = Client(socket)
            running.callback(client.close)
            words = (f"--endpoint=unix://{socket}", "--log-level=debug", *arguments)
            process(role, *words, module=module).start(client.answers)
            return f"unix://{socket}"

        ready = folder / "array.json"
        process("simulate", *_plan(folder, cell), f"--ready-file={ready}").start(ready.exists)
        array = json.loads(ready.read_text())
        (folder / "kubelet").mkdir()
        controller = (f"--systems={_systems(folder, array)}", "--cluster-id=test")
        node = [f"--kubelet-dir={folder / 'kubelet'}", f"--max-volumes={_MAX_VOLUMES}"]
        if cell.transport == "nvme":
            kernel = running.enter_context(_kernel(folder))
            node += ["--transport=nvme", f"--nvme-system={array['systemId']}", f"--nvme-folder={kernel.etc}"]
            module = nvme_remote.__name__
        else:
            node += _sdc(folder, array["hosts"]["a"])
            module = "csi_powerflex"
        if cell.endpoints == "one":
            endpoint = serve("unified", *controller, *node, module=module)
            yield endpoint, endpoint
        else:
            yield serve("controller", *controller), serve("node", *node, module=module)


def _plan(folder: Path, cell: Cell) -> list[str]:
    """The options for the array of a cell."""
    system: dict[str, Any] = {
        "name": "array",
        "version": cell.version,
        "settings": {"max_volumes_per_host": _MAX_VOLUMES},
    }
    if cell.transport == "nvme":
        system["domains"] = [{"sdts": [{"addresses": [each], **_FREE_PORTS} for each in _PORTALS]}]
    file = folder / "plan.yaml"
    file.write_text(json.dumps({"systems": [system]}))
    hosts = ["--host=a"] if cell.transport == "sdc" else []
    return [f"--config={file}", f"--state={folder / 'array'}", *hosts]


def _sdc(folder: Path, host: dict[str, str]) -> list[str]:
    """The options of a node whose SDC is that of a simulated host."""
    return [
        f"--drv-cfg={host['drvCfg']}",
        f"--scini-device={folder / 'scini'}",
        f"--by-id-dir={host['byIdDir']}",
    ]


@contextlib.contextmanager
def _kernel(folder: Path) -> Iterator[ArrayKernel]:
    """A kernel with NVMe/TCP, for the processes that start during the block."""
    (images,) = (folder / "array").glob("systems/*/volumes")
    with contextlib.ExitStack() as running, pytest.MonkeyPatch.context() as patch:
        kernel = ArrayKernel(folder / "kernel", images)
        running.callback(kernel.close)
        running.enter_context(nvme_remote.served(kernel))
        patch.setenv(nvme_remote.VARIABLE, str(kernel.folder))
        yield kernel


def _systems(folder: Path, array: dict[str, Any]) -> Path:
    """A systems file for the simulated array."""
    system = {
        "endpoints": [array["url"]],
        "username": array["username"],
        "password": array["password"],
        "caFile": array["caFile"],
        "protectionDomain": array["protectionDomain"],
        "storagePool": array["storagePool"],
    }
    file = folder / "systems.yaml"
    file.write_text(json.dumps({"systems": [system]}))
    return file


def _read(report: Path) -> dict[str, Outcome]:
    found = {}
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 - csi-sanity's own report
        name = (case.get("name") or "").removeprefix("[It] ")
        if name.startswith("["):
            continue  # a node of the suite itself, such as [BeforeSuite]
        skipped, failed = case.find("skipped"), case.find("failure")
        if failed is not None:
            found[name] = Outcome("failed", f"{failed.get('message')}\n{failed.text}")
        elif skipped is not None:
            message = skipped.get("message") or ""
            found[name] = Outcome("pending" if message == "pending" else "skipped", message)
        else:
            found[name] = Outcome(case.get("status") or "passed", "")
    return found
