"""VolumeMove: a claim gets a volume of another class with its data, and the old volume is kept."""

from __future__ import annotations

from typing import Any

import pytest

from csi_powerflex.kube.client import Client
from csi_powerflex.kube_objects.custody import ATTACHMENTS
from csi_powerflex.kube_objects.reader import VOLUMES
from csi_powerflex.model.mover import Exit, Outcome
from csi_powerflex.operator.api import Key
from csi_powerflex.operator.moves.definition import DEFINITION
from csi_powerflex.operator.sources import CONTENTS, MODE_CHANGE
from tests.controller.ended import Life
from tests.figures import Figures
from tests.kube.api_server import ApiServer
from tests.operator.interruptions import killed_everywhere
from tests.operator.movers_world import (
    CLAIMS,
    HOLD,
    JOBS,
    NAMESPACE,
    PODS,
    SNAPSHOTS,
    STATEFUL_SETS,
    MoversWorld,
)

pytestmark = pytest.mark.usefixtures("untouched_logging")

BEFORE_THE_SWAP = ("Holding", "Securing", "Copying", "Closing", "Swapping")
PHASES = ("Pending", "Planned", *BEFORE_THE_SWAP, "Finishing", "Moved", "Removing", "Succeeded")
MODES = ("Filesystem", "Block")


@pytest.fixture
def world(cluster: ApiServer, client: Client, monkeypatch: pytest.MonkeyPatch) -> MoversWorld:
    return MoversWorld(cluster, client, DEFINITION, monkeypatch)


def prepared(world: MoversWorld, *, mode: str = "Filesystem", approved: bool = True, **more: Any) -> Key:
    """A claim with the word "hello", and a VolumeMove of it."""
    if world.named(CLAIMS, "data") is None:
        world.claimed("data", "hello", mode=mode)
    return world.create("west", claim="data", storageClassName="west", approved=approved, **more)


def of(world: MoversWorld, claim: str = "data") -> str:
    """The PersistentVolume of a claim."""
    return str(world.claim(claim)["spec"]["volumeName"])


