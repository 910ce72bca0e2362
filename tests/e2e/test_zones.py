"""Two zones, each with one worker: on one array with a pool in each zone, and on two arrays."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from kubernetes.utils import parse_quantity

from tests.e2e.cluster import DRIVER, NAMESPACE, Cluster
from tests.e2e.kubernetes import Object
from tests.e2e.processes import await_true
from tests.e2e.space import Space

LABEL = "topology.kubernetes.io/zone"
KEY = f"{DRIVER}/zone"
WORKERS = {"worker1": "a", "worker2": "b"}
_SECRET = "powerflex-zones"


@dataclass(frozen=True, slots=True)
class Layout:
    """Where each zone's volumes are: number of the system and pool. ``source`` is node.zone.source."""

    places: dict[str, tuple[int, str, str]]
    source: str

    def files(self, cluster: Cluster) -> dict[str, str]:
        """The files of the Secret: each system with its zones."""
        files = cluster.systems()
        (first,) = json.loads(files["systems.yaml"])["systems"]
        common = {key: first[key] for key in ("username", "passwordFile", "caFile")}
        systems = []
        for number, facts in enumerate(cluster.array.facts["systems"]):
            zones = [
                {"name": zone, "protectionDomain": domain, "storagePools": [pool]}
                for zone, (system, domain, pool) in self.places.items()
                if system == number
            ]
            if zones:
                systems.append(
                    {"name": f"array{number}", "endpoints": [facts["url"]], "zones": zones, **common}
                )
        return files | {"systems.yaml": json.dumps({"systems": systems})}


# "auto" is the pod's own label in this Kubernetes, so the other one is chosen by its name.
LAYOUTS = {
    "one array": Layout({"a": (0, "pd1", "sp1"), "b": (0, "pd2", "sp2")}, "auto"),
    "two arrays": Layout({"a": (0, "pd1", "sp1"), "b": (1, "pd1", "sp1")}, "node"),
}


@pytest.fixture(scope="module", params=LAYOUTS)
def layout(request: pytest.FixtureRequest, cluster: Cluster) -> Iterator[Layout]:
    """The driver with zones. Afterwards it is installed as before, and the nodes have no zone."""
    layout = LAYOUTS[request.param]
    kubernetes = cluster.kubernetes
    for worker, zone in WORKERS.items():
        kubernetes.kubectl("label", "--overwrite", "nodes", worker, f"{LABEL}={zone}")
    cluster.make_secret(_SECRET, layout.files(cluster))
    try:
        cluster.install(
            "--set", "node.zone.enabled=true",
            "--set", f"node.zone.source={layout.source}",
            "--set", f"existingSecret={_SECRET}",
        )  # fmt: skip
        for worker in WORKERS:
            _until_registered(cluster, worker, with_zone=True)
        yield layout
    finally:
        cluster.install()
        for worker in WORKERS:
            _until_registered(cluster, worker, with_zone=False)
            # The kubelet adds the driver's label and never removes it.
            kubernetes.kubectl("label", "nodes", worker, f"{LABEL}-", f"{KEY}-")


def _until_registered(cluster: Cluster, worker: str, *, with_zone: bool) -> None:
    def so(node: Object) -> bool:
        keys = [
            key
            for each in node["spec"].get("drivers") or ()
            if each["name"] == DRIVER
            for key in each.get("topologyKeys") or ()
        ]
        return bool(keys) and (KEY in keys) is with_zone

    what = f"registered {'with' if with_zone else 'without'} a zone"
    cluster.kubernetes.until("csinodes", worker, None, so, what=what)


def test_a_volume_is_in_the_zone_of_its_pod_and_the_pod_stays_there(
    cluster: Cluster, space: Space, layout: Layout
) -> None:
    for worker, zone in WORKERS.items():
        node = cluster.kubernetes.get("nodes", worker)
        assert node["metadata"]["labels"][KEY] == zone
        space.claim(zone)
        space.pod(f"first-{zone}", {"/data": zone}, node=worker)
        space.run(f"first-{zone}", f"echo {zone} > /data/file; sync")
        volume = space.volume(zone)
        system, _, pool = layout.places[zone]
        assert cluster.array.pool_of(volume["spec"]["csi"]["volumeHandle"]) == (system, pool)
        (term,) = volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"]
        found = {each["key"]: each["values"] for each in term["matchExpressions"]}
        assert found[KEY] == [zone]
        space.remove_pod(f"first-{zone}")
        # Nothing but the volume says where this one has to run.
        space.pod(f"second-{zone}", {"/data": zone})
        assert space.until_running(f"second-{zone}")["spec"]["nodeName"] == worker
        assert space.run(f"second-{zone}", "cat /data/file") == zone
        space.remove_pod(f"second-{zone}")
    space.close()
    cluster.array.await_volumes(set(), system=1)


def test_a_pod_in_the_other_zone_waits_for_a_node_that_reaches_its_volume(
    space: Space, layout: Layout
) -> None:
    space.claim("data")
    space.pod("user", {"/data": "data"}, node="worker1")
    space.remove_pod("user")
    space.pod("misplaced", {"/data": "data"}, node="worker2", wait=False)
    space.until_event("misplaced", "FailedScheduling", saying="PersistentVolume's node affinity")


def test_each_zone_has_a_capacity_object_with_the_free_capacity_of_its_pool(
    cluster: Cluster, layout: Layout
) -> None:
    def capacities() -> dict[str | None, str]:
        return {
            each["nodeTopology"]["matchLabels"].get(KEY): each.get("capacity", "0")
            for each in cluster.kubernetes.list("csistoragecapacities", NAMESPACE)
            if each["storageClassName"] == "powerflex" and each.get("nodeTopology", {}).get("matchLabels")
        }

    await_true(
        lambda: capacities().keys() == {"a", "b"} and "0" not in capacities().values(),
        what=f"a capacity object for each zone, and no other: {capacities()}",
        seconds=180,
    )
    found = {
        zone: float(parse_quantity(capacity))  # type: ignore[no-untyped-call]  # it has no types
        for zone, capacity in capacities().items()
    }
    # The pool sp2 is half as large as the others. Volumes of earlier scenarios may take a little of each.
    expected = 0.5 if layout.places["b"][2] == "sp2" else 1
    assert found["b"] / found["a"] == pytest.approx(expected, rel=0.01)
