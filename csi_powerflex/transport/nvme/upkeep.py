"""Keeping the connections of this host complete, in the background.

A portal that could not be reached when a volume was staged is connected later, and so is one that the array
plans later. Connections are only added: a connection that is lost comes back by itself, and one that is
removed could take a device away under a pod. Systems of which this host has no volume are left alone.

No file is kept. After a restart of the driver, the kernel's connections say which systems there are, and the
discovery services at these portals say which portals are missing.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Collection, Iterable, Sequence

from csi_powerflex.background import Loop
from csi_powerflex.config.node import NvmeSettings
from csi_powerflex.errors import FailedPrecondition
from csi_powerflex.model.nvme import NvmeTarget, Portal
from csi_powerflex.observability import metrics
from csi_powerflex.observability.log import Log
from csi_powerflex.transport.nvme.connect import Connector, keep_forever
from csi_powerflex.transport.nvme.identity import HostFiles, HostPair
from csi_powerflex.transport.nvme.portals import PortalFinder, belongs
from csi_powerflex.transport.nvme.sysfs import NvmeController, NvmeNamespace, Sysfs

log = Log(__name__)

_TASK = "nvme_upkeep"
_ASK_AGAIN_SECONDS = 600.0
_ASKING_SECONDS = 10.0
_STOP_SECONDS = 1.0
_DISCOVERY_PORT = 8009  # the port of the discovery service, unless the array was told another one
_SYSTEM = re.compile(r"powerflex:[0-9a-f]{2}:([0-9a-f]{16})")


class Upkeep:
    """The background task."""

    def __init__(
        self,
        settings: NvmeSettings,
        sysfs: Sysfs,
        connector: Connector,
        finder: PortalFinder,
        host_files: HostFiles,
    ) -> None:
        self._settings = settings
        self._sysfs = sysfs
        self._connector = connector
        self._finder = finder
        self._host = host_files
        self._guard = threading.Lock()
        self._targets: dict[str, NvmeTarget] = {}
        self._lost: set[str] = set()
        self._shown: set[str] = set()
        self._loop = Loop(_TASK, self.step)

    def start(self) -> None:
        """Begin with the first round at once."""
        self._loop.start()

    def stop(self) -> None:
        """Begin no further round."""
        self._loop.stop(_STOP_SECONDS)

    def expect(self, system_id: str, target: NvmeTarget) -> None:
        """Note where the volumes of a system are found, as the last publish context says it.

        The next round begins now if the portals are others than before.
        """
        with self._guard:
            before = self._targets.get(system_id)
            self._targets[system_id] = target
        if before is None or before.portals != target.portals:
            self._loop.wake()

    def step(self) -> float:
        """One round. Returns the seconds until the next one."""
        try:
            host = self._host.existing()
        except FailedPrecondition as error:
            log.debug("this host has no identity for NVMe", reason=error)
            return self._settings.upkeep_seconds
        snapshot = self._sysfs.read()
        own = snapshot.of_host(host.key)
        namespaces = [one for one in snapshot.namespaces(host.key) if one.is_powerflex]
        systems = self._systems(own)
        for system_id in systems:
            mine = [one for one in own if belongs(one.nqn, system_id)]
            volumes = [one for one in namespaces if belongs(one.nqn, system_id)]
            keep_forever(mine)
            self._count_reconnects(system_id, mine)
            _show(system_id, mine, volumes)
            if volumes:
                self._add_missing(system_id, mine, host)
        for system_id in self._shown - systems:
            _show(system_id, (), ())
        self._shown = systems
        self._lost &= {one.name for one in own}
        return self._settings.upkeep_seconds

    def _systems(self, own: Iterable[NvmeController]) -> set[str]:
        """The ids of the systems that this host has connections to."""
        found = {match[1] for one in own if (match := _SYSTEM.search(one.nqn.lower()))}
        with self._guard:
            known = {*self._targets, *self._settings.systems}
        return found | {system for system in known if any(belongs(one.nqn, system) for one in own)}

    def _count_reconnects(self, system_id: str, own: Collection[NvmeController]) -> None:
        for one in own:
            if not one.live:
                self._lost.add(one.name)
            elif one.name in self._lost:
                self._lost.discard(one.name)
                metrics.NVME_RECONNECTS.labels(system_id).inc()
                log.info("connection serves again", controller=one)

    def _add_missing(self, system_id: str, own: Sequence[NvmeController], host: HostPair) -> None:
        with self._guard:
            target = self._targets.get(system_id)
        target = target or _rebuilt(own)
        limit = time.monotonic() + _ASKING_SECONDS
        lost = any(not one.live for one in own)
        max_age = self._settings.upkeep_seconds if lost else _ASK_AGAIN_SECONDS
        self._finder.ask(system_id, target.portals, host, limit=limit, max_age=max_age)
        plan = self._finder.plan(system_id, target, host)
        if plan.nqn:
            self._connector.connect_missing(plan.nqn, plan.addresses, host)


def _rebuilt(own: Iterable[NvmeController]) -> NvmeTarget:
    """Where the volumes of a system are found, as the connections to it show it. The NQN is asked for."""
    portals = [Portal(one.address, one.port, port) for one in own for port in (_DISCOVERY_PORT, one.port)]
    return NvmeTarget(nqn="", portals=tuple(dict.fromkeys(portals)), nguid="")


def _show(system_id: str, own: Collection[NvmeController], volumes: Collection[NvmeNamespace]) -> None:
    live = sum(one.live for one in own)
    metrics.NVME_PATHS.show(system_id, {("live",): live, ("lost",): len(own) - live} if own else {})
    counts = {"all": 0, "some": 0, "none": 0}
    for volume in volumes:
        paths = volume.live_paths
        counts["none" if not paths else "all" if paths == len(volume.paths) else "some"] += 1
    metrics.NVME_VOLUMES.show(system_id, {(name,): count for name, count in counts.items()} if own else {})
