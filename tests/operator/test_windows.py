"""PersistentVolumes that follow each other: the order loses nothing, and nothing is forced."""

from __future__ import annotations

from typing import Any

import pytest

from csi_powerflex.errors import Busy, FailedPrecondition, NotFound
from csi_powerflex.kube.client import Client
from csi_powerflex.kube_objects.custody import ATTACHMENTS
from csi_powerflex.kube_objects.reader import VOLUMES
from csi_powerflex.operator.api import Metadata
from csi_powerflex.operator.moves.definition import DEFINITION, VolumeMove
from csi_powerflex.operator.objects import claims
from csi_powerflex.operator.owned import OWNER_LABEL, Owned, Whole, WholeMeta
from csi_powerflex.operator.windows.closing import StillAttached, Volumes, filesystem_of, policy_of, successor
from tests.kube.api_server import Answer, ApiServer

CLAIMS = claims("shop")


@pytest.fixture
def volumes(cluster: ApiServer, client: Client) -> Volumes:
    put(cluster, "Retain")
    return Volumes(client)


def put(cluster: ApiServer, policy: str, **metadata: Any) -> None:
    cluster.put(VOLUMES, "first", {"metadata": metadata, "spec": {"persistentVolumeReclaimPolicy": policy}})


def attach(cluster: ApiServer, volume: str) -> None:
    cluster.put(ATTACHMENTS, "a", {"spec": {"nodeName": "n", "source": {"persistentVolumeName": volume}}})


def test_a_persistent_volume_is_removed_once_no_node_has_it_attached(
    cluster: ApiServer, volumes: Volumes
) -> None:
    attach(cluster, "first")
    with pytest.raises(StillAttached, match="node n still has PersistentVolume first attached"):
        volumes.is_closed("first")
    attach(cluster, "another")
    assert volumes.is_closed("first")
    assert cluster.objects(VOLUMES) == []
    assert volumes.is_closed("first")


def test_it_is_not_closed_before_its_finalizers_have_ended(cluster: ApiServer, volumes: Volumes) -> None:
    put(cluster, "Retain", finalizers=["external-attacher/x"])
    assert not volumes.is_closed("first")
    assert not volumes.is_closed("first")
    cluster.patched(f"{VOLUMES}/first", {"metadata": {"finalizers": None}})
    assert volumes.is_closed("first")


def test_one_whose_volume_would_be_removed_with_it_is_not_deleted(
    cluster: ApiServer, volumes: Volumes
) -> None:
    put(cluster, "Delete")
    with pytest.raises(FailedPrecondition, match="is not Retain, so it is not deleted"):
        volumes.is_closed("first")
    assert len(cluster.objects(VOLUMES)) == 1
    volumes.retain("first")
    assert volumes.is_closed("first")


def test_a_policy_that_is_as_wanted_is_not_written(
    cluster: ApiServer, volumes: Volumes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "patched", lambda *_: Answer.status_object(500, "written"))
    volumes.retain("first")
    assert policy_of(volumes.get("first")) == "Retain"


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"csi": {"fsType": "xfs", "volumeAttributes": {"filesystem": "ext4"}}}, "xfs"),
        ({"csi": {"volumeAttributes": {"filesystem": "btrfs"}}}, "btrfs"),
        ({"csi": {}}, ""),
        ({}, ""),
    ],
)
def test_the_filesystem_is_that_of_the_persistent_volume(spec: dict[str, Any], expected: str) -> None:
    assert filesystem_of(Whole(spec=spec)) == expected


