"""The hand-over of a volume: what someone else has is not changed, and each step can be repeated."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from csi_powerflex.errors import Busy, FailedPrecondition
from csi_powerflex.kube.client import Client
from csi_powerflex.kube_objects.reader import VOLUMES
from csi_powerflex.operator.api import Metadata
from csi_powerflex.operator.copies.definition import DEFINITION, VolumeCopy
from csi_powerflex.operator.objects import claims
from csi_powerflex.operator.owned import OWNER_LABEL, Owned, Whole, WholeMeta
from csi_powerflex.operator.windows.closing import Volumes
from csi_powerflex.operator.windows.handover import HandOver, Successor
from tests.kube.api_server import Answer, ApiServer

CLAIMS = claims("shop")
MINE = Whole(metadata=WholeMeta(name="mine", namespace="shop", uid="uid-mine"))
AFTER = Successor("xfs", "fast")
FIRST = "pvc-uid-temporary"
OWN = {"labels": {OWNER_LABEL: "u"}}


def put(cluster: ApiServer, name: str, claim: str, uid: str, policy: str = "Delete", **more: Any) -> None:
    """A PersistentVolume that refers to a claim."""
    spec = {
        "claimRef": {"namespace": "shop", "name": claim, "uid": uid},
        "persistentVolumeReclaimPolicy": policy,
        "capacity": {"storage": "8Gi"},
        "accessModes": ["ReadWriteOnce"],
        "csi": {"driver": "d", "volumeHandle": "h"},
    }
    cluster.put(VOLUMES, name, {"metadata": more, "spec": spec})


def volume(cluster: ApiServer, name: str) -> dict[str, Any]:
    """The specification of a PersistentVolume."""
    (found,) = (item for item in cluster.objects(VOLUMES) if item["metadata"]["name"] == name)
    spec: dict[str, Any] = found["spec"]
    return spec


@pytest.fixture
def block(cluster: ApiServer, client: Client) -> HandOver:
    """The copy for a claim in block mode, whose temporary claim is bound to the first PersistentVolume."""
    metadata = {"namespace": "shop", "uid": "uid-temporary", **OWN}
    cluster.put(CLAIMS, "temporary", {"metadata": metadata, "spec": {"volumeName": FIRST}})
    put(cluster, FIRST, "temporary", "uid-temporary")
    owner = VolumeCopy(metadata=Metadata(name="copy", namespace="shop", uid="u"))
    owned = Owned(client, DEFINITION, owner)
    return HandOver(owned, Volumes(client), "temporary", "uid-temporary", FIRST, FIRST)


@pytest.fixture
def filesystem(block: HandOver) -> HandOver:
    """The copy for a claim with a filesystem."""
    return dataclasses.replace(block, final="second")


def close(hand_over: HandOver) -> None:
    """Until it is closed; the first look only retains the volume."""
    assert not hand_over.close(AFTER)
    assert hand_over.close(AFTER)
    assert hand_over.close(AFTER)


def test_a_block_volume_is_left_with_the_temporary_claim_until_it_is_given(
    cluster: ApiServer, block: HandOver
) -> None:
    close(block)
    assert cluster.objects(CLAIMS) == []
    assert volume(cluster, FIRST)["claimRef"]["uid"] == "uid-temporary"
    assert not block.is_given("uid-mine")
    block.give(MINE)
    block.give(MINE)
    assert block.is_given("uid-mine")
    assert volume(cluster, FIRST)["persistentVolumeReclaimPolicy"] == "Retain"


def test_a_filesystem_volume_is_only_in_its_second_object(cluster: ApiServer, filesystem: HandOver) -> None:
    close(filesystem)
    (found,) = cluster.objects(VOLUMES)
    assert found["metadata"]["name"] == "second"
    assert found["spec"]["claimRef"]["uid"] == "uid-temporary"
    filesystem.give(MINE)
    assert volume(cluster, "second")["claimRef"]["uid"] == "uid-mine"


def test_a_reserved_volume_is_for_a_claim_of_that_name(cluster: ApiServer, block: HandOver) -> None:
    reserved = dataclasses.replace(block, reserved_for="mine")
    close(reserved)
    reference = volume(cluster, FIRST)["claimRef"]
    assert (reference["name"], "uid" in reference) == ("mine", False)
    reserved.abandon()
    spec = volume(cluster, FIRST)
    assert (spec["claimRef"]["uid"], spec["persistentVolumeReclaimPolicy"]) == ("uid-temporary", "Delete")


@pytest.mark.parametrize("final", [FIRST, "second"])
def test_nothing_follows_before_the_temporary_claim_is_removed(
    cluster: ApiServer, block: HandOver, final: str
) -> None:
    hand_over = dataclasses.replace(block, final=final, reserved_for="mine")
    cluster.patched(f"{CLAIMS}/temporary", {"metadata": {"finalizers": ["kubernetes.io/pvc-protection"]}})
    for _ in range(3):
        assert not hand_over.close(AFTER)
    (found,) = cluster.objects(VOLUMES)
    assert found["spec"]["claimRef"]["uid"] == "uid-temporary"
    cluster.patched(f"{CLAIMS}/temporary", {"metadata": {"finalizers": None}})
    assert hand_over.close(AFTER)
    (found,) = cluster.objects(VOLUMES)
    assert (found["metadata"]["name"], found["spec"]["claimRef"]["name"]) == (final, "mine")


@pytest.mark.parametrize("final", [FIRST, "second"])
def test_a_volume_that_another_claim_has_is_left_as_it_is(
    cluster: ApiServer, block: HandOver, final: str
) -> None:
    hand_over = dataclasses.replace(block, final=final)
    put(cluster, FIRST, "other", "uid-other")
    put(cluster, "second", "other", "uid-other", labels={OWNER_LABEL: "u"})
    with pytest.raises(FailedPrecondition, match="is not bound to claim temporary"):
        hand_over.written()
    for step in (lambda: hand_over.close(AFTER), lambda: hand_over.give(MINE), hand_over.abandon):
        with pytest.raises(FailedPrecondition, match="bound to claim shop/other, so it is left as it is"):
            step()
    for name in (FIRST, "second"):
        assert volume(cluster, name)["claimRef"]["uid"] == "uid-other"


def test_a_temporary_claim_that_was_replaced_has_no_copy(cluster: ApiServer, block: HandOver) -> None:
    for other in ("uid-another", ""):
        with pytest.raises(FailedPrecondition, match="claim temporary was replaced"):
            dataclasses.replace(block, temporary_uid=other).written()
    assert block.written().metadata.name == FIRST
    cluster.remove(CLAIMS, "temporary")
    with pytest.raises(FailedPrecondition, match="claim temporary was replaced"):
        block.written()


def test_a_volume_that_existed_before_is_kept(cluster: ApiServer, block: HandOver) -> None:
    put(cluster, "other", "temporary", "uid-temporary")
    cluster.patched(f"{CLAIMS}/temporary", {"spec": {"volumeName": "other"}})
    with pytest.raises(FailedPrecondition, match="has got PersistentVolume other, which existed before"):
        block.written()
    replaced = dataclasses.replace(block, first="other", final="other")
    replaced.abandon()
    replaced.abandon()
    assert volume(cluster, "other")["persistentVolumeReclaimPolicy"] == "Retain"
    assert cluster.objects(CLAIMS) == []


@pytest.mark.parametrize("final", [FIRST, "second"])
def test_a_copy_that_was_deleted_is_told(cluster: ApiServer, block: HandOver, final: str) -> None:
    cluster.remove(VOLUMES, FIRST)
    with pytest.raises(FailedPrecondition, match=f"PersistentVolume {final} .*was deleted"):
        dataclasses.replace(block, final=final).close(AFTER)


def test_an_object_of_someone_else_is_not_taken_for_the_second_one(
    cluster: ApiServer, filesystem: HandOver
) -> None:
    put(cluster, "second", "other", "uid-other")
    assert not filesystem.close(AFTER)
    with pytest.raises(FailedPrecondition, match="second exists, and was not made for this VolumeCopy"):
        filesystem.close(AFTER)
    filesystem.abandon()
    assert volume(cluster, "second")["claimRef"]["uid"] == "uid-other"


def test_what_changes_at_the_same_time_is_not_overwritten(
    cluster: ApiServer, block: HandOver, monkeypatch: pytest.MonkeyPatch
) -> None:
    patched = cluster.patched

    def late(path: str, content: dict[str, Any]) -> Answer:
        put(cluster, FIRST, "mine", "uid-mine")
        return patched(path, content)

    monkeypatch.setattr(cluster, "patched", late)
    with pytest.raises(Busy, match="was changed at the same time"):
        block.close(AFTER)
    assert volume(cluster, FIRST)["persistentVolumeReclaimPolicy"] == "Delete"


def test_abandoning_removes_the_second_object_and_releases_the_first(
    cluster: ApiServer, filesystem: HandOver
) -> None:
    assert not filesystem.close(AFTER)
    cluster.patched(f"{VOLUMES}/{FIRST}", {"metadata": {"finalizers": ["external-attacher/x"]}})
    assert not filesystem.close(AFTER)
    put(cluster, FIRST, "temporary", "uid-temporary", "Retain")
    filesystem.abandon()
    filesystem.abandon()
    (found,) = cluster.objects(VOLUMES)
    assert (found["metadata"]["name"], found["spec"]["persistentVolumeReclaimPolicy"]) == (FIRST, "Delete")


def test_abandoning_releases_the_second_object_if_the_first_is_removed(
    cluster: ApiServer, filesystem: HandOver
) -> None:
    close(filesystem)
    filesystem.abandon()
    assert volume(cluster, "second")["persistentVolumeReclaimPolicy"] == "Delete"


def test_abandoning_what_was_not_recorded_finds_it_by_the_claim(cluster: ApiServer, block: HandOver) -> None:
    put(cluster, FIRST, "temporary", "uid-temporary", "Retain")
    dataclasses.replace(block, temporary_uid="", first="", final="").abandon()
    assert volume(cluster, FIRST)["persistentVolumeReclaimPolicy"] == "Delete"
    assert cluster.objects(CLAIMS) == []


@pytest.mark.parametrize("uid", ["", "uid-temporary"])
@pytest.mark.parametrize("reference", [None, {"namespace": "other", "name": "theirs"}])
def test_a_volume_that_a_claim_only_names_is_left_as_it_is(
    cluster: ApiServer, block: HandOver, reference: dict[str, str] | None, uid: str
) -> None:
    # Anyone who may create claims can name a PersistentVolume, also one that is kept for another namespace.
    put(cluster, "theirs", "", "", "Retain")
    cluster.patched(f"{VOLUMES}/theirs", {"spec": {"claimRef": None}})
    cluster.patched(f"{VOLUMES}/theirs", {"spec": {"claimRef": reference}})
    cluster.patched(f"{CLAIMS}/temporary", {"spec": {"volumeName": "theirs"}})
    before = volume(cluster, "theirs")
    dataclasses.replace(block, temporary_uid=uid, first="", final="").abandon()
    assert volume(cluster, "theirs") == before
    assert cluster.objects(CLAIMS) == []


def test_a_temporary_claim_that_was_made_again_is_removed_with_its_volume(
    cluster: ApiServer, block: HandOver
) -> None:
    put(cluster, FIRST, "temporary", "uid-temporary", "Retain")
    dataclasses.replace(block, temporary_uid="uid-of-the-former", first="", final="").abandon()
    assert volume(cluster, FIRST)["persistentVolumeReclaimPolicy"] == "Delete"
    assert cluster.objects(CLAIMS) == []


def test_a_volume_that_another_claim_has_keeps_its_policy(cluster: ApiServer, block: HandOver) -> None:
    put(cluster, FIRST, "other", "uid-other", "Retain")
    block.volumes.let_go(block.volumes.get(FIRST), "uid-temporary")
    assert volume(cluster, FIRST)["persistentVolumeReclaimPolicy"] == "Retain"
