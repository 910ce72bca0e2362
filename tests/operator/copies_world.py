"""VolumeCopies, and claims that wait for a copy, in the cluster of ``movers_world``."""

from __future__ import annotations

from typing import Any

from csi_powerflex.kube.client import Client
from csi_powerflex.operator.api import Key
from csi_powerflex.operator.classes import STORAGE_CLASSES
from csi_powerflex.operator.copies.definition import DEFINITION
from tests.kube.api_server import ApiServer
from tests.operator.movers_world import CLAIMS, DRIVER, NAMESPACE, MoversWorld

KEY = Key(DEFINITION.plural, NAMESPACE, "copy")
_IDLE_SECONDS = 30.0
_MOST_ROUNDS = 60


class CopiesWorld(MoversWorld):
    """A claim ``data`` with the word "hello", a snapshot ``nightly`` of it with "night", and the operator."""

    def __init__(self, cluster: ApiServer, client: Client, monkeypatch: Any) -> None:
        super().__init__(cluster, client, DEFINITION, monkeypatch)
        waits = {"provisioner": DRIVER, "volumeBindingMode": "WaitForFirstConsumer"}
        cluster.put(STORAGE_CLASSES, "late", waits)
        self.source = self.claimed("data", "night")
        self.snapshot("nightly", "data")
        self.data[self.handle(self.claim("data")["spec"]["volumeName"])] = "hello"

    def copy(self, **spec: object) -> None:
        """The VolumeCopy."""
        self.create("copy", **(spec or {"claim": "data"}))

    def want(self, name: str = "mine", **given: Any) -> str:
        """A claim that wants a copy. Returns its UID."""
        metadata = {"namespace": NAMESPACE, "name": name, "annotations": given.pop("annotations", {})}
        spec = {
            "storageClassName": "west",
            "volumeMode": "Filesystem",
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "16Gi"}},
            "dataSourceRef": {"apiGroup": "powerflex.dev", "kind": "VolumeCopy", "name": "copy"},
            **given,
        }
        self.cluster.put(CLAIMS, name, {"metadata": metadata, "spec": spec, "status": {"phase": "Pending"}})
        return str(self.claim(name)["metadata"]["uid"])

    # --- the operator ----------------------------------------------------------------------------

    def rests(self, pause: float | None) -> bool:
        """Whether there is nothing to do until something changes."""
        return super().rests(pause) or (pause or 0.0) >= _IDLE_SECONDS

    def rounds_of(self, many: int) -> None:
        for _ in range(many):
            self.lead(KEY)

    def drive_to_stage(self, stage: str) -> None:
        """Rounds until the first claim has the stage."""
        for _ in range(_MOST_ROUNDS):
            if self.stages()[:1] == [stage]:
                return
            self.lead(KEY)
        raise AssertionError(f"it is not {stage}: {self.status(KEY)}")

    # --- what is there ---------------------------------------------------------------------------

    def waiting(self) -> list[dict[str, Any]]:
        """The claims in the status."""
        return list(self.status(KEY).get("claims", []))

    def stages(self) -> list[str]:
        """Their stages. The first one is not written, because it is the default."""
        return [item.get("stage", "Waiting") for item in self.waiting()]

    def message(self) -> str:
        return str(self.status(KEY)["message"])

    def reasons(self, claim: str = "") -> list[str]:
        """The reasons of the Events about the VolumeCopy, or about a claim."""
        about = ("PersistentVolumeClaim", claim) if claim else ("VolumeCopy", "copy")
        return [
            item["reason"]
            for item in self.cluster.objects(f"/api/v1/namespaces/{NAMESPACE}/events")
            if (item["involvedObject"]["kind"], item["involvedObject"]["name"]) == about
        ]

    def policy_of(self, claim: str) -> str:
        found = self.volume(self.claim(claim)["spec"]["volumeName"])
        return str(found["spec"]["persistentVolumeReclaimPolicy"])

    def require_delivered(self, claim: str = "mine", word: str = "hello") -> None:
        """The claim has its own volume with the data, and nothing else is left."""
        assert self.word(claim) == word
        assert self.policy_of(claim) == self.policy
        assert self.handle(self.claim(claim)["spec"]["volumeName"]) != self.handle(self.source)
        assert self.left() == []
        assert len(self.volumes()) == len(self.data) == len(self.cluster.objects(CLAIMS))

    def require_nothing_left(self) -> None:
        """No volume, snapshot, Job or PersistentVolume is left but those of the source."""
        assert self.left() == []
        assert self.volumes() == {self.source}
        assert self.data == {"volume-1": "hello"}
        assert self.word("data") == "hello"
