"""NVMe/TCP: the kernel has a device for each mapped volume, over one connection to each portal of the array.

The array tells a connected host of each change of its volumes, and the kernel then adds, grows or removes
devices by itself. So the driver connects, finds the device by the NGUID of the volume, and waits. It never
disconnects: the kernel would remove a device under a mounted filesystem without a complaint. The array
removes devices when volumes are unmapped.

nvme-cli is not needed, in the image or on the host.
"""

from __future__ import annotations

import errno
import time
from dataclasses import dataclass
from pathlib import Path

from csi_powerflex import call_context, units
from csi_powerflex.config.node import NvmeSettings
from csi_powerflex.errors import DriverError, FailedPrecondition, Unavailable
from csi_powerflex.host.inotify import DirectoryWatch
from csi_powerflex.ids import Initiator, VolumeHandle
from csi_powerflex.model.nvme import NvmeTarget, nguid_of
from csi_powerflex.model.publish_context import PublishContext
from csi_powerflex.model.transport import NVME, PathCount
from csi_powerflex.observability.log import Log
from csi_powerflex.transport.nvme import device, explain
from csi_powerflex.transport.nvme.connect import Address, Connector, Failure, keep_forever, rescan
from csi_powerflex.transport.nvme.fabrics import Fabrics
from csi_powerflex.transport.nvme.identity import HostFiles, HostPair
from csi_powerflex.transport.nvme.modules import load_modules
from csi_powerflex.transport.nvme.portals import FRESH_SECONDS, PortalFinder, belongs
from csi_powerflex.transport.nvme.sysfs import NvmeController, NvmeNamespace, Snapshot, Sysfs
from csi_powerflex.transport.nvme.upkeep import Upkeep

log = Log(__name__)

