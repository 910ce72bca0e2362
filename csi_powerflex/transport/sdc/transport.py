"""Finding a volume's block device through the PowerFlex SDC, and waiting for it.

The SDC is the kernel module scini, with a control device and the tool drv_cfg.

A mapped volume becomes a block device within seconds, and udev creates a link to it that has the ids of the
system and the volume in its name (protocol notes, "SDC host side"). Only the exact name is searched for: two
systems can have volumes with the same id, so a part of the name is not enough.
"""

from __future__ import annotations

import fcntl
import re
import stat
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from csi_powerflex import call_context, units
from csi_powerflex.config.node import SdcSettings
from csi_powerflex.errors import DriverError, FailedPrecondition, InvalidArgument, Unavailable
from csi_powerflex.host import blockdev
from csi_powerflex.host.inotify import DirectoryWatch
from csi_powerflex.ids import Initiator, VolumeHandle
from csi_powerflex.model.publish_context import PublishContext
from csi_powerflex.model.transport import SDC, PathCount
from csi_powerflex.observability.log import Log
from csi_powerflex.transport.sdc.drv_cfg import DrvCfg
from csi_powerflex.transport.sdc.service import SdcService

log = Log(__name__)

_QUERY_GUID, _RESCAN = 0x610E, 0x610A
_SUCCESS = 65
_LINK = re.compile(r"emc-vol-([0-9a-f]{16})-([0-9a-f]{16})")

# A device can have a link before the kernel knows its size, and there is no event for the size.
_SIZE_POLL_SECONDS = 0.02
_NEXT_RESCAN_SECONDS = 10.0
# Reserved at the end of the deadline for the answer that says what was looked for.
_ANSWER_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class _Missing:
    """Why a device cannot be used yet.

    Attributes:
        reason: for people.
        rescan_after: seconds to wait before the SDC is asked to rescan.
        poll: seconds to wait before the device is checked again.
    """

    reason: str
    rescan_after: float
    poll: float


