"""VolumeCopy: claims get a full copy of a claim or snapshot, and nothing else is left."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from csi_powerflex.kube.client import Client
from csi_powerflex.kube_objects.reader import VOLUMES
from csi_powerflex.model.mover import Exit, Outcome
from csi_powerflex.operator.api import Key
from csi_powerflex.operator.classes import SNAPSHOT_CLASSES, STORAGE_CLASSES
from csi_powerflex.operator.copies import reconciler
from csi_powerflex.operator.owned import OWNER_LABEL
from csi_powerflex.operator.sources import CONTENTS, MODE_CHANGE
from tests.kube.api_server import ApiServer
from tests.operator.copies_world import KEY, CopiesWorld
from tests.operator.movers_world import CLAIMS, DRIVER, JOBS, NAMESPACE, PODS, POLICIES, SNAPSHOTS
from tests.operator.pages import on_page

pytestmark = pytest.mark.usefixtures("untouched_logging")

SOURCE = {"apiGroup": "powerflex.dev", "kind": "VolumeCopy", "name": "copy"}


@pytest.fixture
def world(cluster: ApiServer, client: Client, monkeypatch: pytest.MonkeyPatch) -> CopiesWorld:
    return CopiesWorld(cluster, client, monkeypatch)


# --- success ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["Filesystem", "Block"])
def test_a_claim_in_use_is_copied_and_nothing_else_is_left(world: CopiesWorld, mode: str) -> None:
    world.copy()
    world.want(volumeMode=mode)
    world.use("data", node="node-2")
    world.drive(KEY)
    world.cluster.remove(PODS, "user")
    world.settle()
    world.require_delivered()
    status = world.status(KEY)
    assert (status["phase"], status["populated"], world.finalizers(KEY)) == ("Ready", 1, [])
    (condition,) = status["conditions"]
    assert (condition["type"], condition["status"]) == ("Ready", "True")
    assert world.reasons() == ["CopyBegins", "Populated"]
    assert world.reasons("mine") == ["CopyBegins", "Populated"]


def test_a_filesystem_claim_gets_another_volume_object_that_is_never_formatted(
    world: CopiesWorld,
) -> None:
    world.copy()
    uid = world.want()
    world.drive(KEY)
    volume = world.volume(f"pvc-{uid}")
    assert volume["spec"]["volumeMode"] == "Filesystem"
    assert volume["spec"]["csi"]["fsType"] == "xfs"
    assert volume["spec"]["csi"]["volumeAttributes"] == {"origin": "copy"}
    assert volume["metadata"]["annotations"] == {"pv.kubernetes.io/provisioned-by": DRIVER}


def test_a_block_claim_gets_the_persistent_volume_that_was_written(world: CopiesWorld) -> None:
    world.copy()
    world.want(volumeMode="Block")
    world.drive_to_stage("Closing")
    (entry,) = world.waiting()
    world.drive(KEY)
    assert world.claim("mine")["spec"]["volumeName"] == entry["written"]


def test_a_snapshot_is_copied_and_stays(world: CopiesWorld) -> None:
    world.copy(snapshot="nightly")
    world.want()
    world.drive_to_stage("Copying")
    (content,) = world.cluster.objects(CONTENTS)
    assert content["metadata"]["annotations"] == {MODE_CHANGE: "true"}
    world.drive(KEY)
    world.require_delivered(word="night")
    assert world.named(SNAPSHOTS, "nightly") is not None
    (content,) = world.cluster.objects(CONTENTS)
    assert content["metadata"]["annotations"] == {}


def test_a_snapshot_whose_claim_was_deleted_needs_a_class(world: CopiesWorld) -> None:
    world.cluster.delete(CLAIMS, "data")
    world.settle()
    world.copy(snapshot="nightly")
    world.want()
    world.rounds_of(2)
    assert "create it, or give sourceClass" in world.message()
    world.delete(KEY)
    fast = {"provisioner": DRIVER, "parameters": {"csi.storage.k8s.io/fstype": "btrfs"}}
    world.cluster.put(STORAGE_CLASSES, "west", fast)
    world.copy(snapshot="nightly", sourceClass="fast")
    world.drive(KEY)
    assert world.word("mine") == "night"
    final = world.volume(world.claim("mine")["spec"]["volumeName"])
    assert final["spec"]["csi"]["fsType"] == "btrfs"


@pytest.mark.parametrize("mode", ["Filesystem", "Block"])
def test_the_reclaim_policy_of_the_class_is_kept(world: CopiesWorld, mode: str) -> None:
    world.copy()
    world.want(volumeMode=mode)
    world.drive_to_stage("Securing")
    world.policy = "Retain"
    world.drive(KEY)
    assert world.policy_of("mine") == "Retain"


def test_classes_that_keep_volumes_and_snapshots_keep_nothing_temporary(world: CopiesWorld) -> None:
    world.policy = world.snapshot_policy = "Retain"
    world.copy()
    world.want()
    world.drive(KEY)
    world.settle()
    world.require_delivered()
    assert list(world.taken.values()) == ["night"], "only the snapshot of the user is left"


def test_several_claims_are_copied_at_the_same_time(
    world: CopiesWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciler, "MOST_CLAIMS", 2)
    world.copy(snapshot="nightly")
    for name in ("a", "b", "c"):
        world.want(name)
    world.rounds_of(3)
    assert [item["claim"] for item in world.waiting()] == ["a", "b"]
    world.drive(KEY)
    world.settle()
    assert {world.word(name) for name in ("a", "b", "c")} == {"night"}
    assert (world.status(KEY)["populated"], world.left()) == (3, [])


def test_claims_that_do_not_fit_keep_no_other_from_its_copy(
    world: CopiesWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciler, "MOST_CLAIMS", 2)
    world.copy()
    small = {"requests": {"storage": "1Gi"}}
    for name in ("a", "b", "c", "d", "e"):
        world.want(name, resources=small)
    world.rounds_of(2)
    world.want("last")
    looked_at = set()
    for _ in range(40):
        world.lead(KEY)
        looked_at |= {item["claim"] for item in world.waiting()}
        assert len(world.waiting()) <= 2
    assert world.word("last") == "hello"
    assert looked_at == {"a", "b", "c", "d", "e", "last"}
    assert world.reasons("a") == ["CopyWaits"], "a claim that is looked at again gets no further Event"


def test_places_change_only_when_all_that_have_one_were_looked_at(
    world: CopiesWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciler, "MOST_CLAIMS", 4)
    world.copy()
    for name in ("a", "b", "c", "d", "e"):
        world.want(name, resources={"requests": {"storage": "1Gi"}})
    pauses = [world.lead(KEY) for _ in range(12)]
    assert all(pause or following for pause, following in itertools.pairwise(pauses)), pauses
    assert len(world.waiting()) == 4


def test_claims_that_have_failed_keep_no_other_from_its_copy(
    world: CopiesWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciler, "MOST_CLAIMS", 1)
    monkeypatch.setattr(reconciler, "MOST_FAILED", 2)
    world.copy()
    world.outcome = Outcome(Exit.TARGET, "the target is too small")
    for name in ("a", "b"):
        world.want(name)
    world.drive(KEY)
    assert world.stages() == ["Failed", "Failed"]
    world.outcome = Outcome(Exit.DONE, "copied")
    world.want("c")
    world.drive(KEY)
    assert (world.word("c"), world.stages()) == ("hello", ["Failed", "Failed"])


def test_of_too_many_claims_that_have_failed_the_first_is_tried_again(
    world: CopiesWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciler, "MOST_FAILED", 1)
    world.copy()
    world.outcome = Outcome(Exit.TARGET, "the target is too small")
    for name in ("a", "b"):
        world.want(name)
    while "CopyFailed" not in world.reasons("b"):
        world.lead(KEY)
    world.outcome = Outcome(Exit.DONE, "copied")
    world.drive(KEY)
    assert [item["claim"] for item in world.waiting()] == ["b"]
    assert world.word("a") == "hello"


def test_the_job_has_no_token_and_no_network_and_compares_as_wanted(world: CopiesWorld) -> None:
    world.movers_work = False
    world.copy(claim="data", verify="full")
    uid = world.want()
    world.drive_to_stage("Copying")
    world.lead(KEY)
    (job,) = world.cluster.objects(JOBS)
    pod = job["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    (container,) = pod["containers"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert {f"--job={uid}", "--verify=full"} <= set(container["args"])
    (policy,) = world.cluster.objects(POLICIES)
    assert (policy["spec"]["egress"], policy["spec"]["ingress"]) == ([], [])


def test_the_progress_is_that_of_the_mover(world: CopiesWorld) -> None:
    world.movers_work = False
    world.copy()
    world.want("a")
    world.want("b")
    world.drive_to_stage("Copying")
    world.rounds_of(2)
    line = json.dumps({"phase": "Writing", "bytes": 30, "total": 100, "speed": 7, "percent": 30})
    work = next(item for item in world.rounds.works if item.definition.plural == KEY.plural)
    work._client.last_lines = lambda *_given, **_more: line  # type: ignore[attr-defined]
    world.lead(KEY)
    one = {"bytesDone": 30, "bytesTotal": 100, "percent": 30, "bytesPerSecond": 7}
    assert [item["progress"] for item in world.waiting()] == [one, one]
    both = {"bytesDone": 60, "bytesTotal": 200, "percent": 30, "bytesPerSecond": 14}
    assert world.status(KEY)["progress"] == both
    assert world.message() == "claim a: writing, 30 %; claim b: writing, 30 %"


def test_the_example_of_the_page_gives_the_claim_its_copy(world: CopiesWorld) -> None:
    copy, claim = on_page("volume-copy.md")
    world.cluster.put(STORAGE_CLASSES, claim["spec"]["storageClassName"], {"provisioner": DRIVER})
    world.cluster.put(SNAPSHOT_CLASSES, copy["spec"]["snapshotClass"], {"driver": DRIVER})
    world.cluster.created(world.path, copy)
    world.cluster.created(CLAIMS, claim)
    for _ in range(30):
        world.lead(Key(KEY.plural, NAMESPACE, copy["metadata"]["name"]))
    world.settle()
    world.require_delivered(claim["metadata"]["name"])


# --- what waits, and what is refused ---------------------------------------------------------------


def test_a_claim_waits_for_its_pod_and_gets_a_volume_that_the_node_reaches(world: CopiesWorld) -> None:
    world.copy()
    world.want(storageClassName="late")
    world.rounds_of(3)
    assert "StorageClass late has WaitForFirstConsumer" in world.message()
    assert (world.stages(), world.finalizers(KEY)) == (["Waiting"], [])
    chosen = {"metadata": {"annotations": {reconciler.SELECTED_NODE: "n1"}}}
    world.cluster.patched(f"{CLAIMS}/mine", chosen)
    world.drive_to_stage("Copying")
    (target,) = (item for item in world.cluster.objects(CLAIMS) if "target" in item["metadata"]["name"])
    assert target["metadata"]["annotations"] == {reconciler.SELECTED_NODE: "n1"}
    world.drive(KEY)
    world.require_delivered()


@pytest.mark.parametrize(
    ("claim", "spec", "reason"),
    [
        ({"storageClassName": ""}, {}, "the claim has no StorageClass"),
        ({"storageClassName": "other"}, {}, "StorageClass other is of other.example.org"),
        ({"storageClassName": "none"}, {}, "not found"),
        ({"accessModes": ["ReadWriteMany"]}, {}, "with volumeMode Block only"),
        (
            {"resources": {"requests": {"storage": "7Gi"}}},
            {},
            "the source has 8589934592 bytes",
        ),
        ({"resources": {"requests": {"storage": "many"}}}, {}, "asks for 0"),
        ({}, {"claim": "raw"}, "the source has volumeMode Block"),
        ({}, {"claim": "nothing"}, "claim nothing does not exist"),
        ({}, {"claim": "unbound"}, "claim unbound is not bound"),
        ({}, {"claim": "foreign"}, "has a volume of driver other"),
        ({}, {"snapshot": "nothing"}, "not found"),
    ],
)
def test_what_does_not_fit_is_told_and_nothing_is_begun(
    world: CopiesWorld, claim: dict[str, Any], spec: dict[str, Any], reason: str
) -> None:
    world.claimed("raw", "raw", mode="Block")
    unbound = {"metadata": {"namespace": NAMESPACE}, "spec": {"storageClassName": "x", "volumeName": "y"}}
    world.cluster.put(CLAIMS, "unbound", unbound)
    foreign = world.claimed("foreign", "")
    found = world.volume(foreign)
    csi = {**found["spec"]["csi"], "driver": "other"}
    world.cluster.put(VOLUMES, foreign, {**found, "spec": {**found["spec"], "csi": csi}})
    world.copy(**spec)
    world.want(**claim)
    before = len(world.cluster.objects(CLAIMS))
    world.rounds_of(3)
    assert reason in world.message()
    assert world.status(KEY)["phase"] == "Waiting"
    assert (len(world.cluster.objects(CLAIMS)), world.left(), world.finalizers(KEY)) == (before, [], [])


def test_a_claim_that_is_read_only_is_written_once(world: CopiesWorld) -> None:
    world.copy()
    world.want(accessModes=["ReadOnlyMany"])
    world.drive(KEY)
    world.require_delivered()
    final = world.volume(world.claim("mine")["spec"]["volumeName"])
    assert final["spec"]["accessModes"] == ["ReadOnlyMany", "ReadWriteOnce"]


@pytest.mark.parametrize(
    "spec",
    [
        {"volumeName": "other"},
        {"dataSourceRef": {**SOURCE, "name": "another"}},
        {"dataSourceRef": {**SOURCE, "apiGroup": "example.org"}},
        {"dataSourceRef": {**SOURCE, "namespace": "other"}},
    ],
)
def test_a_claim_that_has_a_volume_or_another_source_is_left_alone(
    world: CopiesWorld, spec: dict[str, Any]
) -> None:
    world.copy()
    world.want(**spec)
    world.rounds_of(3)
    assert (world.waiting(), world.left(), world.status(KEY)["phase"]) == ([], [], "Ready")


def test_the_source_may_appear_later(world: CopiesWorld) -> None:
    world.copy(claim="later")
    world.want()
    world.rounds_of(3)
    world.claimed("later", "late")
    world.drive(KEY)
    world.require_delivered(word="late")


def test_a_claim_that_is_deleted_while_it_waits_is_forgotten(world: CopiesWorld) -> None:
    world.copy(claim="later")
    world.want()
    world.rounds_of(2)
    assert world.stages() == ["Waiting"]
    world.cluster.delete(CLAIMS, "mine")
    world.drive(KEY)
    assert (world.waiting(), world.left(), world.status(KEY)["phase"]) == ([], [], "Ready")


def test_a_mover_that_refuses_fails_the_claim_in_its_words(world: CopiesWorld) -> None:
    world.outcome = Outcome(Exit.TARGET, "the target is too small")
    world.copy()
    world.want()
    world.drive(KEY)
    world.settle()
    assert (world.stages(), world.status(KEY)["phase"]) == (["Failed"], "Failed")
    assert world.message() == "claim mine: the target is too small. Delete the claim, and create it again"
    assert (world.left(), world.finalizers(KEY)) == ([], [])
    assert len(world.volumes()) == 1
    assert world.reasons("mine") == ["CopyBegins", "CopyFailed"]
    world.cluster.delete(CLAIMS, "mine")
    world.outcome = Outcome(Exit.DONE, "copied")
    world.want()
    world.drive(KEY)
    world.require_delivered()


@pytest.mark.parametrize("policy", ["Retain", "Delete"])
def test_a_volume_from_before_that_the_temporary_claim_got_keeps_its_data(
    world: CopiesWorld, policy: str
) -> None:
    world.outcome = Outcome(Exit.TARGET, "the target has content")
    world.available("old", "of someone else", "west", policy=policy)
    world.copy()
    world.want()
    world.drive(KEY)
    world.settle()
    assert (world.stages(), world.left()) == (["Failed"], [])
    assert world.data[world.handle("old")] == "of someone else"
    assert world.volume("old")["status"]["phase"] == "Released"


def test_a_blank_volume_from_before_is_not_taken_for_the_copy(world: CopiesWorld) -> None:
    world.available("old", "", "west")
    world.copy()
    world.want()
    world.drive(KEY)
    world.settle()
    assert (world.stages(), world.left()) == (["Failed"], [])
    assert "has got PersistentVolume old, which existed before, so it is kept" in world.message()
    assert world.volume("old")["spec"]["persistentVolumeReclaimPolicy"] == "Retain"


def test_a_volume_from_before_is_not_taken_for_the_source(world: CopiesWorld) -> None:
    world.available("old", "of someone else", "fast")
    world.copy()
    world.want()
    world.drive(KEY)
    world.settle()
    assert (world.stages(), world.left()) == (["Failed"], [])
    assert "has got PersistentVolume old, which existed before, so other data were read" in world.message()
    assert "volumeName" not in world.claim("mine")["spec"]
    assert world.data[world.handle("old")] == "of someone else"


def test_an_object_of_someone_else_is_left_alone(world: CopiesWorld) -> None:
    world.copy()
    uid = world.want()
    name = reconciler.target(uid)
    world.cluster.put(CLAIMS, name, {"metadata": {"namespace": NAMESPACE}, "spec": {"volumeName": "x"}})
    world.rounds_of(6)
    assert f"{name} exists, and was not made for this VolumeCopy" in world.message()
    assert "CopyWaits" in world.reasons("mine")
    world.delete(KEY)
    world.drive(KEY)
    assert not world.exists(KEY)
    assert world.named(CLAIMS, name) is not None


# --- what others do meanwhile ----------------------------------------------------------------------


def test_what_the_pod_needs_is_made_again(world: CopiesWorld) -> None:
    world.copy()
    uid = world.want()
    world.drive_to_stage("Copying")
    before = world.waiting()[0]["targetUid"]
    world.cluster.delete(CLAIMS, reconciler.target(uid))
    world.settle()
    world.lead(KEY)
    assert world.waiting()[0]["targetUid"] != before
    world.drive(KEY)
    world.settle()
    world.require_delivered()


def started(world: CopiesWorld) -> dict[str, Any]:
    """The pod of the Job, which does not end yet."""
    world.movers_work = False
    while not world.cluster.objects(PODS):
        world.lead(KEY)
    (pod,) = world.cluster.objects(PODS)
    return pod


def source_id(world: CopiesWorld) -> str:
    """The source that the Job reads, as it tells the mover."""
    (job,) = world.cluster.objects(JOBS)
    (container,) = job["spec"]["template"]["spec"]["containers"]
    (found,) = (item for item in container["args"] if item.startswith("--source-id="))
    return str(found)


def test_a_job_never_reads_another_snapshot_than_it_was_told(world: CopiesWorld) -> None:
    world.copy()
    uid = world.want()
    pod = started(world)
    before = source_id(world)
    world.cluster.put(PODS, pod["metadata"]["name"], {**pod, "status": {"phase": "Failed"}})
    for resource in (CLAIMS, SNAPSHOTS):
        world.cluster.delete(resource, reconciler.temporary(uid))
    world.settle()
    world.data[world.handle(world.claim("data")["spec"]["volumeName"])] = "later"
    while world.named(CLAIMS, reconciler.temporary(uid)) is None:
        world.lead(KEY)
    world.rounds_of(2)
    assert source_id(world) == f"--source-id={world.waiting()[0]['sourceId']}" != before
    world.movers_work = True
    world.drive(KEY)
    world.settle()
    world.require_delivered(word="later")


def test_a_snapshot_that_was_read_already_may_be_replaced(world: CopiesWorld) -> None:
    world.copy()
    uid = world.want()
    started(world)
    before = source_id(world)
    world.cluster.delete(SNAPSHOTS, reconciler.temporary(uid))
    world.settle()
    world.rounds_of(4)
    assert source_id(world) == before == f"--source-id={world.waiting()[0]['sourceId']}"
    world.movers_work = True
    world.drive(KEY)
    world.settle()
    world.require_delivered()


def test_a_target_that_was_made_after_the_end_of_the_mover_is_not_taken_for_the_copy(
    world: CopiesWorld,
) -> None:
    world.copy()
    uid = world.want()
    pod = started(world)
    state = {"terminated": {"exitCode": 0, "message": world.outcome.text()}}
    status = {"phase": "Succeeded", "containerStatuses": [{"name": "mover", "state": state}]}
    world.cluster.put(PODS, pod["metadata"]["name"], {**pod, "status": status})
    world.cluster.delete(CLAIMS, reconciler.target(uid))
    world.settle()
    world.rounds_of(1)
    for job in world.cluster.objects(JOBS):
        ended = {"conditions": [{"type": "Complete", "status": "True"}]}
        world.cluster.put(JOBS, job["metadata"]["name"], {**job, "status": ended})
    world.movers_work = True
    world.drive(KEY)
    world.settle()
    world.require_delivered()


def test_another_use_of_the_snapshot_does_not_take_the_right_to_open_it(world: CopiesWorld) -> None:
    world.copy(snapshot="nightly")
    world.want()
    world.drive_to_stage("Securing")
    (content,) = world.cluster.objects(CONTENTS)
    path = f"{CONTENTS}/{content['metadata']['name']}"
    world.cluster.patched(path, {"metadata": {"annotations": {MODE_CHANGE: "true"}}})
    world.rounds.lead(KEY)
    assert world.stages() == ["Copying"]
    world.cluster.patched(path, {"metadata": {"annotations": {MODE_CHANGE: None}}})
    world.drive(KEY)
    world.require_delivered(word="night")


def test_a_copy_that_cannot_end_does_not_take_the_right_of_another_one_again(world: CopiesWorld) -> None:
    world.copy(snapshot="nightly")
    world.want()
    world.detaches = False
    world.drive_to_stage("Closing")
    world.rounds_of(2)
    (content,) = world.cluster.objects(CONTENTS)
    assert content["metadata"]["annotations"] == {}
    path = f"{CONTENTS}/{content['metadata']['name']}"
    world.cluster.patched(path, {"metadata": {"annotations": {MODE_CHANGE: "true"}}})
    world.rounds_of(4)
    assert "node node-1 still has PersistentVolume" in world.message()
    world.cluster.delete(CLAIMS, "mine")
    world.rounds_of(4)
    (content,) = world.cluster.objects(CONTENTS)
    assert content["metadata"]["annotations"] == {MODE_CHANGE: "true"}


@pytest.mark.parametrize("stage", ["Closing", "Binding"])
def test_a_volume_with_the_copy_that_was_deleted_fails_the_claim(world: CopiesWorld, stage: str) -> None:
    world.copy()
    world.want()
    world.drive_to_stage(stage)
    for name in world.volumes() - {world.source}:
        world.cluster.remove(VOLUMES, name)
    world.drive(KEY)
    assert world.stages() == ["Failed"]
    assert "was deleted" in world.message() or "is missing" in world.message()


def test_a_target_that_was_replaced_is_not_taken_for_the_copy(world: CopiesWorld) -> None:
    world.copy()
    uid = world.want()
    world.drive_to_stage("Copying")
    while not any(job.get("status") for job in world.cluster.objects(JOBS)):
        world.lead(KEY)
    name = reconciler.target(uid)
    item = world.claim(name)
    world.cluster.remove(CLAIMS, name)
    world.cluster.put(CLAIMS, name, {**item, "metadata": {**item["metadata"], "uid": "another"}})
    world.drive(KEY)
    assert "what was written is not used: claim" in world.message()


def test_a_claim_that_looks_like_a_leftover_gives_no_right_to_a_volume_that_it_names(
    world: CopiesWorld,
) -> None:
    world.copy()
    reference = {"namespace": "other", "name": "theirs"}
    csi = {"driver": DRIVER, "volumeHandle": "volume-of-others"}
    spec = {"claimRef": reference, "persistentVolumeReclaimPolicy": "Retain", "csi": csi}
    world.cluster.put(VOLUMES, "theirs", {"spec": spec, "status": {"phase": "Available"}})
    labels = {OWNER_LABEL: world.object(KEY)["metadata"]["uid"]}
    world.cluster.put(
        CLAIMS,
        reconciler.target("x"),
        {
            "metadata": {"namespace": NAMESPACE, "labels": labels},
            "spec": {"storageClassName": "west", "volumeName": "theirs"},
        },
    )
    world.rounds_of(3)
    assert world.named(CLAIMS, reconciler.target("x")) is None
    assert world.volume("theirs")["spec"] == spec


@pytest.mark.parametrize("path", [CLAIMS, SNAPSHOTS, JOBS, POLICIES])
@pytest.mark.parametrize("name", ["mine", "target-x", "copy-x", "copy-target-x", "copy-target-target-x"])
def test_the_label_on_an_object_of_a_user_does_not_keep_the_operator_busy(
    world: CopiesWorld, path: str, name: str
) -> None:
    world.copy()
    labels = {OWNER_LABEL: world.object(KEY)["metadata"]["uid"]}
    spec = {"storageClassName": "west", "volumeName": "none"}
    item = {"metadata": {"namespace": NAMESPACE, "labels": labels}, "spec": spec}
    item["status"] = {"readyToUse": True, "conditions": [{}]}
    world.cluster.put(path, name, item)
    world.drive(KEY)
    assert (world.waiting(), world.finalizers(KEY)) == ([], [])
    assert (world.named(path, name) is None) == name.startswith("copy-")


def test_late_leftovers_are_removed(world: CopiesWorld) -> None:
    world.copy()
    uid = world.object(KEY)["metadata"]["uid"]
    labels = {"powerflex.dev/made-for": uid}
    world.cluster.put(
        CLAIMS,
        "copy-target-late",
        {
            "metadata": {"namespace": NAMESPACE, "labels": labels},
            "spec": {
                "storageClassName": "fast",
                "volumeMode": "Block",
                "accessModes": [],
                "resources": {"requests": {"storage": "8Gi"}},
            },
        },
    )
    world.settle()
    world.drive(KEY)
    world.settle()
    world.require_nothing_left()


def test_an_object_with_a_copied_label_and_another_name_is_left_alone(world: CopiesWorld) -> None:
    world.copy()
    world.rounds_of(2)
    labels = {"powerflex.dev/made-for": world.object(KEY)["metadata"]["uid"]}
    world.cluster.put(SNAPSHOTS, "kept", {"metadata": {"namespace": NAMESPACE, "labels": labels}})
    for _ in range(3):
        assert world.rests(world.rounds.lead(KEY))
    assert (world.waiting(), world.reasons()) == ([], [])
    assert world.named(SNAPSHOTS, "kept") is not None


@pytest.mark.parametrize("deleted", ["claim", "copy"])
def test_a_lost_node_delays_the_claim_but_no_deletion(world: CopiesWorld, deleted: str) -> None:
    world.copy()
    world.want()
    world.detaches = False
    world.drive_to_stage("Closing")
    world.rounds_of(6)
    assert "node node-1 still has PersistentVolume" in world.message()
    if deleted == "claim":
        world.cluster.delete(CLAIMS, "mine")
    else:
        world.delete(KEY)
    world.rounds_of(4)
    assert world.exists(KEY) == (deleted == "claim")
    world.detaches = True
    world.settle()
    world.rounds_of(3)
    world.settle()
    assert world.left() == []
    assert world.data == {"volume-1": "hello"}


def test_a_lost_node_of_a_pod_that_runs_does_not_keep_a_deleted_copy(world: CopiesWorld) -> None:
    world.movers_work = world.detaches = False
    world.copy()
    world.want()
    world.drive_to_stage("Copying")
    world.rounds_of(3)
    world.delete(KEY)
    world.rounds_of(4)
    assert not world.exists(KEY)
    world.detaches = True
    world.settle()
    world.cluster.delete(CLAIMS, "mine")
    world.require_nothing_left()


def test_what_may_not_be_undone_is_told_and_does_not_keep_a_deleted_copy(world: CopiesWorld) -> None:
    world.movers_work = False
    world.copy()
    uid = world.want()
    world.drive_to_stage("Copying")
    world.lead(KEY)
    world.cluster.refused[f"{JOBS}/{reconciler.temporary(uid)}"] = 403
    world.delete(KEY)
    world.rounds_of(3)
    assert not world.exists(KEY)
    assert "NotUndone" in world.reasons()


def test_what_may_not_be_undone_is_undone_once_it_may(world: CopiesWorld) -> None:
    world.movers_work = False
    world.copy()
    uid = world.want()
    world.drive_to_stage("Copying")
    world.lead(KEY)
    job = f"{JOBS}/{reconciler.temporary(uid)}"
    world.cluster.refused[job] = 403
    world.cluster.delete(CLAIMS, "mine")
    world.rounds_of(3)
    assert world.stages() == ["Undoing"]
    assert f"{job} is refused" in world.message()
    world.cluster.refused.clear()
    world.drive(KEY)
    world.settle()
    world.require_nothing_left()


def test_an_api_server_that_is_down_only_delays(world: CopiesWorld) -> None:
    world.copy()
    world.want()
    world.drive_to_stage("Copying")
    world.cluster.down = True
    world.rounds.lead(KEY)
    world.cluster.down = False
    world.drive(KEY)
    world.settle()
    world.require_delivered()


def test_a_claim_that_was_deleted_after_it_had_the_volume_takes_it_along(world: CopiesWorld) -> None:
    world.copy()
    world.want()
    world.binds = False
    world.drive_to_stage("Binding")
    world.rounds_of(2)
    assert "waits until Kubernetes has bound the claim" in world.message()
    world.cluster.delete(CLAIMS, "mine")
    world.drive(KEY)
    world.settle()
    world.require_nothing_left()
    assert world.reasons()[-1] == "CopyDropped"


def test_a_volume_that_was_deleted_together_with_its_claim_is_no_failure(world: CopiesWorld) -> None:
    world.copy()
    world.want()
    world.drive_to_stage("Binding")
    for name in world.volumes() - {world.source}:
        world.cluster.remove(VOLUMES, name)
    world.cluster.delete(CLAIMS, "mine")
    world.drive(KEY)
    assert (world.waiting(), world.left()) == ([], [])
    assert world.reasons() == ["CopyBegins", "CopyDropped"]


def test_a_claim_has_its_volume_before_all_that_was_temporary_is_removed(world: CopiesWorld) -> None:
    world.copy()
    uid = world.want()
    world.drive_to_stage("Closing")
    snapshot = f"{SNAPSHOTS}/{reconciler.temporary(uid)}"
    world.cluster.patched(snapshot, {"metadata": {"finalizers": ["snapshot.storage.kubernetes.io/x"]}})
    world.drive_to_stage("Binding")
    world.rounds_of(4)
    assert world.message() == "claim mine: waits until what was temporary is removed"
    assert world.word("mine") == "hello"
    world.cluster.patched(snapshot, {"metadata": {"finalizers": None}})
    world.drive(KEY)
    world.settle()
    world.require_delivered()


def test_a_copy_that_is_deleted_while_the_claim_is_bound_ends_without_waiting(world: CopiesWorld) -> None:
    world.copy()
    world.want()
    world.binds = False
    world.drive_to_stage("Binding")
    world.rounds_of(2)
    world.delete(KEY)
    world.rounds_of(1)
    assert not world.exists(KEY)
    world.binds = True
    world.settle()
    world.require_delivered()


def test_the_claim_of_someone_else_never_gets_the_volume(world: CopiesWorld) -> None:
    world.copy()
    world.want()
    world.drive_to_stage("Binding")
    (name,) = world.volumes() - {world.source}
    found = world.volume(name)
    reference = {"namespace": "other", "name": "x", "uid": "y"}
    world.cluster.put(VOLUMES, name, {**found, "spec": {**found["spec"], "claimRef": reference}})
    world.rounds_of(3)
    assert f"PersistentVolume {name} of the copy is bound to claim other/x" in world.message()
    world.delete(KEY)
    world.rounds_of(3)
    assert not world.exists(KEY)
    assert world.volume(name)["spec"]["claimRef"] == reference