_NEXT_RESCAN_SECONDS = 10.0
# Reserved at the end of the deadline for the answer that says what is missing.
_ANSWER_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class _Missing:
    """Why there is no device yet.

    Attributes:
        reason: what was found; empty if the kernel does not have the volume at all.
        advice: what to do; empty if the connections say it.
        live: whether this host has a live connection to the subsystem.
    """

    reason: str
    advice: str = ""
    live: bool = True


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The volume whose device is needed. ``target`` is None if only a device that is here counts."""

    handle: VolumeHandle
    size: int
    host: HostPair
    target: NvmeTarget | None = None


class Nvme:
    """NVMe/TCP on this host; implements ``model.transport.NodeTransport``."""

    type = NVME
    max_volumes = 8192  # protocol notes, "Limits"

    def __init__(self, settings: NvmeSettings) -> None:
        self._settings = settings
        self._sysfs = Sysfs(settings.sysfs)
        self._fabrics = Fabrics(settings.fabrics)
        self._host = HostFiles(settings.folder, create=settings.create_host_nqn, sysfs=settings.sysfs)
        self._connector = Connector(
            self._fabrics,
            self._sysfs,
            retry_seconds=settings.retry_seconds,
            io_queues=settings.io_queues,
            single=settings.single_path,
        )
        self._finder = PortalFinder(settings.discovery_seconds)
        self._upkeep = Upkeep(settings, self._sysfs, self._connector, self._finder, self._host)
        self._last_host: HostPair | None = None

    def start(self) -> None:
        """Begin to look for lost and missing connections in the background."""
        self._upkeep.start()

    def stop(self) -> None:
        """End that."""
        self._upkeep.stop()

    def prepare(self) -> None:
        """Load the kernel modules, if the operator wants this driver to do it.

        Raises:
            FailedPrecondition: the kernel has no such modules.
        """
        if self._settings.load_modules and not self._fabrics.present:
            load_modules(self._settings.mount_namespace)

    def initiator(self) -> Initiator:
        """The NQN of this host.

        Raises:
            FailedPrecondition: this host has none, or cannot use NVMe/TCP.
        """
        host = self._host.pair()
        self._require_kernel()
        self._require_systems()
        return Initiator.nvme(host.nqn)

    def systems(self) -> tuple[str, ...]:
        """The configured systems, in order.

        Raises:
            FailedPrecondition: there are none, or this host cannot use NVMe/TCP.
        """
        self._host.pair()
        self._require_kernel()
        return self._require_systems()

    def find(self, handle: VolumeHandle) -> Path | None:
        """The volume's block device if it is here now, with or without a live path."""
        found = self._namespaces(handle, self._sysfs.read())
        return device.path_of(found[0], self._settings.dev) if found else None

    def devices(self) -> tuple[Path, ...]:
        """The block devices of all volumes of PowerFlex that are here now, each once."""
        host = self._known_host()
        if host is None:
            return ()
        found = (
            device.path_of(one, self._settings.dev)
            for one in self._sysfs.read().namespaces(host.key)
            if one.is_powerflex
        )
        return tuple(sorted({path for path in found if path is not None}))

    def paths(self, handle: VolumeHandle) -> PathCount | None:
        """How many paths lead to the volume, and how many of them are live; None if it is not here."""
        snapshot = self._sysfs.read()
        found, host = self._namespaces(handle, snapshot), self._known_host()
        if not found or host is None:
            return None
        own = [one for one in snapshot.of_host(host.key) if one.nqn == found[0].nqn]
        lost = tuple(str(one) for one in own if not one.live)
        return PathCount(live=found[0].live_paths, total=len(own), lost=lost)

    def attach(self, publish_context: PublishContext) -> Path:
        """Connect to the array as far as needed, and wait for the volume's device.

        Raises:
            InvalidArgument: the publish context is not one for NVMe/TCP.
            FailedPrecondition: this host cannot use NVMe/TCP, the array refuses it, or the kernel does.
            Unavailable: the device did not appear in time.
        """
        handle = publish_context.handle
        target = NvmeTarget.parse(handle, publish_context.details)
        _require_own(handle, target)
        self.prepare()
        host = self._host.pair()
        self._require_kernel()
        path = self._wait(_Wanted(handle, publish_context.size, host, target))
        self._upkeep.expect(handle.system_id, target)
        return path

    def wait_for_size(self, handle: VolumeHandle, size: int) -> Path:
        """Wait for the volume's device to have ``size`` bytes. Raises as ``attach``."""
        return self._wait(_Wanted(handle, size, self._host.pair()))

    def _wait(self, wanted: _Wanted) -> Path:
        """The device of a volume, when it is here and has the size. Events end the wait, if they come."""
        began = time.monotonic()
        found = self._verified(wanted)
        if isinstance(found, Path):
            if wanted.target is None:
                return found
            # It may belong to an earlier mapping of the volume, which the kernel is about to remove.
            time.sleep(min(self._settings.settle_seconds, call_context.remaining(1.0)))
            found = self._verified(wanted)
            if isinstance(found, Path):
                return found
        limit = began + max(call_context.remaining(self._settings.device_seconds) - _ANSWER_SECONDS, 0.0)
        rescan_at = began + self._settings.first_rescan_seconds
        with DirectoryWatch(self._settings.dev) as watch:
            while True:
                found = self._verified(wanted)
                if isinstance(found, Path):
                    return found
                now = time.monotonic()
                if now >= limit:
                    raise self._not_found(wanted, found, began)
                if not found.live:
                    self._connect(wanted, began, limit)
                elif now >= rescan_at:
                    rescan(_own(wanted, self._sysfs.read()))
                    rescan_at = now + _NEXT_RESCAN_SECONDS
                watch.wait(min(self._settings.poll_seconds, limit - now))

    def _connect(self, wanted: _Wanted, began: float, limit: float) -> None:
        """Begin to connect to the portals of the volume's target. It returns without waiting for them.

        Raises:
            FailedPrecondition: the kernel accepts none of the connections.
        """
        target, system_id = wanted.target, wanted.handle.system_id
        if target is None:
            return
        own = _own(wanted, self._sysfs.read())
        # Lost connections may come back at once. If they do not, the array may have other portals now.
        if not own or time.monotonic() - began >= self._settings.first_rescan_seconds:
            self._finder.ask(system_id, target.portals, wanted.host, limit=limit, max_age=FRESH_SECONDS)
        plan = self._finder.plan(system_id, target, wanted.host)
        if not plan.nqn:
            return
        failures = self._failures(plan.nqn, wanted.host, began)
        down = [one for one in plan.addresses if one in failures or any(one.is_of(lost) for lost in own)]
        none_left = len(down) == len(plan.addresses)
        addresses = (*plan.addresses, *plan.others) if none_left else plan.addresses
        self._connector.connect_missing(plan.nqn, addresses, wanted.host)
        if failures.keys() >= set(plan.addresses) and all(
            failure.errno == errno.EINVAL for failure in failures.values()
        ):
            raise FailedPrecondition(explain.invalid(plan, failures, wanted.host, self._sysfs))

    def _failures(self, nqn: str, host: HostPair, began: float) -> dict[Address, Failure]:
        """The portals at which an attempt has failed since ``began``."""
        failures = self._connector.failures(nqn, host)
        return {address: failure for address, failure in failures.items() if failure.at >= began}

    def _verified(self, wanted: _Wanted) -> Path | _Missing:
        """The device of the volume, checked while it is open.

        Raises:
            FailedPrecondition: several devices are the same volume.
        """
        snapshot = self._sysfs.read()
        own = _own(wanted, snapshot)
        live = any(one.live for one in own)
        here = self._namespaces(wanted.handle, snapshot)
        if not here:
            return _Missing("", live=live)
        found = here[0]
        if len(here) > 1:
            raise FailedPrecondition(explain.several(wanted.handle, [one.name for one in here]))
        if not found.live_paths:
            return _Missing(f"{found.name} has no live path", live=live)
        path = device.path_of(found, self._settings.dev)
        if path is None:
            return _Missing(
                f"{self._settings.dev / found.name} is not the device {found.number} of {found.name}",
                "a container needs the /dev of the host",
            )
        if found.size < wanted.size:
            return _Missing(
                f"{path} has {units.readable(found.size)} and not the {units.readable(wanted.size)} of the "
                "volume",
                "the kernel was asked to read the size again: check the size of the volume on the array",
            )
        problem = device.objection(found, path)
        if problem is not None:
            return _Missing(problem)
        keep_forever(own)
        return path

    def _namespaces(self, handle: VolumeHandle, snapshot: Snapshot) -> list[NvmeNamespace]:
        """The volume as this host has it. It has several only without native multipath, the oldest first."""
        host = self._known_host()
        if host is None:
            return []
        found = snapshot.namespaces(host.key, nguid_of(handle))
        own = [one for one in found if belongs(one.nqn, handle.system_id)]
        return sorted(own, key=lambda one: (len(one.name), one.name))

    def _known_host(self) -> HostPair | None:
        """The identity of this host, or the last one. Without any, it has no volume over NVMe."""
        try:
            self._last_host = self._host.existing()
        except FailedPrecondition as error:
            log.debug("this host has no identity for NVMe", reason=error)
        return self._last_host

    def _not_found(self, wanted: _Wanted, found: _Missing, began: float) -> DriverError:
        """The error for a device that did not appear: what was tried, what is there, and what to do."""
        snapshot = self._sysfs.read()
        own = _own(wanted, snapshot)
        reason, advice = found.reason, found.advice
        if not reason:
            # This looks at every path of every volume, so it is not done at each look.
            reason, advice = explain.absence(wanted.handle, wanted.host, own, snapshot, self._settings.folder)
        after = units.seconds(time.monotonic() - began)
        parts = [
            f"volume {wanted.handle} has no usable device over NVMe/TCP after {after}: {reason}",
            f"NVMe controllers of this host: {'; '.join(map(str, own)) or 'none'}",
        ]
        kind: type[DriverError] = Unavailable
        if wanted.target is not None and not found.live:
            plan = self._finder.plan(wanted.handle.system_id, wanted.target, wanted.host)
            failures = self._failures(plan.nqn, wanted.host, began)
            parts.insert(1, f"Portals of {plan.nqn or 'the system'}: {explain.portals(plan, failures)}")
            advice = advice or explain.advice(plan, failures, wanted.host, connected=bool(own))
            if explain.is_refused(plan, failures):
                kind = FailedPrecondition
        advice = advice or "check on the array that the volume is mapped to this host"
        return kind(". ".join([*parts, f"{advice[0].upper()}{advice[1:]}"]))

    def _require_kernel(self) -> None:
        """Check that the kernel has what NVMe/TCP needs.

        Raises:
            FailedPrecondition: it has not.
        """
        self._fabrics.require()
        if not self._sysfs.native_multipath and not self._settings.single_path:
            raise FailedPrecondition(
                "the kernel of this host does not join the paths of NVMe (nvme_core.multipath is not Y), so "
                "each portal would be a device of its own; start the host with nvme_core.multipath=Y, or use "
                "one connection without redundancy (--nvme-single-path)"
            )

    def _require_systems(self) -> tuple[str, ...]:
        if not self._settings.systems:
            raise FailedPrecondition(
                "it is not known which systems this host reaches over NVMe/TCP: name each by --nvme-system"
            )
        return tuple(sorted(set(self._settings.systems)))


def _own(wanted: _Wanted, snapshot: Snapshot) -> list[NvmeController]:
    """The connections of this host to the system of the volume."""
    return [one for one in snapshot.of_host(wanted.host.key) if belongs(one.nqn, wanted.handle.system_id)]


def _require_own(handle: VolumeHandle, target: NvmeTarget) -> None:
    """Check that the target is the volume's own. Later calls find the device by the handle alone.

    Raises:
        FailedPrecondition: it is not.
    """
    if target.nguid != nguid_of(handle):
        raise FailedPrecondition(
            f"volume {handle} has the NGUID {target.nguid} on the array, and this driver knows volumes by "
            f"{nguid_of(handle)}: use a version of the node plugin that knows this array"
        )
    if target.nqn and not belongs(target.nqn, handle.system_id):
        raise FailedPrecondition(
            f"volume {handle} is to be reached at {target.nqn}, which does not contain the id of its system "
            f"{handle.system_id}; check what the array shows as its systemNqn"
        )
