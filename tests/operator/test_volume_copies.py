"""VolumeCopy: claims get a full copy, also if the operator is killed or something is deleted meanwhile."""

from __future__ import annotations

import contextlib

import pytest

from csi_powerflex.kube.client import Client
from csi_powerflex.operator.copies.objects import VOLUMES, jobs
from csi_powerflex.operator.objects import claims
from tests.controller.ended import Killed, Life
from tests.figures import Figures
from tests.kube.api_server import ApiServer
from tests.operator.copies_world import COPIED, DRIVER, OURS, PATH, SHOP, CopiesWorld

# A copy takes fewer rounds from the first to the last.
_ROUNDS = 24


@pytest.fixture
def copies(cluster: ApiServer, client: Client) -> CopiesWorld:
    return CopiesWorld(cluster, client)


def require_delivered(copies: CopiesWorld, uid: str) -> None:
    assert copies.claim()["spec"]["volumeName"] == f"pvc-{uid}"
    (volume,) = copies.cluster.objects(VOLUMES)
    assert volume["spec"]["persistentVolumeReclaimPolicy"] == copies.policy
    assert copies.array[volume["spec"]["csi"]["volumeHandle"]] == COPIED
    assert len(copies.array) == 2, "only the source and its copy are left"
    assert copies.leftovers() == []


def require_nothing_left(copies: CopiesWorld) -> None:
    assert copies.array == {"handle-data": COPIED}
    assert copies.volumes() == []
    assert copies.leftovers() == []


@pytest.mark.parametrize("mode", ["Filesystem", "Block"])
def test_a_claim_gets_a_full_copy_and_nothing_else_is_left(copies: CopiesWorld, mode: str) -> None:
    key = copies.create()
    uid = copies.want(mode=mode)
    copies.settle(key)
    require_delivered(copies, uid)
    assert copies.status()["populated"] == 1
    assert copies.reasons() == ["Populated"]
    (volume,) = copies.cluster.objects(VOLUMES)
    assert volume["spec"]["volumeMode"] == mode
    assert volume["spec"]["csi"].get("fsType") == ("xfs" if mode == "Filesystem" else None)
    assert volume["metadata"]["annotations"] == {"pv.kubernetes.io/provisioned-by": DRIVER}


def test_the_policy_of_the_class_is_kept(copies: CopiesWorld) -> None:
    copies.policy = "Retain"
    key = copies.create()
    uid = copies.want()
    copies.rounds_of(key, 40)
    assert copies.claim()["spec"]["volumeName"] == f"pvc-{uid}"
    final = next(item for item in copies.cluster.objects(VOLUMES) if item["metadata"]["name"] == f"pvc-{uid}")
    assert final["spec"]["persistentVolumeReclaimPolicy"] == "Retain"


def test_a_claim_waits_for_its_pod(copies: CopiesWorld) -> None:
    copies.storage_class("late", "WaitForFirstConsumer")
    key = copies.create()
    copies.want(storage_class="late")
    copies.rounds_of(key, 5)
    require_nothing_left(copies)
    node = {"metadata": {"annotations": {"volume.kubernetes.io/selected-node": "n1"}}}
    copies.cluster.patched(f"{claims(SHOP)}/mine", node)
    copies.rounds_of(key, 8)
    prime = next(
        item for item in copies.cluster.objects(claims(OURS)) if item["metadata"]["name"].startswith("prime-")
    )
    assert prime["metadata"]["annotations"] == {"volume.kubernetes.io/selected-node": "n1"}
    copies.settle(key)


def test_a_bound_claim_is_never_populated(copies: CopiesWorld) -> None:
    key = copies.create()
    copies.want()
    copies.cluster.patched(f"{claims(SHOP)}/mine", {"spec": {"volumeName": "other"}})
    copies.rounds_of(key, 5)
    require_nothing_left(copies)


def test_the_mover_has_no_token_and_no_rights(copies: CopiesWorld) -> None:
    key = copies.create()
    copies.want()
    while not copies.cluster.objects(jobs(OURS)):
        copies.rounds_of(key, 1)
    pod = copies.cluster.objects(jobs(OURS))[0]["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    context = pod["containers"][0]["securityContext"]
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert context["readOnlyRootFilesystem"] is True
    assert context["allowPrivilegeEscalation"] is False


def test_a_mover_that_refuses_fails_the_claim_in_its_words(copies: CopiesWorld) -> None:
    copies.outcome, copies.words = "Failed", '{"exit": 11, "message": "the target is too small"}'
    key = copies.create()
    copies.want()
    copies.rounds_of(key, 30)
    (entry,) = copies.status()["claims"]
    assert entry["stage"] == "Failed"
    assert entry["message"] == "the target is too small. Create the claim again"
    require_nothing_left(copies)
    copies.delete_claim()
    copies.settle(key)
    assert copies.reasons() == ["CopyFailed", "CopyDropped"]


def test_an_object_of_someone_else_is_left_alone(copies: CopiesWorld) -> None:
    key = copies.create()
    uid = copies.want()
    copies.cluster.put(claims(OURS), f"prime-{uid}", {"spec": {"volumeName": "x"}})
    copies.rounds_of(key, 5)
    assert "was not made for this claim" in copies.status()["message"]
    assert [item["metadata"]["name"] for item in copies.cluster.objects(claims(OURS))] == [f"prime-{uid}"]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_an_operator_killed_at_any_request_goes_on(
    copies: CopiesWorld, after: bool, monkeypatch: pytest.MonkeyPatch, figures: Figures
) -> None:
    life = Life(monkeypatch)
    key = copies.create()
    for position in range(1000):
        uid = copies.want()
        life.end_at(position, after=after)
        with contextlib.suppress(Killed):
            copies.settle(key)
        killed = life.dead
        life.begin_again()
        copies.new_process()
        copies.settle(key)
        require_delivered(copies, uid)
        copies.delete_claim()
        copies.controllers()
        require_nothing_left(copies)
        if not killed:
            assert position > 100
            return
        figures.add("rounds of the operator killed, and repeated")
    raise AssertionError("it does not end")


@pytest.mark.parametrize("of", ["claim", "copy", "both"])
def test_a_deletion_after_any_round_leaves_nothing(copies: CopiesWorld, of: str) -> None:
    for many in range(1, _ROUNDS):
        key = copies.create()
        uid = copies.want()
        copies.rounds_of(key, many)
        if of in ("claim", "both"):
            copies.delete_claim()
        copies.cluster.delete(PATH, "copy") if of != "claim" else None
        copies.settle(key)
        if of == "copy" and copies.claim()["spec"].get("volumeName"):
            require_delivered(copies, uid)
        else:
            require_nothing_left(copies)
        if of == "claim":
            copies.cluster.delete(PATH, "copy")
            copies.rounds_of(key, 3)
        else:
            copies.delete_claim() if of == "copy" else None
        copies.controllers()
        assert copies.cluster.objects(PATH) == []
