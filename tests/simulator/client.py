"""A client of a simulated array with short methods for tests."""

from __future__ import annotations

from typing import Any

from csi_powerflex.simulator.inprocess import Answer, Client
from csi_powerflex.simulator.simulator import Simulator

GIB_KB = 1024 * 1024


class Array(Client):
    """A client that knows the array's first pool and its SDCs."""

    def __init__(self, simulator: Simulator) -> None:
        super().__init__(simulator.gateway)
        self.simulator = simulator
        self.system_id = self.get("/api/types/System/instances")[0]["id"]
        self.domain_id = self.get("/api/types/ProtectionDomain/instances")[0]["id"]
        self.pool_id = self.get("/api/types/StoragePool/instances")[0]["id"]
        self.sdcs = {sdc["name"]: sdc["id"] for sdc in self.get("/api/types/Sdc/instances")}

    def try_to_create(self, **fields: object) -> Answer:
        body = {"storagePoolId": self.pool_id, "volumeSizeInKb": str(8 * GIB_KB), **fields}
        return self.send("POST", "/api/types/Volume/instances", body)

    def create(self, name: str | None = None, *, gib: int = 8, thick: bool = False, **fields: object) -> str:
        fields |= {"volumeType": "ThickProvisioned" if thick else "ThinProvisioned"}
        answer = self.try_to_create(name=name, volumeSizeInKb=str(gib * GIB_KB), **fields)
        assert answer.status == 200, answer.value
        return str(answer.value["id"])

    def volume(self, volume_id: str) -> dict[str, Any]:
        shown: dict[str, Any] = self.get(f"/api/instances/Volume::{volume_id}")
        return shown

    def volume_action(self, volume_id: str, action: str, **body: object) -> Any:
        return self.act("Volume", volume_id, action, **body)

    def refused(self, volume_id: str, action: str, **body: object) -> Answer:
        answer = self.error("Volume", volume_id, action, **body)
        assert answer.status != 200, f"{action} was not refused: {answer.value}"
        return answer

    def map(self, volume_id: str, sdc: str = "a", **body: object) -> None:
        self.volume_action(volume_id, "addMappedSdc", sdcId=self.sdcs[sdc], **body)

    def unmap(self, volume_id: str, sdc: str = "a") -> None:
        self.volume_action(volume_id, "removeMappedSdc", sdcId=self.sdcs[sdc])

    def snapshot(self, *volume_ids: str, action: str = "snapshotVolumes", **body: object) -> list[str]:
        parts = [{"volumeId": volume_id} for volume_id in volume_ids]
        answer = self.act("System", self.system_id, action, snapshotDefs=parts, **body)
        return list(answer["volumeIdList"])
