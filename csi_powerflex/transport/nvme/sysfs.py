"""What the kernel says in sysfs about NVMe controllers, NVMe namespaces and the paths between them.

A file can vanish at any time, because portals fail and volumes are unmapped. A missing file means that the
object is not there. Names such as nvme0n4 are numbers that the kernel gives again to other volumes. So a
volume is known by its NGUID alone. The file uuid is never read: without a UUID, the kernel logs a line.

With native multipath, an NVMe namespace is a device of its subsystem, and each NVMe controller has a hidden
path to it. Without it, each NVMe controller has a device of its own.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from csi_powerflex.host.facts import is_folder
from csi_powerflex.shared_read import SharedRead

LIVE = "live"
"""The state of an NVMe controller that serves."""

_CONTROLLER = re.compile(r"nvme[0-9]+")
_DEVICE = re.compile(r"nvme[0-9]+n[0-9]+")
_SUBSYSTEM = re.compile(r"nvme-subsys[0-9]+")
_PATH = re.compile(r"nvme[0-9]+c[0-9]+n[0-9]+")
_NUMBER = re.compile(r"[0-9]+:[0-9]+")
_SECTOR = 512
_DELL_OUI = "64b94e"
_READ_SECONDS = 10.0
_USABLE_ANA = ("", "optimized", "non-optimized")
_NEVER = ("off", "-1")
_ENDING = ("deleting", "dead")


@dataclass(frozen=True, slots=True)
class NvmeController:
    """A connection of this host to a portal.

    Attributes:
        name: such as nvme3. The kernel gives it again after the connection has ended.
        folder: its folder in sysfs.
        nqn: the NQN of the subsystem, as the array gave it.
        host_nqn: the NQN of the host that connected, in lower case.
        host_id: its host id; empty where the kernel does not tell it.
        address: the IP address of the portal.
        port: the port of the portal.
        state: live, connecting, resetting, deleting or dead.
        loss_timeout: seconds after which the kernel gives a lost connection up; None for never.
    """

    name: str
    folder: Path
    nqn: str
    host_nqn: str
    host_id: str
    address: str
    port: int
    state: str
    loss_timeout: str | None

    @property
    def live(self) -> bool:
        """Whether it serves."""
        return self.state == LIVE

    @property
    def ending(self) -> bool:
        """Whether it will not come back by itself."""
        return self.state.startswith(_ENDING)

    def __str__(self) -> str:
        address = f"[{self.address}]" if ":" in self.address else self.address
        return f"{self.name} to {address}:{self.port} is {self.state}"


@dataclass(frozen=True, slots=True)
class NvmePath:
    """The way to an NVMe namespace over one NVMe controller.

    Attributes:
        live: whether requests can use it now.
    """

    controller: NvmeController
    live: bool


@dataclass(frozen=True, slots=True)
class NvmeNamespace:
    """A volume as this host has it.

    Attributes:
        name: of its device file now.
        folder: its folder in sysfs.
        nqn: the NQN of its subsystem.
        nguid: 32 lower-case hexadecimal digits.
        number: ``major:minor`` of its device.
        size: in bytes.
        paths: the ways to it over NVMe controllers of this host.
    """

    name: str
    folder: Path
    nqn: str
    nguid: str
    number: str
    size: int
    paths: tuple[NvmePath, ...]

    @property
    def live_paths(self) -> int:
        """How many paths requests can use now."""
        return sum(path.live for path in self.paths)

    @property
    def is_powerflex(self) -> bool:
        """Whether it is a volume of PowerFlex: the middle of its NGUID names the vendor."""
        return self.nguid[16:].startswith(_DELL_OUI)

    def is_same_now(self) -> bool:
        """Whether this name still belongs to the same volume and device number."""
        return _nguid(self.folder) == self.nguid and _text(self.folder / "dev") == self.number


class Sysfs:
    """Reads sysfs, which is mounted at ``root``."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._shared = SharedRead(self._read, seconds=_READ_SECONDS)

    @property
    def native_multipath(self) -> bool:
        """Whether the kernel joins several paths to one device."""
        return _text(self._root / "module/nvme_core/parameters/multipath") == "Y"

    def modules(self) -> tuple[str, ...]:
        """The modules of NVMe/TCP that the kernel has."""
        names = ("nvme_core", "nvme_fabrics", "nvme_tcp")
        return tuple(name for name in names if is_folder(self._root / "module" / name))

    def read(self) -> Snapshot:
        """What is there now. Calls at the same time share one read: a host may have thousands of volumes."""
        return self._shared.get()

    def _read(self) -> Snapshot:
        found = (_controller(folder) for folder in _children(self._root / "class/nvme", _CONTROLLER))
        controllers = sorted((one for one in found if one is not None), key=lambda one: int(one.name[4:]))
        used = {one.nqn for one in controllers}
        devices: dict[str, list[tuple[Path, str]]] = {}
        for subsystem in _children(self._root / "class/nvme-subsystem", _SUBSYSTEM):
            nqn = _text(subsystem / "subsysnqn")
            if nqn in used:
                _collect(subsystem, nqn, devices)
        for one in controllers:  # without native multipath
            _collect(one.folder, one.nqn, devices)
        return Snapshot(tuple(controllers), devices)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What sysfs had at one time.

    Attributes:
        controllers: every NVMe controller that reaches its subsystem by TCP, in the order of their numbers.
        devices: by NGUID, the folder of each device and the NQN of its subsystem.
    """

    controllers: tuple[NvmeController, ...]
    devices: Mapping[str, Sequence[tuple[Path, str]]]

    def of_host(self, host_nqn: str) -> list[NvmeController]:
        """The NVMe controllers that this host has connected. ``host_nqn`` is in lower case."""
        return [one for one in self.controllers if one.host_nqn == host_nqn]

    def namespaces(self, host_nqn: str, nguid: str | None = None) -> list[NvmeNamespace]:
        """The NVMe namespaces with an NGUID that this host has connected. Their details are read now.

        Args:
            host_nqn: the NQN of this host, in lower case.
            nguid: only NVMe namespaces with this NGUID.
        """
        own = self.of_host(host_nqn)
        nguids = self.devices.keys() if nguid is None else [nguid]
        found = (
            _namespace(folder, [one for one in own if one.nqn == nqn], wanted)
            for wanted in nguids
            for folder, nqn in self.devices.get(wanted, ())
        )
        return [one for one in found if one is not None]


def unnamed(controllers: Collection[NvmeController]) -> int:
    """How many paths of these NVMe controllers lead to an NVMe namespace without an NGUID."""
    folders = (folder for one in controllers for folder in _children(one.folder, _PATH, _DEVICE))
    return sum(not _nguid(folder) for folder in folders)


def same_address(one: str, other: str) -> bool:
    """Whether two texts are the same IP address."""
    return _address(one) == _address(other)


def _controller(folder: Path) -> NvmeController | None:
    if _text(folder / "transport") != "tcp":
        return None
    address = dict(part.partition("=")[::2] for part in _text(folder / "address").split(","))
    nqn, state = _text(folder / "subsysnqn"), _text(folder / "state")
    port = address.get("trsvcid", "")
    if not nqn or not state or not port.isdecimal():
        return None
    timeout = _text(folder / "ctrl_loss_tmo")
    return NvmeController(
        name=folder.name,
        folder=folder,
        nqn=nqn,
        host_nqn=_text(folder / "hostnqn").lower(),
        host_id=_text(folder / "hostid").lower(),
        address=_address(address.get("traddr", "")),
        port=int(port),
        state=state,
        loss_timeout=None if timeout in _NEVER or not timeout else timeout,
    )


def _collect(folder: Path, nqn: str, devices: dict[str, list[tuple[Path, str]]]) -> None:
    """Add the devices in a folder that have an NGUID."""
    for child in _children(folder, _DEVICE):
        nguid = _nguid(child)
        if nguid:
            devices.setdefault(nguid, []).append((child, nqn))


def _namespace(folder: Path, controllers: Sequence[NvmeController], nguid: str) -> NvmeNamespace | None:
    """The NVMe namespace of a folder; None if no path of these NVMe controllers leads to it."""
    number, size = _text(folder / "dev"), _text(folder / "size")
    if _nguid(folder) != nguid or _NUMBER.fullmatch(number) is None or not size.isdecimal():
        return None
    paths = tuple(path for one in controllers if (path := _path(one, folder, nguid)) is not None)
    if not paths:
        return None
    nqn = controllers[0].nqn
    return NvmeNamespace(folder.name, folder, nqn, nguid, number, int(size) * _SECTOR, paths)


def _path(controller: NvmeController, device: Path, nguid: str) -> NvmePath | None:
    if device.parent == controller.folder:
        return NvmePath(controller, live=controller.live)
    # nvme1n7 has the path nvme1c3n7 over nvme3. The NGUID has to be the same too.
    subsystem, _, instance = device.name.rpartition("n")
    folder = controller.folder / f"{subsystem}c{controller.name[4:]}n{instance}"
    if _nguid(folder) != nguid:
        return None
    usable = _text(folder / "ana_state") in _USABLE_ANA
    return NvmePath(controller, live=controller.live and usable)


def _nguid(folder: Path) -> str:
    """The NGUID; empty where there is none, or it is all zeros."""
    text = _text(folder / "nguid").replace("-", "").lower()
    return text if text.strip("0") else ""


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return text


def _children(folder: Path, *patterns: re.Pattern[str]) -> list[Path]:
    with contextlib.suppress(OSError):
        return [
            child for child in folder.iterdir() if any(pattern.fullmatch(child.name) for pattern in patterns)
        ]
    return []


def _text(path: Path) -> str:
    """The text of a file without the space around it; empty if it cannot be read."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
