"""VolumeImage: one import for each pool, and a clone for each claim."""

from __future__ import annotations

import contextlib
import datetime
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from csi_powerflex.kube.client import Client
from csi_powerflex.kube_objects.reader import VOLUMES
from csi_powerflex.model.mover import Exit, Outcome
from csi_powerflex.operator.images import reconciler
from csi_powerflex.operator.images.definition import CachedCopy
from csi_powerflex.operator.movers.job import jobs, policies
from csi_powerflex.operator.objects import claims, snapshots
from csi_powerflex.operator.sources import CONTENTS
from tests.controller.ended import Killed, Life
from tests.figures import Figures
from tests.kube.api_server import ApiServer
from tests.operator.clock import Clock
from tests.operator.images_world import GIB, IDLE, OURS, PATH, SHOP, URL, ImagesWorld, SavedWorld

_MOST_ROUNDS = 80
SHA = "sha256:" + "5" * 64


@pytest.fixture
def images(cluster: ApiServer, client: Client) -> ImagesWorld:
    return ImagesWorld(cluster, client)


def require_delivered(images: ImagesWorld, uid: str, name: str = "disk") -> None:
    """The claim has a clone, and nothing temporary is left."""
    assert images.word(name) == "debian"
    volume = images.volume_of(name)
    assert volume["spec"]["claimRef"]["uid"] == uid
    assert volume["spec"]["persistentVolumeReclaimPolicy"] == images.policy
    assert images.temporary() == []
    # The volume of the import is removed: there are one snapshot for each copy, and the clones.
    assert len(images.taken) == len(images.goldens())
    assert len(images.data) == len(images.cluster.objects(VOLUMES))


def require_nothing_left(images: ImagesWorld) -> None:
    """All that was made for the image is removed, on the array too."""
    assert not images.exists()
    assert images.temporary() == []
    assert images.goldens() == []
    assert images.cluster.objects(CONTENTS) == []
    assert images.taken == {}


# --- claims get clones ------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["Block", "Filesystem"])
def test_the_first_claim_waits_for_the_import_and_gets_a_clone(images: ImagesWorld, mode: str) -> None:
    key = images.create()
    uid = images.want(mode=mode)
    images.settle(key)
    require_delivered(images, uid)
    status = images.status()
    assert status["phase"] == "Ready"
    assert status["populated"] == 1
    assert (status["digest"], status["diskBytes"], status["format"]) == ("sha256:ab", 2 * GIB, "qcow2")
    (copy,) = status["copies"]
    assert (copy["pool"], copy["clones"], copy["sizeBytes"]) == ("storagepool=fast", 1, 8 * GIB)
    (condition,) = status["conditions"]
    assert (condition["type"], condition["status"]) == ("Cached", "True")
    stages = ["CopyImporting", "CopyCaching", "CopyCleaning", "CopyReady"]
    assert [reason for reason in images.reasons() if reason.startswith("Copy")] == stages
    assert images.reasons("PersistentVolumeClaim") == ["ClaimWaits", "Populated"]


def test_twenty_claims_at_once_make_one_import_and_twenty_clones(images: ImagesWorld) -> None:
    key = images.create()
    uids = {f"disk-{number}": images.want(f"disk-{number}") for number in range(20)}
    images.settle(key)
    assert len(images.imports) == 1
    assert len(images.bound()) == 20
    for name, uid in uids.items():
        require_delivered(images, uid, name)
    assert len(set(images.tree.values())) == 1, "all are in the tree of the one copy"
    assert images.status()["populated"] == 20


def test_an_image_may_be_in_the_namespace_of_the_operator(images: ImagesWorld) -> None:
    images.namespace = SHOP
    images.new_process()
    key = images.create()
    uid = images.want()
    images.settle(key)
    assert (images.word(), images.volume_of()["spec"]["claimRef"]["uid"]) == ("debian", uid)
    assert (images.temporary(), list(images.taken.values())) == ([], ["debian"])
    images.delete()
    images.settle(key)
    assert (images.temporary(), images.taken, images.word()) == ([], {}, "debian")


def test_a_later_claim_gets_its_clone_in_a_few_steps(images: ImagesWorld) -> None:
    key = images.create()
    images.want()
    images.settle(key)
    uid = images.want("later", size="20Gi", mode="Filesystem")
    for _ in range(10):
        pause = images.lead(key)
        assert pause is not None
        if "later" in images.bound():
            break
    images.settle(key)
    require_delivered(images, uid, "later")
    assert len(images.imports) == 1
    assert images.volume_of("later")["spec"]["capacity"] == {"storage": "20Gi"}


def test_classes_of_one_pool_share_a_copy_and_each_other_pool_has_its_own(images: ImagesWorld) -> None:
    images.attributes_class("limits", iopsLimit="100")
    images.attributes_class("to-slow", storagepool="slow")
    key = images.create()
    images.want("first")
    images.want("same", storage_class="fast-too")
    images.want("limited", volumeAttributesClassName="limits")
    images.want("other", storage_class="slow")
    images.want("moved", volumeAttributesClassName="to-slow")
    images.settle(key)
    assert len(images.bound()) == 5
    assert sorted(item["pool"] for item in images.status()["copies"]) == [
        "storagepool=fast",
        "storagepool=slow",
    ]
    assert images.tree[images.handle("first")] == images.tree[images.handle("same")]
    assert images.tree[images.handle("first")] == images.tree[images.handle("limited")]
    assert images.tree[images.handle("other")] == images.tree[images.handle("moved")]


def test_later_imports_must_have_the_digest_of_the_first(images: ImagesWorld) -> None:
    key = images.create(checksum=SHA)
    images.want()
    images.settle(key)
    images.want("other", storage_class="slow")
    images.settle(key)
    checksums = [next(item for item in args if item.startswith("--checksum")) for args in images.imports]
    assert checksums == [f"--checksum={SHA}", "--checksum=sha256:ab"]


