"""Simulated systems and their controller."""

from __future__ import annotations

import contextlib
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from csi_powerflex.app import controller as app
from csi_powerflex.config.controller import ControllerSettings
from csi_powerflex.config.systems.schema import SystemSettings
from csi_powerflex.csi import server
from csi_powerflex.simulator.array import Array
from csi_powerflex.simulator.model import Volume
from csi_powerflex.simulator.server import Server
from csi_powerflex.simulator.simulator import Simulator
from tests.controller.driver import Driver
from tests.controller.final_codes import FinalCodes


class World:
    """A context manager. The controller runs inside of the block."""

    def __init__(
        self, folder: Path, simulator: Simulator, gateway: Server, systems: tuple[SystemSettings, ...]
    ) -> None:
        self.folder = folder
        self.simulator = simulator
        self.gateway = gateway
        self.systems = systems
        # Off unless a test needs them, because they make requests too.
        self.systems_file: Path | None = None
        self.watch_seconds = 0.0
        # Other settings of the controller, used from its next start on.
        self.more: dict[str, Any] = {}
        self.others = 0
        self.final_codes = FinalCodes(self._state)
        self._running = contextlib.ExitStack()
        self.driver = self._start()

    def __enter__(self) -> World:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.close()

    def settings(self, socket: str = "csi.sock") -> ControllerSettings:
        """The settings of a controller of this world."""
        return ControllerSettings(
            endpoint=f"unix://{self.folder / socket}",
            driver_name="csi.powerflex.dev",
            cluster_id="test",
            systems=self.systems,
            systems_file=self.systems_file,
            reload_seconds=0.05,
            watch_seconds=self.watch_seconds,
            **self.more,
        )

    def _state(self) -> object:
        """Every volume of every array, with what calls can change."""
        described: dict[str, object] = {}
        for gateway in self.simulator.gateways:
            with gateway.array.lock:
                for volume in gateway.array.volumes.values():
                    if volume.removed_at is None:
                        mappings = [
                            (mapping.host_id, mapping.access_mode, mapping.limit_iops, mapping.limit_bw_mbps)
                            for mapping in volume.mappings
                        ]
                        running = gateway.array.vtrees[volume.vtree_id].migration
                        pool = running.target_pool_id if running else volume.pool_id
                        policies = volume.policy_of_source, volume.policy_of_snapshot, volume.locked
                        described[volume.id] = (volume.name, volume.size_kb, pool, policies, mappings)
        return described

    def another(self) -> Driver:
        """Start a second controller, which runs until the first one is restarted."""
        self.others += 1
        return self._start(f"csi{self.others}.sock")

    def _start(self, socket_name: str = "csi.sock") -> Driver:
        settings = self.settings(socket_name)
        parts = self._running.enter_context(app.services(settings))
        socket = self._running.enter_context(server.serving(settings.endpoint, parts.register))
        self._running.enter_context(parts.watching)
        driver = Driver(socket, final_codes=self.final_codes)
        self._running.callback(driver.close)
        return driver

    def restart(self) -> Driver:
        """Stop the controller and start another one with empty caches."""
        self._running.close()
        self.driver = self._start()
        return self.driver

    def watching(self, *, file: Path | None = None, seconds: float = 0.0) -> Driver:
        """Restart the controller so that it watches its systems file or its systems."""
        self.systems_file, self.watch_seconds = file, seconds
        return self.restart()

    def reconfigured(self, **changes: object) -> World:
        """Restart the controller with these changes of each system's settings."""
        self.systems = tuple(msgspec.structs.replace(system, **changes) for system in self.systems)
        self.restart()
        return self

    @property
    def array(self) -> Array:
        """The first system's objects."""
        return self.simulator.gateway.array

    def node(self, name: str) -> str:
        """The CSI node id of a simulated SDC."""
        return f"sdc:{self.simulator.hosts[name].guid}"

    def volume(self, csi_id: str) -> Volume:
        """A volume on the array."""
        return self.array.volumes[csi_id.partition("-")[2]]
