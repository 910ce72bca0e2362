"""VolumeImages in a cluster whose controllers do what those of Kubernetes and the driver do, step by step.

What is in a volume or snapshot is one word. A mover writes the word of the image. Each volume and snapshot on
the array is in a tree, as on a PowerFlex: a clone is in the tree of its snapshot, and stays without it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from csi_powerflex.config.operator import MoverSettings
from csi_powerflex.kube.client import Client
from csi_powerflex.kube_objects.reader import VOLUMES
from csi_powerflex.model.mover import Exit, Outcome
from csi_powerflex.operator.api import Key
from csi_powerflex.operator.classes import STORAGE_CLASSES
from csi_powerflex.operator.happenings import Happenings
from csi_powerflex.operator.images.definition import DEFINITION
from csi_powerflex.operator.images.objects import ATTRIBUTES_CLASSES
from csi_powerflex.operator.images.work import Images
from csi_powerflex.operator.movers.job import MOVER_LABEL, jobs, policies
from csi_powerflex.operator.objects import claims, snapshots
from csi_powerflex.operator.quantities import whole_bytes
from csi_powerflex.operator.rounds import Rounds
from csi_powerflex.operator.sources import CONTENTS
from tests.kube.api_server import ApiServer, Objects
from tests.operator.clock import Clock

DRIVER = "csi-powerflex.example.org"
SHOP, OURS = "shop", "powerflex"
PATH = DEFINITION.path(SHOP)
PODS = f"/api/v1/namespaces/{SHOP}/pods"
EVENTS = f"/api/v1/namespaces/{SHOP}/events"
URL = "https://images.example.org/debian.qcow2"
GIB = 1 << 30
_BOUND = "snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection"
IDLE = 60.0
"""The pause while there is nothing to do."""
_MOST_ROUNDS = 120


@dataclass(frozen=True, slots=True)
class SavedWorld:
    """The cluster and the array at one time."""

    cluster: Objects
    array: tuple[dict[str, str], dict[str, str], dict[str, str]]
    number: int


class ImagesWorld:
    """The cluster, the array, and the operator for VolumeImages.

    Attributes:
        image: the word of the image.
        data: the word in each volume, by handle. A volume that was removed is not here.
        taken: the word in each snapshot, by handle.
        tree: the tree of each volume and snapshot, by handle.
        imports: the arguments of each mover that has run.
        outcomes: the outcomes of movers, by the name of the Job, that differ from that of all others.
        namespace: that of the operator.
        largest_tree: the most members that a tree had at the same time.
    """

    def __init__(self, cluster: ApiServer, client: Client) -> None:
        self.cluster, self.client, self.clock = cluster, client, Clock()
        self.image = "debian"
        self.outcome = Outcome(
            Exit.DONE, "imported", size=2 * GIB, written=5, format="qcow2", digest="sha256:ab"
        )
        self.data: dict[str, str] = {}
        self.taken: dict[str, str] = {}
        self.tree: dict[str, str] = {}
        self.imports: list[list[str]] = []
        self.outcomes: dict[str, Outcome] = {}
        self.largest_tree = 0
        self.policy = "Delete"
        self.provisions = self.movers_work = self.snapshotter_works = True
        self.namespace = OURS
        self._number = 0
        self.storage_class("fast", storagepool="fast")
        self.storage_class("fast-too", storagepool="fast")
        self.storage_class("slow", storagepool="slow")
        self.key = Key(DEFINITION.plural, SHOP, "debian")
        self.new_process()

    def new_process(self) -> None:
        """The operator after a restart."""
        self.rounds = self.another_process()

    def another_process(self) -> Rounds:
        settings = MoverSettings(image="mover:1")
        work = Images(self.client, settings, driver_name=DRIVER, namespace=self.namespace, now=self.clock)
        return Rounds(self.client, [work], Happenings(self.client, self.clock))

    # --- what users do ---------------------------------------------------------------------------

    def storage_class(
        self, name: str, *, binding: str = "Immediate", provisioner: str = DRIVER, **parameters: str
    ) -> None:
        content = {"provisioner": provisioner, "volumeBindingMode": binding, "parameters": parameters}
        self.cluster.put(STORAGE_CLASSES, name, content)

    def attributes_class(self, name: str, **parameters: str) -> None:
        self.cluster.put(ATTRIBUTES_CLASSES, name, {"parameters": parameters})

    def create(self, **spec: object) -> Key:
        content = {
            "metadata": {"namespace": SHOP, "name": "debian"},
            "spec": {"source": {"http": {"url": URL}}, **spec},
        }
        self.cluster.created(PATH, content)
        return self.key

    def change(self, **spec: object) -> None:
        self.cluster.patched(f"{PATH}/debian", {"spec": spec})

    def delete(self) -> None:
        self.cluster.delete(PATH, "debian")

    def want(
        self,
        name: str = "disk",
        *,
        mode: str = "Block",
        storage_class: str | None = "fast",
        size: str = "8Gi",
        image: str = "debian",
        **spec: Any,
    ) -> str:
        """A claim that wants a clone. Returns its UID."""
        content = {
            "metadata": {"namespace": SHOP},
            "spec": {
                "storageClassName": storage_class,
                "volumeMode": mode,
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": size}},
                "dataSourceRef": {"apiGroup": "powerflex.dev", "kind": "VolumeImage", "name": image},
                **spec,
            },
            "status": {"phase": "Pending"},
        }
        self.cluster.put(claims(SHOP), name, content)
        return str(self.claim(name)["metadata"]["uid"])

    def source_claim(self, name: str, word: str, *, mode: str) -> None:
        """A bound claim with an image."""
        spec = {
            "storageClassName": "fast",
            "volumeMode": mode,
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "8Gi"}},
        }
        self.cluster.put(claims(SHOP), name, {"metadata": {"namespace": SHOP}, "spec": spec})
        self._provision()
        self.data[self.handle(name)] = word

    def delete_claim(self, name: str = "disk") -> None:
        self.cluster.remove(claims(SHOP), name)

    # --- what is there ---------------------------------------------------------------------------

    def named(self, path: str, name: str) -> dict[str, Any] | None:
        found = (item for item in self.cluster.objects(path) if item["metadata"]["name"] == name)
        return next(found, None)

    def claim(self, name: str = "disk") -> dict[str, Any]:
        found = self.named(claims(SHOP), name)
        assert found is not None, f"there is no claim {name}"
        return found

    def volume_of(self, name: str = "disk") -> dict[str, Any]:
        found = self.named(VOLUMES, self.claim(name)["spec"].get("volumeName", ""))
        assert found is not None, f"claim {name} has no volume"
        return found

    def handle(self, name: str = "disk") -> str:
        return str(self.volume_of(name)["spec"]["csi"]["volumeHandle"])

    def word(self, name: str = "disk") -> str:
        """What is in the volume of a claim."""
        return self.data[self.handle(name)]

    def bound(self) -> list[str]:
        """The claims that have got a clone."""
        return [
            item["metadata"]["name"]
            for item in self.cluster.objects(claims(SHOP))
            if "dataSourceRef" in item["spec"] and item["spec"].get("volumeName")
        ]

    def exists(self) -> bool:
        return self.named(PATH, "debian") is not None

    def uid(self) -> str:
        found = self.named(PATH, "debian")
        assert found is not None
        return str(found["metadata"]["uid"])

    def status(self) -> dict[str, Any]:
        found = self.named(PATH, "debian")
        assert found is not None
        return dict(found.get("status", {}))

    def stages(self) -> list[str]:
        return [item.get("stage", "Importing") for item in self.status().get("copies", ())]

    def reasons(self, kind: str = "VolumeImage") -> list[str]:
        """The reasons of the Events about the VolumeImage, or about claims."""
        found = self.cluster.objects(EVENTS)
        return [item["reason"] for item in found if item["involvedObject"]["kind"] == kind]

    def told(self, claim: str) -> list[tuple[str, str, str]]:
        """Type, reason and message of the Events about a claim."""
        found = self.cluster.objects(EVENTS)
        about = ("PersistentVolumeClaim", claim)
        return [
            (item["type"], item["reason"], item["message"])
            for item in found
            if (item["involvedObject"]["kind"], item["involvedObject"]["name"]) == about
        ]

    def temporary(self) -> list[str]:
        """What an import or a clone has made that is no cached copy and no volume of a user."""
        ours = [claims(OURS), jobs(SHOP), policies(SHOP), PODS]
        found = [item["metadata"]["name"] for path in ours for item in self.cluster.objects(path)]
        return found + [
            item["metadata"]["name"]
            for path in (claims(SHOP), snapshots(SHOP))
            for item in self.cluster.objects(path)
            if "powerflex.dev/made-for" in item["metadata"].get("labels", {})
        ]

    def goldens(self) -> list[str]:
        """The cached copies."""
        return [item["metadata"]["name"] for item in self.cluster.objects(snapshots(OURS))]

    # --- what the controllers do -----------------------------------------------------------------

    def controllers(self) -> None:
        """One step of each controller."""
        if self.snapshotter_works:
            self._take_snapshots()
        self._forget_snapshots()
        if self.provisions:
            self._provision()
        self._run_jobs()
        self._bind()
        self._reclaim()
        trees = list(self.tree.values())
        self.largest_tree = max([self.largest_tree, *(trees.count(tree) for tree in set(trees))])

    def _take_snapshots(self) -> None:
        for path, namespace in ((snapshots(SHOP), SHOP), (snapshots(OURS), OURS)):
            for item in self.cluster.objects(path):
                if not item.get("status", {}).get("readyToUse"):
                    self._take(path, namespace, item)

    def _take(self, path: str, namespace: str, item: dict[str, Any]) -> None:
        metadata = item["metadata"]
        reference = {"namespace": namespace, "name": metadata["name"], "uid": metadata["uid"]}
        content = item["spec"]["source"].get("volumeSnapshotContentName", "")
        if content:
            own = self.named(CONTENTS, content)
            if own is None:
                return
            handle = own["spec"]["source"]["snapshotHandle"]
            assert handle in self.taken, "the snapshot was removed on the array"
            bound = {**own, "spec": {**own["spec"], "volumeSnapshotRef": reference}}
            self.cluster.put(CONTENTS, content, {**bound, "status": {"snapshotHandle": handle}})
        else:
            content = f"snapcontent-{metadata['uid']}"
            source = self.handle(item["spec"]["source"]["persistentVolumeClaimName"])
            self._number += 1
            handle = f"snapshot-{self._number}"
            self.taken[handle], self.tree[handle] = self.data[source], self.tree[source]
            spec = {"driver": DRIVER, "deletionPolicy": "Delete", "volumeSnapshotRef": reference}
            status = {"snapshotHandle": handle, "restoreSize": 8 * GIB}
            self.cluster.put(CONTENTS, content, {"spec": spec, "status": status})
        status = {"readyToUse": True, "boundVolumeSnapshotContentName": content}
        self.cluster.put(path, metadata["name"], {**item, "status": status})

    def _forget_snapshots(self) -> None:
        """Delete contents whose VolumeSnapshot was deleted, and the snapshots on the array.

        With the policy Retain, a content stays. The driver refuses to delete a snapshot while another content
        has it that is not being deleted too.
        """
        for item in self.cluster.objects(CONTENTS):
            if "finalizers" not in item["metadata"]:
                metadata = {**item["metadata"], "finalizers": [_BOUND]}
                self.cluster.put(CONTENTS, metadata["name"], {**item, "metadata": metadata})
        for item in self.cluster.objects(CONTENTS):
            if self._is_ending(item) and item["spec"]["deletionPolicy"] == "Delete":
                self.cluster.delete(CONTENTS, item["metadata"]["name"])
        contents = self.cluster.objects(CONTENTS)
        ending = {item["metadata"]["name"] for item in contents if "deletionTimestamp" in item["metadata"]}
        for item in contents:
            name, policy, handle = item["metadata"]["name"], item["spec"]["deletionPolicy"], handle_of(item)
            if name not in ending:
                continue
            others = [
                other
                for other in self.cluster.objects(CONTENTS)
                if handle_of(other) == handle and other["metadata"]["name"] != name
            ]
            if policy == "Delete":
                if any(
                    other["metadata"]["name"] not in ending or other["spec"]["deletionPolicy"] != "Delete"
                    for other in others
                ):
                    continue
                self.taken.pop(handle, None)
                self.tree.pop(handle, None)
            self.cluster.remove(CONTENTS, name)

    def _is_ending(self, content: dict[str, Any]) -> bool:
        reference = content["spec"]["volumeSnapshotRef"]
        found = self.named(snapshots(reference["namespace"]), reference["name"])
        # One without a UID is not bound yet.
        return "uid" in reference and (found is None or found["metadata"]["uid"] != reference["uid"])

    def _provision(self) -> None:
        for namespace in (SHOP, OURS):
            for item in self.cluster.objects(claims(namespace)):
                if not item["spec"].get("volumeName") and "dataSourceRef" not in item["spec"]:
                    self._make_volume(namespace, item)

    def _make_volume(self, namespace: str, item: dict[str, Any]) -> None:
        name, uid, spec = item["metadata"]["name"], item["metadata"]["uid"], item["spec"]
        word, tree = "", ""
        if "dataSource" in spec:
            snapshot = self.named(snapshots(namespace), spec["dataSource"]["name"])
            if snapshot is None or not snapshot.get("status", {}).get("readyToUse"):
                return
            copy = self.named(CONTENTS, snapshot["status"]["boundVolumeSnapshotContentName"])
            assert copy is not None
            word, tree = self.taken[handle_of(copy)], self.tree[handle_of(copy)]
        self._number += 1
        handle = f"volume-{self._number}"
        self.data[handle], self.tree[handle] = word, tree or f"tree-{self._number}"
        volume = f"pvc-{uid}"
        content = {
            "metadata": {"annotations": {"pv.kubernetes.io/provisioned-by": DRIVER}},
            "spec": {
                "csi": {"driver": DRIVER, "volumeHandle": handle},
                "claimRef": {"namespace": namespace, "name": name, "uid": uid, "resourceVersion": "7"},
                "volumeMode": spec.get("volumeMode", "Filesystem"),
                "storageClassName": spec["storageClassName"],
                "capacity": {"storage": spec["resources"]["requests"]["storage"]},
                "persistentVolumeReclaimPolicy": self.policy,
            },
        }
        self.cluster.put(VOLUMES, volume, content)
        bound = {**item, "spec": {**spec, "volumeName": volume}, "status": {"phase": "Bound"}}
        self.cluster.put(claims(namespace), name, bound)

    def _run_jobs(self) -> None:
        """A new Job gets a pod, and a pod that runs ends at the next step. Pods of no Job are removed."""
        names = {item["metadata"]["name"] for item in self.cluster.objects(jobs(SHOP))}
        for pod in self.cluster.objects(PODS):
            if pod["metadata"]["labels"][MOVER_LABEL] not in names:
                self.cluster.remove(PODS, pod["metadata"]["name"])
        for job in self.cluster.objects(jobs(SHOP)):
            if job.get("status", {}).get("conditions"):
                continue
            own = self.named(PODS, f"{job['metadata']['name']}-pod")
            if own is None:
                self._start(job)
            elif self.movers_work:
                self._end(job, own)

    def _start(self, job: dict[str, Any]) -> None:
        template = job["spec"]["template"]
        used = [
            self.named(claims(SHOP), item["persistentVolumeClaim"]["claimName"])
            for item in template["spec"]["volumes"]
            if "persistentVolumeClaim" in item
        ]
        if all(item is not None and item["spec"].get("volumeName") for item in used):
            content = {**template, "status": {"phase": "Running"}}
            self.cluster.put(PODS, f"{job['metadata']['name']}-pod", content)

    def _end(self, job: dict[str, Any], pod: dict[str, Any]) -> None:
        name = job["metadata"]["name"]
        (container,) = pod["spec"]["containers"]
        self.imports.append(container["args"])
        outcome = self.outcomes.get(name, self.outcome)
        done = outcome.exit is Exit.DONE
        if done:
            self.data[self.handle(name)] = self.image
        state = {"terminated": {"exitCode": int(outcome.exit), "message": outcome.text()}}
        status = {"phase": "Succeeded" if done else "Failed", "containerStatuses": [{"state": state}]}
        self.cluster.put(PODS, pod["metadata"]["name"], {**pod, "status": status})
        conditions = [{"type": "Complete" if done else "Failed", "status": "True"}]
        self.cluster.put(jobs(SHOP), name, {**job, "status": {"conditions": conditions}})

    def _bind(self) -> None:
        """Bind claims that a PersistentVolume is reserved for."""
        for item in self.cluster.objects(VOLUMES):
            reference, spec = item["spec"]["claimRef"], item["spec"]
            claim = self.named(claims(SHOP), reference["name"]) if reference["namespace"] == SHOP else None
            if (
                claim is None
                or claim["metadata"]["uid"] != reference["uid"]
                or claim["spec"].get("volumeName")
            ):
                continue
            assert "resourceVersion" not in reference
            assert spec["volumeMode"] == claim["spec"]["volumeMode"]
            assert spec["storageClassName"] == claim["spec"]["storageClassName"]
            assert whole_bytes(spec["capacity"]["storage"]) >= requested(claim)
            bound = {**claim["spec"], "volumeName": item["metadata"]["name"]}
            self.cluster.put(
                claims(SHOP), reference["name"], {**claim, "spec": bound, "status": {"phase": "Bound"}}
            )

    def _reclaim(self) -> None:
        """Remove the volumes of released PersistentVolumes with the policy Delete."""
        paths = (claims(SHOP), claims(OURS))
        alive = {item["metadata"]["uid"] for path in paths for item in self.cluster.objects(path)}
        for item in self.cluster.objects(VOLUMES):
            spec = item["spec"]
            if spec["claimRef"]["uid"] in alive or spec["persistentVolumeReclaimPolicy"] != "Delete":
                continue
            for known in (self.data, self.tree):
                del known[spec["csi"]["volumeHandle"]]
            self.cluster.remove(VOLUMES, item["metadata"]["name"])

    # --- going back ------------------------------------------------------------------------------

    def save(self) -> SavedWorld:
        """All that is, for ``restore``."""
        array = (dict(self.data), dict(self.taken), dict(self.tree))
        return SavedWorld(self.cluster.state(), array, self._number)

    def restore(self, saved: SavedWorld) -> None:
        """Go back to what was saved, with a new process."""
        self.cluster.restore(saved.cluster)
        self.data, self.taken, self.tree = (dict(part) for part in saved.array)
        self._number = saved.number
        self.new_process()

    def course(self) -> str:
        """All that is, except for Events, versions and times, which do not decide about what follows."""
        array = json.dumps([self.data, self.taken, self.tree], sort_keys=True)
        return self.cluster.state().comparable() + array

    # --- the operator ----------------------------------------------------------------------------

    def lead(self, key: Key) -> float | None:
        """One round, and then one step of the controllers."""
        pause = self.rounds.lead(key)
        self.controllers()
        return pause

    def rounds_of(self, key: Key, many: int) -> None:
        for _ in range(many):
            self.lead(key)

    def settle(self, key: Key) -> None:
        """Rounds until there is nothing to do, or the object does not exist any more."""
        for _ in range(_MOST_ROUNDS):
            pause = self.lead(key)
            if pause is None:
                self.end()
                return
            if pause == IDLE and not any(claim.get("copy") for claim in self.status().get("claims", ())):
                return
        raise AssertionError(f"it does not settle: {self.status()} {self.temporary()}")

    def settle_until(self, key: Key, stage: str) -> None:
        """Rounds until a cached copy has the stage."""
        for _ in range(_MOST_ROUNDS):
            if stage in self.stages():
                return
            self.lead(key)
        raise AssertionError(f"it is not {stage}: {self.status()}")

    def end(self) -> None:
        """Let the controllers end what the operator has begun."""
        for _ in range(4):
            self.controllers()


def handle_of(content: dict[str, Any]) -> str:
    """The snapshot of a VolumeSnapshotContent."""
    return str(content["spec"].get("source", {}).get("snapshotHandle") or content["status"]["snapshotHandle"])


def requested(claim: dict[str, Any]) -> int:
    return whole_bytes(claim["spec"]["resources"]["requests"]["storage"])