def test_a_policy_that_is_changed_back_is_noticed(
    cluster: ApiServer, volumes: Volumes, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(cluster, "Delete")
    patched = cluster.patched

    def changed_back(path: str, content: dict[str, Any]) -> Answer:
        answer = patched(path, content)
        put(cluster, "Delete")
        return answer

    monkeypatch.setattr(cluster, "patched", changed_back)
    with pytest.raises(FailedPrecondition, match="was changed back from Retain"):
        volumes.retain("first")


def test_a_change_at_the_same_time_is_tried_again(
    cluster: ApiServer, volumes: Volumes, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(cluster, "Delete")
    patched = cluster.patched

    def late(path: str, content: dict[str, Any]) -> Answer:
        put(cluster, "Delete")
        return patched(path, content)

    monkeypatch.setattr(cluster, "patched", late)
    with pytest.raises(Busy, match="was changed at the same time"):
        volumes.retain("first")


def test_the_successor_keeps_what_reaches_the_volume() -> None:
    first = {
        "capacity": {"storage": "8Gi"},
        "accessModes": ["ReadWriteOnce"],
        "csi": {
            "driver": "d",
            "volumeHandle": "h",
            "volumeAttributes": {"origin": "empty", "transport": "nvme"},
        },
        "mountOptions": ["noatime"],
    }
    made = successor(
        Whole(metadata=WholeMeta(annotations={"x": "y"}), spec=first),
        name="second",
        labels={},
        claim={"name": "c"},
        filesystem="",
        storage_class="west",
    )
    assert made["spec"]["csi"] == {
        "driver": "d",
        "volumeHandle": "h",
        "volumeAttributes": {"origin": "copy", "transport": "nvme"},
    }
    assert made["spec"]["mountOptions"] == ["noatime"]
    assert made["metadata"]["annotations"] == {}
    assert (made["spec"]["volumeMode"], made["spec"]["persistentVolumeReclaimPolicy"]) == (
        "Filesystem",
        "Retain",
    )


# --- what is made for an object --------------------------------------------------------------------


@pytest.fixture
def owned(client: Client) -> Owned:
    return Owned(client, DEFINITION, VolumeMove(metadata=Metadata(name="m", namespace="shop", uid="u")))


CLAIM = {"kind": "PersistentVolumeClaim", "metadata": {"name": "c", "labels": {"a": "b"}}, "spec": {}}


def test_what_is_made_has_the_label_and_the_owner(cluster: ApiServer, owned: Owned) -> None:
    made = owned.ensure(CLAIMS, CLAIM)
    assert made.metadata.labels == {"a": "b", OWNER_LABEL: "u"}
    assert made.metadata.owner_references == (
        {"apiVersion": "powerflex.dev/v1alpha1", "kind": "VolumeMove", "name": "m", "uid": "u"},
    )
    assert owned.ensure(CLAIMS, CLAIM).metadata.uid == made.metadata.uid


def test_what_was_made_at_the_same_time_is_found(cluster: ApiServer, owned: Owned, client: Client) -> None:
    class Late(Client):
        def create(self, resource: str, content: Any) -> None:
            client.create(resource, content)
            client.create(resource, content)

    late = Owned(Late(cluster.config), DEFINITION, owned.owner)
    assert late.ensure(CLAIMS, CLAIM).metadata.name == "c"


def test_what_is_of_someone_else_is_neither_used_nor_removed(cluster: ApiServer, owned: Owned) -> None:
    cluster.put(CLAIMS, "c", {"metadata": {"namespace": "shop"}})
    with pytest.raises(FailedPrecondition, match="was not made for this VolumeMove"):
        owned.ensure(CLAIMS, CLAIM)
    assert owned.remove(CLAIMS, "c")
    assert len(cluster.objects(CLAIMS)) == 1


def test_what_is_being_deleted_is_not_used(cluster: ApiServer, owned: Owned) -> None:
    owned.ensure(CLAIMS, CLAIM)
    cluster.patched(f"{CLAIMS}/c", {"metadata": {"finalizers": ["x"]}})
    assert not owned.remove(CLAIMS, "c")
    assert not owned.remove(CLAIMS, "c")
    with pytest.raises(NotFound, match="is being deleted"):
        owned.ensure(CLAIMS, CLAIM)
    cluster.patched(f"{CLAIMS}/c", {"metadata": {"finalizers": None}})
    assert owned.remove(CLAIMS, "c")


@pytest.mark.parametrize(("status", "removed"), [(404, True), (409, False)])
def test_what_changes_while_it_is_removed_is_looked_at_again(
    cluster: ApiServer, owned: Owned, monkeypatch: pytest.MonkeyPatch, status: int, removed: bool
) -> None:
    owned.ensure(CLAIMS, CLAIM)
    monkeypatch.setattr(cluster, "deleted", lambda *_: Answer.status_object(status, "other"))
    assert owned.remove(CLAIMS, "c") is removed
