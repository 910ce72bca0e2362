"""Volumes through the PowerFlex SDC: the kernel module scini, its control device and its tool drv_cfg.

A mapped volume becomes a block device by itself within seconds, and udev links it by name of system and
volume (protocol notes, "SDC host side"). The link's exact name is the only thing that is searched for: two
systems can use the same volume id, and the first of several matches is nobody's volume in particular.
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

from csi_powerflex import call_context
from csi_powerflex.config.node import SdcSettings
from csi_powerflex.errors import DriverError, FailedPrecondition, InvalidArgument, Unavailable
from csi_powerflex.host import blockdev
from csi_powerflex.host.inotify import DirectoryWatch
from csi_powerflex.ids import NodeIdentity, VolumeHandle
from csi_powerflex.model.node import PublishContext
from csi_powerflex.observability.log import Log
from csi_powerflex.transport.sdc.drv_cfg import DrvCfg
from csi_powerflex.transport.sdc.service import SdcService
from csi_powerflex.units import readable

log = Log(__name__)

_QUERY_GUID, _RESCAN = 0x610E, 0x610A
_SUCCESS = 65
_LINK = re.compile(r"emc-vol-([0-9a-f]{16})-([0-9a-f]{16})")

_SLOW_POLL_SECONDS = 1.0
# A device can be linked before the kernel knows its size, and no event tells of that.
_SIZE_POLL_SECONDS = 0.02
# The mapping reaches the host by itself in one to three seconds; asking for it earlier only costs.
_FIRST_RESCAN_SECONDS = 2.0
_NEXT_RESCAN_SECONDS = 10.0
# Kept back from the deadline for the answer that says what was looked for.
_ANSWER_SECONDS = 0.2
_LOCK_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class _Missing:
    """Why a device cannot be used yet.

    ``rescan_after``: seconds after which to have the SDC look anew; ``poll``: seconds to look again in.
    """

    why: str
    rescan_after: float
    poll: float


class Sdc:
    """The SDC of this host."""

    name = "sdc"
    max_volumes = 8192  # protocol notes, "Limits"

    def __init__(self, settings: SdcSettings) -> None:
        self._settings = settings
        self._drv_cfg = DrvCfg(settings)
        self._service = None if settings.on_demand is None else SdcService(self._drv_cfg, settings.on_demand)
        self._rescan_lock = Lock()
        self._rescanned = float("-inf")

    def prepare(self) -> None:
        """Bring the SDC up, where the operator wants this driver to; see ``SdcService.prepare``."""
        if self._service is not None:
            self._service.prepare(self.devices())

    def identity(self) -> NodeIdentity:
        """The GUID that the SDC has on every system.

        Raises:
            FailedPrecondition: there is no SDC on this host.
            Unavailable: there is one, but it gives no GUID.
        """
        guid = self._guid_of_kernel() or self._drv_cfg.guid()
        try:
            return NodeIdentity.of_sdc(guid)
        except InvalidArgument as error:
            raise Unavailable(f"{self._settings.drv_cfg} --query_guid: {error}") from error

    def systems(self) -> tuple[str, ...]:
        """The systems that the SDC has been registered with, connected right now or not, in order.

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

    def attach(self, publish_context: PublishContext) -> Path:
        """Wait for the volume's device: driven by events, with a slow poll and rescans in case none comes.

        Raises:
            Unavailable: it did not come in time.
            FailedPrecondition: what the link leads to is another volume's device.
        """
        # Most often it is there already, and then needs no watch.
        if isinstance(device := self._verified(publish_context), Path):
            return device
        began = time.monotonic()
        limit = began + max(call_context.remaining(self._settings.device_seconds) - _ANSWER_SECONDS, 0.0)
        rescan_at = 0.0
        trouble: DriverError | None = None
        with DirectoryWatch(self._settings.by_id) as watch:
            while True:
                found = self._verified(publish_context)
                if isinstance(found, Path):
                    return found
                now = time.monotonic()
                if now >= limit:
                    raise self._not_found(publish_context, found, now - began, trouble)
                due = max(rescan_at, began + found.rescan_after)
                if now >= due:
                    trouble = self._trouble_in_preparing()
                    self.rescan()
                    rescan_at = now + _NEXT_RESCAN_SECONDS
                    continue
                watch.wait(min(found.poll, limit - now, due - now))

    def rescan(self) -> None:
        """Make the SDC ask its systems for volumes and sizes anew. One at a time; who waited need not
        repeat it.

        Failing is logged and otherwise ignored: rescanning only hastens what happens by itself.
        """
        asked = time.monotonic()
        if not self._rescan_lock.acquire(timeout=call_context.remaining(_LOCK_SECONDS)):
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

    def _verified(self, publish_context: PublishContext) -> Path | _Missing:
        """The device behind the link, if it is what the ticket says.

        Raises:
            FailedPrecondition: the link leads to another volume's device.
        """
        device = self.find(publish_context.handle)
        if device is None:
            why = "there is no such link to a block device"
            return _Missing(why, _FIRST_RESCAN_SECONDS, _SLOW_POLL_SECONDS)
        try:
            size = blockdev.size(device)
        except Unavailable as error:
            return _Missing(str(error), _FIRST_RESCAN_SECONDS, _SIZE_POLL_SECONDS)
        if size < publish_context.size:
            return _Missing(
                f"it leads to {device}, which has {readable(size)} and not the "
                f"{readable(publish_context.size)} of the volume",
                # A new device gets its size by itself, one that has grown needs to be looked at.
                rescan_after=0.0 if size else _FIRST_RESCAN_SECONDS,
                poll=_SIZE_POLL_SECONDS,
            )
        self._require_one_name(device, publish_context.handle)
        return device

    def _require_one_name(self, device: Path, handle: VolumeHandle) -> None:
        """Make sure that no other volume's link leads to the same device.

        A link can outlive its volume, and the kernel gives the device's name to the next one.
        """
        wanted = self._link(handle).name
        for link in self._settings.by_id.iterdir():
            if link.name != wanted and _LINK.fullmatch(link.name) and _leads_to(link, device):
                raise FailedPrecondition(
                    f"{self._settings.by_id} has {wanted} and {link.name} for the same device "
                    f"{device}: one of the "
                    "links is stale and it cannot be told which; run `udevadm trigger "
                    "--subsystem-match=block` "
                    "on the host, or remove the stale link"
                )

    def _trouble_in_preparing(self) -> DriverError | None:
        try:
            self.prepare()
        except DriverError as error:
            log.warning("SDC not brought up", error=error)
            return error
        return None

    def _not_found(
        self, publish_context: PublishContext, found: _Missing, waited: float, trouble: DriverError | None
    ) -> Unavailable:
        link = self._link(publish_context.handle)
        return Unavailable(
            f"the device of volume {publish_context.handle} did not come within {waited:.1f} s: looked for {link}: "
            f"{found.why}. {trouble or self._connection(publish_context.handle.system_id)}"
        )

    def _connection(self, system: str) -> str:
        try:
            systems = self.systems()
        except DriverError as error:
            return f"Whether the SDC is connected cannot be told: {error}"
        if system in systems:
            return f"The SDC knows system {system}: check that the volume is mapped to this host."
        return (
            f"The SDC of this host is not connected to system {system} (it knows: "
            f"{', '.join(systems) or 'none'}): "
            f"add its MDMs with {self._settings.drv_cfg} --add_mdm, or let the driver do it (--sdc-on-demand)"
        )

    def _guid_of_kernel(self) -> str | None:
        # linux scini: an 8-byte result, 16 bytes of GUID and 8 bytes that are of no use here.
        buffer = bytearray(32)
        return str(uuid.UUID(bytes=bytes(buffer[8:24]))) if self._ioctl(_QUERY_GUID, buffer) else None

    def _ioctl(self, request: int, buffer: bytearray) -> bool:
        """Ask the kernel module; whether it answered with success."""
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
