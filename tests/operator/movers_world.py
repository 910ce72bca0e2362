"""Claims, snapshots and Jobs in a cluster whose controllers run one step at a time, without an array.

What is in a volume is one word. A mover copies the word of its source to its target.
"""

from __future__ import annotations

import copy
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from csi_powerflex.app import operator
from csi_powerflex.config.operator import OperatorSettings
from csi_powerflex.kube.client import Client
from csi_powerflex.kube_objects.custody import ATTACHMENTS
from csi_powerflex.kube_objects.reader import VOLUMES
from csi_powerflex.model.mover import Exit, Outcome
from csi_powerflex.operator.api import Definition, Key
from csi_powerflex.operator.classes import STORAGE_CLASSES
from csi_powerflex.operator.happenings import Happenings
from csi_powerflex.operator.movers.job import MOVER_LABEL, jobs, policies
from csi_powerflex.operator.moves.claimed import stateful_sets
from csi_powerflex.operator.objects import claims, snapshots
from csi_powerflex.operator.rounds import Rounds
from csi_powerflex.operator.sources import CONTENTS, MODE_CHANGE
from tests.kube.api_server import ApiServer, Objects
from tests.operator.clock import Clock

DRIVER = "csi-powerflex.example.org"
NAMESPACE = "shop"
CLAIMS = claims(NAMESPACE)
SNAPSHOTS = snapshots(NAMESPACE)
JOBS = jobs(NAMESPACE)
POLICIES = policies(NAMESPACE)
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
STATEFUL_SETS = stateful_sets(NAMESPACE)
HOLD = f"{DRIVER}/hold"
SIZE = 8 << 30
_PROTECTED = "kubernetes.io/pvc-protection"
_ATTACHED = "external-attacher/csi"
_MOST_ROUNDS = 80


@dataclass(frozen=True, slots=True)
class State:
    """What a MoversWorld has: the objects of the cluster, and what is on the array and was exported."""

    objects: Objects
    data: dict[str, str]
    taken: dict[str, str]
    exported: list[tuple[str, list[str]]]
    number: int

    def comparable(self) -> str:
        """As text. Two runs with the same text go on alike, because the operator has no other state."""
        return json.dumps([self.objects.comparable(), self.data, self.taken, self.exported, self.number])


