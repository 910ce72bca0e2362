"""A kernel with NVMe/TCP for tests: its part of sysfs and its file for connections, and the array behind it.

The driver's code runs unchanged. Only two functions of it are replaced: the one that opens the kernel's file,
and, where plain files stand in for block devices, the one that reads a device number.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from csi_powerflex.config.node import NvmeSettings
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model.nvme import NvmeTarget, Portal, nguid_of
from csi_powerflex.model.publish_context import PublishContext
from csi_powerflex.transport.nvme import device, fabrics
from csi_powerflex.transport.nvme.transport import Nvme
from csi_powerflex.units import GIB
from tests.controller import eventually as waiting

SYSTEM = "5a1b2c3d4e5f600f"
NQN = f"nqn.1988-11.com.dell:powerflex:00:{SYSTEM}"
HOST_ID = "11111111-2222-4333-8444-555555555555"
HOST = f"nqn.2014-08.org.nvmexpress:uuid:{HOST_ID}"
OTHER_HOST = "nqn.2014-08.org.nvmexpress:uuid:99999999-2222-4333-8444-555555555555"
FIRST, SECOND = "127.0.0.1:4420", "127.0.0.2:4420"
# Nothing listens there, so the discovery services of the tests' portals refuse at once.
NO_DISCOVERY = 9
_OPTIONS = (
    "transport traddr trsvcid nqn hostnqn hostid nr_io_queues reconnect_delay keep_alive_tmo ctrl_loss_tmo"
)
_SECTOR = 512


def portal(address: str) -> Portal:
    """A portal of ``address:port``, without a discovery service."""
    host, _, port = address.rpartition(":")
    return Portal(host.strip("[]"), int(port), NO_DISCOVERY)


@dataclass
class FakeVolume:
    """A volume of the array. ``backing`` is its block device; None where a plain file stands in for it."""

    handle: VolumeHandle
    size: int
    nguid: str
    backing: Path | None = None

    def publish_context(
        self, *addresses: str, nqn: str = NQN, size: int | None = None, read_only: bool = False
    ) -> PublishContext:
        """The publish context that names these portals."""
        target = NvmeTarget(nqn, tuple(map(portal, addresses or (FIRST, SECOND))), nguid_of(self.handle))
        return PublishContext(
            self.handle, "nvme", size or self.size, read_only=read_only, details=target.details()
        )


@dataclass
class FakePortal:
    """How a portal behaves: ``error`` is the answer to a connection, and ``gate`` has to open before it."""

    error: int | None = None
    gate: threading.Event | None = None
    state: str = "live"


@dataclass
class FakeArray:
    """A system: its portals, and for each host the volumes that are mapped to it."""

    nqn: str = NQN
    longer: str = ""
    hosts: dict[str, list[FakeVolume]] = field(default_factory=lambda: {HOST: []})
    portals: dict[str, FakePortal] = field(default_factory=dict)


class FakeKernel:
    """The kernel of one host.

    Args:
        folder: where its files are.
        multipath: whether it joins the paths to a volume.
    """

    def __init__(self, folder: Path, *, multipath: bool = True) -> None:
        self.folder = folder
        self.etc = folder / "etc-nvme"
        self.sysfs, self.dev, self.fabrics = roots(folder).values()
        self.lines: list[dict[str, str]] = []
        self.options = _OPTIONS.split()
        self.events = True
        self.rescans = 0
        self.arrays = {NQN: FakeArray(portals={FIRST: FakePortal(), SECOND: FakePortal()})}
        self.changed = threading.Condition()
        self.on_connect: Callable[[], None] = lambda: None
        self._lock = threading.RLock()
        self._numbers: dict[int, str] = {}
        self._made: dict[Path, dict[str, Path]] = {}
        self._minors = itertools.count(1)
        self._volumes = itertools.count(1)
        self._multipath = multipath
        self._closing = threading.Event()
        for path in (self.sysfs / "class/nvme", self.sysfs / "class/nvme-subsystem", self.dev, self.etc):
            path.mkdir(parents=True)
        parameter = self.sysfs / "module/nvme_core/parameters/multipath"
        parameter.parent.mkdir(parents=True)
        parameter.write_text("Y\n" if multipath else "N\n")
        for module in ("nvme_fabrics", "nvme_tcp"):
            (self.sysfs / "module" / module).mkdir()
        self.fabrics.touch()
        (self.etc / "hostnqn").write_text(f"{HOST}\n")
        (self.etc / "hostid").write_text(f"{HOST_ID}\n")
        self._thread = threading.Thread(target=self._serve_rescans, daemon=True)
        self._thread.start()

    @property
    def array(self) -> FakeArray:
        return self.arrays[NQN]

    def settings(self, **more: Any) -> NvmeSettings:
        """The driver's settings for this kernel, with short waits."""
        given: dict[str, Any] = {
            "systems": (SYSTEM,),
            "folder": self.etc,
            **roots(self.folder),
            "device_seconds": 30.0,
            "poll_seconds": 0.01,
            "first_rescan_seconds": 0.1,
            "settle_seconds": 0.0,
            "retry_seconds": 0.05,
            "discovery_seconds": 0.5,
            **more,
        }
        return NvmeSettings(**given)

    def transport(self, **more: Any) -> Nvme:
        """The driver's transport on this kernel."""
        return Nvme(self.settings(**more))

    # --- the array -----------------------------------------------------------------------------

    def volume(self, *, size: int = 8 * GIB, mapped: bool = True, system: str = SYSTEM) -> FakeVolume:
        """A new volume, mapped to this host."""
        handle = VolumeHandle(system, f"b1f0c2d4{next(self._volumes):08x}")
        volume = FakeVolume(handle, size, nguid_of(handle))
        if mapped:
            self.map(volume)
        return volume

    def map(self, volume: FakeVolume, *, host: str = HOST, nqn: str = NQN) -> None:
        """Map the volume to a host. The event reaches the connections of that host."""
        with self._lock:
            self.arrays[nqn].hosts.setdefault(host, []).append(volume)
            self._event()

    def unmap(self, volume: FakeVolume, *, host: str = HOST, nqn: str = NQN) -> None:
        """Unmap the volume from a host."""
        with self._lock:
            self.arrays[nqn].hosts[host].remove(volume)
            self._event()

    def grow(self, volume: FakeVolume, size: int) -> None:
        """Expand the volume on the array."""
        with self._lock:
            volume.size = size
            self._event()

    def lose(self, *addresses: str, state: str = "connecting", error: int = errno.ECONNREFUSED) -> None:
        """Close portals: connections to them are lost, and new ones are refused."""
        with self._lock:
            for address in addresses:
                for array in self.arrays.values():
                    array.portals[address] = FakePortal(error, state=state)
                for folder in self._controllers(address):
                    _write(folder / "state", f"{state}\n")

    def restore(self, *addresses: str) -> None:
        """Open portals again: lost connections come back."""
        with self._lock:
            for address in addresses:
                for array in self.arrays.values():
                    array.portals[address] = FakePortal()
                for folder in self._controllers(address):
                    _write(folder / "state", "live\n")
            self._sync()

    # --- the kernel ----------------------------------------------------------------------------

    def open_file(self, path: Path) -> _FabricsFile:
        """What the driver gets when it opens the file for connections."""
        if not path.exists():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        assert path == self.fabrics
        return _FabricsFile(self)

    def connect(self, line: str) -> str:
        """Make a connection. Returns the kernel's answer, or raises its error."""
        options = dict(part.split("=", 1) for part in line.split(","))
        with self._lock:
            self.lines.append(options)
            if not options.keys() <= set(self.options):
                raise _error(errno.EINVAL)
            array = self.arrays.get(options["nqn"])
            address = _joined(options["traddr"], options["trsvcid"])
            behaviour = array.portals.get(address) if array else None
        if behaviour is not None and behaviour.gate is not None:
            assert behaviour.gate.wait(20)
        self.on_connect()
        with self._lock:
            behaviour = array.portals.get(address) if array else None
            if array is None or behaviour is None:
                raise _error(errno.ECONNREFUSED)
            if any(
                _read(folder / "hostnqn") == options["hostnqn"]
                and _read(folder / "connect-nqn") == options["nqn"]
                for folder in self._controllers(address)
            ):
                raise _error(errno.EALREADY)
            if behaviour.error is not None:
                raise _error(behaviour.error)
            if options["hostnqn"] not in array.hosts:
                raise _error(errno.EIO)
            name = self.add_controller(array, address, options)
        return f"instance={name[4:]},cntlid=1\n"

    def add_controller(self, array: FakeArray, address: str, options: dict[str, str] | None = None) -> str:
        """Make a connection as another program would. Returns the name of the NVMe controller."""
        options = {"hostnqn": HOST, "hostid": HOST_ID, **(options or {})}
        with self._lock:
            number = next(
                one for one in itertools.count() if not (self.sysfs / f"class/nvme/nvme{one}").exists()
            )
            subsystem = self._subsystem(array)
            host, port = _split(address)
            state = array.portals[address].state if address in array.portals else "live"
            _write_files(
                self.sysfs / f"class/nvme/nvme{number}",
                {
                    "address": f"traddr={host},trsvcid={port},src_addr=127.0.0.1",
                    "state": state,
                    "transport": "tcp",
                    "subsysnqn": array.nqn + array.longer,
                    "connect-nqn": array.nqn,
                    "hostnqn": options["hostnqn"],
                    "hostid": options["hostid"],
                    "ctrl_loss_tmo": {"-1": "off"}.get(options.get("ctrl_loss_tmo", "600"), "600"),
                    "rescan_controller": "",
                    "subsystem-folder": subsystem.name,
                },
            )
            self._sync()
        return f"nvme{number}"

    def controllers(self, address: str | None = None) -> list[Path]:
        """The folders of the connections, or of those to a portal."""
        with self._lock:
            return list(self._controllers(address))

    def heads(self) -> list[Path]:
        """The folders of the devices that join paths."""
        return sorted((self.sysfs / "class/nvme-subsystem").glob("*/nvme*n*"))

    def disconnect(self, name: str) -> None:
        """Remove a connection, as another program would."""
        with self._lock:
            shutil.rmtree(self.sysfs / "class/nvme" / name)
            self._made.pop(self.sysfs / "class/nvme" / name, None)
            self._sync()

    def close(self) -> None:
        self._closing.set()
        self._thread.join()

    def _event(self) -> None:
        if self.events:
            self._sync()

    def _serve_rescans(self) -> None:
        while not self._closing.wait(0.01):
            for folder in (self.sysfs / "class/nvme").iterdir():
                with contextlib.suppress(OSError):
                    if _read(folder / "rescan_controller"):
                        _write(folder / "rescan_controller", "")
                        self.rescans += 1
                        with self._lock:
                            self._sync()

    def _controllers(self, address: str | None = None) -> Iterator[Path]:
        for folder in sorted((self.sysfs / "class/nvme").iterdir()):
            found = dict(part.split("=") for part in _read(folder / "address").split(","))
            if address is None or _joined(found["traddr"], found["trsvcid"]) == address:
                yield folder

    def _subsystem(self, array: FakeArray) -> Path:
        parent = self.sysfs / "class/nvme-subsystem"
        for folder in parent.iterdir():
            if _read(folder / "subsysnqn") == array.nqn + array.longer:
                return folder
        folder = parent / f"nvme-subsys{len(list(parent.iterdir()))}"
        _write_files(folder, {"subsysnqn": array.nqn + array.longer, "subsystype": "nvm"})
        return folder

    def _sync(self) -> None:
        """Give each connection the paths to the volumes of its host, and remove other ones."""
        reached: set[tuple[Path, str]] = set()
        for folder in self._controllers():
            array = self.arrays[_read(folder / "connect-nqn")]
            volumes = array.hosts.get(_read(folder / "hostnqn"), [])
            wanted = {volume.nguid: volume for volume in volumes}
            subsystem = self.sysfs / "class/nvme-subsystem" / _read(folder / "subsystem-folder")
            live = _read(folder / "state") == "live"
            for nguid, path in list(self._children(folder).items()):
                if nguid not in wanted and live:
                    self._remove(path)
            for volume in volumes if live else ():
                self._add_path(folder, subsystem, volume)
            reached |= {(subsystem, nguid) for nguid in self._children(folder)}
        for subsystem in (self.sysfs / "class/nvme-subsystem").iterdir():
            for nguid, head in list(self._children(subsystem).items()):
                if (subsystem, nguid) not in reached:
                    self._remove(head)

    def _children(self, parent: Path) -> dict[str, Path]:
        """The paths or devices in a folder, by NGUID."""
        return self._made.setdefault(parent, {})

    def _remove(self, folder: Path) -> None:
        (self.dev / folder.name).unlink(missing_ok=True)
        shutil.rmtree(folder)
        siblings = self._children(folder.parent)
        for nguid in [nguid for nguid, child in siblings.items() if child == folder]:
            del siblings[nguid]

    def _add_path(self, controller: Path, subsystem: Path, volume: FakeVolume) -> None:
        if not self._multipath:
            head = self._device(controller, controller.name, volume)
            self._resize(head, volume)
            return
        head = self._device(subsystem, f"nvme{subsystem.name[len('nvme-subsys') :]}", volume)
        instance = head.name[head.name.rindex("n") + 1 :]
        number = controller.name[4:]
        path = controller / f"nvme{subsystem.name[len('nvme-subsys') :]}c{number}n{instance}"
        if volume.nguid not in self._children(controller):
            _write_files(path, {"ana_state": "optimized", **_nguid_file(volume)})
            self._children(controller)[volume.nguid] = path
        self._resize(head, volume)

    def _device(self, parent: Path, prefix: str, volume: FakeVolume) -> Path:
        if volume.nguid in self._children(parent):
            return self._children(parent)[volume.nguid]
        instance = next(one for one in itertools.count(1) if not (parent / f"{prefix}n{one}").exists())
        folder = parent / f"{prefix}n{instance}"
        file = self.dev / folder.name
        if volume.backing is None:
            file.touch()
            number = f"259:{next(self._minors)}"
            self._numbers[file.stat().st_ino] = number
        else:
            file.symlink_to(volume.backing)
            found = volume.backing.stat().st_rdev
            number = f"{os.major(found)}:{os.minor(found)}"
        size = str(volume.size // _SECTOR)
        _write_files(folder, {"dev": number, "size": size, **_nguid_file(volume)})
        self._children(parent)[volume.nguid] = folder
        return folder

    def _resize(self, head: Path, volume: FakeVolume) -> None:
        if volume.backing is None:
            os.truncate(self.dev / head.name, volume.size)
        if _read(head / "size") != str(volume.size // _SECTOR):
            _write(head / "size", f"{volume.size // _SECTOR}\n")

    def number(self, status: os.stat_result) -> str | None:
        """The device number of a plain file that stands in for a block device."""
        return self._numbers.get(status.st_ino)


class _FabricsFile:
    """The file for connections, opened once: a line is written, then the answer is read."""

    def __init__(self, kernel: FakeKernel) -> None:
        self._kernel = kernel
        self._answer: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, stack: TracebackType | None
    ) -> None:
        pass

    def write(self, data: bytes) -> int:
        self._answer = self._kernel.connect(data.decode())
        return len(data)

    def read(self, _length: int) -> bytes:
        if self._answer is None:
            return ",".join(
                ["instance=-1", "cntlid=-1", *(f"{name}=%s" for name in self._kernel.options)]
            ).encode()
        return self._answer.encode()


@contextlib.contextmanager
def running(
    kernel: FakeKernel, patch: pytest.MonkeyPatch, *, plain_files: bool = True
) -> Iterator[FakeKernel]:
    """The driver uses this kernel during the block."""
    patch.setattr(fabrics, "open_file", kernel.open_file)
    if plain_files:
        patch.setattr(device, "_number", kernel.number)
    try:
        yield kernel
    finally:
        kernel.close()
        # Attempts that a test left behind must not write into a folder that is being removed.
        for thread in threading.enumerate():
            if thread.name == "nvme-connect":
                thread.join(30)


def roots(folder: Path) -> dict[str, Path]:
    """Where the kernel with this folder has its files, as settings of the driver."""
    dev = folder / "dev"
    return {"sysfs": folder / "sys", "dev": dev, "fabrics": dev / "nvme-fabrics"}


def eventually(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait until the kernel of the tests, or the node, has done what a call began."""
    waiting.eventually(condition, seconds)


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def _joined(address: str, port: str) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _split(address: str) -> tuple[str, str]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), port


def _nguid_file(volume: FakeVolume) -> dict[str, str]:
    """The kernel has no file for an NGUID of zeros."""
    digits = volume.nguid
    if not digits.strip("0"):
        return {"wwid": "nvme.1d0f-zero"}
    return {"nguid": "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))}


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _write(path: Path, text: str) -> None:
    """Write a file in one step: a reader of sysfs never sees a part."""
    new = path.parent / f".{path.name}-{threading.get_ident()}"
    new.write_text(text)
    new.rename(path)


def _write_files(folder: Path, files: dict[str, str]) -> None:
    """Write a folder, whose name appears only when it is complete."""
    if folder.exists():
        for name, text in files.items():
            _write(folder / name, f"{text}\n")
        return
    new = folder.parent / f".new-{folder.name}"
    new.mkdir()
    for name, text in files.items():
        (new / name).write_text(f"{text}\n" if text else "")
    new.rename(folder)