def test_an_import_that_ran_next_to_the_first_must_have_its_digest_too(images: ImagesWorld) -> None:
    key = images.create(storageClasses=["fast", "slow"])
    second = f"image-{images.uid()}-2"
    images.outcomes[second] = Outcome(Exit.DONE, "imported", size=2 * GIB, digest="sha256:cd")
    images.rounds_of(key, 20)
    assert not any("--checksum" in part for args in images.imports for part in args)
    assert images.stages() == ["Ready", "Failed"]
    assert images.status()["digest"] == "sha256:ab"
    assert "the digest sha256:cd, and an earlier import had sha256:ab" in images.status()["message"]
    assert images.data.keys() == set()


def test_copies_are_made_ahead_for_the_named_classes(images: ImagesWorld) -> None:
    images.storage_class("foreign", provisioner="other.example.org")
    key = images.create(storageClasses=["fast", "foreign", "none"], keep={"unusedHours": 1})
    images.settle(key)
    assert images.stages() == ["Ready"]
    assert "StorageClass foreign does not exist, or is of another driver" in images.status()["message"]
    assert "StorageClass none does not exist" in images.status()["message"]
    images.clock.forward(hours=10)
    images.settle(key)
    assert images.stages() == ["Ready"]
    assert len(images.imports) == 1


def test_a_claim_waits_for_its_pod(images: ImagesWorld) -> None:
    images.storage_class("late", binding="WaitForFirstConsumer", storagepool="fast")
    key = images.create()
    images.want(storage_class="late")
    images.rounds_of(key, 5)
    assert images.stages() == []
    (claim,) = images.status()["claims"]
    assert claim["message"] == (
        "waits for a pod that uses the claim: StorageClass late has WaitForFirstConsumer"
    )
    assert images.told("disk") == [("Normal", "ClaimWaits", f"claim disk: {claim['message']}")]
    node = {"metadata": {"annotations": {"volume.kubernetes.io/selected-node": "n1"}}}
    images.cluster.patched(f"{claims(SHOP)}/disk", node)
    images.provisions = False
    images.rounds_of(key, 3)
    images.provisions = True
    while not images.cluster.objects(claims(OURS)):
        images.lead(key)
    (prime,) = images.cluster.objects(claims(OURS))
    assert prime["metadata"]["annotations"] == {"volume.kubernetes.io/selected-node": "n1"}
    images.settle(key)
    assert images.bound() == ["disk"]


@pytest.mark.parametrize(
    "change",
    [
        {"volumeName": "other"},
        {"dataSourceRef": {"namespace": "elsewhere"}},
        {"dataSourceRef": {"name": "fedora"}},
        {"dataSourceRef": {"kind": "VolumeCopy"}},
    ],
    ids=str,
)
def test_other_claims_are_left_alone(images: ImagesWorld, change: dict[str, object]) -> None:
    key = images.create()
    images.want()
    images.cluster.patched(f"{claims(SHOP)}/disk", {"spec": change})
    images.rounds_of(key, 3)
    assert images.status().get("claims") is None
    assert images.stages() == []


@pytest.mark.parametrize(
    ("storage_class", "reason"),
    [
        ("foreign", "StorageClass foreign is of other.example.org; create the claim with one of"),
        ("none", "StorageClass none does not exist; create it"),
        (None, "it has no StorageClass; create it with one"),
    ],
)
def test_a_claim_without_a_class_of_the_driver_waits_and_is_told_so_once(
    images: ImagesWorld, storage_class: str | None, reason: str
) -> None:
    images.storage_class("foreign", provisioner="other.example.org")
    key = images.create()
    uid = images.want(storage_class=storage_class)
    images.rounds_of(key, 5)
    (claim,) = images.status()["claims"]
    assert claim["message"].startswith(reason)
    assert (images.stages(), images.temporary(), images.status()["phase"]) == ([], [], "Ready")
    assert images.told("disk") == [("Warning", "ClaimWaits", f"claim disk: {claim['message']}")]
    assert images.status()["message"] == f"claim disk: {claim['message']}"
    images.cluster.patched(f"{claims(SHOP)}/disk", {"spec": {"storageClassName": "fast"}})
    images.settle(key)
    require_delivered(images, uid)


def test_a_claim_that_cannot_get_a_clone_is_forgotten_once_it_is_deleted(images: ImagesWorld) -> None:
    key = images.create()
    images.want(storage_class="none")
    images.rounds_of(key, 3)
    assert len(images.status()["claims"]) == 1
    images.delete_claim()
    images.settle(key)
    assert images.status().get("claims") is None


def test_claims_that_cannot_get_a_clone_keep_no_other_from_its_clone(
    images: ImagesWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciler, "MOST_CLAIMS", 2)
    key = images.create()
    for number in range(3):
        images.want(f"small-{number}", size="1Gi")
        images.want(f"without-{number}", storage_class="none")
    images.rounds_of(key, 4)
    assert len(images.status()["claims"]) == 2
    uids = {name: images.want(name) for name in ("a", "b", "c")}
    for _ in range(_MOST_ROUNDS):
        images.lead(key)
        assert len(images.status().get("claims", ())) <= 2
    for name, uid in uids.items():
        require_delivered(images, uid, name)


