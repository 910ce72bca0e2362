"""The simulator: one or more systems with their simulated hosts, in one folder."""

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
from csi_powerflex.simulator.hosts.agent import SdcAgent, detach_orphans, wait_until_detached
from csi_powerflex.simulator.hosts.btrfs import BtrfsPlane, CannotMount
from csi_powerflex.simulator.hosts.files import FolderPlane
from csi_powerflex.simulator.hosts.host_discovery import HostDiscovery
from csi_powerflex.simulator.hosts.plane import DataPlane, NoData
from csi_powerflex.simulator.initial_state import InitialState
from csi_powerflex.simulator.nvme.target import CannotListen, NvmeTarget
from csi_powerflex.simulator.ownership import FolderLock, InUse, StillMounted
from csi_powerflex.simulator.resources.host import register_sdc
from csi_powerflex.simulator.settings import Settings
from csi_powerflex.simulator.store import Store

log = logging.getLogger(__name__)


class CannotSimulate(Exception):
    """The request cannot be simulated on this machine. The message says why."""


@dataclass(frozen=True, slots=True)
class SystemPlan:
    """One system to simulate."""

    version: str = "4.5"
    initial_state: InitialState = field(default_factory=InitialState)
    settings: Settings = field(default_factory=Settings)


@dataclass(frozen=True, slots=True)
class SimulatedHost:
    """A host as the software under test sees it: a GUID and paths."""

    name: str
    guid: str
    drv_cfg: Path
    by_id: Path


