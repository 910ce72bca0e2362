"""A host with NVMe/TCP whose volumes are loop devices, so that they can be formatted and mounted."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from csi_powerflex.app.node import service
from csi_powerflex.config.node import NodeSettings
from csi_powerflex.csi.interceptor import Interceptor
from csi_powerflex.csi.server import add_servicers
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model.nvme import nguid_of
from csi_powerflex.pb import csi_pb2_grpc
from csi_powerflex.transport.registry import TransportRegistry
from csi_powerflex.units import GIB
from tests.node.client import Kubelet
from tests.node.loophost import LoopHost, Volume
from tests.node.nvme_kernel import NQN, FakeKernel, FakeVolume


@dataclass
class NvmeHost:
    """The host: ``loop`` has the volumes' images and devices, and ``kernel`` shows them over NVMe/TCP."""

    loop: LoopHost
    kernel: FakeKernel
    _volumes: dict[str, Volume] = field(default_factory=dict)

    def volume(self, *, size: int = 8 * GIB) -> FakeVolume:
        """A new volume, mapped to this host."""
        return self.mapped(self.kernel.volume(size=size, mapped=False).handle, size)

    def mapped(self, handle: VolumeHandle, size: int, *, nqn: str = NQN) -> FakeVolume:
        """A volume of the array, mapped to this host."""
        behind = self.loop.volume(size=size, mapped=False)
        volume = FakeVolume(handle, size, nguid_of(handle), behind.connect())
        self._volumes[str(handle)] = behind
        self.kernel.map(volume, nqn=nqn)
        return volume

    def grow(self, volume: FakeVolume, size: int) -> None:
        """Do what an expansion at the array does."""
        self._volumes[str(volume.handle)].grow(size)
        self.kernel.grow(volume, size)

    def unmap(self, volume: FakeVolume, *, nqn: str = NQN) -> None:
        """Do what an unmapping does. The device fails its users from now on, and vanishes after them."""
        self.kernel.unmap(volume, nqn=nqn)
        self._volumes[str(volume.handle)].unmap()

    def settings(self, folder: Path, *, transport: str = "nvme", **more: Any) -> NodeSettings:
        """The driver's settings for this host."""
        return NodeSettings(
            endpoint=f"unix:{folder}/csi.sock",
            driver_name="csi.powerflex.dev",
            mount_roots=(self.loop.kubelet,),
            sdc=self.loop.settings(),
            nvme=self.kernel.settings(**{"device_seconds": 5.0, **more}),
            transport=transport,
        )


@contextlib.contextmanager
def serving(settings: NodeSettings, kubelet: Path) -> Iterator[Kubelet]:
    """The node service over a real socket during the block, and a kubelet that calls it."""
    pool = ThreadPoolExecutor(8)
    server = grpc.server(pool)
    transports = TransportRegistry.of(settings)
    node = service(settings, transports)
    add_servicers(
        server,
        Interceptor(slow_slots=8, slow_call_seconds=5.0),
        [lambda grpc_server: csi_pb2_grpc.add_NodeServicer_to_server(node, grpc_server)],
    )
    server.add_insecure_port(settings.endpoint)
    server.start()
    try:
        with transports.upkeep(), grpc.insecure_channel(settings.endpoint) as channel:
            yield Kubelet(channel, kubelet)
    finally:
        server.stop(None).wait()
        pool.shutdown()