# --- success ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_a_claim_gets_a_volume_of_the_other_class_with_its_data(world: MoversWorld, mode: str) -> None:
    old = world.claimed("data", "hello", mode=mode)
    key = prepared(world)
    world.drive(key)
    status, claim = world.status(key), world.claim("data")
    assert (status["phase"], world.word("data")) == ("Moved", "hello")
    assert claim["spec"]["storageClassName"] == "west"
    assert claim["spec"]["volumeName"] == status["newVolume"] != old
    new = world.volume(status["newVolume"])["spec"]
    assert (new["volumeMode"], new["persistentVolumeReclaimPolicy"]) == (mode, "Delete")
    assert world.volumes() == {old, status["newVolume"]}
    assert world.volume(old)["status"]["phase"] == "Released"
    assert world.volume(old)["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
    assert (world.left(), world.holds()) == ([], [])


def test_the_new_volume_of_a_filesystem_claim_is_never_formatted(world: MoversWorld) -> None:
    key = prepared(world)
    world.drive(key)
    new = world.volume(of(world))
    assert new["spec"]["csi"]["volumeAttributes"]["origin"] == "copy"
    assert new["spec"]["csi"]["fsType"] == "xfs"
    assert new["spec"]["nodeAffinity"] == {"required": {}}
    assert new["metadata"]["annotations"] == {"pv.kubernetes.io/provisioned-by": "csi-powerflex.example.org"}


def test_nothing_is_done_before_the_plan_is_approved(world: MoversWorld) -> None:
    world.claimed("data", "hello")
    world.snapshot("nightly", "data")
    key = prepared(world, approved=False)
    world.drive(key)
    status = world.status(key)
    assert status["phase"] == "Planned"
    assert status["plan"]["fromClass"] == "fast"
    assert "these VolumeSnapshots stay with the old volume: nightly" in status["plan"]["remarks"]
    assert (world.left(), world.holds()) == ([], [])
    world.change(key, approved=True)
    world.drive(key)
    assert world.status(key)["phase"] == "Moved"


def test_after_the_confirmation_the_old_volume_is_removed(world: MoversWorld) -> None:
    old = world.claimed("data", "hello")
    key = prepared(world)
    world.drive(key)
    world.change(key, confirmed=True)
    world.drive(key)
    assert world.status(key)["phase"] == "Succeeded"
    assert old not in world.volumes()
    assert list(world.data.values()) == ["hello"]
    assert world.finalizers(key) == []


def test_after_the_time_to_keep_it_the_old_volume_is_removed(world: MoversWorld) -> None:
    old = world.claimed("data", "hello")
    key = prepared(world, keepSourceSeconds=3600)
    world.drive_to(key, "Moved")
    assert world.lead(key) == 60
    assert old in world.volumes()
    world.clock.forward(seconds=3600)
    world.drive(key)
    assert world.status(key)["phase"] == "Succeeded"
    assert old not in world.volumes()


def test_an_old_volume_with_the_policy_retain_stays(world: MoversWorld) -> None:
    old = world.claimed("data", "hello")
    found = world.volume(old)
    spec = {**found["spec"], "persistentVolumeReclaimPolicy": "Retain"}
    world.cluster.put(VOLUMES, old, {**found, "spec": spec})
    key = prepared(world, confirmed=True)
    world.drive(key)
    assert world.status(key)["phase"] == "Succeeded"
    assert "is kept, because its reclaim policy is Retain" in world.status(key)["message"]
    assert old in world.volumes()


def test_an_old_volume_that_has_another_user_is_not_removed(world: MoversWorld) -> None:
    old = world.claimed("data", "hello")
    key = prepared(world)
    world.drive(key)
    found = world.volume(old)
    spec = {**found["spec"], "claimRef": {"namespace": "x", "name": "y", "uid": "another"}}
    world.cluster.put(VOLUMES, old, {**found, "spec": spec, "status": {"phase": "Bound"}})
    world.change(key, confirmed=True)
    world.lead(key)
    world.rounds.lead(key)
    assert "is not removed while it is used" in world.status(key)["message"]
    assert world.volume(old)["spec"]["persistentVolumeReclaimPolicy"] == "Retain"


def test_labels_annotations_and_owners_of_the_claim_are_kept(world: MoversWorld) -> None:
    owner = {"apiVersion": "v1", "kind": "X", "name": "x", "uid": "u", "controller": True}
    world.claimed(
        "data",
        "hello",
        labels={"app": "db"},
        annotations={"note": "mine", "pv.kubernetes.io/bind-completed": "yes"},
        ownerReferences=[{**owner, "blockOwnerDeletion": True}],
    )
    key = prepared(world)
    world.drive(key)
    metadata = world.claim("data")["metadata"]
    assert metadata["labels"] == {"app": "db"}
    assert set(metadata["annotations"]) == {"note", "powerflex.dev/moved-by"}
    assert metadata["ownerReferences"] == [owner]


def test_each_phase_is_told_as_an_event(world: MoversWorld) -> None:
    key = prepared(world, confirmed=True)
    world.drive(key)
    told = [reason for reason, _ in world.events()]
    assert [phase for phase in PHASES if phase in told] == list(PHASES)


def test_the_mover_gets_block_devices_and_no_rights(world: MoversWorld) -> None:
    key = prepared(world, verify="full")
    world.movers_work = False
    world.drive_to(key, "Copying")
    world.lead(key)
    (job,) = world.cluster.objects(JOBS)
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert {item["devicePath"] for item in container["volumeDevices"]} == {"/dev/source", "/dev/target"}
    assert f"--job={world.object(key)['metadata']['uid']}" in container["args"]
    assert "--verify=full" in container["args"]
    assert job["spec"]["podReplacementPolicy"] == "Failed"


def test_the_progress_of_the_mover_is_shown(world: MoversWorld) -> None:
    key = prepared(world)
    world.movers_work = False
    world.drive_to(key, "Copying")
    world.lead(key)
    world.require_progress(key)


# --- refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"claim": "nothing"}, "not found"),
        ({"storageClassName": "fast"}, "has StorageClass fast already"),
        ({"storageClassName": "other"}, "is of provisioner other.example.org"),
        ({"storageClassName": "nothing"}, "not found"),
    ],
)
def test_what_cannot_be_moved_is_named_and_fails_in_the_end(
    world: MoversWorld, change: dict[str, str], reason: str
) -> None:
    world.claimed("data", "hello")
    key = world.create("west", **{"claim": "data", "storageClassName": "west", **change})
    world.lead(key)
    world.lead(key)
    assert reason in world.status(key)["message"]
    world.clock.forward(seconds=301)
    world.drive(key)
    assert world.status(key)["phase"] == "Failed"
    assert world.finalizers(key) == []