class MoversWorld:
    """The cluster, and the operator for one resource."""

    def __init__(self, cluster: ApiServer, client: Client, definition: Definition, monkeypatch: Any) -> None:
        self.cluster, self.client, self.definition = cluster, client, definition
        self.path = definition.path(NAMESPACE)
        self.clock = Clock()
        monkeypatch.setattr(operator, "_now", self.clock)
        self.data: dict[str, str] = {}
        """The word in each volume, by handle. A volume that was removed is not here."""
        self.taken: dict[str, str] = {}
        """The word in each snapshot, by handle."""
        self.exported: list[tuple[str, list[str]]] = []
        """What movers have exported: the word, and the arguments."""
        self.outcome = Outcome(Exit.DONE, "copied", size=SIZE, written=5, digest="sha256:ab")
        self.movers_work = True
        self.detaches = True
        self.snapshotter_works = True
        self.policy = "Delete"
        """The reclaim policy of the volumes that are made from now on."""
        self.snapshot_policy = "Delete"
        """The deletion policy of the snapshots that are taken from now on."""
        self.binds = True
        self._number = 0
        for name in ("fast", "west"):
            cluster.put(STORAGE_CLASSES, name, {"provisioner": DRIVER})
        cluster.put(STORAGE_CLASSES, "other", {"provisioner": "other.example.org"})
        self.rounds = self.new_process()

    def new_process(self) -> Rounds:
        """The operator after a restart: it knows only what is in the cluster."""
        settings = OperatorSettings(DRIVER, "test", Path("/nonexistent"))
        works = operator.works(self.client, settings)
        self.rounds = Rounds(self.client, works, Happenings(self.client, self.clock))
        return self.rounds

    # --- what users do ---------------------------------------------------------------------------

    def claimed(self, name: str, word: str, *, mode: str = "Filesystem", **metadata: Any) -> str:
        """A bound claim whose volume has this word. Returns the name of its PersistentVolume."""
        self.cluster.put(
            CLAIMS,
            name,
            {
                "metadata": {"namespace": NAMESPACE, **metadata},
                "spec": {
                    "storageClassName": "fast",
                    "volumeMode": mode,
                    "accessModes": ["ReadWriteOnce"],
                    "resources": {"requests": {"storage": str(SIZE)}},
                },
            },
        )
        self._provision()
        volume = self.claim(name)["spec"]["volumeName"]
        self.data[self.handle(volume)] = word
        return str(volume)

    def snapshot(self, name: str, claim: str) -> None:
        """A VolumeSnapshot that is ready."""
        spec = {"source": {"persistentVolumeClaimName": claim}}
        self.cluster.put(SNAPSHOTS, name, {"metadata": {"namespace": NAMESPACE}, "spec": spec})
        self._take_snapshots()

    def use(self, claim: str, *, name: str = "user", node: str = "") -> None:
        """A pod that uses a claim; attached to a node if one is given."""
        volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": claim}}]
        self.cluster.put(
            PODS,
            name,
            {
                "metadata": {"namespace": NAMESPACE},
                "spec": {"volumes": volumes},
                "status": {"phase": "Running"},
            },
        )
        if node:
            self._attach(self.claim(claim)["spec"]["volumeName"], node)

    def create(self, name: str, **spec: object) -> Key:
        self.cluster.created(self.path, {"metadata": {"namespace": NAMESPACE, "name": name}, "spec": spec})
        return Key(self.definition.plural, NAMESPACE, name)

    def change(self, key: Key, **spec: object) -> None:
        """Change the specification as a user does it."""
        self.cluster.patched(f"{self.path}/{key.name}", {"spec": spec})

    def delete(self, key: Key) -> None:
        self.cluster.delete(self.path, key.name)

    def available(self, name: str, word: str, storage_class: str, *, policy: str = "Retain") -> None:
        """A PersistentVolume in block mode with this word, which no claim has."""
        handle = f"volume-{name}"
        self.data[handle] = word
        spec = {
            "capacity": {"storage": str(SIZE)},
            "accessModes": ["ReadWriteOnce"],
            "volumeMode": "Block",
            "persistentVolumeReclaimPolicy": policy,
            "storageClassName": storage_class,
            "csi": {"driver": DRIVER, "volumeHandle": handle},
        }
        self.cluster.put(VOLUMES, name, {"spec": spec, "status": {"phase": "Available"}})

    def annotate_volume(self, name: str, annotations: dict[str, str]) -> None:
        found = self.volume(name)
        self.cluster.put(
            VOLUMES, name, {**found, "metadata": {**found["metadata"], "annotations": annotations}}
        )

    def require_progress(self, key: Key) -> None:
        """The line of progress in the log of the data mover is in the status after a round."""
        (pod,) = self.live_pods()
        line = {"phase": "Writing", "bytes": 5, "total": 10, "speed": 3, "percent": 50}
        self.cluster.put(f"{PODS}/{pod['metadata']['name']}", "log", line)
        self.lead(key)
        status = self.status(key)
        assert status["progress"] == {"bytesDone": 5, "bytesTotal": 10, "percent": 50, "bytesPerSecond": 3}
        assert status["message"] == "writing, 50 %"

    # --- what the controllers of the cluster do --------------------------------------------------

    def controllers(self) -> None:
        """One step of each controller."""
        if self.snapshotter_works:
            self._take_snapshots()
        self._forget_snapshots()
        self._provision()
        if self.binds:
            self._bind()
            self._bind_reserved()
        self._run_jobs()
        self._collect_pods()
        self._detach()
        self._release_claims()
        self._reclaim()

    def _take_snapshots(self) -> None:
        for item in self.cluster.objects(SNAPSHOTS):
            if item.get("status", {}).get("readyToUse"):
                continue
            name, uid = item["metadata"]["name"], item["metadata"]["uid"]
            claim = self.claim(item["spec"]["source"]["persistentVolumeClaimName"])
            handle = f"snap-{uid}"
            self.taken[handle] = self.data[self.handle(claim["spec"]["volumeName"])]
            content = {
                "spec": {
                    "driver": DRIVER,
                    "deletionPolicy": self.snapshot_policy,
                    "sourceVolumeMode": claim["spec"].get("volumeMode", "Filesystem"),
                    "volumeSnapshotRef": {"uid": uid, "name": name, "namespace": NAMESPACE},
                },
                "status": {"snapshotHandle": handle, "restoreSize": SIZE, "readyToUse": True},
            }
            self.cluster.put(CONTENTS, f"content-{uid}", content)
            status = {"readyToUse": True, "boundVolumeSnapshotContentName": f"content-{uid}"}
            self.cluster.put(SNAPSHOTS, name, {**item, "status": status})

    def _forget_snapshots(self) -> None:
        uids = {item["metadata"]["uid"] for item in self.cluster.objects(SNAPSHOTS)}
        for item in self.cluster.objects(CONTENTS):
            kept = item["spec"]["deletionPolicy"] != "Delete"
            if not kept and item["spec"]["volumeSnapshotRef"]["uid"] not in uids:
                self.taken.pop(item["status"]["snapshotHandle"])
                self.cluster.remove(CONTENTS, item["metadata"]["name"])

    def _provision(self) -> None:
        for item in self.cluster.objects(CLAIMS):
            if item["spec"].get("volumeName") or item["metadata"].get("deletionTimestamp"):
                continue
            if item["spec"].get("dataSourceRef"):
                # A populator has to do it.
                continue
            if self._bind_available(item):
                continue
            word = self._word_for(item)
            if word is None:
                continue
            self._number += 1
            metadata = item["metadata"]
            # As the provisioner names it.
            name, handle = f"pvc-{metadata['uid']}", f"volume-{self._number}"
            self.data[handle] = word
            filesystem = item["spec"].get("volumeMode") != "Block"
            self.cluster.put(
                VOLUMES,
                name,
                {
                    "metadata": {"annotations": {"pv.kubernetes.io/provisioned-by": DRIVER, "a": "b"}},
                    "spec": {
                        "capacity": {"storage": str(SIZE)},
                        "accessModes": item["spec"]["accessModes"],
                        "volumeMode": item["spec"].get("volumeMode", "Filesystem"),
                        "persistentVolumeReclaimPolicy": self.policy,
                        "storageClassName": item["spec"]["storageClassName"],
                        "nodeAffinity": {"required": {}},
                        "claimRef": {
                            "namespace": NAMESPACE,
                            "name": metadata["name"],
                            "uid": metadata["uid"],
                        },
                        "csi": {
                            "driver": DRIVER,
                            "volumeHandle": handle,
                            "volumeAttributes": {"origin": "empty"},
                            **({"fsType": "xfs"} if filesystem else {}),
                        },
                    },
                    "status": {"phase": "Bound"},
                },
            )
            self._bound(item, name)

    def _bind_available(self, claim: dict[str, Any]) -> bool:
        """Bind a claim to a PersistentVolume of its class that no claim has, as Kubernetes does it first."""
        wanted = [claim["spec"].get(name) for name in ("storageClassName", "volumeMode")]
        for volume in self.cluster.objects(VOLUMES):
            spec, metadata = volume["spec"], volume["metadata"]
            if spec.get("claimRef") or [spec["storageClassName"], spec["volumeMode"]] != wanted:
                continue
            uid = claim["metadata"]["uid"]
            reference = {"namespace": NAMESPACE, "name": claim["metadata"]["name"], "uid": uid}
            changed = {
                "metadata": {**metadata, "annotations": {"pv.kubernetes.io/bound-by-controller": "yes"}},
                "spec": {**spec, "claimRef": reference},
                "status": {"phase": "Bound"},
            }
            self.cluster.put(VOLUMES, metadata["name"], {**volume, **changed})
            self._bound(claim, metadata["name"])
            return True
        return False

    def _word_for(self, claim: dict[str, Any]) -> str | None:
        """What is in the new volume of a claim; None if it cannot be made yet."""
        source = claim["spec"].get("dataSource")
        if source is None:
            return ""
        found = self.named(SNAPSHOTS, source["name"])
        if not found or not found.get("status", {}).get("readyToUse"):
            return None
        content = self.named(CONTENTS, found["status"]["boundVolumeSnapshotContentName"])
        assert content is not None
        allowed = content["metadata"].get("annotations", {}).get(MODE_CHANGE) == "true"
        if content["spec"]["sourceVolumeMode"] != claim["spec"]["volumeMode"] and not allowed:
            return None
        return self.taken[content["status"]["snapshotHandle"]]

    def _bound(self, claim: dict[str, Any], volume: str) -> None:
        metadata = {"finalizers": [_PROTECTED], **claim["metadata"]}
        spec = {**claim["spec"], "volumeName": volume}
        self.cluster.put(
            CLAIMS,
            metadata["name"],
            {**claim, "metadata": metadata, "spec": spec, "status": {"phase": "Bound"}},
        )

    def _bind(self) -> None:
        """Bind claims that name their PersistentVolume."""
        for item in self.cluster.objects(CLAIMS):
            if item.get("status", {}).get("phase") == "Bound" or not item["spec"].get("volumeName"):
                continue
            volume = self.named(VOLUMES, item["spec"]["volumeName"])
            reference = (volume or {}).get("spec", {}).get("claimRef") or {}
            same = (reference.get("namespace"), reference.get("name")) == (
                NAMESPACE,
                item["metadata"]["name"],
            )
            if volume is None or not same or reference.get("uid") not in (None, item["metadata"]["uid"]):
                continue
            if volume["spec"]["storageClassName"] != item["spec"]["storageClassName"]:
                continue
            if volume["spec"]["volumeMode"] != item["spec"].get("volumeMode", "Filesystem"):
                continue
            reference = {**reference, "uid": item["metadata"]["uid"]}
            self.cluster.put(
                VOLUMES,
                volume["metadata"]["name"],
                {
                    **volume,
                    "spec": {**volume["spec"], "claimRef": reference},
                    "status": {"phase": "Bound"},
                },
            )
            self._bound(item, volume["metadata"]["name"])

    def _bind_reserved(self) -> None:
        """Bind claims that a PersistentVolume refers to."""
        waiting = {
            item["metadata"]["uid"]: item
            for item in self.cluster.objects(CLAIMS)
            if not item["spec"].get("volumeName")
        }
        for volume in self.cluster.objects(VOLUMES):
            claim = waiting.get((volume["spec"].get("claimRef") or {}).get("uid"))
            if claim is None:
                continue
            same = ("storageClassName", "volumeMode")
            assert [volume["spec"][name] for name in same] == [claim["spec"][name] for name in same]
            handle = self.handle_of(volume)
            others = [item for item in self.cluster.objects(VOLUMES) if self.handle_of(item) == handle]
            assert len(others) == 1, "a claim gets a volume that another PersistentVolume has"
            name = volume["metadata"]["name"]
            self.cluster.put(VOLUMES, name, {**volume, "status": {"phase": "Bound"}})
            self._bound(claim, name)

    def _run_jobs(self) -> None:
        """A new Job gets a pod, and a pod that runs ends at the next step."""
        for job in self.cluster.objects(JOBS):
            name = job["metadata"]["name"]
            if job.get("status", {}).get("conditions"):
                continue
            pod = self.named(PODS, f"{name}-pod")
            if pod is None:
                self._start(job)
            elif self.movers_work and pod["status"]["phase"] == "Running":
                self._end(job, pod)

    def _start(self, job: dict[str, Any]) -> None:
        name, template = job["metadata"]["name"], job["spec"]["template"]
        used = self._claims_of(template["spec"])
        found = [self.named(CLAIMS, claim) for claim in used]
        if not all(item and item.get("status", {}).get("phase") == "Bound" for item in found):
            return
        metadata = {"namespace": NAMESPACE, "labels": template["metadata"]["labels"]}
        self.cluster.put(
            PODS,
            f"{name}-pod",
            {"metadata": metadata, "spec": template["spec"], "status": {"phase": "Running"}},
        )
        for item in found:
            assert item is not None
            self._attach(item["spec"]["volumeName"], "node-1")

    def _end(self, job: dict[str, Any], pod: dict[str, Any]) -> None:
        (container,) = pod["spec"]["containers"]
        devices = {item["devicePath"]: item["name"] for item in container["volumeDevices"]}
        by_name = {
            item["name"]: item["persistentVolumeClaim"]["claimName"]
            for item in pod["spec"]["volumes"]
            if "persistentVolumeClaim" in item
        }
        handles = {
            path: self.handle(self.claim(by_name[name])["spec"]["volumeName"])
            for path, name in devices.items()
        }
        done = self.outcome.exit is Exit.DONE
        if done and "/dev/target" in handles:
            self.data[handles["/dev/target"]] = self.data[handles["/dev/source"]]
        elif done:
            self.exported.append((self.data[handles["/dev/source"]], container["args"]))
        state = {"terminated": {"exitCode": int(self.outcome.exit), "message": self.outcome.text()}}
        phase = "Succeeded" if done else "Failed"
        status = {"phase": phase, "containerStatuses": [{"name": "mover", "state": state}]}
        self.cluster.put(PODS, pod["metadata"]["name"], {**pod, "status": status})
        kind = "Complete" if done else "Failed"
        conditions = [{"type": kind, "status": "True", "message": "its pod ended"}]
        self.cluster.put(JOBS, job["metadata"]["name"], {**job, "status": {"conditions": conditions}})

    def _collect_pods(self) -> None:
        """Remove the pods of Jobs that were removed. On a lost node they stay."""
        names = {item["metadata"]["name"] for item in self.cluster.objects(JOBS)}
        for pod in self.cluster.objects(PODS):
            job = pod["metadata"].get("labels", {}).get(MOVER_LABEL)
            if job and job not in names and (self.detaches or pod["status"]["phase"] != "Running"):
                self.cluster.remove(PODS, pod["metadata"]["name"])

    def _attach(self, volume: str, node: str) -> None:
        name = f"{volume}-{node}"
        spec = {"nodeName": node, "source": {"persistentVolumeName": volume}}
        self.cluster.put(ATTACHMENTS, name, {"spec": spec})
        found = self.volume(volume)
        self.cluster.put(
            VOLUMES, volume, {**found, "metadata": {**found["metadata"], "finalizers": [_ATTACHED]}}
        )

    def _detach(self) -> None:
        """Detach what no pod uses that runs."""
        if not self.detaches:
            return
        used = {claim for pod in self.live_pods() for claim in self._claims_of(pod["spec"])}
        for item in self.cluster.objects(ATTACHMENTS):
            volume = item["spec"]["source"]["persistentVolumeName"]
            found = self.named(VOLUMES, volume)
            if found and found["spec"]["claimRef"]["name"] in used:
                continue
            self.cluster.remove(ATTACHMENTS, item["metadata"]["name"])
            if found:
                self.cluster.patched(f"{VOLUMES}/{volume}", {"metadata": {"finalizers": None}})

    def _release_claims(self) -> None:
        """Let claims that are being deleted end, if no pod uses them."""
        used = {claim for pod in self.live_pods() for claim in self._claims_of(pod["spec"])}
        for item in self.cluster.objects(CLAIMS):
            name = item["metadata"]["name"]
            if item["metadata"].get("deletionTimestamp") and name not in used:
                self.cluster.patched(f"{CLAIMS}/{name}", {"metadata": {"finalizers": None}})

    def _reclaim(self) -> None:
        """PersistentVolumes whose claim was removed are Released, and removed with the policy Delete."""
        uids = {item["metadata"]["uid"] for item in self.cluster.objects(CLAIMS)}
        for item in self.cluster.objects(VOLUMES):
            name, spec = item["metadata"]["name"], item["spec"]
            uid = (spec.get("claimRef") or {}).get("uid")
            if uid is None or uid in uids:
                continue
            if item.get("status", {}).get("phase") != "Released":
                self.cluster.put(VOLUMES, name, {**item, "status": {"phase": "Released"}})
            handle = spec["csi"]["volumeHandle"]
            same = [other for other in self.cluster.objects(VOLUMES) if self.handle_of(other) == handle]
            # The driver refuses to remove a volume that another PersistentVolume has, or a node.
            free = len(same) == 1 and not item["metadata"].get("finalizers")
            if spec["persistentVolumeReclaimPolicy"] == "Delete" and free:
                self.data.pop(handle)
                self.cluster.remove(VOLUMES, name)

    @staticmethod
    def _claims_of(pod_spec: dict[str, Any]) -> list[str]:
        return [
            item["persistentVolumeClaim"]["claimName"]
            for item in pod_spec["volumes"]
            if "persistentVolumeClaim" in item
        ]

    # --- the operator ----------------------------------------------------------------------------

    def lead(self, key: Key) -> float | None:
        """One round, and then one step of the controllers."""
        pause = self.rounds.lead(key)
        self.controllers()
        return pause

    def rests(self, pause: float | None) -> bool:
        """Whether there is nothing to do with an object until it changes, or it does not exist any more."""
        return pause in (None, math.inf)

    def drive(self, key: Key) -> None:
        """Rounds until there is nothing more to do."""
        for _ in range(_MOST_ROUNDS):
            if self.rests(self.lead(key)):
                self.controllers()
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

    def named(self, resource: str, name: str) -> dict[str, Any] | None:
        found = (item for item in self.cluster.objects(resource) if item["metadata"]["name"] == name)
        return next(found, None)

    def claim(self, name: str) -> dict[str, Any]:
        found = self.named(CLAIMS, name)
        assert found is not None, f"there is no claim {name}"
        return found

    def volume(self, name: str) -> dict[str, Any]:
        found = self.named(VOLUMES, name)
        assert found is not None, f"there is no PersistentVolume {name}"
        return found

    @staticmethod
    def handle_of(volume: dict[str, Any]) -> str:
        return str(volume["spec"]["csi"]["volumeHandle"])

    def handle(self, volume: str) -> str:
        return self.handle_of(self.volume(volume))

    def word(self, claim: str) -> str:
        """What is in the volume of a claim, which is bound in both directions."""
        found = self.claim(claim)
        assert found["status"]["phase"] == "Bound"
        volume = self.volume(found["spec"]["volumeName"])
        assert volume["spec"]["claimRef"]["uid"] == found["metadata"]["uid"]
        return self.data[self.handle_of(volume)]

    def live_pods(self) -> list[dict[str, Any]]:
        pods = self.cluster.objects(PODS)
        return [pod for pod in pods if pod["status"]["phase"] not in ("Succeeded", "Failed")]

    def object(self, key: Key) -> dict[str, Any]:
        found = self.named(self.path, key.name)
        assert found is not None
        return found

    def exists(self, key: Key) -> bool:
        return self.named(self.path, key.name) is not None

    def status(self, key: Key) -> dict[str, Any]:
        found: dict[str, Any] = self.object(key).get("status", {})
        return found

    def finalizers(self, key: Key) -> list[str]:
        found: list[str] = self.object(key)["metadata"].get("finalizers", [])
        return found

    def holds(self) -> list[str]:
        annotations = (item["metadata"].get("annotations", {}) for item in self.cluster.objects(VOLUMES))
        return [found[HOLD] for found in annotations if HOLD in found]

    def left(self) -> list[str]:
        """What movers need that is still there."""
        found = [
            item["metadata"]["name"]
            for resource in (JOBS, POLICIES, CLAIMS, SNAPSHOTS, PODS)
            for item in self.cluster.objects(resource)
            if "powerflex.dev/made-for" in item["metadata"].get("labels", {})
        ]
        changed = [
            item["metadata"]["name"]
            for item in self.cluster.objects(CONTENTS)
            if MODE_CHANGE in item["metadata"].get("annotations", {})
        ]
        return found + changed + [item["metadata"]["name"] for item in self.cluster.objects(ATTACHMENTS)]

    def volumes(self) -> set[str]:
        """The names of the PersistentVolumes."""
        return {item["metadata"]["name"] for item in self.cluster.objects(VOLUMES)}

    def events(self) -> list[tuple[str, str]]:
        return [
            (item["reason"], item["message"])
            for item in self.cluster.objects(f"/api/v1/namespaces/{NAMESPACE}/events")
        ]

    def state(self) -> State:
        """All of it, for ``restore``."""
        parts = copy.deepcopy((self.data, self.taken, self.exported))
        return State(self.cluster.state(), *parts, self._number)

    def restore(self, state: State) -> None:
        """Go back to a state, with a new process of the operator."""
        self.cluster.restore(state.objects)
        self.data, self.taken, self.exported = copy.deepcopy((state.data, state.taken, state.exported))
        self._number = state.number
        self.new_process()

    def settle(self) -> None:
        """Let the controllers end what the operator has begun."""
        for _ in range(6):
            self.controllers()