def test_claims_of_a_pool_whose_import_fails_keep_no_other_from_its_clone(
    images: ImagesWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciler, "MOST_CLAIMS", 2)
    key = images.create()
    images.outcome = Outcome(Exit.REFUSED, "no pool")
    for number in range(3):
        images.want(f"slow-{number}", storage_class="slow")
    images.settle_until(key, "Failed")
    images.outcome = Outcome(Exit.DONE, "imported", size=2 * GIB, written=5, format="qcow2", digest="x")
    uids = {name: images.want(name) for name in ("a", "b")}
    for _ in range(_MOST_ROUNDS):
        images.lead(key)
        assert len(images.status().get("claims", ())) <= 2
        failed = [item for item in images.status()["copies"] if item.get("stage") == "Failed"]
        assert [item["attempts"] for item in failed] == [1], "its pause goes on"
    for name, uid in uids.items():
        assert images.volume_of(name)["spec"]["claimRef"]["uid"] == uid


def test_claims_that_wait_for_an_import_keep_no_other_from_the_clone_of_a_copy_that_is_ready(
    images: ImagesWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = images.create()
    images.want()
    images.settle(key)
    monkeypatch.setattr(reconciler, "MOST_CLAIMS", 2)
    images.movers_work = False
    for number in range(3):
        images.want(f"slow-{number}", storage_class="slow")
    images.rounds_of(key, 4)
    uid = images.want("late")
    for _ in range(_MOST_ROUNDS):
        images.lead(key)
    assert images.volume_of("late")["spec"]["claimRef"]["uid"] == uid


def test_a_claim_that_something_was_made_for_keeps_its_place(
    images: ImagesWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = images.create()
    images.want()
    images.settle(key)
    images.provisions = False
    images.want("late")
    while not images.cluster.objects(claims(OURS)):
        images.lead(key)
    monkeypatch.setattr(reconciler, "MOST_CLAIMS", 1)
    images.change(size="16Gi")
    images.want("a", size="16Gi")
    images.rounds_of(key, 1)
    assert [item["claim"] for item in images.status()["claims"]] == ["late"], "its clone is to be removed"
    images.provisions = True
    for _ in range(_MOST_ROUNDS):
        images.lead(key)
    assert images.word("a") == "debian"
    assert images.temporary() == []


def test_a_claim_may_name_its_own_namespace_in_either_form(images: ImagesWorld) -> None:
    key = images.create()
    source = {"apiGroup": "powerflex.dev", "kind": "VolumeImage", "name": "debian"}
    uids = {
        name: images.want(name, dataSourceRef={**source, "namespace": namespace})
        for name, namespace in (("empty", ""), ("same", SHOP))
    }
    images.settle(key)
    for name, uid in uids.items():
        require_delivered(images, uid, name)


def test_a_claim_that_is_too_small_is_refused_with_both_sizes(images: ImagesWorld) -> None:
    key = images.create(size="16Gi")
    images.want(size="9Gi")
    images.rounds_of(key, 4)
    assert images.stages() == [], "nothing is imported for it"
    (claim,) = images.status()["claims"]
    assert claim["message"].startswith(
        "it asks for 9 GiB, and the image needs 16 GiB; create the claim again"
    )
    assert images.reasons() == images.reasons("PersistentVolumeClaim") == ["ClaimTooSmall"]
    images.delete_claim()
    uid = images.want(size="16Gi")
    images.settle(key)
    require_delivered(images, uid)


def test_a_class_that_keeps_volumes_gives_the_clone_that_policy_and_keeps_nothing_else(
    images: ImagesWorld,
) -> None:
    images.policy = "Retain"
    key = images.create()
    uid = images.want()
    images.settle(key)
    require_delivered(images, uid)


@pytest.mark.parametrize("size", ["1n", "5u"])
def test_a_claim_with_a_size_that_is_none_does_not_stop_others(images: ImagesWorld, size: str) -> None:
    # The API server accepts each quantity that is larger than 0.
    key = images.create()
    images.want("odd", size=size)
    images.want("disk")
    images.rounds_of(key, 20)
    assert images.word("disk") == "debian"
    (claim,) = images.status()["claims"]
    assert (claim["claim"], claim["message"].startswith("it asks for 0")) == ("odd", True)


# --- the import -------------------------------------------------------------------------------------


def job_of(images: ImagesWorld) -> dict[str, object]:
    (job,) = images.cluster.objects(jobs(SHOP))
    return dict(job["spec"]["template"])


def test_the_url_reaches_the_mover_as_a_file_and_the_secret_is_mounted_by_kubelet(
    images: ImagesWorld,
) -> None:
    images.movers_work = False
    key = images.create(
        source={
            "http": {"url": URL, "secret": "access", "credentialsKey": "token", "authoritiesKey": "ca.pem"}
        },
        format="qcow2",
    )
    images.want()
    images.rounds_of(key, 4)
    text = json.dumps(job_of(images))
    assert '"annotations": {"powerflex.dev/url": "https://images.example.org/debian.qcow2"}' in text
    assert "metadata.annotations['powerflex.dev/url']" in text
    for option in (
        "--url-file=/url/url",
        "--credentials-file=/server/credentials",
        "--ca-file=/server/authorities",
    ):
        assert option in text
    assert "--format=qcow2" in text
    assert '"secretName": "access"' in text


def test_an_import_reaches_no_more_than_the_namespace_allows(images: ImagesWorld) -> None:
    images.movers_work = False
    key = images.create()
    images.want()
    images.rounds_of(key, 4)
    (policy,) = images.cluster.objects(policies(SHOP))
    assert policy["spec"]["policyTypes"] == ["Ingress"]
    assert "egress" not in policy["spec"]


def test_a_secret_url_is_in_no_object(images: ImagesWorld) -> None:
    images.movers_work = False
    key = images.create(source={"http": {"secret": "access", "urlKey": "url"}})
    images.want()
    images.rounds_of(key, 4)
    text = json.dumps(job_of(images))
    assert "--url-file=/server/url" in text
    assert "annotations" not in text


def test_an_image_in_a_file_on_a_claim(images: ImagesWorld) -> None:
    images.source_claim("images", "", mode="Filesystem")
    key = images.create(
        source={"claim": {"name": "images", "file": "linux/debian.qcow2"}}, scratchClass="slow"
    )
    uid = images.want()
    images.settle(key)
    require_delivered(images, uid)
    (arguments,) = images.imports
    assert "--source=/source/linux/debian.qcow2" in arguments


def test_a_claim_with_an_image_is_never_changed(images: ImagesWorld) -> None:
    images.source_claim("images", "", mode="Filesystem")
    images.movers_work = False
    key = images.create(source={"claim": {"name": "images", "file": "debian.qcow2"}})
    images.want()
    images.rounds_of(key, 4)
    text = json.dumps(job_of(images))
    assert '"persistentVolumeClaim": {"claimName": "images", "readOnly": true}' in text
    assert '"mountPath": "/source", "readOnly": true' in text


def test_an_image_in_a_claim_in_block_mode_is_read_from_a_snapshot(images: ImagesWorld) -> None:
    images.source_claim("master", "debian", mode="Block")
    key = images.create(source={"claim": {"name": "master"}}, format="raw")
    images.movers_work = False
    images.want()
    images.rounds_of(key, 8)
    copy = images.status()["copies"][0]["name"]
    assert images.word(f"{copy}-source") == "debian"
    images.movers_work = True
    images.settle(key)
    assert images.word() == "debian"
    assert images.temporary() == []
    assert list(images.taken.values()) == ["debian"], "the snapshot of the source is removed"


def test_a_volume_from_before_is_not_taken_for_the_source(images: ImagesWorld) -> None:
    images.source_claim("master", "debian", mode="Block")
    key = images.create(source={"claim": {"name": "master"}}, format="raw")
    images.movers_work = False
    images.want()
    images.rounds_of(key, 8)
    source = f"{images.status()['copies'][0]['name']}-source"
    volume, found = "old", images.volume_of(source)
    csi = {**found["spec"]["csi"], "volumeHandle": "of-someone-else"}
    images.data["of-someone-else"] = "of someone else"
    images.cluster.put(VOLUMES, volume, {"spec": {**found["spec"], "csi": csi}})
    images.cluster.patched(f"{claims(SHOP)}/{source}", {"spec": {"volumeName": volume}})
    images.movers_work = True
    images.rounds_of(key, 3)
    message = f"has got PersistentVolume {volume}, which existed before, so other data were read"
    assert (images.stages(), images.bound()) == (["Failed"], [])
    assert message in images.status()["message"]
    assert images.data["of-someone-else"] == "of someone else"


@pytest.mark.parametrize(
    ("mode", "file", "message"),
    [
        ("Block", "a.raw", "has no filesystem (volumeMode Block); leave out source.claim.file"),
        ("Filesystem", "", "has a filesystem; give the path of the image in source.claim.file"),
    ],
)
def test_a_source_claim_of_the_other_mode_is_refused(
    images: ImagesWorld, mode: str, file: str, message: str
) -> None:
    images.source_claim("images", "", mode=mode)
    key = images.create(source={"claim": {"name": "images", **({"file": file} if file else {})}})
    images.want()
    images.rounds_of(key, 4)
    assert images.status()["phase"] == "Failed"
    assert message in images.status()["message"]


def test_a_source_that_is_missing_is_waited_for(images: ImagesWorld) -> None:
    key = images.create(source={"claim": {"name": "images", "file": "debian.qcow2"}})
    images.want()
    images.rounds_of(key, 5)
    assert images.stages() == ["Importing"]
    assert '"images" not found' in images.status()["claims"][0]["message"]
    images.source_claim("images", "", mode="Filesystem")
    images.settle(key)
    assert images.word() == "debian"


def test_the_progress_of_the_import_is_in_the_status(
    images: ImagesWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    images.movers_work = False
    key = images.create()
    images.want()
    images.rounds_of(key, 6)
    assert images.status()["phase"] == "Importing"
    assert images.status().get("progress") is None
    line = '{"phase": "Downloading", "bytes": 42, "total": 100, "speed": 7, "percent": 42}\n'
    monkeypatch.setattr(images.client, "last_lines", lambda *_given, **_more: line)
    images.rounds_of(key, 2)
    assert images.status()["progress"] == {
        "bytesDone": 42,
        "bytesTotal": 100,
        "percent": 42,
        "bytesPerSecond": 7,
    }
    assert images.status()["claims"][0]["message"] == "waits for the image: downloading, 42 %"


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome(Exit.REFUSED, "the image has another checksum than was asked for"),
        Outcome(Exit.TARGET, "the image has a disk of 20 GiB, and the target has only 8 GiB"),
        Outcome(Exit.UNAVAILABLE, "GET https://images.example.org/debian.qcow2 was answered with status 404"),
    ],
    ids=lambda outcome: str(outcome.exit.name),
)
def test_a_failed_import_says_why_leaves_nothing_and_is_tried_again(
    images: ImagesWorld, outcome: Outcome
) -> None:
    good, images.outcome = images.outcome, outcome
    key = images.create()
    uid = images.want()
    images.rounds_of(key, 12)
    status = images.status()
    assert status["phase"] == "Failed"
    assert status["claims"][0]["message"] == f"waits for the image: the import failed: {outcome.message}"
    assert status["conditions"][0]["status"] == "False"
    assert images.temporary() == []
    assert images.data == {}
    assert len(images.imports) == 1
    assert images.reasons()[-1] == "CopyFailed"
    images.outcome = good
    images.clock.forward(minutes=5)
    images.settle(key)
    require_delivered(images, uid)
    # The mover must not take the new target for one that it began before.
    assert [next(item for item in args if item.startswith("--job")) for args in images.imports] == [
        f"--job={images.goldens()[0]}-0",
        f"--job={images.goldens()[0]}-1",
    ]


def test_the_pause_after_a_failure_grows_to_an_hour() -> None:
    now = Clock()()
    item = CachedCopy(name="image-1", pool="fast", revision="r", storage_class="fast")
    pauses = []
    for _ in range(6):
        item = reconciler.failed(item, "no", now)
        assert item.retry_at is not None
        pauses.append((item.retry_at - now).total_seconds() / 60)
        assert not reconciler.may_retry(item, item.retry_at - datetime.timedelta(seconds=1))
        assert reconciler.may_retry(item, item.retry_at)
        item = reconciler.retried(item)
    assert pauses == [5, 10, 20, 40, 60, 60]


def test_a_failed_import_that_no_claim_needs_any_more_is_forgotten(images: ImagesWorld) -> None:
    images.outcome = Outcome(Exit.REFUSED, "no")
    key = images.create()
    images.want()
    images.rounds_of(key, 12)
    images.delete_claim()
    images.settle(key)
    assert images.stages() == []
    assert images.status()["phase"] == "Ready"


def test_an_object_of_someone_else_is_left_alone(images: ImagesWorld) -> None:
    key = images.create()
    uid = images.want()
    images.cluster.put(claims(OURS), f"prime-{uid}", {"spec": {"volumeName": "x"}})
    images.rounds_of(key, 16)
    assert "was not made for this claim" in images.status()["message"]
    assert [item["metadata"]["name"] for item in images.cluster.objects(claims(OURS))] == [f"prime-{uid}"]


def test_a_snapshot_of_someone_else_in_the_operator_s_namespace_is_left_alone(images: ImagesWorld) -> None:
    key = images.create()
    images.want()
    images.rounds_of(key, 3)
    name = images.status()["copies"][0]["name"]
    images.cluster.put(snapshots(OURS), name, {"spec": {"source": {"volumeSnapshotContentName": "x"}}})
    images.rounds_of(key, 12)
    assert "was not made for this VolumeImage" in images.status()["message"]
    assert images.goldens() == [name]


def test_a_clone_that_got_a_volume_from_before_is_not_given_away(images: ImagesWorld) -> None:
    key = images.create(storageClasses=["fast"])
    images.settle(key)
    images.provisions = False
    images.want()
    images.rounds_of(key, 4)
    (prime,) = images.cluster.objects(claims(OURS))
    reference = {"namespace": OURS, "name": prime["metadata"]["name"], "uid": prime["metadata"]["uid"]}
    spec = {
        "claimRef": reference,
        "csi": {"volumeHandle": "old"},
        "volumeMode": "Block",
        "persistentVolumeReclaimPolicy": "Retain",
    }
    images.cluster.put(VOLUMES, "old", {"spec": spec})
    images.cluster.patched(f"{claims(OURS)}/{prime['metadata']['name']}", {"spec": {"volumeName": "old"}})
    images.rounds_of(key, 4)
    assert "has got PersistentVolume old, which existed before" in images.status()["message"]
    assert images.bound() == []
    assert images.named(VOLUMES, "old") is not None


# --- changes, roll-over and what is kept ------------------------------------------------------------


def test_a_full_tree_is_followed_by_another_copy(images: ImagesWorld) -> None:
    key = images.create(clonesPerCopy=4)
    for number in range(10):
        images.want(f"disk-{number}")
    images.settle(key)
    assert len(images.bound()) == 10
    assert all(images.word(name) == "debian" for name in images.bound())
    assert len(images.imports) == 3
    assert len({images.tree[images.handle(name)] for name in images.bound()}) == 3
    # The copy, its clones, and for a short time the volume that was imported.
    assert images.largest_tree <= 6
    assert images.goldens() == [images.status()["copies"][-1]["name"]], "full copies are removed"
    assert images.status()["copies"][-1]["clones"] == 2
    assert images.temporary() == []


def test_the_next_copy_is_begun_before_the_last_clone_of_the_present_one(images: ImagesWorld) -> None:
    key = images.create(clonesPerCopy=10)
    for number in range(8):
        images.want(f"disk-{number}")
    images.settle(key)
    assert len(images.imports) == 1
    images.want("disk-8")
    images.settle(key)
    assert len(images.imports) == 2
    assert [item.get("clones", 0) for item in images.status()["copies"]] == [9, 0]
    images.want("disk-9")
    images.settle(key)
    assert len(images.imports) == 2
    assert [item.get("clones", 0) for item in images.status()["copies"]] == [0], "the older one was used up"
    assert len(images.bound()) == 10


def test_clones_that_were_deleted_do_not_count(images: ImagesWorld) -> None:
    key = images.create(clonesPerCopy=5)
    for number in range(8):
        images.want()
        images.settle(key)
        images.delete_claim()
        images.controllers()
        assert images.data == {}, number
    assert len(images.imports) == 1


def test_clones_go_on_for_some_time_while_the_next_copy_cannot_be_made(images: ImagesWorld) -> None:
    key = images.create(clonesPerCopy=10)
    images.want("first")
    images.settle(key)
    images.outcome = Outcome(Exit.UNAVAILABLE, "the server is away")
    for number in range(15):
        images.want(f"disk-{number}")
    images.rounds_of(key, 30)
    assert len(images.bound()) == 12
    assert images.status()["phase"] == "Failed"
    assert "the server is away" in images.status()["claims"][0]["message"]


@pytest.mark.parametrize(
    "change", [{"checksum": SHA}, {"size": "9Gi"}, {"source": {"http": {"url": f"{URL}2"}}}], ids=str
)
def test_a_changed_source_is_imported_again_and_clones_stay(
    images: ImagesWorld, change: dict[str, object]
) -> None:
    key = images.create()
    first = images.want("old")
    images.settle(key)
    images.change(**change)
    images.settle(key)
    assert images.goldens() == [], "the former copy is removed"
    images.image = "newer"
    images.want("new", size="9Gi")
    images.settle(key)
    assert (images.word("old"), images.word("new")) == ("debian", "newer")
    assert images.volume_of("old")["spec"]["claimRef"]["uid"] == first
    assert images.status()["revision"] != images.status()["copies"][0]["name"]
    assert len(images.goldens()) == 1


def test_a_change_during_an_import_begins_with_the_new_source(images: ImagesWorld) -> None:
    images.movers_work = False
    key = images.create()
    images.want()
    images.rounds_of(key, 5)
    images.change(source={"http": {"url": f"{URL}2"}})
    images.movers_work = True
    images.settle(key)
    assert len(images.goldens()) == 1
    assert images.word() == "debian"
    assert images.temporary() == []


def test_a_change_while_a_clone_is_made_gives_one_of_the_new_source(images: ImagesWorld) -> None:
    key = images.create(storageClasses=["fast"])
    images.settle(key)
    images.provisions = False
    images.want()
    images.rounds_of(key, 3)
    images.image = "newer"
    images.change(checksum=SHA)
    images.rounds_of(key, 2)
    images.provisions = True
    images.settle(key)
    assert images.word() == "newer"
    assert images.temporary() == []


def test_a_copy_that_was_not_used_is_removed(images: ImagesWorld) -> None:
    key = images.create(keep={"unusedHours": 24})
    images.want()
    images.settle(key)
    images.clock.forward(hours=23)
    images.settle(key)
    assert images.stages() == ["Ready"]
    images.clock.forward(hours=1)
    images.settle(key)
    assert images.stages() == []
    assert images.goldens() == []
    assert images.taken == {}
    assert images.word() == "debian"
    images.want("again")
    images.settle(key)
    assert images.word("again") == "debian"


def test_at_most_so_many_copies_are_kept(images: ImagesWorld) -> None:
    images.storage_class("third", storagepool="third")
    key = images.create(keep={"copies": 2})
    for storage_class in ("fast", "slow", "third"):
        images.clock.forward(minutes=1)
        images.want(storage_class, storage_class=storage_class)
        images.settle(key)
    images.settle(key)
    assert sorted(item["pool"] for item in images.status()["copies"]) == [
        "storagepool=slow",
        "storagepool=third",
    ]
    assert len(images.imports) == 3


def test_a_copy_that_someone_has_removed_is_made_again(images: ImagesWorld) -> None:
    key = images.create()
    images.want()
    images.settle(key)
    images.cluster.remove(snapshots(OURS), images.goldens()[0])
    images.controllers()
    uid = images.want("next")
    images.settle(key)
    require_delivered(images, uid, "next")
    assert len(images.imports) == 2


# --- interruptions ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Way:
    """The rounds of an image that nothing interrupts.

    Attributes:
        before: what was there before each round.
        known: what was there before or after a round.
    """

    before: Sequence[SavedWorld]
    known: frozenset[str]


def way_of(images: ImagesWorld, *, then_delete: bool) -> Way:
    """From the creation of an image and a claim to the clone, or to the end of the image."""
    images.create()
    images.want(mode="Filesystem")
    before, known, deleted = [], {images.course()}, False
    for _ in range(_MOST_ROUNDS):
        before.append(images.save())
        pause = images.lead(images.key)
        known.add(images.course())
        if pause == IDLE and images.status()["populated"] == 1 and not deleted:
            if not then_delete:
                return Way(before, frozenset(known))
            images.delete()
            deleted = True
            known.add(images.course())
        if pause is None:
            images.end()
            require_nothing_left(images)
            assert images.word() == "debian"
            return Way(before, frozenset(known))
    raise AssertionError(f"it does not end: {images.status()}")


def test_an_operator_killed_after_any_request_comes_back_to_the_same_way(
    images: ImagesWorld, monkeypatch: pytest.MonkeyPatch, figures: Figures
) -> None:
    life = Life(monkeypatch)
    way = way_of(images, then_delete=True)
    killed = 0
    for saved in way.before:
        for position in range(100):
            images.restore(saved)
            # To be killed before a request is to be killed after the one before it.
            life.end_at(position, after=True)
            with contextlib.suppress(Killed):
                images.rounds.lead(images.key)
            dead = life.dead
            life.begin_again()
            if not dead:
                break
            killed += 1
            figures.add("rounds of the operator killed, and repeated")
            images.new_process()
            images.controllers()
            for _ in range(10):
                if images.course() in way.known:
                    break
                images.lead(images.key)
            assert images.course() in way.known, f"{images.status()} {images.temporary()}"
    assert killed > 150


@pytest.mark.parametrize("policy", ["Delete", "Retain"])
@pytest.mark.parametrize("of", ["claim", "image", "both"])
def test_a_deletion_after_any_round_leaves_nothing(images: ImagesWorld, of: str, policy: str) -> None:
    images.policy = policy
    way = way_of(images, then_delete=False)
    for saved in way.before:
        images.restore(saved)
        had = bool(images.bound())
        if of in ("claim", "both"):
            images.delete_claim()
        if of in ("image", "both"):
            images.delete()
        images.settle(images.key)
        if of == "claim":
            assert images.temporary() == []
            images.delete()
            images.settle(images.key)
        require_nothing_left(images)
        kept = bool(images.cluster.objects(VOLUMES))
        assert kept == ((had and policy == "Retain") or (of == "image" and bool(images.bound())))
        assert set(images.data.values()) == ({"debian"} if kept else set())


def test_two_operators_make_one_import(images: ImagesWorld) -> None:
    key = images.create(clonesPerCopy=4)
    other = images.another_process()
    for number in range(6):
        images.want(f"disk-{number}")
    for _ in range(60):
        images.rounds.lead(key)
        other.lead(key)
        images.controllers()
    assert len(images.bound()) == 6
    assert len(images.imports) == 2
    assert images.largest_tree <= 6
    assert images.temporary() == []
    assert images.status()["populated"] == 6


def test_a_cluster_without_answer_changes_nothing(images: ImagesWorld) -> None:
    key = images.create()
    images.want()
    images.rounds_of(key, 3)
    images.cluster.down = True
    assert images.rounds.lead(key) == 1.0
    images.cluster.down = False
    images.settle(key)
    assert images.word() == "debian"


@pytest.mark.parametrize("path", [f"{CONTENTS}", f"{snapshots(OURS)}", f"{jobs(SHOP)}"])
def test_an_operator_without_a_right_says_so(images: ImagesWorld, path: str) -> None:
    images.cluster.refused[path] = 403
    key = images.create()
    images.want()
    images.rounds_of(key, 14)
    assert "is refused; allow" in images.status()["message"]
    images.cluster.refused.clear()
    images.clock.forward(hours=1)
    images.settle(key)
    assert images.word() == "debian"


def test_a_deletion_that_the_operator_may_not_finish_does_not_keep_the_object(images: ImagesWorld) -> None:
    key = images.create()
    images.want()
    images.settle(key)
    name = images.goldens()[0]
    images.cluster.refused[f"{snapshots(OURS)}/{name}"] = 403
    images.delete()
    images.settle(key)
    assert not images.exists()
    assert images.reasons()[-1] == "LeftToKubernetes"
    assert images.word() == "debian"


# --- what others do at the same time ----------------------------------------------------------------


def recorded(images: ImagesWorld) -> str:
    """Lead a claim to the step before its clone is handed over. Returns the name of the clone's claim."""
    images.create()
    images.want()
    for _ in range(_MOST_ROUNDS):
        images.lead(images.key)
        if any(claim.get("volume") for claim in images.status().get("claims", ())):
            (prime,) = images.cluster.objects(claims(OURS))
            return str(prime["metadata"]["name"])
    raise AssertionError(f"there is no clone: {images.status()}")


def test_a_clone_that_someone_has_removed_is_made_again(images: ImagesWorld) -> None:
    prime = recorded(images)
    images.cluster.remove(claims(OURS), prime)
    images.controllers()
    images.settle(images.key)
    assert images.word() == "debian"
    assert images.temporary() == []
    assert len(images.data) == 1


def test_a_clone_without_its_claim_is_removed_with_the_claim_of_the_user(images: ImagesWorld) -> None:
    images.policy = "Retain"
    prime = recorded(images)
    images.cluster.remove(claims(OURS), prime)
    images.delete_claim()
    images.settle(images.key)
    images.end()
    assert images.data == {}
    assert images.cluster.objects(VOLUMES) == []


def test_a_clone_whose_removal_takes_time_is_waited_for(images: ImagesWorld) -> None:
    prime = recorded(images)
    path = f"{claims(OURS)}/{prime}"
    images.cluster.patched(path, {"metadata": {"finalizers": ["kubernetes.io/pvc-protection"]}})
    images.delete_claim()
    images.rounds_of(images.key, 3)
    assert len(images.status()["claims"]) == 1
    images.cluster.patched(path, {"metadata": {"finalizers": None}})
    images.settle(images.key)
    assert images.status().get("claims") is None
    assert images.data == {}


class Meddler:
    """Does something to an object just before the operator changes it, once."""

    def __init__(self, images: ImagesWorld, monkeypatch: pytest.MonkeyPatch, path: str, act: str) -> None:
        self._images, self._path, self._act = images, path, act
        self._patch = images.client.patch
        self.met = ""
        monkeypatch.setattr(images.client, "patch", self)

    def __call__(self, path: str, name: str, content: Any, *, subresource: str = "") -> None:
        if path == self._path and not self.met:
            self.met = name
            if self._act == "remove":
                self._images.cluster.remove(path, name)
            else:
                self._images.cluster.patched(f"{path}/{name}", {"metadata": {"labels": {"a": "b"}}})
        self._patch(path, name, content, subresource=subresource)


@pytest.mark.parametrize("path", [VOLUMES, CONTENTS], ids=["PersistentVolume", "VolumeSnapshotContent"])
def test_an_object_that_changes_at_the_same_time_is_looked_at_again(
    images: ImagesWorld, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    meddler = Meddler(images, monkeypatch, path, "change")
    images.create()
    uid = images.want()
    images.settle(images.key)
    assert meddler.met
    require_delivered(images, uid)


def test_a_volume_that_goes_while_its_policy_is_set_is_not_needed(
    images: ImagesWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    images.policy = "Retain"
    images.create()
    images.want()
    images.rounds_of(images.key, 4)
    meddler = Meddler(images, monkeypatch, VOLUMES, "remove")
    images.delete()
    images.settle(images.key)
    assert meddler.met
    require_nothing_left(images)


@pytest.mark.parametrize("works", ["snapshotter_works", "provisions"])
def test_an_image_can_be_deleted_while_nothing_is_provisioned(images: ImagesWorld, works: str) -> None:
    setattr(images, works, False)
    images.create()
    images.want()
    images.rounds_of(images.key, 12)
    assert images.temporary() != []
    images.delete()
    images.settle(images.key)
    require_nothing_left(images)
    assert images.data == {}


def test_a_copy_whose_removal_takes_time_is_waited_for(images: ImagesWorld) -> None:
    key = images.create(storageClasses=["fast"])
    images.settle(key)
    (name,) = images.goldens()
    path = f"{snapshots(OURS)}/{name}"
    images.cluster.patched(path, {"metadata": {"finalizers": ["snapshot.storage.kubernetes.io/as-source"]}})
    images.change(storageClasses=[], checksum=SHA)
    images.rounds_of(key, 6)
    assert images.stages() == ["Retired"]
    images.cluster.patched(path, {"metadata": {"finalizers": None}})
    images.settle(key)
    assert images.stages() == []
    assert images.taken == {}


def test_a_copy_that_is_removed_before_it_is_ready_is_made_again(images: ImagesWorld) -> None:
    key = images.create()
    uid = images.want()
    while images.stages() != ["Cleaning"]:
        images.lead(key)
    images.cluster.remove(snapshots(OURS), images.goldens()[0])
    images.rounds_of(key, 3)
    assert "the VolumeSnapshot of the copy was removed" in images.status()["message"]
    images.clock.forward(minutes=5)
    images.settle(key)
    require_delivered(images, uid)
    assert images.reasons().count("CopyFailed") == 1


def test_an_import_whose_target_was_deleted_after_its_end_is_made_again(images: ImagesWorld) -> None:
    key = images.create()
    uid = images.want()
    while not any(job.get("status") for job in images.cluster.objects(jobs(SHOP))):
        images.lead(key)
    copy = images.status()["copies"][0]["name"]
    images.delete_claim(copy)
    images.rounds_of(key, 3)
    assert images.stages() == ["Failed"]
    assert f"claim {copy} was deleted during the import" in images.status()["message"]
    images.clock.forward(minutes=5)
    images.settle(key)
    require_delivered(images, uid)


def test_an_import_whose_target_is_deleted_before_its_snapshot_is_made_again(images: ImagesWorld) -> None:
    key = images.create()
    uid = images.want()
    images.snapshotter_works = False
    while images.stages() != ["Caching"]:
        images.lead(key)
    images.rounds_of(key, 3)
    copy = images.status()["copies"][0]["name"]
    assert "is not ready to use" in images.status()["message"]
    images.delete_claim(copy)
    images.rounds_of(key, 3)
    assert images.stages() == ["Failed"]
    assert f"claim {copy} was deleted before its snapshot was taken" in images.status()["message"]
    images.snapshotter_works = True
    images.clock.forward(minutes=5)
    images.settle(key)
    require_delivered(images, uid)


def test_a_pool_that_only_an_attributes_class_names_is_imported_with_that_class(images: ImagesWorld) -> None:
    images.attributes_class("to-slow", storagepool="slow")
    key = images.create()
    images.movers_work = False
    images.want(volumeAttributesClassName="to-slow")
    images.want("unknown", volumeAttributesClassName="missing")
    images.rounds_of(key, 5)
    made = {item["pool"]: item["name"] for item in images.status()["copies"]}
    target = images.claim(made["storagepool=slow"])
    assert target["spec"]["volumeAttributesClassName"] == "to-slow"
    assert "volumeAttributesClassName" not in images.claim(made["storagepool=fast"])["spec"]


def test_copies_that_are_made_ahead_are_kept_above_the_limit(images: ImagesWorld) -> None:
    key = images.create(storageClasses=["fast", "slow"], keep={"copies": 1})
    images.settle(key)
    images.settle(key)
    assert images.stages() == ["Ready", "Ready"]
    assert len(images.imports) == 2


def test_a_copy_in_use_is_kept_above_the_limit(images: ImagesWorld) -> None:
    key = images.create(keep={"copies": 1})
    images.want("first", storage_class="slow")
    images.settle(key)
    images.provisions = False
    images.want("second", storage_class="slow")
    images.rounds_of(key, 3)
    images.provisions = True
    images.want("third")
    for _ in range(_MOST_ROUNDS):
        images.lead(key)
        if len(images.bound()) == 3:
            break
    images.settle(key)
    assert sorted(images.bound()) == ["first", "second", "third"]
    assert images.stages() == ["Ready"]


def test_a_late_process_leaves_nothing_behind(images: ImagesWorld) -> None:
    key = images.create(storageClasses=["fast"])
    images.settle(key)
    labels = {
        "powerflex.dev/image": images.named(PATH, "debian")["metadata"]["uid"],  # type: ignore[index]
        "powerflex.dev/populates": "another",
    }
    spec = {
        "storageClassName": "fast",
        "resources": {"requests": {"storage": "8Gi"}},
        "dataSource": {"kind": "VolumeSnapshot", "name": images.goldens()[0]},
    }
    images.policy = "Retain"
    images.cluster.put(claims(OURS), "prime-another", {"metadata": {"labels": labels}, "spec": spec})
    images.controllers()
    assert len(images.data) == 1
    images.delete()
    images.settle(key)
    require_nothing_left(images)
    assert images.data == {}


def test_an_object_that_was_deleted_before_its_first_round_is_left_alone(images: ImagesWorld) -> None:
    key = images.create()
    images.want()
    images.cluster.patched(f"{PATH}/debian", {"metadata": {"finalizers": ["example.org/other"]}})
    images.delete()
    assert images.rounds.lead(key) == math.inf
    assert images.temporary() == []


def test_a_deletion_waits_for_a_cluster_that_does_not_answer(images: ImagesWorld) -> None:
    key = images.create()
    images.want()
    images.settle(key)
    images.delete()
    images.cluster.refused[f"{snapshots(OURS)}/{images.goldens()[0]}"] = 503
    images.rounds_of(key, 3)
    assert images.exists()
    images.cluster.refused.clear()
    images.settle(key)
    require_nothing_left(images)
