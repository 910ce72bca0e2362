"""What the kernel says in sysfs about NVMe controllers, NVMe namespaces and the paths between them.

A file can vanish at any time, because portals fail and volumes are unmapped. A missing file means that the
object is not there. Names such as nvme0n4 are numbers that the kernel gives again to other volumes. So a
volume is known by its NGUID alone. The file ``uuid`` is never read: without a UUID, the kernel logs a line.

With native multipath, an NVMe namespace is a device of its subsystem, and each NVMe controller has a hidden
path to it. Without it, each NVMe controller has a device of its own.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from csi_powerflex.model.nvme import VENDOR

LIVE = "live"
"""The state of an NVMe controller that serves."""

_CONTROLLER = re.compile(r"nvme[0-9]+")
_DEVICE = re.compile(r"nvme[0-9]+n[0-9]+")
_PATH = re.compile(r"nvme[0-9]+c[0-9]+n[0-9]+")
_NUMBER = re.compile(r"[0-9]+:[0-9]+")
_SECTOR = 512
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
        return self.nguid[16:].startswith(VENDOR)

    def is_same_now(self) -> bool:
        """Whether this name still belongs to the same volume and device number."""
        return _nguid(self.folder) == self.nguid and _text(self.folder / "dev") == self.number


class Sysfs:
    """Reads sysfs, which is mounted at ``root``."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @property
    def native_multipath(self) -> bool:
        """Whether the kernel joins several paths to one device."""
        return _text(self._root / "module/nvme_core/parameters/multipath") == "Y"

    def modules(self) -> tuple[str, ...]:
        """The modules of NVMe/TCP that the kernel has."""
        names = ("nvme_core", "nvme_fabrics", "nvme_tcp")
        return tuple(name for name in names if _exists(self._root / "module" / name))

    def controllers(self) -> tuple[NvmeController, ...]:
        """Every NVMe controller that reaches its subsystem by TCP, in the order of their numbers."""
        found = (_controller(folder) for folder in _children(self._root / "class/nvme", _CONTROLLER))
        return tuple(sorted((one for one in found if one is not None), key=lambda one: int(one.name[4:])))

    def namespaces(self, host_nqn: str, nguid: str | None = None) -> tuple[NvmeNamespace, ...]:
        """The NVMe namespaces with an NGUID that this host has connected.

        Args:
            host_nqn: the NQN of this host, in lower case.
            nguid: only NVMe namespaces with this NGUID.
        """
        own = [one for one in self.controllers() if one.host_nqn == host_nqn]
        found = []
        for subsystem in _children(self._root / "class/nvme-subsystem", re.compile(r"nvme-subsys[0-9]+")):
            nqn = _text(subsystem / "subsysnqn")
            members = [one for one in own if one.nqn == nqn]
            if members:
                found += [
                    head for folder in _named(subsystem, nguid) if (head := _namespace(folder, nqn, members))
                ]
        for one in own:  # without native multipath
            found += [
                device
                for folder in _named(one.folder, nguid)
                if (device := _namespace(folder, one.nqn, [one]))
            ]
        return tuple(found)

    def unnamed(self, controllers: Collection[NvmeController]) -> int:
        """How many paths of these NVMe controllers lead to an NVMe namespace without an NGUID."""
        folders = (folder for one in controllers for folder in _children(one.folder, _PATH, _DEVICE))
        return sum(_exists(folder) and not _nguid(folder) for folder in folders)


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


def _namespace(folder: Path, nqn: str, controllers: Collection[NvmeController]) -> NvmeNamespace | None:
    """The NVMe namespace of a folder; None if no path of these NVMe controllers leads to it."""
    nguid, number, size = _nguid(folder), _text(folder / "dev"), _text(folder / "size")
    if not nguid or _NUMBER.fullmatch(number) is None or not size.isdecimal():
        return None
    paths = tuple(path for one in controllers if (path := _path(one, folder, nguid)) is not None)
    if not paths:
        return None
    return NvmeNamespace(folder.name, folder, nqn, nguid, number, int(size) * _SECTOR, paths)


def _path(controller: NvmeController, device: Path, nguid: str) -> NvmePath | None:
    if device.parent == controller.folder:
        return NvmePath(controller, live=controller.live)
    # The names of a device and of its paths end in the same number. The NGUID has to be the same too.
    ending = device.name[device.name.rindex("n") :]
    for folder in _children(controller.folder, _PATH):
        if folder.name.endswith(ending) and _nguid(folder) == nguid:
            usable = _text(folder / "ana_state") in _USABLE_ANA
            return NvmePath(controller, live=controller.live and usable)
    return None


def _named(folder: Path, nguid: str | None) -> Iterator[Path]:
    """The devices in a folder, or those with this NGUID."""
    for child in _children(folder, _DEVICE):
        if nguid is None or _nguid(child) == nguid:
            yield child


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


def _exists(path: Path) -> bool:
    with contextlib.suppress(OSError):
        return path.exists()
    return False


def _text(path: Path) -> str:
    """The text of a file without the space around it; empty if it cannot be read."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
