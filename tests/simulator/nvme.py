"""A simulated array with portals for NVMe/TCP, and hosts of the small initiator."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from csi_powerflex.simulator.faults import Fault, FaultKind
from csi_powerflex.simulator.initial_state import DomainPlan, InitialState, SdtPlan
from csi_powerflex.simulator.settings import Settings
from csi_powerflex.simulator.simulator import Simulator, SystemPlan
from tests.controller import eventually as waiting
from tests.nvme_initiator import Initiator, LogEntry, hostnqn
from tests.simulator.client import Array

A = "11111111-1111-4111-8111-111111111111"
B = "22222222-2222-4222-8222-222222222222"
HOST_A, HOST_B = hostnqn(A), hostnqn(B)
FREE = 0

SEVERAL = (SdtPlan(("127.0.0.1",), FREE, FREE), SdtPlan(("127.0.0.2",), FREE, FREE))
"""Two SDTs, each with one portal."""


def eventually(condition: Callable[[], bool]) -> None:
    """Wait until the target has noticed something. Only a broken one needs so long."""
    waiting.eventually(condition, seconds=60)


class NvmeArray(Array):
    """An array in this process whose SDTs listen."""

    def __init__(self, simulator: Simulator) -> None:
        super().__init__(simulator)
        self.nqn = f"nqn.1988-11.com.dell:powerflex:00:{self.system_id}"
        self.target = simulator.nvme_targets[simulator.gateway.array.system.name]

    def sdts(self) -> list[dict[str, Any]]:
        return list(self.get("/api/types/Sdt/instances"))

    def portals(self) -> list[tuple[str, int]]:
        """Where the target listens for I/O."""
        return [(portal.ip, portal.port) for portal in self.target.io_portals]

    def add_host(self, nqn: str = HOST_A, **fields: object) -> str:
        return str(self.post("/api/types/Host/instances", {"nqn": nqn, **fields})["id"])

    def map_host(self, volume_id: str, host_id: str, **fields: object) -> None:
        fields = {"allowMultipleMappings": "TRUE", **fields}
        self.volume_action(volume_id, "addMappedHost", hostId=host_id, **fields)

    def unmap_host(self, volume_id: str, host_id: str) -> None:
        self.volume_action(volume_id, "removeMappedHost", hostId=host_id)

    def namespace(self, volume_id: str) -> int:
        return int(self.volume(volume_id)["nsid"])

    def controllers(self, host_id: str) -> list[dict[str, Any]]:
        return list(self.get(f"/api/instances/Host::{host_id}/relationships/NvmeController"))

    def initiator(self, uuid: str = A, *, portal: int = 0, nqn: str | None = None) -> Initiator:
        """A host at a portal, not connected. ``nqn`` is its NQN if it is not that of its UUID."""
        return Initiator(*self.portals()[portal], nqn or hostnqn(uuid), uuid)

    def connected(self, uuid: str = A, *, portal: int = 0, kato: int = 0) -> Initiator:
        return self.initiator(uuid, portal=portal).connect(self.nqn, kato=kato)

    def discovered(self, uuid: str = A) -> list[LogEntry]:
        return self.initiator(uuid).discover()

    def mapped(self, *, host: str | None = None, **fields: object) -> tuple[str, str, int]:
        """A new volume that is mapped to a host: the ids of the host and the volume, and the namespace."""
        host_id = host or self.add_host()
        volume_id = self.create()
        self.map_host(volume_id, host_id, **fields)
        return host_id, volume_id, self.namespace(volume_id)

    @contextlib.contextmanager
    def fault(self, kind: FaultKind, **fields: Any) -> Iterator[int]:
        """A fault for the block. The value is its id."""
        faults = self.simulator.gateway
        fault_id = faults.inject(Fault(kind=kind, **fields))
        try:
            yield fault_id
        finally:
            faults.faults.remove(fault_id)


@contextlib.contextmanager
def nvme_array(
    folder: Path, sdts: Sequence[SdtPlan] = SEVERAL, *, version: str = "5.0", settings: Settings | None = None
) -> Iterator[NvmeArray]:
    """An array with these SDTs. Its volumes are plain files in ``folder``."""
    state = InitialState(domains=(DomainPlan(sdts=tuple(sdts)),))
    with Simulator([SystemPlan(version, state, settings or Settings())], folder=folder) as simulator:
        yield NvmeArray(simulator)
