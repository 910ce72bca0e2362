"""The operator in the cluster, and namespaces with objects that it leads."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests
import yaml

from csi_powerflex.operator.api import FINALIZER
from csi_powerflex.operator.definitions import DEFINITIONS
from tests.e2e import built
from tests.e2e.cluster import NAMESPACE, Cluster
from tests.e2e.kubernetes import Object
from tests.e2e.processes import NotReady, await_true
from tests.e2e.space import Space, claim_spec

MEBIBYTES = 3
"""How much data a claim gets."""
EAST, WEST = 2, 3
"""The numbers of the systems whose volumes it has."""
_LABELS = "app.kubernetes.io/component=operator"
_SECRET = "powerflex-operated"
_CLASSES = {"powerflex": "east", "powerflex-west": "west"}
_SECONDS = 180
_OWN = tuple(definition.plural for definition in DEFINITIONS)
_OF_KIND = {definition.kind: definition.plural for definition in DEFINITIONS}
_MADE = (
    "persistentvolumeclaims", "persistentvolumes", "volumesnapshots", "volumesnapshotcontents", "jobs",
    "networkpolicies", "pods", "volumeattachments",
)  # fmt: skip


class Operated:
    """The cluster with the operator on ``worker1``, and two systems in which volumes have whole GiB."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.kubernetes = cluster.kubernetes

    def install(self, folder: Path) -> None:
        """Install it as users do. Its classes have the names that the pages use."""
        self.cluster.make_secret(_SECRET, self._files())
        classes: list[Object] = [
            {"name": name, "parameters": {"systemID": system}} for name, system in _CLASSES.items()
        ]
        classes.append({**classes[0], "name": "powerflex-now", "volumeBindingMode": "Immediate"})
        values = folder / "values.json"
        snapshots = [{"name": "powerflex", "isDefault": True}]
        values.write_text(
            json.dumps(
                {
                    "existingSecret": _SECRET,
                    "storageClasses": classes,
                    "volumeSnapshotClasses": snapshots,
                }
            )
        )
        # The parameters of a class cannot be changed.
        self.kubernetes.delete("storageclasses", "powerflex")
        self.cluster.install(
            "--values", str(values),
            "--set", "operator.enabled=true",
            "--set", r"operator.nodeSelector.kubernetes\.io/hostname=worker1",
        )  # fmt: skip

    def remove(self) -> None:
        """Install the driver as it was before."""
        self.kubernetes.delete("storageclasses", "powerflex")
        self.cluster.install()

    def _files(self) -> dict[str, str]:
        files = self.cluster.systems()
        (first,) = json.loads(files["systems.yaml"])["systems"]
        urls = [each["url"] for each in self.cluster.array.facts["systems"]]
        systems = [
            first | {"name": name, "endpoints": [urls[number]]}
            for name, number in (("east", EAST), ("west", WEST))
        ]
        return files | {"systems.yaml": json.dumps({"systems": systems})}

    # --- its process -----------------------------------------------------------------------------

    def kill(self) -> None:
        """Kill its process, as if memory were short, and wait until another one is being started."""
        (pid,) = processes("operator")
        os.kill(pid, signal.SIGKILL)
        # kubelet would start the container again, but more slowly each time.
        for name in self._pods():
            self.kubernetes.delete("pods", name, NAMESPACE, grace=0)

    def await_running(self) -> None:
        """Wait until its process runs."""
        await_true(lambda: len(processes("operator")) == 1, what="the operator running", every=0.05)

    def _pods(self) -> list[str]:
        return [pod["metadata"]["name"] for pod in self.kubernetes.list("pods", NAMESPACE, labels=_LABELS)]

    # --- what there is -----------------------------------------------------------------------------

    def made(self) -> dict[str, Object]:
        """The objects of all namespaces that it, the driver and Kubernetes create, by kind and name."""
        return {
            f"{kind} {each['metadata'].get('namespace', '')}/{each['metadata']['name']}": each
            for kind in _MADE
            for each in self.kubernetes.list(kind)
            if (kind, each["metadata"].get("namespace")) != ("pods", NAMESPACE)
        }

    def volumes(self) -> set[str]:
        """The volumes and snapshots of both systems."""
        return {volume for system in (EAST, WEST) for volume in self.cluster.array.volumes(system=system)}


