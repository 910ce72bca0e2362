"""Deleting an object, choosing by labels, and changing a status: what the operator needs of the client."""

from __future__ import annotations

import msgspec
import pytest

from csi_powerflex.errors import AlreadyExists, NotFound, PermissionDenied
from csi_powerflex.kube.client import Client, KubeObject
from tests.kube.api_server import Answer, ApiServer

THINGS = "/apis/example.org/v1/namespaces/shop/things"


class Labelled(KubeObject, frozen=True):
    status: dict[str, str] = msgspec.field(default_factory=dict)


def put(cluster: ApiServer, name: str, **labels: str) -> str:
    cluster.put(THINGS, name, {"metadata": {"namespace": "shop", "labels": labels}, "spec": {"a": 1}})
    return str(cluster.objects(THINGS)[-1]["metadata"]["uid"])


def names(cluster: ApiServer) -> list[str]:
    return [item["metadata"]["name"] for item in cluster.objects(THINGS)]


def test_an_object_is_deleted_if_it_has_the_uid(cluster: ApiServer, client: Client) -> None:
    uid = put(cluster, "one")
    client.delete(THINGS, "one", uid=uid)
    assert names(cluster) == []


def test_another_object_of_the_name_is_not_deleted(cluster: ApiServer, client: Client) -> None:
    put(cluster, "one")
    with pytest.raises(AlreadyExists):
        client.delete(THINGS, "one", uid="another")
    assert names(cluster) == ["one"]


def test_an_object_that_does_not_exist_cannot_be_deleted(cluster: ApiServer, client: Client) -> None:
    with pytest.raises(NotFound, match="check the name"):
        client.delete(THINGS, "one", uid="any")


def test_a_user_without_the_right_is_told_which_one_is_missing(cluster: ApiServer, client: Client) -> None:
    uid = put(cluster, "one")
    cluster.refused[f"{THINGS}/one"] = 403
    with pytest.raises(PermissionDenied, match="allow delete"):
        client.delete(THINGS, "one", uid=uid)


def test_only_objects_with_the_labels_are_listed(cluster: ApiServer, client: Client) -> None:
    put(cluster, "one", app="db", tier="gold")
    put(cluster, "two", app="db")
    put(cluster, "three", app="web")
    found = client.list(THINGS, KubeObject, labels="app in (db,cache),!tier")
    assert [item.metadata.name for item in found.items] == ["two"]


def test_a_patch_of_the_status_changes_nothing_else(cluster: ApiServer, client: Client) -> None:
    put(cluster, "one")
    client.patch(THINGS, "one", {"status": {"phase": "x"}, "spec": {"a": 2}}, subresource="status")
    client.patch(THINGS, "one", {"status": {"phase": "y"}})
    (item,) = cluster.objects(THINGS)
    assert (item["status"], item["spec"]) == ({"phase": "x"}, {"a": 1})
    assert client.get(THINGS, "one", Labelled).status == {"phase": "x"}


def test_changes_use_one_connection(cluster: ApiServer, client: Client) -> None:
    client.create(THINGS, {"metadata": {"name": "one", "namespace": "shop"}})
    client.patch(THINGS, "one", {"spec": {"a": 2}})
    client.delete(THINGS, "one", uid=cluster.objects(THINGS)[0]["metadata"]["uid"])
    assert names(cluster) == []
    assert cluster.connections == 1


def test_a_change_that_the_status_confirms_is_done_although_its_answer_breaks_off(
    cluster: ApiServer, client: Client
) -> None:
    put(cluster, "one")
    cluster.prescribe(Answer(200, (b"{",), declared=5))
    client.patch(THINGS, "one", {"spec": {"a": 2}})
    assert client.get(THINGS, "one", KubeObject).metadata.name == "one"