def test_volumes_of_other_drivers_and_unbound_claims_are_not_moved(world: MoversWorld) -> None:
    old = world.claimed("data", "hello")
    found = world.volume(old)
    for changed, reason in (
        ({"csi": {**found["spec"]["csi"], "driver": "other"}}, "has a volume of driver other"),
        ({"claimRef": {"uid": "another"}}, "is not bound to claim data"),
    ):
        world.cluster.put(VOLUMES, old, {**found, "spec": {**found["spec"], **changed}})
        key = world.create(f"move-{len(reason)}", claim="data", storageClassName="west")
        world.rounds.lead(key)
        world.rounds.lead(key)
        assert reason in world.status(key)["message"]
    world.cluster.put(CLAIMS, "new", {"metadata": {"namespace": NAMESPACE}, "spec": {}})
    key = world.create("of-new", claim="new", storageClassName="west")
    world.rounds.lead(key)
    world.rounds.lead(key)
    assert "is not bound to a PersistentVolume" in world.status(key)["message"]


@pytest.mark.parametrize(
    ("storage_class", "reason"),
    [
        ("", "claim data has no StorageClass, with which no temporary volume"),
        ("other", "claim data has StorageClass other, with which no temporary volume"),
        ("nothing", "not found"),
    ],
)
def test_a_claim_whose_class_makes_no_volumes_of_this_driver_is_not_held(
    world: MoversWorld, storage_class: str, reason: str
) -> None:
    world.claimed("data", "hello")
    world.cluster.patched(f"{CLAIMS}/data", {"spec": {"storageClassName": storage_class}})
    key = prepared(world)
    world.rounds.lead(key)
    world.rounds.lead(key)
    assert reason in world.status(key)["message"]
    assert (world.holds(), world.left()) == ([], [])


def test_it_waits_for_a_pod_that_uses_the_claim(world: MoversWorld) -> None:
    key = prepared(world)
    world.use("data")
    world.drive_to(key, "Holding")
    world.lead(key)
    assert "pod shop/user uses its claim data" in world.status(key)["message"]
    assert world.left() == []
    world.cluster.remove(PODS, "user")
    world.drive(key)
    assert world.status(key)["phase"] == "Moved"


def test_each_reason_to_wait_is_told_once(world: MoversWorld) -> None:
    key = prepared(world)
    world.use("data")
    world.drive_to(key, "Holding")
    for _ in range(3):
        world.lead(key)
    waits = world.status(key)["message"]
    assert [event for event in world.events() if "waits: " in event[1]] == [("Holding", waits)]
    sent = len(world.cluster.requests)
    world.lead(key)
    assert not [item for item in world.cluster.requests[sent:] if item.path.endswith("/events")]
    world.cluster.remove(PODS, "user")
    world.detaches = False
    world.drive_to(key, "Closing")
    for _ in range(5):
        world.lead(key)
    told = [text for reason, text in world.events() if reason == "Closing" and "still has" in text]
    assert told == [world.status(key)["message"]]


def test_it_waits_for_a_stateful_set_that_would_create_the_claim_without_data(world: MoversWorld) -> None:
    world.claimed("v-db-0", "hello")
    spec = {"replicas": 1, "volumeClaimTemplates": [{"metadata": {"name": "v"}}]}
    world.cluster.put(STATEFUL_SETS, "db", {"metadata": {"namespace": NAMESPACE}, "spec": spec})
    key = world.create("west", claim="v-db-0", storageClassName="west", approved=True)
    world.drive_to(key, "Holding")
    world.lead(key)
    assert "StatefulSet db has 1 replicas" in world.status(key)["message"]
    world.cluster.put(
        STATEFUL_SETS, "db", {"metadata": {"namespace": NAMESPACE}, "spec": {**spec, "replicas": 0}}
    )
    world.drive(key)
    assert (world.status(key)["phase"], world.word("v-db-0")) == ("Moved", "hello")


