"""A namespace for one scenario, and the objects that scenarios use."""

from __future__ import annotations

import time
from typing import Any

from tests.e2e.built import BUSYBOX_IMAGE
from tests.e2e.kubernetes import Kubernetes, NotSo, Object

GIB = 8
"""The granularity of PowerFlex volumes in GiB."""


class Space:
    """The namespace ``name``."""

    def __init__(self, kubernetes: Kubernetes, name: str) -> None:
        self.kubernetes = kubernetes
        self.name = name

    def open(self) -> None:
        """Create it and wait until its pods may run."""
        self.kubernetes.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.name}})
        self.kubernetes.until("serviceaccounts", "default", self.name, lambda _: True, what="there")

    def close(self) -> None:
        """Delete all its objects and wait until they are deleted. Do not wait for the namespace itself."""
        for kind in (
            "deployments",
            "statefulsets",
            "pods",
            "volumegroupsnapshots",
            "volumesnapshots",
            "persistentvolumeclaims",
        ):
            names = [each["metadata"]["name"] for each in self.kubernetes.list(kind, self.name)]
            for name in names:
                self.kubernetes.delete(kind, name, self.name)
            self.kubernetes.until_deleted(kind, names, self.name)
        self.kubernetes.delete("namespaces", self.name)

    # --- claims ------------------------------------------------------------------------------------

    def claim(
        self,
        name: str,
        *,
        size: int = GIB,
        storage_class: str = "powerflex",
        mode: str = "ReadWriteOnce",
        block: bool = False,
        source: Object | None = None,
        attributes: str | None = None,
        labels: dict[str, str] | None = None,
        **more: Any,
    ) -> str:
        """Create a PersistentVolumeClaim of ``size`` GiB; returns its name."""
        self.kubernetes.apply(
            {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {"name": name, "namespace": self.name, "labels": labels or {}},
                "spec": claim_spec(
                    size=size,
                    storage_class=storage_class,
                    mode=mode,
                    block=block,
                    source=source,
                    attributes=attributes,
                )
                | more,
            }
        )
        return name

    def volume(self, claim: str, *, seconds: float = 120) -> Object:
        """The PersistentVolume of a claim. Waits until it is bound."""
        bound = self.kubernetes.until(
            "persistentvolumeclaims",
            claim,
            self.name,
            lambda found: found.get("status", {}).get("phase") == "Bound",
            what="bound",
            seconds=seconds,
        )
        return self.kubernetes.get("persistentvolumes", bound["spec"]["volumeName"])

    def array_id(self, claim: str) -> str:
        """The id on the array of a claim's volume."""
        handle: str = self.volume(claim)["spec"]["csi"]["volumeHandle"]
        return handle.rpartition("-")[2]

    def until_claim(self, name: str, true: Any, *, what: str, seconds: float = 120) -> Object:
        """Wait until ``true`` returns true for a claim."""
        return self.kubernetes.until(
            "persistentvolumeclaims", name, self.name, true, what=what, seconds=seconds
        )

    # --- pods --------------------------------------------------------------------------------------

    def pod(
        self,
        name: str,
        claims: dict[str, str],
        *,
        node: str | None = None,
        block: bool = False,
        read_only: bool = False,
        wait: bool = True,
        **more: Any,
    ) -> str:
        """Start a pod with ``claims`` (names by path) that does nothing; returns its name."""
        self.kubernetes.apply(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name, "namespace": self.name},
                "spec": pod_spec(claims, node=node, block=block, read_only=read_only) | more,
            }
        )
        if wait:
            self.until_running(name)
        return name

    def until_running(self, name: str, *, seconds: float = 180) -> Object:
        """Wait until a pod runs; returns the pod."""
        return self.kubernetes.until("pods", name, self.name, is_running, what="running", seconds=seconds)

    def until_event(self, name: str, reason: str, *, saying: str = "", seconds: float = 120) -> None:
        """Wait until the object has an event with that reason."""
        deadline = time.monotonic() + seconds
        while not any(
            event["involvedObject"].get("name") == name
            and event.get("reason") == reason
            and saying in (event.get("message") or "")
            for event in self.kubernetes.list("events", self.name)
        ):
            if time.monotonic() > deadline:
                raise NotSo(f"no event {reason} told of {name}:\n{self.kubernetes.events_of(self.name)}")
            time.sleep(0.2)

    def run(self, pod: str, script: str, *, seconds: float = 120) -> str:
        """Run a script in a pod; returns its output."""
        return self.kubernetes.run_in(self.name, pod, script, seconds=seconds)

    def remove_pod(self, name: str) -> None:
        """Delete a pod and wait until it is deleted."""
        self.kubernetes.delete("pods", name, self.name)
        self.kubernetes.until_deleted("pods", [name], self.name)

    # --- snapshots ---------------------------------------------------------------------------------

    def snapshot(self, name: str, claim: str) -> str:
        """Take a VolumeSnapshot of a claim and wait until it is ready to use; returns its name."""
        self.kubernetes.apply(
            {
                "apiVersion": "snapshot.storage.k8s.io/v1",
                "kind": "VolumeSnapshot",
                "metadata": {"name": name, "namespace": self.name},
                "spec": {
                    "volumeSnapshotClassName": "powerflex",
                    "source": {"persistentVolumeClaimName": claim},
                },
            }
        )
        self.until_snapshot(name)
        return name

    def group_snapshot(self, name: str, labels: dict[str, str]) -> str:
        """Take a VolumeGroupSnapshot of the claims with these labels; returns its name. Does not wait."""
        self.kubernetes.apply(
            {
                "apiVersion": "groupsnapshot.storage.k8s.io/v1",
                "kind": "VolumeGroupSnapshot",
                "metadata": {"name": name, "namespace": self.name},
                "spec": {
                    "volumeGroupSnapshotClassName": "powerflex",
                    "source": {"selector": {"matchLabels": labels}},
                },
            }
        )
        return name

    def until_snapshot(self, name: str) -> Object:
        """Wait until a snapshot can be used."""
        return self._until_ready_to_use("volumesnapshots", name)

    def until_group_snapshot(self, name: str) -> Object:
        """Wait until a group snapshot can be used."""
        return self._until_ready_to_use("volumegroupsnapshots", name, seconds=180)

    def _until_ready_to_use(self, kind: str, name: str, *, seconds: float = 120) -> Object:
        return self.kubernetes.until(
            kind,
            name,
            self.name,
            lambda found: found.get("status", {}).get("readyToUse") is True,
            what="ready to use",
            seconds=seconds,
        )


