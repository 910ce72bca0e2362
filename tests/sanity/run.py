"""One run of the official csi-sanity against the driver's own processes and a simulated array."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from csi_powerflex.demo.orchestrator import Client
from csi_powerflex.demo.processes import Process, ended

_GIB = 1024**3
_INSTALLED = Path(__file__).parents[2] / ".cache" / "bin" / "csi-sanity"


@dataclass(frozen=True)
class Cell:
    """One cell of the matrix."""

    version: str
    access: str

    def __str__(self) -> str:
        return f"{self.version}-{self.access}"


@dataclass(frozen=True)
class Outcome:
    """How one case ended: ``status`` is passed, skipped, pending or failed."""

    status: str
    message: str


def tool() -> str | None:
    """The csi-sanity to run: that of ``make sanity``, else one on the PATH."""
    return str(_INSTALLED) if _INSTALLED.exists() else shutil.which("csi-sanity")


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
        subprocess.run(command, check=True, capture_output=True)
        return sorted(_read(report))


def run(sanity: str, cell: Cell) -> dict[str, Outcome]:
    """Run every case in one cell, against a controller and a node at endpoints of their own."""
    with tempfile.TemporaryDirectory(prefix="s-") as name, _driver(Path(name), cell) as (controller, node):
        folder = Path(name)
        mutable = folder / "mutable.yaml"
        mutable.write_text('iopsLimit: "1000"\n')
        report = folder / "report.xml"
        command = [
            sanity,
            f"--csi.endpoint={node}",
            f"--csi.controllerendpoint={controller}",
            f"--csi.mountdir={folder / 'kubelet' / 'mount'}",
            f"--csi.stagingdir={folder / 'kubelet' / 'staging'}",
            # Sizes that a pool with steps of 8 GiB can allot exactly.
            f"--csi.testvolumesize={16 * _GIB}",
            f"--csi.testvolumeexpandsize={24 * _GIB}",
            f"--csi.testvolumeaccesstype={cell.access}",
            f"--csi.testvolumemutableparameters={mutable}",
            "--ginkgo.no-color",
            f"--ginkgo.junit-report={report}",
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if not report.exists():
            raise AssertionError(f"csi-sanity gave no report:\n{done.stdout}{done.stderr}")
        return _read(report)


@contextlib.contextmanager
def _driver(folder: Path, cell: Cell) -> Iterator[tuple[str, str]]:
    ready = folder / "array.json"
    with contextlib.ExitStack() as running:

        def start(name: str, *arguments: str) -> Process:
            return running.enter_context(ended(Process(name, [name, *arguments], folder / f"{name}.log")))

        start(
            "simulate",
            "--host=a",
            f"--version={cell.version}",
            f"--state={folder / 'array'}",
            f"--ready-file={ready}",
        ).start(ready.exists)
        array = json.loads(ready.read_text())
        system = {
            "endpoints": [array["url"]],
            "username": array["username"],
            "password": array["password"],
            "caFile": array["caFile"],
            "protectionDomain": array["protectionDomain"],
            "storagePool": array["storagePool"],
        }
        systems = folder / "systems.yaml"
        systems.write_text(json.dumps({"systems": [system]}))
        (folder / "kubelet").mkdir()
        sockets = {role: folder / f"{role}.sock" for role in ("controller", "node")}
        clients = {role: Client(socket) for role, socket in sockets.items()}
        for client in clients.values():
            running.callback(client.close)
        start(
            "controller",
            f"--endpoint=unix://{sockets['controller']}",
            f"--systems={systems}",
            "--cluster-id=test",
        ).start(clients["controller"].answers)
        host = array["hosts"]["a"]
        start(
            "node",
            f"--endpoint=unix://{sockets['node']}",
            f"--kubelet-dir={folder / 'kubelet'}",
            f"--drv-cfg={host['drvCfg']}",
            f"--scini-device={folder / 'scini'}",
            f"--by-id-dir={host['byIdDir']}",
        ).start(clients["node"].answers)
        yield f"unix://{sockets['controller']}", f"unix://{sockets['node']}"


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