def test_a_volume_that_someone_else_holds_is_left_alone(world: MoversWorld) -> None:
    old = world.claimed("data", "hello")
    world.annotate_volume(old, {HOLD: "checked by Eva"})
    key = prepared(world)
    world.drive_to(key, "Holding")
    world.lead(key)
    assert "held: checked by Eva" in world.status(key)["message"]
    world.clock.forward(seconds=301)
    world.drive(key)
    assert (world.status(key)["phase"], world.holds()) == ("Failed", ["checked by Eva"])


@pytest.mark.parametrize("phase", BEFORE_THE_SWAP[1:])
def test_a_pod_that_begins_to_use_the_claim_ends_the_move(world: MoversWorld, phase: str) -> None:
    key = prepared(world)
    world.drive_to(key, phase)
    world.use("data", node="node-2")
    world.detaches = False
    world.drive(key)
    world.detaches = True
    status = world.status(key)
    assert status["phase"] == "Failed"
    assert "node-2" in status["message"]
    world.cluster.remove(PODS, "user")
    world.settle()
    assert (world.word("data"), world.holds(), world.left()) == ("hello", [], [])
    assert list(world.data.values()) == ["hello"]


@pytest.mark.parametrize("phase", BEFORE_THE_SWAP[1:])
def test_a_hold_that_is_removed_ends_the_move(world: MoversWorld, phase: str) -> None:
    old = world.claimed("data", "hello")
    key = prepared(world)
    world.drive_to(key, phase)
    world.annotate_volume(old, {})
    world.drive(key)
    assert "was removed or replaced" in world.status(key)["message"]
    world.settle()
    assert (world.status(key)["phase"], world.word("data"), world.left()) == ("Failed", "hello", [])


def test_a_claim_that_is_deleted_during_the_copy_ends_the_move(world: MoversWorld) -> None:
    old = world.claimed("data", "hello")
    key = prepared(world)
    world.drive_to(key, "Copying")
    world.cluster.delete(CLAIMS, "data")
    world.cluster.remove(VOLUMES, old)
    world.drive(key)
    world.settle()
    assert world.status(key)["phase"] == "Failed"
    assert world.status(key)["message"] == (
        "claim data, or its PersistentVolume, was deleted. What was begun was removed"
    )
    assert world.left() == []


@pytest.mark.parametrize("status", [Exit.REFUSED, Exit.TARGET, Exit.DIFFERENT])
def test_a_copy_that_fails_leaves_the_claim_as_it_was(world: MoversWorld, status: Exit) -> None:
    world.outcome = Outcome(status, "the copy is not good")
    key = prepared(world)
    world.drive(key)
    world.settle()
    assert world.status(key)["phase"] == "Failed"
    assert "the copy is not good" in world.status(key)["message"]
    assert (world.word("data"), world.left(), world.holds()) == ("hello", [], [])
    assert list(world.data.values()) == ["hello"]


@pytest.mark.parametrize("storage_class", ["fast", "west"])
def test_a_volume_from_before_is_not_taken_for_the_source_or_the_copy(
    world: MoversWorld, storage_class: str
) -> None:
    world.available("old", "", storage_class)
    key = prepared(world)
    world.drive(key)
    world.settle()
    assert world.status(key)["phase"] == "Failed"
    assert "has got PersistentVolume old, which existed before" in world.status(key)["message"]
    assert (world.word("data"), world.left(), world.holds()) == ("hello", [], [])
    assert world.volume("old")["spec"]["persistentVolumeReclaimPolicy"] == "Retain"


@pytest.mark.parametrize("status", [Exit.DONE, Exit.DIFFERENT])
def test_classes_that_keep_volumes_and_snapshots_keep_nothing_temporary(
    world: MoversWorld, status: Exit
) -> None:
    world.policy = world.snapshot_policy = "Retain"
    world.outcome = Outcome(status, "copied")
    key = prepared(world)
    world.drive(key)
    world.settle()
    expected = ["hello", "hello"] if status is Exit.DONE else ["hello"]
    assert (list(world.data.values()), world.taken, world.left()) == (expected, {}, [])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("phase", ["Copying", "Closing", "Swapping"])
