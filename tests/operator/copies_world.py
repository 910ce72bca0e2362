"""VolumeCopies in a cluster whose controllers do what those of Kubernetes do, led round by round."""

from __future__ import annotations

from typing import Any

from csi_powerflex.kube.client import Client
from csi_powerflex.operator.api import Key
from csi_powerflex.operator.copies.definition import DEFINITION
from csi_powerflex.operator.copies.objects import ATTACHMENTS, CLASSES, CONTENTS, VOLUMES, Mover, jobs, pods
from csi_powerflex.operator.copies.work import Copies
from csi_powerflex.operator.happenings import Happenings
from csi_powerflex.operator.objects import claims, snapshots
from csi_powerflex.operator.rounds import Rounds
from tests.kube.api_server import ApiServer
from tests.operator.clock import Clock

DRIVER = "csi.powerflex.dev"
SHOP, OURS = "shop", "powerflex"
PATH = DEFINITION.path(SHOP)
EVENTS = f"/api/v1/namespaces/{SHOP}/events"
EMPTY, COPIED = "empty", "copied"


class CopiesWorld:
    """A bound claim ``data``, and the operator.

    Attributes:
        array: what each volume has, by its handle. A volume that was deleted is not in it.
        outcome: the condition that a mover ends with.
    """

    def __init__(self, cluster: ApiServer, client: Client) -> None:
        self.cluster, self.client, self.clock = cluster, client, Clock()
        self.array: dict[str, str] = {"handle-data": COPIED}
        self.outcome, self.words = "Complete", '{"exit": 0, "message": "copied"}'
        self.policy = "Delete"
        self.storage_class("fast", "Immediate")
        self.put_claim("data", {"storageClassName": "fast", "volumeName": "pv-data"}, "Bound")
        self.new_process()

    def new_process(self) -> None:
        """The operator after a restart."""
        work = Copies(
            self.client, driver_name=DRIVER, namespace=OURS, mover=Mover("mover:1", resources={"limits": {}})
        )
        self.rounds = Rounds(self.client, [work], Happenings(self.client, self.clock))

    # --- what users do ---------------------------------------------------------------------------

    def storage_class(self, name: str, binding: str) -> None:
        content = {
            "provisioner": DRIVER,
            "volumeBindingMode": binding,
            "parameters": {"csi.storage.k8s.io/fstype": "xfs"},
            "mountOptions": ["noatime"],
        }
        self.cluster.put(CLASSES, name, content)

    def put_claim(self, name: str, spec: dict[str, Any], phase: str = "Pending", **more: Any) -> None:
        content = {
            "metadata": {"namespace": SHOP, "name": name, **more},
            "spec": spec,
            "status": {"phase": phase},
        }
        self.cluster.put(claims(SHOP), name, content)

    def want(self, name: str = "mine", *, mode: str = "Filesystem", storage_class: str = "fast") -> str:
        """A claim that wants a copy. Returns its UID."""
        spec = {
            "storageClassName": storage_class,
            "volumeMode": mode,
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "16Gi"}},
            "dataSourceRef": {"apiGroup": "powerflex.dev", "kind": "VolumeCopy", "name": "copy"},
        }
        self.put_claim(name, spec)
        return str(self.claim(name)["metadata"]["uid"])

    def create(self, **spec: object) -> Key:
        content = {"metadata": {"namespace": SHOP, "name": "copy"}, "spec": spec or {"claim": "data"}}
        self.cluster.created(PATH, content)
        return Key(DEFINITION.plural, SHOP, "copy")

    def delete_claim(self, name: str = "mine") -> None:
        self.cluster.remove(claims(SHOP), name)

    # --- what is there ---------------------------------------------------------------------------

    def claim(self, name: str = "mine") -> dict[str, Any]:
        return next(item for item in self.cluster.objects(claims(SHOP)) if item["metadata"]["name"] == name)

    def status(self) -> dict[str, Any]:
        return dict(self.cluster.objects(PATH)[0].get("status", {}))

    def reasons(self) -> list[str]:
        return [item["reason"] for item in self.cluster.objects(EVENTS)]

    def leftovers(self) -> list[str]:
        """What the operator has made, apart from the PersistentVolumes of claims."""
        paths = (
            claims(OURS),
            jobs(OURS),
            pods(OURS),
            snapshots(OURS),
            snapshots(SHOP),
            CONTENTS,
            ATTACHMENTS,
        )
        found = [
            f"{path}/{item['metadata']['name']}" for path in paths for item in self.cluster.objects(path)
        ]
        return [item for item in found if not item.startswith(f"{CONTENTS}/users-")]

    def volumes(self) -> list[str]:
        return [item["metadata"]["name"] for item in self.cluster.objects(VOLUMES)]

    # --- what the controllers of Kubernetes do ----------------------------------------------------

    def controllers(self) -> None:
        self._snapshots()
        self._provision()
        self._movers()
        self._bind()
        self._reclaim()

    def _snapshots(self) -> None:
        for path in (snapshots(SHOP), snapshots(OURS)):
            for item in self.cluster.objects(path):
                if item.get("status", {}).get("readyToUse"):
                    continue
                name = item["metadata"]["name"]
                content = item["spec"]["source"].get("volumeSnapshotContentName", f"users-{name}")
                if content.startswith("users-"):
                    self.cluster.put(
                        CONTENTS,
                        content,
                        {"spec": {"driver": DRIVER}, "status": {"snapshotHandle": f"s-{name}"}},
                    )
                status = {
                    "readyToUse": True,
                    "restoreSize": "8Gi",
                    "boundVolumeSnapshotContentName": content,
                }
                self.cluster.put(path, name, {**item, "status": status})
        names = {item["metadata"]["name"] for item in self.cluster.objects(snapshots(SHOP))}
        for item in self.cluster.objects(CONTENTS):
            name = item["metadata"]["name"]
            if name.startswith("users-") and name.removeprefix("users-") not in names:
                self.cluster.remove(CONTENTS, name)

    def _provision(self) -> None:
        for item in self.cluster.objects(claims(OURS)):
            name, uid = item["metadata"]["name"], item["metadata"]["uid"]
            if item["spec"].get("volumeName"):
                continue
            self.array[f"handle-{uid}"] = COPIED if name.startswith("source-") else EMPTY
            reference = {"namespace": OURS, "name": name, "uid": uid}
            spec = {
                "csi": {"driver": DRIVER, "volumeHandle": f"handle-{uid}", "volumeAttributes": {"a": "b"}},
                "claimRef": reference,
                "volumeMode": "Block",
                "storageClassName": item["spec"]["storageClassName"],
                "capacity": {"storage": "16Gi"},
                "accessModes": item["spec"]["accessModes"],
                "persistentVolumeReclaimPolicy": self.policy,
            }
            notes = {"pv.kubernetes.io/provisioned-by": DRIVER, "pv.kubernetes.io/bound-by-controller": "yes"}
            self.cluster.put(VOLUMES, f"pvc-{uid}", {"metadata": {"annotations": notes}, "spec": spec})
            bound = {
                **item,
                "spec": {**item["spec"], "volumeName": f"pvc-{uid}"},
                "status": {"phase": "Bound"},
            }
            self.cluster.put(claims(OURS), name, bound)

    def _movers(self) -> None:
        alive = {item["metadata"]["name"] for item in self.cluster.objects(jobs(OURS))}
        for item in self.cluster.objects(jobs(OURS)):
            self._move(item)
        for path in (pods(OURS), ATTACHMENTS):
            for item in self.cluster.objects(path):
                if item["metadata"]["name"] not in alive:
                    self.cluster.remove(path, item["metadata"]["name"])

    def _move(self, job: dict[str, Any]) -> None:
        name = job["metadata"]["name"]
        if job.get("status"):
            return
        written = {item["metadata"]["name"]: item for item in self.cluster.objects(claims(OURS))}
        prime = written[name.replace("mover-", "prime-")]
        if self.outcome == "Complete":
            self.array[f"handle-{prime['metadata']['uid']}"] = COPIED
        ended = {"state": {"terminated": {"message": self.words}}}
        labels = {"labels": job["metadata"]["labels"]}
        self.cluster.put(pods(OURS), name, {"metadata": labels, "status": {"containerStatuses": [ended]}})
        attached = {"spec": {"source": {"persistentVolumeName": prime["spec"]["volumeName"]}}}
        self.cluster.put(ATTACHMENTS, name, attached)
        status = {"conditions": [{"type": self.outcome, "status": "True"}]}
        self.cluster.put(jobs(OURS), name, {**job, "status": status})

    def _bind(self) -> None:
        for item in self.cluster.objects(VOLUMES):
            reference = item["spec"]["claimRef"]
            for claim in self.cluster.objects(claims(SHOP)):
                if claim["metadata"]["uid"] == reference["uid"] and not claim["spec"].get("volumeName"):
                    spec = {**claim["spec"], "volumeName": item["metadata"]["name"]}
                    self.cluster.put(
                        claims(SHOP),
                        claim["metadata"]["name"],
                        {**claim, "spec": spec, "status": {"phase": "Bound"}},
                    )

    def _reclaim(self) -> None:
        """Delete the volumes of released PersistentVolumes with the policy Delete."""
        paths = (claims(SHOP), claims(OURS))
        alive = {item["metadata"]["uid"] for path in paths for item in self.cluster.objects(path)}
        for item in self.cluster.objects(VOLUMES):
            spec = item["spec"]
            if spec["claimRef"]["uid"] in alive or spec["persistentVolumeReclaimPolicy"] != "Delete":
                continue
            del self.array[spec["csi"]["volumeHandle"]]
            self.cluster.remove(VOLUMES, item["metadata"]["name"])

    # --- the operator ----------------------------------------------------------------------------

    def settle(self, key: Key, rounds: int = 60) -> None:
        """Rounds, each followed by the controllers, until no claim waits."""
        for _ in range(rounds):
            pause = self.rounds.lead(key)
            self.controllers()
            if pause is None or (pause == 5.0 and not self.status().get("claims")):
                return
        raise AssertionError(f"it does not settle: {self.status()} {self.leftovers()}")

    def rounds_of(self, key: Key, many: int) -> None:
        for _ in range(many):
            self.rounds.lead(key)
            self.controllers()
