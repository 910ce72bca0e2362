"""VolumeReverts in a cluster with claims and snapshots, led round by round."""

from __future__ import annotations

import math
from typing import Any

from csi_powerflex.app import operator
from csi_powerflex.config.operator import OperatorSettings
from csi_powerflex.kube.client import Client
from csi_powerflex.kube_objects.reader import CONTENTS, VOLUMES
from csi_powerflex.operator.api import Key
from csi_powerflex.operator.happenings import Happenings
from csi_powerflex.operator.objects import claims, group_snapshots, snapshots
from csi_powerflex.operator.reverts.definition import DEFINITION
from csi_powerflex.operator.rounds import Rounds
from tests.controller.contents import Contents
from tests.controller.inventory_world import DRIVER, InventoryWorld
from tests.controller.world import World
from tests.kube.api_server import ApiServer
from tests.operator.clock import Clock

NAMESPACE = "shop"
PATH = DEFINITION.path(NAMESPACE)
SNAPSHOTS = snapshots(NAMESPACE)
HOLD = f"{DRIVER}/hold"
_MOST_ROUNDS = 60


class RevertsWorld(InventoryWorld):
    """Claims in the namespace shop, the operator, and what the snapshot controller does."""

    def __init__(self, world: World, cluster: ApiServer, client: Client, monkeypatch: Any) -> None:
        super().__init__(world, cluster)
        self.contents = Contents(world.array)
        self.client = client
        self.clock = Clock()
        monkeypatch.setattr(operator, "_now", self.clock)
        self.handles: dict[str, str] = {}
        self.snapshotter_works = True
        self.rounds = self.new_process()

    def new_process(self) -> Rounds:
        """The operator after a restart: it knows only what is in the cluster."""
        self.systems.write()
        settings = OperatorSettings(DRIVER, "test", self.systems.path)
        works = operator.works(self.client, settings)
        self.rounds = Rounds(self.client, works, Happenings(self.client, self.clock))
        return self.rounds

    # --- what users and the snapshot controller do ------------------------------------------------

    def claimed(self, claim: str, word: str) -> str:
        """A bound claim with a volume that has this word. Returns the handle of the volume."""
        handle = self.handles[claim] = self.provisioned(claim).volume_id
        volume = next(
            item["metadata"]["name"]
            for item in self.cluster.objects(VOLUMES)
            if item["spec"]["claimRef"]["name"] == claim
        )
        content = {"spec": {"volumeName": volume}, "status": {"phase": "Bound"}}
        self.cluster.put(
            claims(NAMESPACE), claim, {"metadata": {"namespace": NAMESPACE, "name": claim}, **content}
        )
        self.contents.write(handle, word)
        return handle

    def snapshot(self, name: str, claim: str, *, group: str = "") -> None:
        """A VolumeSnapshot that is ready."""
        metadata = {"namespace": NAMESPACE, "name": name}
        spec = {"source": {"persistentVolumeClaimName": claim}, "volumeSnapshotClassName": "fast"}
        self.cluster.put(SNAPSHOTS, name, {"metadata": metadata, "spec": spec, "status": {}})
        self.snapshotter(group=group)

    def group(self, name: str, *names: str) -> None:
        """A VolumeGroupSnapshot of claims with one VolumeSnapshot each, called ``name-claim``."""
        for claim in names:
            self.snapshot(f"{name}-{claim}", claim, group=name)
        self.cluster.put(
            group_snapshots(NAMESPACE),
            name,
            {"metadata": {"namespace": NAMESPACE, "name": name}, "status": {"readyToUse": True}},
        )

    def snapshotter(self, *, group: str = "") -> None:
        """Take the snapshots of VolumeSnapshots that are not ready, as the snapshot controller does."""
        for item in self.cluster.objects(SNAPSHOTS):
            if item.get("status", {}).get("readyToUse"):
                continue
            name, uid = item["metadata"]["name"], item["metadata"]["uid"]
            handle = self.handles[item["spec"]["source"]["persistentVolumeClaimName"]]
            taken = self.world.driver.snapshot(handle, f"snapshot-{uid}")
            self.content(f"snapcontent-{uid}", taken.snapshot_id, snapshot=name, uid=uid)
            status = {"readyToUse": True, "boundVolumeSnapshotContentName": f"snapcontent-{uid}"}
            more = {"volumeGroupSnapshotName": group} if group else {}
            self.cluster.put(SNAPSHOTS, name, {**item, "status": {**status, **more}})

    def create(self, name: str = "back", **spec: object) -> Key:
        """Create a VolumeRevert as a user does it."""
        content = {"metadata": {"namespace": NAMESPACE, "name": name}, "spec": spec}
        self.cluster.created(PATH, content)
        return Key(DEFINITION.plural, NAMESPACE, name)

    def map_to(self, handle: str, node: str) -> None:
        """Map a volume to a node, as a host outside of the cluster may have it."""
        self.world.driver.publish(handle, self.world.node(node))

    def delete_snapshot(self, item: dict[str, Any]) -> None:
        """Delete a VolumeSnapshot with its snapshot, as the snapshot controller does."""
        content = item["status"]["boundVolumeSnapshotContentName"]
        self.world.driver.delete_snapshot(self.handle_of(content))
        self.cluster.remove(CONTENTS, content)
        self.cluster.remove(SNAPSHOTS, item["metadata"]["name"])

    def handle_of(self, content: str) -> str:
        """The handle of a VolumeSnapshotContent."""
        found = (item for item in self.cluster.objects(CONTENTS) if item["metadata"]["name"] == content)
        return str(next(found)["status"]["snapshotHandle"])

    # --- the operator ----------------------------------------------------------------------------

    def lead(self, key: Key) -> float | None:
        """One round, and then what the snapshot controller does."""
        pause = self.rounds.lead(key)
        if self.snapshotter_works:
            self.snapshotter()
        return pause

    def drive(self, key: Key) -> None:
        """Rounds until there is nothing more to do."""
        for _ in range(_MOST_ROUNDS):
            if self.lead(key) in (None, math.inf):
                return
        raise AssertionError(f"it does not end: {self.status(key)}")

    def drive_to(self, key: Key, phase: str) -> None:
        """Rounds until the object has the phase."""
        for _ in range(_MOST_ROUNDS):
            if self.status(key).get("phase") == phase:
                return
            self.lead(key)
        raise AssertionError(f"it is not {phase}: {self.status(key)}")

    # --- what is there ---------------------------------------------------------------------------

    def object(self, key: Key) -> dict[str, Any]:
        return next(item for item in self.cluster.objects(PATH) if item["metadata"]["name"] == key.name)

    def exists(self, key: Key) -> bool:
        return any(item["metadata"]["name"] == key.name for item in self.cluster.objects(PATH))

    def status(self, key: Key) -> dict[str, Any]:
        found: dict[str, Any] = self.object(key).get("status", {})
        return found

    def word(self, claim: str) -> str:
        """What is in the volume of a claim."""
        return self.contents.read(self.handles[claim])

    def word_in_snapshot(self, name: str) -> str:
        """What is in a VolumeSnapshot."""
        item = next(item for item in self.cluster.objects(SNAPSHOTS) if item["metadata"]["name"] == name)
        return self.contents.read(self.handle_of(item["status"]["boundVolumeSnapshotContentName"]))

    def safety(self, key: Key) -> list[str]:
        """The names of the safety snapshots in the cluster that were taken for an object."""
        uid = self.object(key)["metadata"]["uid"]
        return [
            item["metadata"]["name"]
            for item in self.cluster.objects(SNAPSHOTS)
            if item["metadata"].get("labels", {}).get("powerflex.dev/volume-revert") == uid
        ]

    def holds(self) -> list[str]:
        """The holds on PersistentVolumes."""
        annotations = (item["metadata"].get("annotations", {}) for item in self.cluster.objects(VOLUMES))
        return [found[HOLD] for found in annotations if HOLD in found]

    def events(self) -> list[tuple[str, str]]:
        """The reasons and messages of the Events in the namespace."""
        return [
            (item["reason"], item["message"])
            for item in self.cluster.objects(f"/api/v1/namespaces/{NAMESPACE}/events")
        ]
