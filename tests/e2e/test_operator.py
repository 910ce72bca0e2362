"""The operator and its data movers: the examples of the pages, interruptions, and deletions in each phase."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.image_server import serving
from tests.e2e.machine import CONTROL_ADDRESS
from tests.e2e.operated import Operated, Shop, mover_process, nothing_left, processes, watching
from tests.e2e.operator_scenarios import SCENARIOS, Scenario
from tests.e2e.processes import await_true


@pytest.fixture(scope="module")
def operated(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operated]:
    """The cluster with the operator."""
    operated = Operated(cluster)
    operated.install(tmp_path_factory.mktemp("values"))
    yield operated
    operated.remove()


@pytest.fixture
def shop(operated: Operated, request: pytest.FixtureRequest) -> Iterator[Shop]:
    """A namespace. Afterwards there must be what there was before, in the cluster and on the arrays."""
    with nothing_left(operated):
        shop = Shop(operated, f"shop-{abs(hash(request.node.name)) % 10**6}")
        shop.open()
        try:
            yield shop
        finally:
            shop.close()


# --- scenarios that run at the same time --------------------------------------------------------------------


@pytest.fixture(scope="module")
def running(
    operated: Operated, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[None]]]:
    """All of them, which have begun at the same time. Afterwards nothing of them may be left."""
    pair = operated.cluster.authority.issue("uploads", addresses=[CONTROL_ADDRESS])

    def run(number: int, scenario: Scenario) -> None:
        shop = Shop(operated, f"shop-{number}")
        shop.open()
        try:
            scenario(shop, server, tmp_path_factory.mktemp(shop.name))
        finally:
            shop.close()

    with (
        nothing_left(operated),
        serving(tmp_path_factory.mktemp("uploads"), pair, "a-token") as server,
        ThreadPoolExecutor(len(SCENARIOS)) as executor,
    ):
        yield {
            name: executor.submit(run, number, scenario)
            for number, (name, scenario) in enumerate(SCENARIOS.items())
        }


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_operator_does_its_work(name: str, running: dict[str, Future[None]]) -> None:
    running[name].result(300)


# --- interruptions ---------------------------------------------------------------------------------------


def test_objects_succeed_although_the_operator_is_killed_in_each_phase_and_the_api_server_once(
    operated: Operated, shop: Shop
) -> None:
    claims = ("reverted", "exported", "moved", "copied")
    for claim in (*claims, "images"):
        shop.claim(claim, size=1)
    shop.fill(*claims)
    before = shop.sums(*claims)
    shop.snapshot("before", "reverted")
    shop.fill("reverted")
    target = {"file": {"claim": "images", "name": "image.qcow2"}}
    objects = {
        "VolumeRevert": shop.lead("VolumeRevert", "revert", claim="reverted", snapshot="before"),
        "VolumeExport": shop.lead("VolumeExport", "export", claim="exported", target=target),
        "VolumeMove": shop.lead(
            "VolumeMove", "move", claim="moved", storageClassName="powerflex-west", approved=True
        ),
        "VolumeCopy": shop.copy("copied", "copy"),
    }
    ended = {
        "VolumeRevert": "Succeeded",
        "VolumeExport": "Succeeded",
        "VolumeMove": "Moved",
        "VolumeCopy": "Populated",
    }
    seen: dict[str, set[str]] = {kind: set() for kind in objects}
    one_at_a_time = threading.Lock()

    def kill_in(kind: str, _name: str, phase: str) -> bool:
        if phase and phase not in seen[kind]:
            seen[kind].add(phase)
            with one_at_a_time:
                operated.await_running()
                operated.kill()
            if (kind, phase) == ("VolumeMove", "Copying"):
                operated.cluster.plane.restart_api_server()
        return phase == ended[kind]

    with watching(shop, objects, kill_in):
        pass
    assert seen["VolumeRevert"] >= {"Pending", "Holding", "Securing", "Reverting", "Releasing"}
    assert seen["VolumeExport"] >= {"Pending", "Securing", "Exporting", "Cleaning"}
    assert seen["VolumeMove"] >= {"Planned", "Holding", "Securing", "Copying", "Closing", "Swapping"}
    assert seen["VolumeCopy"] >= {"Securing", "Copying", "Closing", "Binding"}
    shop.until_ended("VolumeRevert", "revert")
    shop.until_ended("VolumeExport", "export")
    assert shop.sums(*claims, "copy") == before | {"copy": before["copied"]}
    shop.change("VolumeMove", "move", confirmed=True)
    shop.until_ended("VolumeMove", "move")


# Those that are missing are left within the round in which they begin.
_DELETED_IN = {
    "VolumeRevert": ("Pending", "Holding", "Securing", "Reverting", "Verifying", "Releasing"),
    "VolumeExport": ("Pending", "Securing", "Exporting", "Cleaning"),
    "VolumeMove": ("Planned", "Holding", "Securing", "Copying", "Closing", "Swapping", "Finishing", "Moved"),
    "VolumeCopy": ("Securing", "Copying", "Closing", "Binding"),
}


def test_an_object_can_be_deleted_in_each_phase_and_leaves_nothing(operated: Operated, shop: Shop) -> None:
    wanted = {
        kind: {f"{kind.lower()}-{phase.lower()}": phase for phase in phases_of}
        for kind, phases_of in _DELETED_IN.items()
    }
    claims = [name for names in wanted.values() for name in names]
    shop.claim("images", size=1)
    for claim in claims:
        shop.claim(claim, size=1)
    shop.fill(*claims)
    for claim in wanted["VolumeRevert"]:
        shop.snapshot(f"{claim}-before", claim)
    before = shop.sums(*claims)

    def delete_in(kind: str, name: str, phase: str) -> bool:
        source = name.removeprefix("copy-")
        if phase == wanted[kind].get(source):
            del wanted[kind][source]
            shop.delete(kind, name)
        return not wanted[kind]

    with watching(shop, tuple(wanted), delete_in):
        for name in tuple(wanted["VolumeRevert"]):
            shop.lead("VolumeRevert", name, claim=name, snapshot=f"{name}-before")
        for name in tuple(wanted["VolumeExport"]):
            shop.lead("VolumeExport", name, claim=name, target={"file": {"claim": "images", "name": name}})
        for name in tuple(wanted["VolumeMove"]):
            shop.lead("VolumeMove", name, claim=name, storageClassName="powerflex-west", approved=True)
        for name in tuple(wanted["VolumeCopy"]):
            shop.copy(name, f"copy-{name}")
    shop.until_none_is_led()
    # A claim that has begun to get its copy gets it. The others wait in vain.
    bound = "copy-volumecopy-binding"
    assert shop.sums(bound) == {bound: before["volumecopy-binding"]}
    shop.remove_claims(*(f"copy-volumecopy-{stage.lower()}" for stage in _DELETED_IN["VolumeCopy"]))
    assert shop.names("jobs") == shop.names("networkpolicies") == []
    assert sorted(shop.names("persistentvolumeclaims")) == sorted([*claims, "images"])
    assert shop.sums(*claims) == before
    _remove_kept(shop)


def _remove_kept(shop: Shop) -> None:
    """Remove the old volumes of moves that were deleted after the end. Their PersistentVolumes are kept."""
    for volume in shop.kubernetes.list("persistentvolumes"):
        claim, phase = volume["spec"]["claimRef"], volume["status"]["phase"]
        if claim["namespace"] == shop.name and phase == "Released":
            change = {"spec": {"persistentVolumeReclaimPolicy": "Delete"}}
            shop.kubernetes.patch("persistentvolumes", volume["metadata"]["name"], change)


def test_a_move_whose_node_is_lost_goes_on_elsewhere_and_the_lost_mover_writes_nothing(
    operated: Operated, shop: Shop
) -> None:
    kubernetes, cluster = operated.kubernetes, operated.cluster
    lost = cluster.machines["worker2"]
    shop.claim("data", size=1)
    shop.fill("data", mebibytes=50)
    before = shop.sums("data")
    kubernetes.kubectl("cordon", "worker1")
    try:
        move = shop.lead("VolumeMove", "move", claim="data", storageClassName="powerflex-west", approved=True)
        uid = kubernetes.get("volumemoves", move, shop.name)["metadata"]["uid"]
        mover = mover_process(f"--job={uid}")
        os.kill(mover, signal.SIGSTOP)
        lost.crash()
    finally:
        kubernetes.kubectl("uncordon", "worker1")
    try:
        cluster.await_ready("worker2", ready=False)
        taint = "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute"
        kubernetes.kubectl("taint", "nodes", "worker2", taint)
        shop.until("VolumeMove", move, "Moved")
        os.kill(mover, signal.SIGCONT)
        await_true(lambda: mover not in processes("mover"), what="the lost mover ended by an error")
        assert shop.sums("data") == before
    finally:
        lost.recover()
        cluster.await_ready("worker2", seconds=240)
        kubernetes.kubectl("taint", "nodes", "worker2", "node.kubernetes.io/out-of-service-")
    shop.change("VolumeMove", move, confirmed=True)
    shop.until_ended("VolumeMove", move)