def test_a_copy_whose_volume_was_deleted_ends_the_move(world: MoversWorld, phase: str, mode: str) -> None:
    old = world.claimed("data", "hello", mode=mode)
    key = prepared(world, mode=mode)
    world.drive_to(key, phase)
    while phase == "Copying" and not any(job.get("status") for job in world.cluster.objects(JOBS)):
        world.lead(key)
    for name in world.volumes() - {old}:
        if world.volume(name)["spec"]["claimRef"]["name"].endswith("-copy") or phase == "Swapping":
            world.cluster.remove(VOLUMES, name)
    world.drive(key)
    world.settle()
    status = world.status(key)
    assert status["phase"] == "Failed"
    assert "is missing" in status["message"] or "was deleted" in status["message"]
    assert status["message"].endswith("The claim has its old volume, and pods may use it")
    assert (world.word("data"), of(world), world.holds(), world.left()) == ("hello", old, [], [])


def test_without_a_snapshot_in_time_nothing_is_changed(world: MoversWorld) -> None:
    key = prepared(world)
    world.snapshotter_works = False
    world.drive_to(key, "Securing")
    world.lead(key)
    assert "is not ready to use" in world.status(key)["message"]
    world.clock.forward(seconds=301)
    world.drive(key)
    world.settle()
    assert (world.status(key)["phase"], world.word("data"), world.left()) == ("Failed", "hello", [])


def test_an_object_of_someone_else_under_a_name_of_the_move_is_left_alone(world: MoversWorld) -> None:
    key = prepared(world)
    name = f"move-{world.object(key)['metadata']['uid']}-copy"
    world.claimed(name, "precious")
    world.drive(key)
    assert "was not made for this VolumeMove" in world.status(key)["message"]
    world.settle()
    assert (world.word(name), world.word("data")) == ("precious", "hello")


def test_a_claim_that_someone_else_creates_in_the_gap_is_not_touched(world: MoversWorld) -> None:
    old = world.claimed("data", "hello")
    key = prepared(world)
    world.drive_to(key, "Swapping")
    world.rounds.lead(key)
    assert world.claim("data")["metadata"]["deletionTimestamp"]
    world.settle()
    world.claimed("data", "of someone")
    world.lead(key)
    assert "was created by someone else" in world.status(key)["message"]
    assert world.word("data") == "of someone"
    world.delete(key)
    world.drive(key)
    assert not world.exists(key)
    _, text = next(event for event in world.events() if event[0] == "LeftMidway")
    assert old in text
    assert {"hello", "of someone"} == set(world.data.values())
    assert world.holds() == []


def test_a_claim_of_someone_else_that_is_deleted_lets_the_move_go_on(world: MoversWorld) -> None:
    key = prepared(world)
    world.drive_to(key, "Swapping")
    world.rounds.lead(key)
    world.settle()
    world.claimed("data", "of someone")
    world.lead(key)
    world.cluster.delete(CLAIMS, "data")
    world.drive(key)
    assert (world.status(key)["phase"], world.word("data")) == ("Moved", "hello")


