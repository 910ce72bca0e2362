"""A simulated array in this process, and its NVMe/TCP portals.

No request leaves the process: importing an HTTPS server costs many seconds in an emulated machine.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model.nvme import NvmeTarget, Portal, nguid_of
from csi_powerflex.model.publish_context import PublishContext
from csi_powerflex.model.transport import NVME
from csi_powerflex.simulator.faults import Fault, FaultKind
from csi_powerflex.simulator.initial_state import DomainPlan, InitialState, SdtPlan
from csi_powerflex.simulator.inprocess import Client
from csi_powerflex.simulator.nvme.ports import system_nqn
from csi_powerflex.simulator.simulator import Simulator, SystemPlan

GIB = 2**30
PORTALS = (Portal("127.0.0.1", 4420, 8009), Portal("127.0.0.2", 4420, 8009))


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume of the array, of 1 GiB at first."""

    handle: VolumeHandle
    size: int = GIB

    @property
    def nguid(self) -> str:
        """Its identity for hosts."""
        return nguid_of(self.handle)

    def __str__(self) -> str:
        return str(self.handle)


class Array:
    """The simulated array. Its volumes are sparse files below ``folder``."""

    def __init__(self, folder: Path) -> None:
        sdts = tuple(SdtPlan((each.address,), each.nvme_port, each.discovery_port) for each in PORTALS)
        plan = SystemPlan("5.0", InitialState(domains=(DomainPlan(sdts=sdts),)))
        self._simulator = Simulator([plan], folder=folder)
        self._client = Client(self._simulator.gateway)
        self._faults = self._simulator.gateway.faults
        self._pool = next(iter(self._simulator.gateway.array.pools))
        self._count = 0
        self.system_id = self._simulator.gateway.array.system.id

    @property
    def nqn(self) -> str:
        """The NQN of the system."""
        return system_nqn(self.system_id)

    def close(self) -> None:
        """Close the portals. No connection of this kernel may be left: it would try again without end."""
        self._simulator.close()

    def host(self, nqn: str) -> str:
        """Create an NVMe host. Returns its id."""
        return str(self._client.post("/api/types/Host/instances", {"nqn": nqn})["id"])

    def volume(self, *hosts: str, read_only: bool = False) -> Volume:
        """Create a volume, and map it to hosts."""
        self._count += 1
        body = {
            "name": f"volume{self._count}",
            "volumeSizeInGb": "1",
            "storagePoolId": self._pool,
            "volumeType": "ThinProvisioned",
        }
        volume_id = self._client.post("/api/types/Volume/instances", body)["id"]
        volume = Volume(VolumeHandle(self.system_id, volume_id))
        for host in hosts:
            self.map(volume, host, read_only=read_only)
        return volume

    def map(self, volume: Volume, host: str, *, read_only: bool = False) -> None:
        """Map a volume to a host, next to other hosts."""
        mode = "ReadOnly" if read_only else "ReadWrite"
        self._act(volume, "addMappedHost", hostId=host, allowMultipleMappings="true", accessMode=mode)

    def unmap(self, volume: Volume, host: str) -> None:
        """Take a volume from a host."""
        self._act(volume, "removeMappedHost", hostId=host)

    def grow(self, volume: Volume) -> Volume:
        """Let a volume have 1 GiB more. Returns it with its new size."""
        grown = Volume(volume.handle, volume.size + GIB)
        self._act(volume, "setVolumeSize", sizeInGB=str(grown.size // GIB))
        return grown

    def _act(self, volume: Volume, action: str, **body: object) -> None:
        self._client.act("Volume", volume.handle.volume_id, action, **body)

    def publish_context(self, volume: Volume, *, read_only: bool = False) -> dict[str, str]:
        """What ControllerPublishVolume answers for a volume that is mapped."""
        target = NvmeTarget(self.nqn, PORTALS, volume.nguid)
        context = PublishContext(
            volume.handle, NVME.name, volume.size, read_only=read_only, details=target.details()
        )
        return context.to_dict()

    @contextlib.contextmanager
    def fault(self, kind: FaultKind, **fields: str) -> Iterator[None]:
        """Let a fault strike during the block."""
        number = self._faults.add(Fault(kind=kind, **fields))  # type: ignore[arg-type]  # texts only
        try:
            yield
        finally:
            self._faults.remove(number)

    @contextlib.contextmanager
    def away(self, *portals: Portal) -> Iterator[None]:
        """Let portals be closed during the block."""
        with contextlib.ExitStack() as stack:
            for portal in portals:
                stack.enter_context(self.fault(FaultKind.CLOSED, path=f"{portal.address}:{portal.nvme_port}"))
            yield
