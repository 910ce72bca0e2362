"""Measures the time from a claim and its pod until the pod runs; ``make bench-e2e`` runs it.

It compares with a driver that only creates a folder (toolchain/sidecars/folders), in the same cluster and
with the same sidecars. The difference is the time of csi-powerflex and the array. To compare with another
driver, use ``make bench-e2e ARGS="--compare-with FOLDER"``. The folder has manifests.yaml with the driver,
its StorageClass and all that it needs, and the archives of its images, ``*.tar``.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.e2e import built
from tests.e2e.cluster import NAMESPACE, Cluster
from tests.e2e.kubernetes import Object
from tests.e2e.processes import await_true
from tests.e2e.space import Space, claim_spec, is_running, pod_spec

_POWERFLEX = "powerflex"
_ROUNDS = 20
_BURST = 100


@pytest.fixture(scope="module")
def other_class(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    """The StorageClass of the driver to compare with. The driver is installed."""
    folder: Path | None = request.config.getoption("--compare-with")
    objects = _folders_objects() if folder is None else _read(folder / "manifests.yaml")
    for archive in () if folder is None else sorted(folder.glob("*.tar")):
        for machine in cluster.machines.values():
            machine.import_image(archive)
    (storage_class,) = (each for each in objects if each["kind"] == "StorageClass")
    cluster.kubernetes.apply(*objects)
    cluster.await_driver(storage_class["provisioner"])
    yield storage_class["metadata"]["name"]
    cluster.kubernetes.delete_all(*objects)


def _read(manifests: Path) -> list[Object]:
    return [each for each in yaml.safe_load_all(manifests.read_text()) if each]


def test_claim_to_running_pod(space: Space, other_class: str) -> None:
    """One claim and one pod at a time, alternately with the two drivers."""
    seconds: dict[str, list[float]] = {_POWERFLEX: [], other_class: []}
    for number in range(_ROUNDS):
        for storage_class, taken in seconds.items():
            name = f"{storage_class}-{number}"
            began = time.monotonic()
            _create(space, name, storage_class)
            _until_all_run(space, {name})
            taken.append(time.monotonic() - began)
            space.remove_pod(name)
    print()  # noqa: T201 - it prints what was measured
    for storage_class, taken in seconds.items():
        print(  # noqa: T201
            f"claim to running pod, {storage_class}, one at a time, {_ROUNDS} times: "
            f"median {statistics.median(taken):.2f} s, worst {max(taken):.2f} s"
        )


@pytest.mark.parametrize("compared", ["powerflex", "other"])
@pytest.mark.timeout(1200)
def test_burst(space: Space, other_class: str, compared: str) -> None:
    """Many claims, each with a pod, at the same time on two workers."""
    storage_class = _POWERFLEX if compared == "powerflex" else other_class
    names = {f"p{number}" for number in range(_BURST)}
    began = time.monotonic()
    for name in sorted(names):
        _create(space, name, storage_class)
    asked = time.monotonic() - began
    _until_all_run(space, names)
    all_run = time.monotonic() - began
    began = time.monotonic()
    for name in names:
        space.kubernetes.delete("pods", name, space.name)
        space.kubernetes.delete("persistentvolumeclaims", name, space.name)
    space.kubernetes.until_deleted("persistentvolumeclaims", names, space.name, seconds=600)
    await_true(
        lambda: not any(each["spec"]["storageClassName"] == storage_class for each in _volumes(space)),
        what="every volume deleted",
        seconds=600,
        every=0.5,
    )
    print(  # noqa: T201
        f"\nburst of {_BURST} claims with pods, {storage_class}: asked for in {asked:.1f} s, "
        f"all pods running after {all_run:.1f} s, all deleted {time.monotonic() - began:.1f} s after deletion"
    )


def _volumes(space: Space) -> list[Object]:
    return [
        each
        for each in space.kubernetes.list("persistentvolumes")
        if each["spec"]["claimRef"]["namespace"] == space.name
    ]


def _create(space: Space, name: str, storage_class: str) -> None:
    metadata = {"name": name, "namespace": space.name}
    claim = {"metadata": metadata, "spec": claim_spec(storage_class=storage_class)}
    space.kubernetes.create("persistentvolumeclaims", claim, space.name)
    space.kubernetes.create("pods", {"metadata": metadata, "spec": pod_spec({"/data": name})}, space.name)


def _until_all_run(space: Space, names: set[str]) -> None:
    def so() -> bool:
        return names <= {
            pod["metadata"]["name"] for pod in space.kubernetes.list("pods", space.name) if is_running(pod)
        }

    await_true(so, what=f"{len(names)} pods running", seconds=900, every=0.05 if len(names) == 1 else 0.5)


def _folders_objects() -> list[Object]:
    """Class, CSIDriver, a Deployment with provisioner and attacher, a DaemonSet with the registrar."""
    plugin = "/var/lib/kubelet/plugins/folders.csi.test"
    socket = {"name": "socket", "mountPath": "/csi"}
    elects = ["--csi-address=/csi/csi.sock", "--kube-api-qps=50", "--kube-api-burst=100"]

    def sidecar(name: str) -> Object:
        image = f"registry.k8s.io/sig-storage/{name}:{built.version_of(name)}"
        workers = "--worker-threads=50"
        return {"name": name, "image": image, "args": [*elects, workers], "volumeMounts": [socket]}

    def driver(*arguments: str, **more: object) -> Object:
        return {
            "name": "driver",
            "image": built.FOLDERS_IMAGE,
            "args": list(arguments),
            "volumeMounts": [socket],
        } | more

    controller = {
        "serviceAccountName": "folders",
        "containers": [driver(), sidecar("csi-provisioner"), sidecar("csi-attacher")],
        "volumes": [{"name": "socket", "emptyDir": {}}],
    }
    kubelet = {"name": "kubelet", "mountPath": "/var/lib/kubelet", "mountPropagation": "Bidirectional"}
    registrar = built.STAND_INS["csi-node-driver-registrar"]
    node = {
        "containers": [
            driver(
                "--node=$(NODE)",
                env=[{"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
                securityContext={"privileged": True},
                volumeMounts=[socket, kubelet],
            ),
            {
                "name": registrar,
                "image": built.reference_of("csi-node-driver-registrar"),
                "args": [f"--kubelet-registration-path={plugin}/csi.sock"],
                "volumeMounts": [socket, {"name": "registration", "mountPath": "/registration"}],
            },
        ],
        "volumes": [
            {"name": "socket", "hostPath": {"path": plugin, "type": "DirectoryOrCreate"}},
            {"name": "registration", "hostPath": {"path": "/var/lib/kubelet/plugins_registry"}},
            {"name": "kubelet", "hostPath": {"path": "/var/lib/kubelet"}},
        ],
    }
    subject = {"kind": "ServiceAccount", "name": "folders", "namespace": NAMESPACE}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    return [
        _object("storage.k8s.io/v1", "CSIDriver", "folders.csi.test", None, spec={"attachRequired": True}),
        _object(
            "storage.k8s.io/v1",
            "StorageClass",
            "folders",
            None,
            provisioner="folders.csi.test",
            volumeBindingMode="WaitForFirstConsumer",
        ),
        _object("v1", "ServiceAccount", "folders"),
        _object(
            "rbac.authorization.k8s.io/v1",
            "ClusterRoleBinding",
            "folders",
            None,
            roleRef=role,
            subjects=[subject],
        ),
        _object("apps/v1", "Deployment", "folders", spec=_workload("controller", controller)),
        _object("apps/v1", "DaemonSet", "folders", spec=_workload("node", node)),
    ]


def _object(version: str, kind: str, name: str, namespace: str | None = NAMESPACE, **more: object) -> Object:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **more}


def _workload(part: str, spec: Object) -> Object:
    labels = {"app": f"folders-{part}"}
    return {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": spec}}