# --- a lost node -----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_the_volume_is_not_used_while_a_lost_node_has_it_attached(world: MoversWorld, mode: str) -> None:
    key = prepared(world, mode=mode)
    world.drive_to(key, "Copying")
    world.lead(key)
    world.detaches = False
    world.drive_to(key, "Closing")
    for _ in range(5):
        world.lead(key)
    status = world.status(key)
    assert status["phase"] == "Closing"
    assert "node node-1 still has PersistentVolume" in status["message"]
    assert "node.kubernetes.io/out-of-service" in status["message"]
    assert world.volume(status["copyVolume"])["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
    assert world.word("data") == "hello"
    world.detaches = True
    world.drive(key)
    assert (world.status(key)["phase"], world.word("data"), world.left()) == ("Moved", "hello", [])


def test_a_move_whose_node_is_lost_can_be_deleted(world: MoversWorld) -> None:
    key = prepared(world)
    world.drive_to(key, "Copying")
    world.lead(key)
    world.detaches = False
    world.drive_to(key, "Closing")
    world.lead(key)
    world.delete(key)
    world.drive(key)
    assert not world.exists(key)
    assert (world.word("data"), world.holds()) == ("hello", [])
    world.detaches = True
    world.settle()
    assert (list(world.data.values()), world.left()) == (["hello"], [])


# --- interruptions and deletions -------------------------------------------------------------------


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_the_operator_may_be_killed_at_any_request(
    world: MoversWorld, mode: str, after: bool, monkeypatch: pytest.MonkeyPatch, figures: Figures
) -> None:
    old = world.claimed("data", "hello", mode=mode)
    key = prepared(world, mode=mode, confirmed=True)

    def require() -> None:
        status = world.status(key)
        assert (status["phase"], world.word("data")) == ("Succeeded", "hello"), status
        assert of(world) == status["newVolume"]
        assert old not in world.volumes()
        assert (world.left(), world.holds(), world.finalizers(key)) == ([], [], [])
        world.cluster.delete(CLAIMS, "data")
        world.settle()
        assert world.data == {}

    killed = killed_everywhere(world, key, Life(monkeypatch), after=after, require=require)
    figures.add("rounds of the operator killed, and repeated", killed)
    assert killed > 150


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("phase", PHASES)
def test_an_object_that_is_deleted_in_any_phase_ends_and_loses_nothing(
    world: MoversWorld, phase: str, mode: str
) -> None:
    old = world.claimed("data", "hello", mode=mode)
    key = prepared(world, confirmed=phase in ("Removing", "Succeeded"))
    world.drive_to(key, phase)
    world.delete(key)
    world.drive(key)
    world.settle()
    assert not world.exists(key)
    assert (world.word("data"), world.holds(), world.left()) == ("hello", [], [])
    moved = phase in PHASES[7:]
    assert (of(world) != old) is moved
    assert (old in world.volumes()) is (phase not in ("Removing", "Succeeded"))
    assert len(world.volumes()) == (2 if phase in ("Finishing", "Moved") else 1)


@pytest.mark.parametrize("after", [False, True])
def test_the_operator_may_be_killed_while_it_undoes_a_move(
    world: MoversWorld, after: bool, monkeypatch: pytest.MonkeyPatch, figures: Figures
) -> None:
    key = prepared(world)
    world.drive_to(key, "Swapping")
    world.delete(key)

    def require() -> None:
        assert not world.exists(key)
        assert (world.word("data"), world.left(), world.holds()) == ("hello", [], [])
        assert list(world.data.values()) == ["hello"]

    killed = killed_everywhere(world, key, Life(monkeypatch), after=after, require=require)
    figures.add("rounds of the operator killed, and repeated", killed)
    assert killed > 10


def test_a_move_that_is_deleted_in_the_gap_is_finished_first(world: MoversWorld) -> None:
    old = world.claimed("data", "hello")
    key = prepared(world)
    world.drive_to(key, "Swapping")
    world.rounds.lead(key)
    assert world.claim("data")["metadata"]["deletionTimestamp"]
    world.delete(key)
    world.drive(key)
    assert not world.exists(key)
    assert (world.word("data"), world.holds()) == ("hello", [])
    assert any(reason == "OldVolumeKept" and old in text for reason, text in world.events())


def test_a_pod_that_appears_at_the_swap_delays_it_and_a_deletion_then_undoes_it(world: MoversWorld) -> None:
    old = world.claimed("data", "hello")
    key = prepared(world)
    world.drive_to(key, "Swapping")
    work = next(item for item in world.rounds.works if item.definition.plural == key.plural)
    begin = work._begin_to_swap  # type: ignore[attr-defined]

    def used(found: object) -> object:
        status = begin(found)
        world.use("data")
        return status

    work._begin_to_swap = used  # type: ignore[attr-defined]
    world.rounds.lead(key)
    assert "pod shop/user uses its claim data" in world.status(key)["message"]
    assert world.status(key)["claimObject"]
    world.delete(key)
    world.drive(key)
    world.settle()
    assert not world.exists(key)
    assert (world.word("data"), of(world), world.holds()) == ("hello", old, [])
    assert world.volume(old)["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
    world.cluster.remove(PODS, "user")
    world.settle()
    assert (list(world.data.values()), world.left()) == (["hello"], [])


def test_a_copy_that_someone_has_bound_is_not_removed(world: MoversWorld) -> None:
    key = prepared(world, mode="Block")
    world.drive_to(key, "Swapping")
    new = world.status(key)["newVolume"]
    found = world.volume(new)
    spec = {**found["spec"], "claimRef": {"namespace": NAMESPACE, "name": "another", "uid": "another"}}
    world.cluster.put(VOLUMES, new, {**found, "spec": spec})
    world.delete(key)
    world.rounds.lead(key)
    world.rounds.lead(key)
    world.rounds.lead(key)
    assert not world.exists(key)
    assert any(reason == "NotUndone" and "is bound to claim" in text for reason, text in world.events())
    assert world.volume(new)["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
    assert world.holds() == []


def test_a_claim_that_a_controller_creates_in_the_gap_with_the_new_volume_is_the_moved_one(
    world: MoversWorld,
) -> None:
    key = prepared(world)
    world.drive_to(key, "Swapping")
    world.rounds.lead(key)
    world.settle()
    spec = {
        "storageClassName": "west",
        "volumeMode": "Filesystem",
        "volumeName": world.status(key)["newVolume"],
    }
    world.cluster.put(CLAIMS, "data", {"metadata": {"namespace": NAMESPACE}, "spec": spec})
    world.drive(key)
    assert (world.status(key)["phase"], world.word("data"), world.holds()) == ("Moved", "hello", [])


def test_an_old_volume_that_may_not_be_removed_does_not_keep_a_deleted_object(world: MoversWorld) -> None:
    old = world.claimed("data", "hello")
    key = prepared(world, confirmed=True)
    world.drive_to(key, "Removing")
    found = world.volume(old)
    spec = {**found["spec"], "claimRef": {"namespace": "x", "name": "y", "uid": "another"}}
    world.cluster.put(VOLUMES, old, {**found, "spec": spec, "status": {"phase": "Bound"}})
    world.delete(key)
    world.rounds.lead(key)
    assert not world.exists(key)
    assert any(reason == "OldVolumeKept" and old in text for reason, text in world.events())


def test_a_snapshot_may_be_opened_in_block_mode_only_during_the_copy(world: MoversWorld) -> None:
    key = prepared(world)
    world.movers_work = False
    world.drive_to(key, "Copying")
    (content,) = world.cluster.objects(CONTENTS)
    assert content["metadata"]["annotations"] == {MODE_CHANGE: "true"}
    assert len(world.cluster.objects(SNAPSHOTS)) == 1
    world.lead(key)
    assert {item["spec"]["nodeName"] for item in world.cluster.objects(ATTACHMENTS)} == {"node-1"}
    world.movers_work = True
    world.drive(key)
    assert world.cluster.objects(CONTENTS) == []


# --- what is not as it was -------------------------------------------------------------------------


def test_a_volume_attributes_class_is_named_in_the_plan(world: MoversWorld) -> None:
    world.claimed("data", "hello")
    item = world.claim("data")
    spec = {**item["spec"], "volumeAttributesClassName": "gold"}
    world.cluster.put(CLAIMS, "data", {**item, "spec": spec})
    key = prepared(world, approved=False)
    world.drive(key)
    assert any("VolumeAttributesClass" in remark for remark in world.status(key)["plan"]["remarks"])


def test_a_stateful_set_with_other_claims_is_no_obstacle(world: MoversWorld) -> None:
    world.claimed("v-db-0", "hello")
    spec = {"replicas": 1, "volumeClaimTemplates": [{"metadata": {"name": "w"}}]}
    world.cluster.put(STATEFUL_SETS, "db", {"metadata": {"namespace": NAMESPACE}, "spec": spec})
    key = world.create("west", claim="v-db-0", storageClassName="west", approved=True)
    world.drive(key)
    assert world.status(key)["phase"] == "Moved"


def test_a_claim_that_was_replaced_since_the_plan_is_not_moved(world: MoversWorld) -> None:
    key = prepared(world)
    world.drive_to(key, "Holding")
    item = world.claim("data")
    world.cluster.put(CLAIMS, "data", {**item, "metadata": {**item["metadata"], "uid": "another"}})
    world.rounds.lead(key)
    assert "is not the one of the plan any more" in world.status(key)["message"]


def test_a_claim_that_someone_deletes_is_not_moved(world: MoversWorld) -> None:
    key = prepared(world)
    world.drive_to(key, "Holding")
    world.cluster.delete(CLAIMS, "data")
    world.rounds.lead(key)
    assert "is being deleted by someone else" in world.status(key)["message"]


def test_a_copy_whose_claim_or_volume_was_replaced_is_not_used(world: MoversWorld) -> None:
    for number, reason in enumerate(("was replaced, or has no PersistentVolume", "is not bound to claim")):
        name = f"data-{number}"
        world.claimed(name, "hello")
        key = world.create(name, claim=name, storageClassName="west", approved=True)
        world.drive_to(key, "Copying")
        world.lead(key)
        world.controllers()
        copy = world.claim(f"{world.status(key)['temporary']}-copy")
        if number:
            volume = world.volume(copy["spec"]["volumeName"])
            spec = {**volume["spec"], "claimRef": {**volume["spec"]["claimRef"], "uid": "another"}}
            world.cluster.put(VOLUMES, copy["spec"]["volumeName"], {**volume, "spec": spec})
        else:
            changed = {**copy, "metadata": {**copy["metadata"], "uid": "another"}}
            world.cluster.put(CLAIMS, copy["metadata"]["name"], changed)
        world.rounds.lead(key)
        assert world.status(key)["phase"] == "Undoing"
        assert reason in world.status(key)["message"]
        assert world.word(name) == "hello"


def test_a_copy_whose_volume_was_deleted_is_not_used(world: MoversWorld) -> None:
    key = prepared(world, mode="Block")
    world.drive_to(key, "Closing")
    world.lead(key)
    world.cluster.remove(VOLUMES, world.status(key)["copyVolume"])
    world.rounds.lead(key)
    world.rounds.lead(key)
    assert (world.status(key)["phase"], world.holds()) == ("Failed", [])
    assert "of the copy was deleted" in world.status(key)["message"]


@pytest.mark.parametrize("status", [403, 503])
def test_a_cluster_that_refuses_the_job_is_told(world: MoversWorld, status: int) -> None:
    key = prepared(world)
    world.drive_to(key, "Copying")
    world.cluster.refused[JOBS] = status
    world.lead(key)
    assert JOBS in world.status(key)["message"]
    assert world.status(key)["phase"] == ("Undoing" if status == 403 else "Copying")
    del world.cluster.refused[JOBS]
    world.drive(key)
    assert world.status(key)["phase"] == ("Failed" if status == 403 else "Moved")
    assert world.word("data") == "hello"


def test_a_cluster_that_does_not_answer_delays_the_way_back(world: MoversWorld) -> None:
    world.outcome = Outcome(Exit.DIFFERENT, "the copy is not good")
    key = prepared(world)
    world.drive_to(key, "Undoing")
    path = f"{JOBS}/{world.status(key)['temporary']}"
    world.cluster.refused[path] = 503
    assert world.lead(key) == 5
    assert world.status(key)["phase"] == "Undoing"
    assert path in world.status(key)["message"]
    world.cluster.refused.clear()
    world.drive(key)
    world.settle()
    assert (world.status(key)["phase"], world.word("data")) == ("Failed", "hello")
    assert (world.left(), world.holds()) == ([], [])


def test_a_claim_that_nothing_protects_is_created_again_in_the_same_round(world: MoversWorld) -> None:
    key = prepared(world)
    world.drive_to(key, "Swapping")
    before = world.claim("data")["metadata"]["uid"]
    world.cluster.patched(f"{CLAIMS}/data", {"metadata": {"finalizers": None}})
    world.rounds.lead(key)
    claim = world.claim("data")
    assert claim["metadata"]["uid"] != before
    assert claim["spec"]["volumeName"] == world.status(key)["newVolume"]
    world.drive(key)
    assert (world.status(key)["phase"], world.word("data")) == ("Moved", "hello")


def test_a_cluster_that_does_not_answer_delays_the_end_of_the_hold(world: MoversWorld) -> None:
    old = world.claimed("data", "hello")
    key = prepared(world)
    world.drive_to(key, "Finishing")
    world.cluster.refused[f"{VOLUMES}/{old}"] = 503
    assert world.lead(key) == 5
    assert world.status(key)["phase"] == "Finishing"
    assert old in world.status(key)["message"]
    world.cluster.refused.clear()
    world.drive(key)
    assert (world.status(key)["phase"], world.word("data"), world.holds()) == ("Moved", "hello", [])


def test_a_cluster_that_does_not_answer_keeps_a_deleted_object_until_the_old_volume_is_removed(
    world: MoversWorld,
) -> None:
    old = world.claimed("data", "hello")
    key = prepared(world, confirmed=True)
    world.drive_to(key, "Removing")
    world.delete(key)
    world.cluster.refused[f"{VOLUMES}/{old}"] = 503
    world.lead(key)
    assert world.exists(key)
    assert world.volume(old)["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
    world.cluster.refused.clear()
    world.drive(key)
    assert (world.exists(key), world.volumes()) == (False, {of(world)})
    assert world.word("data") == "hello"
