"""One or several systems with their simulated hosts, below one folder: what everything else is for."""

from __future__ import annotations

import logging
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from csi_powerflex.simulator import initial_state as plans, ownership
from csi_powerflex.simulator.array import Array
from csi_powerflex.simulator.atomic import write_atomically
from csi_powerflex.simulator.clock import Clock, SystemClock
from csi_powerflex.simulator.dialect import DIALECTS
from csi_powerflex.simulator.gateway import Gateway
from csi_powerflex.simulator.hosts import btrfs, drv_cfg, loop
from csi_powerflex.simulator.hosts.agent import SdcAgent, detach_orphans, wait_until_gone
from csi_powerflex.simulator.hosts.btrfs import BtrfsPlane, CannotMount
from csi_powerflex.simulator.hosts.files import FolderPlane
from csi_powerflex.simulator.hosts.host_discovery import HostDiscovery
from csi_powerflex.simulator.hosts.plane import DataPlane, NoData
from csi_powerflex.simulator.initial_state import InitialState
from csi_powerflex.simulator.ownership import FolderLock, InUse, StillMounted
from csi_powerflex.simulator.resources.host import register_sdc
from csi_powerflex.simulator.settings import Settings
from csi_powerflex.simulator.store import Store

log = logging.getLogger(__name__)


class CannotSimulate(Exception):
    """What was asked cannot be had on this machine; the message says why."""


@dataclass(frozen=True, slots=True)
class SystemPlan:
    """One system to simulate."""

    version: str = "4.5"
    initial_state: InitialState = field(default_factory=InitialState)
    settings: Settings = field(default_factory=Settings)


@dataclass(frozen=True, slots=True)
class SimulatedHost:
    """A host as the driver meets it: by paths only."""

    name: str
    guid: str
    drv_cfg: Path
    by_id: Path


