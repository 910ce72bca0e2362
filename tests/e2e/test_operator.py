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
from tests.e2e.operated import MEBIBYTES, Operated, Shop, mover_process, nothing_left, processes, watching
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


_ENDED = {
    "VolumeRevert": "Succeeded",
    "VolumeExport": "Succeeded",
    "VolumeMove": "Moved",
    "VolumeCopy": "Populated",
    "VolumeImage": "Populated",
}


_SURELY_SEEN = {
    "VolumeRevert": ("Pending", "Holding", "Securing", "Reverting", "Releasing"),
    "VolumeExport": ("Pending", "Securing", "Exporting", "Cleaning"),
    "VolumeMove": ("Planned", "Holding", "Securing", "Copying", "Closing", "Swapping"),
    "VolumeCopy": ("Securing", "Copying", "Closing", "Binding"),
    "VolumeImage": ("Importing", "Caching", "Cleaning", "Ready"),
}


def test_objects_succeed_although_the_operator_is_killed_in_each_phase_and_the_api_server_once(
    operated: Operated, shop: Shop
) -> None:
    claims = ("moved", "reverted", "source")
    shop.claims(*claims, "images")
    shop.fill(*claims)
    before = shop.sums(*claims)
    shop.snapshots({"before": "reverted"})
    shop.fill("reverted")
    seen: dict[str, set[str]] = {kind: set() for kind in _ENDED}
    one_at_a_time = threading.Lock()

    def kill_in(kind: str, _name: str, phase: str) -> bool:
        if phase and phase not in seen[kind]:
            seen[kind].add(phase)
            with one_at_a_time:
                operated.await_running()
                operated.kill()
                if (kind, phase) == ("VolumeMove", "Copying"):
                    operated.cluster.plane.restart_api_server()
        return phase == _ENDED[kind]

    with watching(shop, _ENDED, kill_in):
        shop.reverted("reverted", "before")
        shop.exported("image", "source")
        shop.moved("moved")
        shop.copied("copy", "source")
        shop.imported("clone", "source")
    missing = {kind: set(phases) - seen[kind] for kind, phases in _SURELY_SEEN.items()}
    assert not any(missing.values()), missing
    shop.until_ended("VolumeRevert", "reverted")
    shop.until_ended("VolumeExport", "image")
    assert shop.sums(*claims, "copy") == before | {"copy": before["source"]}
    assert shop.sum_on_device("clone", MEBIBYTES << 20) == before["source"]
    shop.change("VolumeMove", "moved", confirmed=True)
    shop.until_ended("VolumeMove", "moved")


def test_a_move_whose_node_is_lost_goes_on_elsewhere_and_the_lost_mover_writes_nothing(
    operated: Operated, shop: Shop
) -> None:
    kubernetes, cluster = operated.kubernetes, operated.cluster
    lost = cluster.machines["worker2"]
    shop.claims("data")
    shop.fill("data", mebibytes=50)
    before = shop.sums("data")
    kubernetes.kubectl("cordon", "worker1")
    try:
        move = shop.moved("data")
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
        shop.until("VolumeMove", move, "Moved", seconds=240)
        os.kill(mover, signal.SIGCONT)
        await_true(lambda: mover not in processes("mover"), what="the lost mover ended by an error")
        assert shop.sums("data") == before
    finally:
        lost.recover()
        cluster.await_ready("worker2", seconds=240)
        kubernetes.kubectl("taint", "nodes", "worker2", "node.kubernetes.io/out-of-service-")
    shop.change("VolumeMove", move, confirmed=True)
    shop.until_ended("VolumeMove", move)
