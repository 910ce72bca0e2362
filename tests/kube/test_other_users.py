"""Which objects of a cluster keep a volume or snapshot from being deleted."""

from __future__ import annotations

from typing import Any

import pytest

from csi_powerflex import call_context
from csi_powerflex.errors import DeadlineExceeded, Unavailable
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.kube.client import Client
from csi_powerflex.kube_objects.other_users import ListedUsers
from csi_powerflex.kube_objects.reader import CONTENTS, VOLUMES
from tests.kube.api_server import Answer, ApiServer

HANDLE = "1a2b3c4d5e6f7081-4a5b6c7d00000001"


@pytest.fixture
def users(client: Client) -> ListedUsers:
    return ListedUsers(client)


def put_volume(cluster: ApiServer, name: str, phase: str, policy: str, handle: str = HANDLE) -> None:
    spec = {
        "csi": {"driver": "any", "volumeHandle": handle},
        "persistentVolumeReclaimPolicy": policy,
    }
    cluster.put(VOLUMES, name, {"spec": spec, "status": {"phase": phase}})


def put_content(cluster: ApiServer, name: str, policy: str, *, deleted: bool, taken: bool = True) -> None:
    metadata: dict[str, Any] = {"deletionTimestamp": "2026-11-27T15:00:00Z"} if deleted else {}
    source = {"volumeHandle": "other"} if taken else {"snapshotHandle": HANDLE}
    status = {"status": {"snapshotHandle": HANDLE}} if taken else {}
    content = {"metadata": metadata, "spec": {"deletionPolicy": policy, "source": source}, **status}
    cluster.put(CONTENTS, name, content)


def of_volume(users: ListedUsers) -> tuple[str, ...]:
    return tuple(users.of_volume(VolumeHandle.parse(HANDLE)))


def of_snapshot(users: ListedUsers) -> tuple[str, ...]:
    return tuple(users.of_snapshot(VolumeHandle.parse(HANDLE)))


def test_a_volume_without_persistent_volumes_has_no_user(cluster: ApiServer, users: ListedUsers) -> None:
    cluster.put(VOLUMES, "nfs", {"spec": {"nfs": {"server": "a"}}})
    put_volume(cluster, "another", "Bound", "Delete", handle="1a2b3c4d5e6f7081-4a5b6c7d00000002")
    assert of_volume(users) == ()


def test_released_persistent_volumes_with_the_policy_delete_keep_nothing(
    cluster: ApiServer, users: ListedUsers
) -> None:
    put_volume(cluster, "one", "Released", "Delete")
    put_volume(cluster, "two", "Released", "Delete")
    assert of_volume(users) == ()


@pytest.mark.parametrize(
    ("phase", "policy"),
    [("Bound", "Delete"), ("Available", "Delete"), ("Failed", "Delete"), ("Released", "Retain"), ("", "")],
)
def test_every_other_persistent_volume_keeps_the_volume_and_all_are_named(
    cluster: ApiServer, users: ListedUsers, phase: str, policy: str
) -> None:
    put_volume(cluster, "one", "Released", "Delete")
    put_volume(cluster, "two", phase, policy)
    state = f"{phase or 'without a phase'}, reclaim policy {policy or 'not set'}"
    assert of_volume(users) == (
        "PersistentVolume one (Released, reclaim policy Delete)",
        f"PersistentVolume two ({state})",
    )


def test_a_persistent_volume_that_was_added_since_the_last_question_is_seen(
    cluster: ApiServer, users: ListedUsers
) -> None:
    assert of_volume(users) == ()
    put_volume(cluster, "new", "Bound", "Delete")
    assert len(of_volume(users)) == 1


def test_an_api_that_does_not_list_leaves_it_unknown(cluster: ApiServer, users: ListedUsers) -> None:
    cluster.prescribe(Answer.status_object(403, "no right"))
    with pytest.raises(Unavailable, match=r"PersistentVolumes that may have it cannot be listed.*no right"):
        of_volume(users)


def test_a_call_without_time_is_told_so(users: ListedUsers) -> None:
    over = call_context.CallContext("DeleteVolume", "x", deadline=0.0)
    with (
        call_context.entered(over),
        pytest.raises(DeadlineExceeded, match="the deadline of DeleteVolume passed"),
    ):
        of_volume(users)


def test_a_cluster_without_snapshots_has_no_user_of_a_snapshot(
    cluster: ApiServer, users: ListedUsers
) -> None:
    cluster.prescribe(Answer.status_object(404, "no such resource"))
    assert of_snapshot(users) == ()


def test_contents_that_are_deleted_with_their_snapshot_keep_nothing(
    cluster: ApiServer, users: ListedUsers
) -> None:
    put_content(cluster, "one", "Delete", deleted=True)
    assert of_snapshot(users) == ()


@pytest.mark.parametrize("taken", [True, False], ids=["taken", "handed over"])
@pytest.mark.parametrize(("policy", "deleted"), [("Delete", False), ("Retain", True), ("Retain", False)])
def test_every_other_content_keeps_the_snapshot_and_all_are_named(
    cluster: ApiServer, users: ListedUsers, policy: str, *, deleted: bool, taken: bool
) -> None:
    put_content(cluster, "one", "Delete", deleted=True)
    put_content(cluster, "two", policy, deleted=deleted, taken=taken)
    state = "being deleted" if deleted else "not being deleted"
    assert of_snapshot(users) == (
        "VolumeSnapshotContent one (being deleted, deletion policy Delete)",
        f"VolumeSnapshotContent two ({state}, deletion policy {policy})",
    )