class Simulator:
    """Systems and hosts below ``folder``; a temporary one, removed at the end, when it is None.

    ``hosts`` get block devices, ``sdcs`` are only known to the systems. With ``hosts_by_folder`` whoever
    makes a folder below ``folder``/hosts is a host of that name from then on. Use it as a context manager.
    """

    def __init__(
        self,
        plans: Sequence[SystemPlan] = (SystemPlan(),),
        *,
        folder: Path | None = None,
        hosts: Sequence[str] = (),
        sdcs: Sequence[str] = (),
        hosts_by_folder: bool = False,
        clock: Clock | None = None,
    ) -> None:
        names = [plan.initial_state.name for plan in plans]
        if len(set(names)) != len(names):
            raise CannotSimulate(f"systems need names of their own, as each is kept below its name: {names}")
        reason = loop.why_unavailable() if hosts or hosts_by_folder else None
        if reason is not None:
            raise CannotSimulate(f"{_list_of(hosts)} cannot have devices: {reason}")
        self._temporary = folder is None
        self._claim = _claimed(folder)
        self.folder = self._claim.folder
        self._clock = clock or SystemClock()
        self._with_data = bool(hosts) or hosts_by_folder
        self._newcomers = HostDiscovery(self.folder / "hosts", self._welcome) if hosts_by_folder else None
        self.hosts: dict[str, SimulatedHost] = {}
        self._agents: list[SdcAgent] = []
        self._stores: list[Store] = []
        self._planes: list[FolderPlane] = []
        self.gateways: list[Gateway] = []
        try:
            self.gateways += [Gateway(self._array(plan)) for plan in plans]
            hosts = [*hosts, *(self._newcomers.take(known=(*hosts, *sdcs)) if self._newcomers else ())]
            for name in (*hosts, *sdcs):
                self._join(name)
            self._start_agents(hosts)
            if self._newcomers is not None:
                self._newcomers.start()
        except BaseException:
            self.close()
            raise

    @property
    def gateway(self) -> Gateway:
        """The gateway of the first system."""
        return self.gateways[0]

    def __enter__(self) -> Simulator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> list[Path]:
        """End: devices are detached and links removed; returns devices that somebody holds open."""
        if self._newcomers is not None:
            self._newcomers.stop()
        for agent in self._agents:
            agent.stop()
        left = [device for plane in self._planes for device in wait_until_gone(plane.folder)]
        for plane in self._planes:
            plane.close()
        if self._planes and not left:
            wait_until_gone(self.folder)  # the devices under the pools' filesystems go a moment after them
        for store in self._stores:
            store.close()
        if self._temporary and self.folder.exists():
            self._remove_folder()
        self._claim.release()
        return left

    def _remove_folder(self) -> None:
        try:
            ownership.remove(self.folder)
        except StillMounted as error:
            log.warning("%s", error)

    # --- building ----------------------------------------------------------------------------------

    def _array(self, plan: SystemPlan) -> Array:
        folder = self.folder / "systems" / plan.initial_state.name
        folder.mkdir(parents=True, exist_ok=True)
        store = Store(folder / "state.db")
        self._stores.append(store)
        array = Array(
            DIALECTS[plan.version],
            clock=self._clock,
            store=store,
            plane=self._plane(folder),
            settings=plan.settings,
        )
        if not array.systems:
            try:
                plans.build(array, plan.initial_state)
            except ValueError as error:
                raise CannotSimulate(f"system {plan.initial_state.name}: {error}") from error
        array.plane.keep_only(set(array.volumes))
        return array

    def _plane(self, folder: Path) -> DataPlane:
        image, files = folder / "pool.img", folder / "volumes"
        if not (self._with_data or image.exists() or files.exists()):
            return NoData()
        plane = FolderPlane(files) if files.exists() else _new_or_known(folder, is_known=image.exists())
        self._planes.append(plane)
        return plane

    def _join(self, name: str) -> None:
        folder = self.folder / "hosts" / name
        (folder / "by-id").mkdir(parents=True, exist_ok=True)
        guid = _guid(folder)
        mdms = [self._mdm(gateway.array, name, guid) for gateway in self.gateways]
        script = drv_cfg.install(folder, name=name, guid=guid, mdms=mdms)
        self.hosts[name] = SimulatedHost(name, guid, script, folder / "by-id")

    def _mdm(self, array: Array, name: str, guid: str) -> drv_cfg.Mdm:
        with array.lock:
            host = array.host_by_guid(guid)
            if host is None:
                number = len(array.hosts)
                address = f"192.0.2.{20 + number}" if number < 200 else f"198.18.{number >> 8}.{number & 255}"
                host = register_sdc(array, name, guid, address)
            elif not host.connected:
                array.change(host, connected=True)
            array.commit()
            system = array.system
            return drv_cfg.Mdm(system.id, host.id, system.install_id, ("192.0.2.11", "192.0.2.12"))

    def _welcome(self, name: str) -> None:
        """Let a host join while the systems are in use; it has no device yet."""
        self._join(name)
        self._agent(name).start({})

    def _agent(self, name: str) -> SdcAgent:
        arrays = [gateway.array for gateway in self.gateways]
        agent = SdcAgent(name, self.hosts[name].guid, self.folder / "hosts" / name, arrays)
        self._agents.append(agent)
        return agent

    def _start_agents(self, names: Sequence[str]) -> None:
        if not self._with_data:
            return
        known = {device: file for plane in self._planes for device, file in loop.under(plane.folder).items()}
        kept: set[Path] = set()
        for name in names:
            kept |= self._agent(name).start(known)
        detach_orphans(known, kept)


def _list_of(hosts: Sequence[str]) -> str:
    return f"the hosts {', '.join(hosts)}" if hosts else "hosts"


def _claimed(folder: Path | None) -> FolderLock:
    """The folder, locked for this simulator; a temporary one when None."""
    if folder is None:
        return FolderLock.of_temporary()
    try:
        return FolderLock.of(folder.resolve())
    except InUse as error:
        raise CannotSimulate(str(error)) from error


def _new_or_known(folder: Path, *, is_known: bool) -> FolderPlane:
    """A filesystem whose cuts are one moment, where it can be had; known data is never left behind."""
    reason = btrfs.why_unavailable()
    if reason is None:
        try:
            return BtrfsPlane(folder)
        except CannotMount as error:
            reason = str(error)
    if is_known:
        raise CannotSimulate(f"{folder}: the volumes' data cannot be reached: {reason}")
    log.warning("snapshots of several busy volumes will not be one moment: %s", reason)
    return FolderPlane(folder / "volumes")


def _guid(folder: Path) -> str:
    file = folder / "guid"
    if not file.exists():
        write_atomically(file, f"{str(uuid.UUID(bytes=secrets.token_bytes(16), version=4)).upper()}\n")
    return file.read_text().strip()