def processes(role: str, argument: str = "") -> list[int]:
    """The processes of ``csi-powerflex role`` in the cluster, or those of them with an argument.

    This process namespace has no others.
    """
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_text().split("\0")
                is_role = len(words) > 2 and words[1].endswith("/csi-powerflex") and words[2] == role
                if is_role and (not argument or argument in words):
                    found.append(int(entry.name))
    return found


def mover_process(argument: str) -> int:
    """Wait for the process of a mover with an argument; returns its number."""
    found: list[int] = []

    def runs() -> bool:
        found[:] = processes("mover", argument)
        return bool(found)

    await_true(runs, what=f"a mover with {argument}", every=0.02)
    return found[0]


class Shop(Space):
    """A namespace with claims that have data, and with objects that the operator leads."""

    def __init__(self, operated: Operated, name: str) -> None:
        super().__init__(operated.kubernetes, name)
        self.operated = operated

    def close(self) -> None:
        """As ``Space.close``; the objects of the operator first. Each must end."""
        for kind in _OWN:
            for name in self.names(kind):
                self.kubernetes.delete(kind, name, self.name)
        self.until_none_is_led()
        super().close()

    def names(self, kind: str) -> list[str]:
        """The names of the objects of a kind in the namespace."""
        return [each["metadata"]["name"] for each in self.kubernetes.list(kind, self.name)]

    # --- claims ------------------------------------------------------------------------------------------

    def claims(self, *names: str) -> None:
        """Create claims of 1 GiB. One command for all takes as long as for one."""
        self.kubernetes.apply(*(self._claim(name, claim_spec(size=1)) for name in names))

    def filled(self, claim: str, kind: str, name: str, *, block: bool = False) -> str:
        """Create a claim of 1 GiB that an object of the operator fills; returns its name."""
        source = {"apiGroup": "powerflex.dev", "kind": kind, "name": name}
        spec = claim_spec(size=1, storage_class="powerflex-now", block=block) | {"dataSourceRef": source}
        self.kubernetes.create("persistentvolumeclaims", self._claim(claim, spec), self.name)
        return claim

    def _claim(self, name: str, spec: Object) -> Object:
        metadata = {"name": name, "namespace": self.name}
        return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}

    def remove_claims(self, *claims: str) -> None:
        """Delete claims and wait until they are deleted."""
        for claim in claims:
            self.kubernetes.delete("persistentvolumeclaims", claim, self.name)
        self.kubernetes.until_deleted("persistentvolumeclaims", claims, self.name)

    def snapshots(self, snapshots: dict[str, str]) -> None:
        """Take snapshots of claims, by the name of the snapshot, and wait until they are ready to use."""
        for name, claim in snapshots.items():
            body = {
                "apiVersion": "snapshot.storage.k8s.io/v1",
                "kind": "VolumeSnapshot",
                "metadata": {"name": name, "namespace": self.name},
                "spec": {"source": {"persistentVolumeClaimName": claim}},
            }
            self.kubernetes.create("volumesnapshots", body, self.name)
        for name in snapshots:
            self.until_snapshot(name)

    # --- data ----------------------------------------------------------------------------------------

    def fill(self, *claims: str, keep: bool = False, mebibytes: int = MEBIBYTES) -> None:
        """Write new data to claims. With ``keep`` the pod stays that uses them."""
        self._open("writer", claims)
        self.run(
            "writer",
            f"for claim in /claims/*; do head -c {mebibytes << 20} /dev/urandom > $claim/file; "
            "(cd $claim; sha256sum file > sum); done; sync",
        )
        if not keep:
            self.shut("writer", *claims)

    def sums(self, *claims: str) -> dict[str, str]:
        """The checksum of the data of each claim, which must be those that were written."""
        self._open("reader", claims)
        told = self.run(
            "reader", "for claim in /claims/*; do (cd $claim; sha256sum -c sum >&2; cat sum); done"
        )
        self.shut("reader", *claims)
        return dict(zip(sorted(claims), (line.split()[0] for line in told.splitlines()), strict=True))

    def _open(self, pod: str, claims: tuple[str, ...]) -> None:
        self.pod(pod, {f"/claims/{claim}": claim for claim in claims}, node="worker1")

    def shut(self, pod: str, *claims: str) -> None:
        """Remove a pod, and wait until its claims are not attached any more."""
        self.remove_pod(pod)
        names = {self.volume(claim)["metadata"]["name"] for claim in claims}

        def detached() -> bool:
            attached = self.kubernetes.list("volumeattachments")
            return names.isdisjoint(each["spec"]["source"]["persistentVolumeName"] for each in attached)

        await_true(detached, what=f"no VolumeAttachment of {names} being left")

    def reverted(self, claim: str, snapshot: str) -> str:
        """Create a VolumeRevert with the name of its claim; returns the name."""
        return self.lead("VolumeRevert", claim, claim=claim, snapshot=snapshot)

    def exported(self, name: str, source: str, **more: object) -> str:
        """Create a VolumeExport to a file of its name on the claim ``images``; returns the name."""
        target = {"file": {"claim": "images", "name": name}}
        return self.lead("VolumeExport", name, claim=source, target=target, **more)

    def moved(self, claim: str) -> str:
        """Create a VolumeMove with the name of its claim, which is approved; returns the name."""
        return self.lead("VolumeMove", claim, claim=claim, storageClassName="powerflex-west", approved=True)

    def copied(self, claim: str, source: str) -> str:
        """Create a VolumeCopy of ``source``, and ``claim`` that gets it; all have one name. Returns it."""
        self.lead("VolumeCopy", claim, claim=source)
        return self.filled(claim, "VolumeCopy", claim)

    def imported(self, claim: str, source: str) -> str:
        """Create a VolumeImage of the file of a claim, and a block claim with a clone; returns the name."""
        image = {"source": {"claim": {"name": source, "file": "file"}}, "format": "raw", "size": "1Gi"}
        self.lead("VolumeImage", claim, **image)
        return self.filled(claim, "VolumeImage", claim, block=True)

    def sum_on_device(self, claim: str, size: int) -> str:
        """The checksum of the first bytes of a block claim."""
        self.pod("device-reader", {"/dev/disk": claim}, node="worker1", block=True)
        told = self.run("device-reader", f"head -c {size} /dev/disk | sha256sum")
        self.shut("device-reader", claim)
        return told.split()[0]

    # --- objects of the operator -----------------------------------------------------------------------

    def lead(self, kind: str, name: str, **spec: object) -> str:
        """Create an object that the operator leads; returns its name."""
        body = {
            "apiVersion": "powerflex.dev/v1alpha1",
            "kind": kind,
            "metadata": {"name": name, "namespace": self.name},
            "spec": spec,
        }
        self.kubernetes.create(_OF_KIND[kind], body, self.name)
        return name

    def delete(self, kind: str, name: str) -> None:
        """Request the deletion of an object."""
        self.kubernetes.delete(_OF_KIND[kind], name, self.name)

    def until_none_is_led(self) -> None:
        """Wait until no object of the operator exists any more."""
        for kind in _OWN:
            self.kubernetes.until_deleted(kind, self.names(kind), self.name, seconds=60)

    def change(self, kind: str, name: str, **spec: object) -> None:
        """Change fields of its specification."""
        self.kubernetes.patch(_OF_KIND[kind], name, {"spec": spec}, self.name)

    def until(self, kind: str, name: str, *phases: str, seconds: float = _SECONDS) -> Object:
        """Wait until an object is in one of the phases; returns its status."""
        found = self.kubernetes.until(
            _OF_KIND[kind],
            name,
            self.name,
            lambda each: each.get("status", {}).get("phase") in phases,
            what=" or ".join(phases),
            seconds=seconds,
        )
        status: Object = found["status"]
        return status

    def until_ended(self, kind: str, name: str, *, seconds: float = _SECONDS) -> Object:
        """Wait for its success; returns its status. Its finalizer is removed."""
        status = self.until(kind, name, "Succeeded", "Failed", seconds=seconds)
        assert status["phase"] == "Succeeded", status
        self.kubernetes.until(
            _OF_KIND[kind],
            name,
            self.name,
            lambda each: FINALIZER not in each["metadata"].get("finalizers", ()),
            what="without a finalizer",
        )
        return status