def of_snapshot(name: str) -> Object:
    """The data source of a claim that restores a snapshot."""
    return {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": name}


def of_claim(name: str) -> Object:
    """The data source of a claim that copies another."""
    return {"kind": "PersistentVolumeClaim", "name": name}


def claim_spec(
    *,
    size: int = GIB,
    storage_class: str = "powerflex",
    mode: str = "ReadWriteOnce",
    block: bool = False,
    source: Object | None = None,
    attributes: str | None = None,
) -> Object:
    """The spec of a PersistentVolumeClaim."""
    return {
        "accessModes": [mode],
        "storageClassName": storage_class,
        "volumeMode": "Block" if block else "Filesystem",
        "resources": {"requests": {"storage": f"{size}Gi"}},
        **({"dataSource": source} if source else {}),
        **({"volumeAttributesClassName": attributes} if attributes else {}),
    }


def pod_spec(
    claims: dict[str, str], *, node: str | None = None, block: bool = False, read_only: bool = False
) -> Object:
    """The spec of a pod with ``claims`` at their paths, as folders or devices, that does nothing."""
    names = {path: f"v{number}" for number, path in enumerate(claims)}
    places = (
        {"volumeDevices": [{"name": name, "devicePath": path} for path, name in names.items()]}
        if block
        else {
            "volumeMounts": [
                {"name": name, "mountPath": path, "readOnly": read_only} for path, name in names.items()
            ]
        }
    )
    return {
        "terminationGracePeriodSeconds": 0,
        **({"nodeSelector": {"kubernetes.io/hostname": node}} if node else {}),
        "containers": [
            {
                "name": "main",
                "image": BUSYBOX_IMAGE,
                "command": ["sleep", "1000000000"],
                **places,
            }
        ],
        "volumes": [
            {"name": names[path], "persistentVolumeClaim": {"claimName": claim}}
            for path, claim in claims.items()
        ],
    }


def is_running(pod: Object) -> bool:
    """Whether every container of a pod is ready."""
    status = pod.get("status", {})
    return status.get("phase") == "Running" and all(
        each["ready"] for each in status.get("containerStatuses", ())
    )
