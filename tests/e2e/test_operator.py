"""The operator and its data movers: the examples of the pages, interruptions, and deletions in each phase."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import pytest

from tests.commands import output_of
from tests.e2e.cluster import Cluster
from tests.e2e.machine import CONTROL_ADDRESS
from tests.e2e.operated import WEST, Operated, Shop, examples, nothing_left, processes, watching
from tests.e2e.processes import await_true
from tests.e2e.space import of_snapshot
from tests.e2e.upload_server import UploadServer, serving

_Scenario = Callable[[Shop, UploadServer, Path], None]


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


# --- scenarios that run at the same time -----------------------------------------------------------------


def _example_of_reverts(shop: Shop, _server: UploadServer, _folder: Path) -> None:
    shop.claim("data", size=1)
    shop.fill("data")
    old = shop.sums("data")
    shop.snapshot("before", "data")
    shop.fill("data")
    newer = shop.sums("data")
    example = examples("volume-revert.md", shop)[0]
    shop.kubernetes.apply(example)
    status = shop.until_ended("VolumeRevert", example["metadata"]["name"])
    assert shop.sums("data") == old
    (member,) = status["members"]
    shop.claim("newer", size=1, source=of_snapshot(member["safetySnapshot"]))
    assert list(shop.sums("newer").values()) == list(newer.values())


def _example_of_copies(shop: Shop, _server: UploadServer, _folder: Path) -> None:
    shop.claim("data", size=1)
    shop.fill("data", keep=True)
    wanted = shop.run("writer", "cut -d' ' -f1 < /claims/data/sum")
    copy, claim = examples("volume-copy.md", shop)
    shop.kubernetes.apply(copy, claim)
    # It is filled by the operator, in the zone of its first pod.
    assert shop.sums("data-west") == {"data-west": wanted}
    assert _system_of(shop, "data-west") == WEST
    assert shop.until("VolumeCopy", copy["metadata"]["name"], "Ready")["populated"] == 1
    shop.shut("writer", "data")


def _example_of_exports(shop: Shop, server: UploadServer, folder: Path) -> None:
    shop.claim("data", size=1)
    shop.claim("images", size=1)
    shop.fill("data", keep=True)
    shop.snapshot("nightly", "data")
    wanted = shop.run("writer", "cut -d' ' -f1 < /claims/data/sum")
    secret = {"url": f"{server.url}/data.raw", "token": server.token}
    secret["ca.pem"] = shop.operated.cluster.authority.certificate.read_text()
    meta = {"name": "upload", "namespace": shop.name}
    shop.kubernetes.apply({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": secret})
    found = examples("volume-export.md", shop)
    shop.kubernetes.apply(*found)
    for each in found:
        shop.until_ended("VolumeExport", each["metadata"]["name"])
    shop.shut("writer", "data")
    assert _sum_in(server.folder / "data.raw") == wanted
    assert _sum_in(_raw_of(shop, "data.qcow2", folder)) == wanted


def _raw_of(shop: Shop, name: str, folder: Path) -> Path:
    """The disk of a QCOW2 file on the claim ``images``."""
    shop.pod("reader", {"/images": "images"})
    image, disk = folder / name, folder / f"{name}.raw"
    shop.kubernetes.kubectl("cp", "--namespace", shop.name, f"reader:/images/{name}", str(image))
    shop.shut("reader", "images")
    assert "corruptions" not in output_of(["qemu-img", "check", "-f", "qcow2", image])
    output_of(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", image, disk])
    return disk


def _sum_in(disk: Path) -> str:
    """The checksum of the file in the ext4 of a disk, whose journal is written back first."""
    output_of(["e2fsck", "-p", "-E", "journal_only", disk])
    copy = disk.with_suffix(".file")
    output_of(["debugfs", "-R", f"dump /file {copy}", disk])
    return sha256(copy.read_bytes()).hexdigest()


def _example_of_moves(shop: Shop, _server: UploadServer, _folder: Path) -> None:
    shop.claim("data", size=1)
    shop.fill("data")
    before = shop.sums("data")
    old = shop.volume("data")
    (example,) = examples("volume-move.md", shop)
    name = example["metadata"]["name"]
    shop.kubernetes.apply(example)
    plan = shop.until("VolumeMove", name, "Planned")["plan"]
    assert plan["persistentVolume"] == old["metadata"]["name"]
    shop.change("VolumeMove", name, approved=True)
    shop.until("VolumeMove", name, "Moved")
    assert shop.sums("data") == before
    assert _system_of(shop, "data") == WEST
    old_id = old["spec"]["csi"]["volumeHandle"].rpartition("-")[2]
    assert old_id in shop.operated.volumes()
    shop.change("VolumeMove", name, confirmed=True)
    shop.until_ended("VolumeMove", name)
    assert old_id not in shop.operated.volumes()
    assert shop.sums("data") == before


def _system_of(shop: Shop, claim: str) -> int:
    return shop.operated.cluster.array.pool_of(shop.volume(claim)["spec"]["csi"]["volumeHandle"])[0]


def _example_of_schedules(shop: Shop, _server: UploadServer, _folder: Path) -> None:
    labels = {"app": "db", "tier": "gold"}
    shop.claim("ledger", size=1, storage_class="powerflex-now", labels=labels)
    shop.claim("other", size=1, storage_class="powerflex-now")
    shop.volume("ledger")
    (example,) = examples("snapshot-schedule.md", shop)
    name = example["metadata"]["name"]
    shop.kubernetes.apply(example)
    assert shop.until("SnapshotSchedule", name, "Active")["nextAt"]
    shop.change("SnapshotSchedule", name, schedule="* * * * *")
    await_true(lambda: bool(shop.names("volumesnapshots")), what="the snapshot of a run")
    (taken,) = shop.names("volumesnapshots")
    assert taken.startswith(f"{name}-ledger-")
    shop.until_snapshot(taken)
    shop.change("SnapshotSchedule", name, suspend=True)
    shop.until("SnapshotSchedule", name, "Suspended")


def _killed_movers(shop: Shop, _server: UploadServer, _folder: Path) -> None:
    """One mover is killed, and the pod of another one is deleted. Both do their work in the end."""
    for claim in ("source", "moved", "images"):
        shop.claim(claim, size=1)
    shop.fill("source", "moved", mebibytes=100)
    before = shop.sums("moved")
    target = {"file": {"claim": "images", "name": "killed.raw"}}
    export = shop.lead("VolumeExport", "export", claim="source", target=target, format="raw")
    os.kill(_mover("--target=/target/killed.raw"), signal.SIGKILL)
    move = shop.lead("VolumeMove", "move", claim="moved", storageClassName="powerflex-west", approved=True)
    uid = shop.kubernetes.get("volumemoves", move, shop.name)["metadata"]["uid"]
    _mover(f"--job={uid}")
    (pod,) = shop.kubernetes.list("pods", shop.name, labels=f"powerflex.dev/mover=move-{uid}")
    shop.kubernetes.delete("pods", pod["metadata"]["name"], shop.name)
    shop.until_ended("VolumeExport", export)
    shop.until("VolumeMove", move, "Moved")
    assert shop.sums("moved") == before
    shop.change("VolumeMove", move, confirmed=True)
    shop.until_ended("VolumeMove", move)


def _mover(argument: str) -> int:
    """Wait for the process of a mover with an argument; returns its number."""
    found: list[int] = []

    def runs() -> bool:
        found[:] = processes("mover", argument)
        return bool(found)

    await_true(runs, what=f"a mover with {argument}", every=0.02)
    return found[0]


def _full_targets_and_sources_that_go(shop: Shop, _server: UploadServer, _folder: Path) -> None:
    """A full claim is named, and used when it has space. Sources are deleted while they are read."""
    for claim in ("exported", "moved", "images"):
        shop.claim(claim, size=1)
    shop.fill("exported", "moved", mebibytes=20)
    shop.pod("filler", {"/images": "images"}, node="worker1")
    shop.run("filler", "dd if=/dev/zero of=/images/ballast bs=1M 2>/dev/null || sync")
    target = {"file": {"claim": "images", "name": "late.raw"}}
    export = shop.lead("VolumeExport", "export", claim="exported", target=target, format="raw")
    move = shop.lead("VolumeMove", "move", claim="moved", storageClassName="powerflex-west", approved=True)

    shop.until("VolumeMove", move, "Copying")
    shop.kubernetes.delete("persistentvolumeclaims", "moved", shop.name)
    failure = shop.until("VolumeMove", move, "Failed")["message"]
    assert "moved" in failure

    shop.until("VolumeExport", export, "Exporting")
    shop.kubernetes.delete("persistentvolumeclaims", "exported", shop.name)
    shop.kubernetes.until(
        "volumeexports",
        export,
        shop.name,
        lambda found: "space" in found["status"]["message"],
        what="naming the missing space",
    )
    shop.run("filler", "rm /images/ballast; sync")
    shop.until_ended("VolumeExport", export)
    shop.remove_pod("filler")


_SCENARIOS: dict[str, _Scenario] = {
    "the example of SnapshotSchedule": _example_of_schedules,
    "the example of VolumeCopy": _example_of_copies,
    "the example of VolumeExport": _example_of_exports,
    "the example of VolumeMove": _example_of_moves,
    "the example of VolumeRevert": _example_of_reverts,
    "movers that are killed": _killed_movers,
    "a full target, and sources that are deleted": _full_targets_and_sources_that_go,
}


@pytest.fixture(scope="module")
def running(
    operated: Operated, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[None]]]:
    """All of them, which have begun at the same time. Afterwards nothing of them may be left."""
    pair = operated.cluster.authority.issue("uploads", addresses=[CONTROL_ADDRESS])

    def run(number: int, scenario: _Scenario) -> None:
        shop = Shop(operated, f"shop-{number}")
        shop.open()
        try:
            scenario(shop, server, tmp_path_factory.mktemp(shop.name))
        finally:
            shop.close()

    with (
        nothing_left(operated),
        serving(tmp_path_factory.mktemp("uploads"), pair, "a-token") as server,
        ThreadPoolExecutor(len(_SCENARIOS)) as executor,
    ):
        yield {
            name: executor.submit(run, number, scenario)
            for number, (name, scenario) in enumerate(_SCENARIOS.items())
        }


@pytest.mark.parametrize("name", _SCENARIOS)
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
    for stage in _DELETED_IN["VolumeCopy"]:
        name = f"copy-volumecopy-{stage.lower()}"
        if stage == "Binding":
            assert shop.sums(name) == {name: before[name.removeprefix("copy-")]}
        shop.kubernetes.delete("persistentvolumeclaims", name, shop.name)
        shop.kubernetes.until_deleted("persistentvolumeclaims", [name], shop.name)
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
        mover = _mover(f"--job={uid}")
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