def phase_of(found: Object) -> str:
    """The phase of an object; of one that fills claims, the stage of what it does first, or Populated."""
    status = found.get("status", {})
    if status.get("populated"):
        return "Populated"
    if copies := status.get("copies"):
        return str(copies[0].get("stage", "Importing"))
    if found["kind"] == "VolumeCopy" and (claims := status.get("claims")):
        return str(claims[0].get("stage", "Waiting"))
    return str(status.get("phase", ""))


@contextlib.contextmanager
def watching(shop: Shop, kinds: Iterable[str], seen: Callable[[str, str, str], bool]) -> Iterator[None]:
    """Call ``seen`` with kind, name and phase of each object of a namespace, at each change of the object.

    The calls of a kind are one after the other. The block ends when ``seen`` has returned True for each kind.
    """

    def watch(kind: str) -> None:
        while True:
            # The API server may be restarted meanwhile.
            with contextlib.suppress(requests.RequestException):
                for each in shop.kubernetes.watch(_OF_KIND[kind], shop.name):
                    if seen(kind, each["metadata"]["name"], phase_of(each)):
                        return
            time.sleep(0.05)

    with ThreadPoolExecutor() as executor:
        watches = [executor.submit(watch, kind) for kind in kinds]
        yield
    for each in watches:
        each.result()


