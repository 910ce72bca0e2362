"""Free capacity: the pods of a new class do not wait for it, however many classes there are."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.e2e.cluster import DRIVER, NAMESPACE, Cluster
from tests.e2e.kubernetes import Kubernetes, Object
from tests.e2e.processes import await_true
from tests.e2e.space import Space

CLASSES = 25


@pytest.fixture
def classes(kubernetes: Kubernetes) -> Iterator[list[Object]]:
    """Classes that do not exist yet, all of one pool. They are deleted afterwards."""
    objects: list[Object] = [
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": f"many-{number}"},
            "provisioner": DRIVER,
            "volumeBindingMode": "WaitForFirstConsumer",
        }
        for number in range(CLASSES)
    ]
    yield objects
    kubernetes.delete_all(*objects)


def test_a_pod_of_the_newest_of_many_classes_runs_as_soon_as_their_capacities_were_read_once(
    cluster: Cluster, kubernetes: Kubernetes, space: Space, classes: list[Object]
) -> None:
    before = len(cluster.array.requests_since(0))
    began = time.monotonic()
    kubernetes.apply(*classes)
    names = [each["metadata"]["name"] for each in classes]
    await_true(
        lambda: set(names) <= {each["storageClassName"] for each in capacities(kubernetes)},
        what="Kubernetes knowing the capacity of all new classes",
    )
    known = time.monotonic() - began
    requests = [each["route"] for each in cluster.array.requests_since(0)[before:]]
    of_pools = [route for route in requests if "StoragePool" in route]
    claim = space.claim("data", storage_class=names[-1])
    space.pod("reader", {"/data": claim})
    running = time.monotonic() - began
    print(f"{CLASSES} classes: capacities after {known:.1f} s, pod after {running:.1f} s, {of_pools}")  # noqa: T201
    # Each class is a call of GetCapacity. The pool is not read for each of them.
    assert len(of_pools) < CLASSES


def capacities(kubernetes: Kubernetes) -> list[Object]:
    """All CSIStorageCapacity objects of the driver."""
    return kubernetes.list("csistoragecapacities", NAMESPACE)