class Sdc:
    """The SDC of this host; implements ``model.transport.NodeTransport``."""

    type = SDC
    max_volumes = 8192  # protocol notes, "Limits"

    def __init__(self, settings: SdcSettings) -> None:
        self._settings = settings
        self._drv_cfg = DrvCfg(settings)
        self._service = None if settings.on_demand is None else SdcService(self._drv_cfg, settings.on_demand)
        self._rescan_lock = Lock()
        self._rescanned = float("-inf")

    def prepare(self) -> None:
        """Start the SDC, if the operator wants this driver to do it; see ``SdcService.prepare``."""
        if self._service is not None:
            self._service.prepare(self.devices())

    def initiator(self) -> Initiator:
        """The GUID of the SDC, which is the same on every system.

        Raises:
            FailedPrecondition: there is no SDC on this host.
            Unavailable: there is one, but it gives no GUID.
        """
        guid = self._guid_of_kernel() or self._drv_cfg.guid()
        try:
            return Initiator.sdc(guid)
        except InvalidArgument as error:
            raise Unavailable(f"{self._settings.drv_cfg} --query_guid: {error}") from error

    def systems(self) -> tuple[str, ...]:
        """The systems that the SDC is registered with, in order. It may not be connected to them now.

        Raises:
            FailedPrecondition: there is no SDC on this host.
            Unavailable: its tool failed.
        """
        return tuple(sorted({system.id for system in self._drv_cfg.systems() if system.id is not None}))

    def find(self, handle: VolumeHandle) -> Path | None:
        """The volume's block device if it is here now."""
        return _block_device(self._link(handle))

    def devices(self) -> tuple[Path, ...]:
        """The block devices of all volumes that are here now, each once."""
        try:
            links = [link for link in self._settings.by_id.iterdir() if _LINK.fullmatch(link.name)]
        except FileNotFoundError:
            return ()
        found = {device for link in links if (device := _block_device(link)) is not None}
        return tuple(sorted(found))

    def paths(self, _handle: VolumeHandle) -> PathCount | None:
        """None: the kernel module does not show its paths."""
        return None

    def start(self) -> None:
        """Nothing: the kernel module keeps its connections by itself."""

    def stop(self) -> None:
        """Nothing."""

    def attach(self, publish_context: PublishContext) -> Path:
        """Wait for the volume's device.

        Raises:
            Unavailable: it did not appear in time.
            FailedPrecondition: the link leads to the device of another volume.
        """
        context = publish_context
        return self._wait(context.handle, context.size, host_connected=context.host_connected)

    def wait_for_size(self, handle: VolumeHandle, size: int) -> Path:
        """Wait for the volume's device to appear and to have ``size`` bytes. Raises as ``attach``."""
        return self._wait(handle, size, host_connected=True)

    def _wait(self, handle: VolumeHandle, size: int, *, host_connected: bool) -> Path:
        """As ``wait_for_size``. Events end the wait. A slow poll and rescans help where no event comes.

        Args:
            handle: the volume.
            size: the bytes that its device must have.
            host_connected: False if the array was not connected to this host when the volume was mapped.
        """
        # Most often the device is here already. Then no watch is needed.
        if isinstance(device := self._verified(handle, size), Path):
            return device
        began = time.monotonic()
        limit = began + max(call_context.remaining(self._settings.device_seconds) - _ANSWER_SECONDS, 0.0)
        rescan_at = 0.0
        error: DriverError | None = None
        with DirectoryWatch(self._settings.by_id) as watch:
            while True:
                found = self._verified(handle, size)
                if isinstance(found, Path):
                    return found
                now = time.monotonic()
                if now >= limit:
                    advice = str(error or self._connection(handle.system_id, host_connected=host_connected))
                    raise self._not_found(handle, found, now - began, advice)
                due = max(rescan_at, began + found.rescan_after)
                if now >= due:
                    error = self._error_of_preparing()
                    self.rescan()
                    rescan_at = now + _NEXT_RESCAN_SECONDS
                    continue
                watch.wait(min(found.poll, limit - now, due - now))

    def rescan(self) -> None:
        """Make the SDC ask its systems for volumes and sizes again.

        One call at a time does it. A call that waited for another one's rescan skips its own. A failure is
        only logged, because a rescan only speeds up what happens without it.
        """
        asked = time.monotonic()
        if not self._rescan_lock.acquire(timeout=call_context.remaining(self._settings.lock_seconds)):
            return
        try:
            if self._rescanned >= asked:
                return
            began = time.monotonic()
            if not self._ioctl(_RESCAN, bytearray(8)):
                self._drv_cfg.rescan()
            self._rescanned = began
        except DriverError as error:
            self._rescanned = time.monotonic()
            log.warning("rescan failed", error=error)
        finally:
            self._rescan_lock.release()

    def _link(self, handle: VolumeHandle) -> Path:
        return self._settings.by_id / f"emc-vol-{handle.system_id}-{handle.volume_id}"

    def _verified(self, handle: VolumeHandle, wanted: int) -> Path | _Missing:
        """The device behind the volume's link, if it has at least ``wanted`` bytes.

        Raises:
            FailedPrecondition: the link leads to the device of another volume.
        """
        device = self.find(handle)
        if device is None:
            reason = "there is no such link to a block device"
            return _Missing(reason, self._settings.first_rescan_seconds, self._settings.slow_poll_seconds)
        try:
            size = blockdev.size(device)
        except Unavailable as error:
            return _Missing(str(error), self._settings.first_rescan_seconds, _SIZE_POLL_SECONDS)
        if size < wanted:
            return _Missing(
                f"it leads to {device}, which has {units.readable(size)} and not the "
                f"{units.readable(wanted)} of the volume",
                # A new device gets its size without a rescan. One that was expanded needs a rescan.
                rescan_after=0.0 if size else self._settings.first_rescan_seconds,
                poll=_SIZE_POLL_SECONDS,
            )
        self._require_one_name(device, handle)
        return self._stale(device, handle) or device

    def _stale(self, device: Path, handle: VolumeHandle) -> _Missing | None:
        """Whether the link leads to another volume's device, as the SDC knows it. udev may be late."""
        volume = self._drv_cfg.volume_of(device)
        if volume is None or volume == handle:
            return None
        return _Missing(
            f"it leads to {device}, which is volume {volume}: the link is stale; run `udevadm trigger "
            "--subsystem-match=block` on the host, or remove the link",
            self._settings.first_rescan_seconds,
            self._settings.slow_poll_seconds,
        )

    def _require_one_name(self, device: Path, handle: VolumeHandle) -> None:
        """Check that no other volume's link leads to the same device.

        A link can outlive its volume, and the kernel gives the device's name to the next volume.
        """
        wanted = self._link(handle).name
        for link in self._settings.by_id.iterdir():
            if link.name != wanted and _LINK.fullmatch(link.name) and _leads_to(link, device):
                raise FailedPrecondition(
                    f"{self._settings.by_id} has {wanted} and {link.name} for the same device {device}: one "
                    "of the links is stale, and it is not known which one; run `udevadm trigger "
                    "--subsystem-match=block` on the host, or remove the stale link"
                )

    def _error_of_preparing(self) -> DriverError | None:
        try:
            self.prepare()
        except DriverError as error:
            log.warning("SDC not started", error=error)
            return error
        return None

    def _not_found(self, handle: VolumeHandle, found: _Missing, waited: float, advice: str) -> Unavailable:
        return Unavailable(
            f"the device of volume {handle} did not appear within {units.seconds(waited)}: looked for "
            f"{self._link(handle)}: {found.reason}. {advice}"
        )

    def _connection(self, system: str, *, host_connected: bool) -> str:
        """What is known of the connection between this host and the system, and what to do."""
        if not host_connected:
            return (
                "The array was not connected to this host when the volume was mapped: check on the host "
                f"that the SDC reaches the MDMs of system {system} (drv_cfg --query_mdms, TCP port 6611)"
            )
        try:
            systems = self.systems()
        except DriverError as error:
            return f"It is not known whether the SDC is connected: {error}"
        if system in systems:
            return (
                f"The SDC is configured for system {system}, but may have lost its connection: check at the "
                "array that this host is connected and that the volume is mapped to it, and on the host that "
                "the SDC reaches the MDMs (TCP port 6611)"
            )
        return (
            f"The SDC of this host is not connected to system {system} (it knows: "
            f"{', '.join(systems) or 'none'}): add its MDMs with {self._settings.drv_cfg} --add_mdm, or let "
            "the driver add them (--sdc-on-demand)"
        )

    def _guid_of_kernel(self) -> str | None:
        # The answer of scini: a result of 8 bytes, a GUID of 16 bytes, and 8 bytes that are not used here.
        buffer = bytearray(32)
        return str(uuid.UUID(bytes=bytes(buffer[8:24]))) if self._ioctl(_QUERY_GUID, buffer) else None

    def _ioctl(self, request: int, buffer: bytearray) -> bool:
        """Ask the kernel module. Returns whether it answered with success."""
        try:
            with self._settings.control_device.open("rb", buffering=0) as device:
                if not stat.S_ISCHR(self._settings.control_device.stat().st_mode):
                    return False
                fcntl.ioctl(device, request, buffer)
        except OSError as error:
            log.debug("kernel module was not asked", device=self._settings.control_device, reason=error)
            return False
        return buffer[0] == _SUCCESS


def _block_device(link: Path) -> Path | None:
    """The block device that ``link`` leads to, None where there is none."""
    try:
        device = link.resolve(strict=True)
        return device if stat.S_ISBLK(device.stat().st_mode) else None
    except OSError:
        return None


def _leads_to(link: Path, device: Path) -> bool:
    try:
        return link.samefile(device)
    except OSError:
        return False