def examples(page: str, space: Space) -> list[Object]:
    """The examples of a page of docs, in the namespace of a scenario."""
    text = (built.ROOT / "docs" / page).read_text()
    blocks = re.findall(r"^```yaml\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    found = [yaml.safe_load(block) for block in blocks]
    for each in found:
        each["metadata"]["namespace"] = space.name
    return found


@contextlib.contextmanager
def nothing_left(operated: Operated) -> Iterator[None]:
    """After the block there must be what there was before it, in the cluster and on the arrays."""
    before: set[str] = set()
    left: dict[str, object] = {}
    missing: set[str] = set()

    def is_settled() -> bool:
        # Kinds are listed one after the other. Two equal listings had no change between them.
        earlier = set(before)
        made = operated.made()
        before.clear()
        before.update(made, operated.volumes())
        return before == earlier and not _being_deleted(made)

    def is_as_before() -> bool:
        made = operated.made()
        volumes = operated.volumes()
        left.clear()
        left.update((name, made.get(name)) for name in (made.keys() | volumes) - before)
        missing.clear()
        missing.update(before - made.keys() - volumes)
        return not left and not missing

    # A PersistentVolume is deleted later than its claim. The scenario before this one did not wait for that.
    await_true(is_settled, what="no object being deleted", every=0.3)
    yield
    try:
        await_true(is_as_before, what="the cluster being as before", seconds=60, every=0.3)
    except NotReady as error:
        raise AssertionError(f"left: {json.dumps(left, indent=1)}\nmissing: {sorted(missing)}") from error


def _being_deleted(made: dict[str, Object]) -> list[str]:
    """The names of those objects that Kubernetes or a sidecar will remove without a further request."""
    claims = {
        each["metadata"]["uid"] for name, each in made.items() if name.startswith("persistentvolumeclaims ")
    }

    def ends(each: Object) -> bool:
        spec = each.get("spec", {})
        is_left_to_delete = (
            spec.get("persistentVolumeReclaimPolicy") == "Delete"
            and spec.get("claimRef", {}).get("uid") not in claims
        )
        return "deletionTimestamp" in each["metadata"] or is_left_to_delete

    return [name for name, each in made.items() if ends(each)]