class Simulator:
    """Systems and hosts below ``folder``. None stands for a temporary folder that is removed at the end.

    ``hosts`` get block devices. The systems know ``sdcs``, but these have no devices. With
    ``hosts_by_folder``, every new folder in ``folder``/hosts becomes a host of that name. Where a plan has
    SDTs, these listen for NVMe/TCP: ``nvme_targets`` has the targets by the names of the systems. Use it as
    a context manager.

    Raises:
        CannotSimulate: see its message.
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
        _refuse_twice("name", [plan.initial_state.name for plan in plans])
        _refuse_twice("id", [plan.initial_state.system_id or "" for plan in plans])
        reason = loop.why_unavailable() if hosts or hosts_by_folder else None
        if reason is not None:
            raise CannotSimulate(f"{_list_of(hosts)} cannot have devices: {reason}")
        self._temporary = folder is None
        self._folder_lock = _lock_folder(folder)
        self.folder = self._folder_lock.folder
        self._clock = clock or SystemClock()
        self._with_devices = bool(hosts) or hosts_by_folder
        self._discovery = HostDiscovery(self.folder / "hosts", self._add_host) if hosts_by_folder else None
        self.hosts: dict[str, SimulatedHost] = {}
        self._agents: list[SdcAgent] = []
        self._stores: list[Store] = []
        self._planes: list[FolderPlane] = []
        self.gateways: list[Gateway] = []
        self.nvme_targets: dict[str, NvmeTarget] = {}
        try:
            self.gateways += [Gateway(self._array(plan)) for plan in plans]
            for plan, gateway in zip(plans, self.gateways, strict=True):
                self._start_nvme(plan.initial_state, gateway)
            found = self._discovery.existing(known=(*hosts, *sdcs)) if self._discovery is not None else []
            hosts = [*hosts, *found]
            self._make_hosts((*hosts, *sdcs))
            self._start_agents(hosts)
            if self._discovery is not None:
                self._discovery.start()
        except BaseException:
            self.close()
            raise

    @property
    def hosts_with_devices(self) -> set[str]:
        """The names of the hosts that get block devices."""
        return {agent.name for agent in self._agents}

    @property
    def gateway(self) -> Gateway:
        """The gateway of the first system."""
        return self.gateways[0]

    def __enter__(self) -> Simulator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> list[Path]:
        """Detach the devices and remove the links. Returns the devices that another process has open."""
        if self._discovery is not None:
            self._discovery.stop()
        for target in self.nvme_targets.values():
            target.stop()
        for agent in self._agents:
            agent.stop()
        left = [device for plane in self._planes for device in wait_until_detached(plane.folder)]
        for plane in self._planes:
            plane.close()
        if self._planes and not left:
            # The kernel detaches the device of a pool shortly after its filesystem.
            wait_until_detached(self.folder)
        for store in self._stores:
            store.close()
        if self._temporary and self.folder.exists():
            self._remove_folder()
        self._folder_lock.release()
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
            plane=self._plane(folder, for_nvme=plan.initial_state.listens),
            settings=plan.settings,
        )
        if not array.systems:
            try:
                plans.build(array, plan.initial_state)
            except ValueError as error:
                raise CannotSimulate(f"system {plan.initial_state.name}: {error}") from error
        plans.set_user(array)
        array.plane.keep_only(set(array.volumes))
        return array

    def _plane(self, folder: Path, *, for_nvme: bool) -> DataPlane:
        image, files = folder / "pool.img", folder / "volumes"
        if not (self._with_devices or for_nvme or image.exists() or files.exists()):
            return NoData()
        if files.exists() or not (self._with_devices or image.exists()):
            plane = FolderPlane(files)  # NVMe hosts alone need no mount, so no root
        else:
            plane = _new_plane(folder, has_data=image.exists())
        self._planes.append(plane)
        return plane

    def _start_nvme(self, plan: InitialState, gateway: Gateway) -> None:
        """Let the SDTs of a system listen, if the system has data."""
        array = gateway.array
        if not array.dialect.nvme or isinstance(array.plane, NoData):
            return
        target = NvmeTarget(array, gateway.faults)
        self.nvme_targets[array.system.name] = target
        try:
            target.start(
                required={ip for domain in plan.domains for sdt in domain.sdts for ip in sdt.addresses}
            )
        except CannotListen as error:
            raise CannotSimulate(f"system {array.system.name}: {error}") from error

    def _make_hosts(self, names: Sequence[str]) -> None:
        """Make the hosts. With them, a new system is complete, so a reset leads here."""
        for name in names:
            self._make_host(name)
        for store in self._stores:
            store.keep_initial_state()

    def _make_host(self, name: str) -> None:
        folder = self.folder / "hosts" / name
        (folder / "by-id").mkdir(parents=True, exist_ok=True)
        guid = _guid(folder)
        mdms = [self._mdm(gateway, name, guid) for gateway in self.gateways]
        script = drv_cfg.install(folder, name=name, guid=guid, mdms=mdms)
        self.hosts[name] = SimulatedHost(name, guid, script, folder / "by-id")

    def _mdm(self, gateway: Gateway, name: str, guid: str) -> drv_cfg.Mdm:
        array = gateway.array
        with array.lock:
            host = array.host_by_guid(guid)
            if host is None:
                number = len(array.hosts)
                address = f"192.0.2.{20 + number}" if number < 200 else f"198.18.{number >> 8}.{number & 255}"
                host = register_sdc(array, name, guid, address)
            elif not host.connected:
                array.change(host, connected=True)
            array.commit()
            gateway.sdc_names[guid.upper()] = name
            system = array.system
            return drv_cfg.Mdm(system.id, host.id, system.install_id, ("192.0.2.11", "192.0.2.12"))

    def _add_host(self, name: str) -> None:
        """Add a host while the systems are in use. It has no devices yet."""
        self._make_host(name)
        self._agent(name).start({})

    def _agent(self, name: str) -> SdcAgent:
        arrays = [gateway.array for gateway in self.gateways]
        agent = SdcAgent(name, self.hosts[name].guid, self.folder / "hosts" / name, arrays)
        self._agents.append(agent)
        return agent

    def _start_agents(self, names: Sequence[str]) -> None:
        if not self._with_devices:
            return
        known = {device: file for plane in self._planes for device, file in loop.under(plane.folder).items()}
        kept: set[Path] = set()
        for name in names:
            kept |= self._agent(name).start(known)
        detach_orphans(known, kept)


def _refuse_twice(what: str, values: list[str]) -> None:
    given = [value for value in values if value]
    if len(set(given)) != len(given):
        raise CannotSimulate(
            f"two systems have the same {what}: {', '.join(given)}; give each its own {what}"
        )


def _list_of(hosts: Sequence[str]) -> str:
    return f"the hosts {', '.join(hosts)}" if hosts else "hosts"


def _lock_folder(folder: Path | None) -> FolderLock:
    """The lock of the folder; None stands for a new temporary folder."""
    if folder is None:
        return FolderLock.of_temporary()
    try:
        return FolderLock.of(folder.resolve())
    except InUse as error:
        raise CannotSimulate(str(error)) from error


def _new_plane(folder: Path, *, has_data: bool) -> FolderPlane:
    """A btrfs plane where the machine has btrfs, else plain files. ``has_data``: there is a btrfs image.

    Raises:
        CannotSimulate: there is an image, and it cannot be mounted.
    """
    reason = btrfs.why_unavailable()
    if reason is None:
        try:
            return BtrfsPlane(folder)
        except CannotMount as error:
            reason = str(error)
    if has_data:
        raise CannotSimulate(f"{folder}: the volumes' data cannot be mounted: {reason}")
    log.warning("snapshots of several volumes in use will not be consistent: %s", reason)
    return FolderPlane(folder / "volumes")


def _guid(folder: Path) -> str:
    file = folder / "guid"
    if not file.exists():
        write_atomically(file, f"{str(uuid.UUID(bytes=secrets.token_bytes(16), version=4)).upper()}\n")
    return file.read_text().strip()
