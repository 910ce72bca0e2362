"""The environment of the demo, in one folder: processes for a simulated array, a controller and two nodes."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from csi_powerflex import stop_signals
from csi_powerflex.demo import leftovers
from csi_powerflex.demo.orchestrator import Client
from csi_powerflex.demo.processes import INTERRUPTS, Process

NODES = ("a", "b")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # the PATH of the driver's tools
_LOOP_CONTROL = "/dev/loop-control"
_CAP_SYS_ADMIN = 21
_LONGEST_TMPDIR = 60  # the path of a socket has at most 107 bytes, and the demo's own names take 45


def missing_for_devices(filesystem: str) -> str | None:
    """The reason why this machine cannot have real block devices and mounts; None if it can."""
    if os.geteuid() != 0:
        return "it does not run as root (try: sudo make demo)"
    status = Path("/proc/self/status").read_text(encoding="ascii")
    effective = int(next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff")), 16)
    if not effective >> _CAP_SYS_ADMIN & 1:
        return "this container lacks the capability CAP_SYS_ADMIN, which mounting needs"
    try:
        os.close(os.open(_LOOP_CONTROL, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return f"this machine has no loop devices ({_LOOP_CONTROL}: {error.strerror})"
    tools = ("blkid", "mount", "umount", "wipefs", f"mkfs.{filesystem}")
    missing = [tool for tool in tools if shutil.which(tool, path=_PATH) is None]
    return f"not installed: {', '.join(missing)}" if missing else None


class DemoNode:
    """One node: its driver process, its CSI client, and the folder of its kubelet."""

    def __init__(self, name: str, folder: Path, host: dict[str, str]) -> None:
        self.name = name
        self.kubelet = folder / "kubelet"
        self.kubelet.mkdir(parents=True)
        self.guid = host["guid"]
        socket = folder / "csi.sock"
        self.client = Client(socket)
        self.process = Process(
            f"node {name}",
            [
                "node",
                f"--endpoint=unix://{socket}",
                f"--kubelet-dir={self.kubelet}",
                f"--drv-cfg={host['drvCfg']}",
                f"--scini-device={folder / 'scini'}",  # it does not exist, so drv_cfg gives the GUID
                f"--by-id-dir={host['byIdDir']}",
            ],
            folder / "node.log",
        )

    def start(self) -> None:
        """Start the driver of the node."""
        self.process.start(self.client.answers)


class Environment:
    """All that the scenario needs. It has nodes and real block devices if ``devices`` is true."""

    def __init__(self, folder: Path, *, devices: bool) -> None:
        self.folder = folder
        self.devices = devices
        self.nodes: dict[str, DemoNode] = {}
        self.guids: dict[str, str] = {}
        socket = folder / "controller.sock"
        self.client = Client(socket)
        self._ready_file = folder / "array.json"
        self._systems_file = folder / "systems.yaml"
        option = "host" if devices else "sdc"
        self.array = Process(
            "simulated PowerFlex",
            [
                "simulate",
                f"--state={folder / 'array'}",
                f"--ready-file={self._ready_file}",
                *(f"--{option}={name}" for name in NODES),
            ],
            folder / "array.log",
        )
        self.controller = Process(
            "controller",
            [
                "controller",
                f"--endpoint=unix://{socket}",
                f"--systems={self._systems_file}",
                "--cluster-id=demo",
                "--watch-seconds=0",
            ],
            folder / "controller.log",
        )

    def start(self) -> None:
        """Start the array, then the driver.

        Raises:
            NotReady: one of them did not start. The message has the end of its log.
        """
        self.array.start(self._ready_file.exists)
        array: dict[str, Any] = json.loads(self._ready_file.read_text(encoding="utf-8"))
        # JSON is valid YAML and needs no extra quoting.
        system = {
            "name": "demo",
            "endpoints": [array["url"]],
            "username": array["username"],
            "password": array["password"],
            "caFile": array["caFile"],
            "protectionDomain": array["protectionDomain"],
            "storagePool": array["storagePool"],
        }
        self._systems_file.write_text(json.dumps({"systems": [system]}, indent=1), encoding="utf-8")
        self.guids = {name: host["guid"] for name, host in array["hosts"].items()}
        self.start_controller()
        if self.devices:
            for name in NODES:
                self.nodes[name] = DemoNode(name, self.folder / f"node-{name}", array["hosts"][name])
                self.nodes[name].start()

    def start_controller(self) -> None:
        """Start the controller. Also restarts it after a kill."""
        self.controller.start(self.client.answers)

    def stop(self) -> None:
        """Stop all processes, the array last."""
        self.client.close()
        for node in self.nodes.values():
            node.client.close()
        for process in (self.controller, *(node.process for node in self.nodes.values()), self.array):
            process.stop()


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Ignore signals during the block, so that a second Ctrl-C does not interrupt the clean-up."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in INTERRUPTS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def opened(*, devices: bool) -> Iterator[Environment]:
    """A running environment in a new temporary folder. The end of the block removes all of it."""
    environment = None
    try:
        # A signal between the two steps would leave the folder behind.
        with stop_signals.deferred(*INTERRUPTS):
            environment = Environment(_new_folder(), devices=devices)
        environment.start()
        yield environment
    finally:
        with uninterrupted():
            if environment is not None:
                _remove(environment)


def _new_folder() -> Path:
    """A new temporary folder, in TMPDIR or, if its path is too long for sockets, in /tmp."""
    base = tempfile.gettempdir()
    short = len(os.fsencode(base)) <= _LONGEST_TMPDIR
    return Path(tempfile.mkdtemp(prefix="csi-powerflex-demo-", dir=base if short else "/tmp"))  # noqa: S108 - mkdtemp makes it safe


def _remove(environment: Environment) -> None:
    environment.stop()
    left = leftovers.below(environment.folder)
    if left:
        leftovers.take_away(left)
    shutil.rmtree(environment.folder)
