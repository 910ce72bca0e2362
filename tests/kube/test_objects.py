"""One look at what a cluster has for volumes."""

from __future__ import annotations

import pytest

from csi_powerflex.ids import Initiator
from csi_powerflex.kube.client import Client
from csi_powerflex.kube_objects.reader import CLAIMS, CLASSES, CONTENTS, NODES, VOLUMES, read
from csi_powerflex.model.cluster import (
    Claim,
    ClusterObjects,
    ObjectName,
    PersistentVolume,
    SnapshotContent,
)
from tests.kube.api_server import ApiServer

DRIVER = "csi.example.org"
GUID = "384889FD-46E5-4611-B2AE-C90487AFC9FB"


def test_an_empty_cluster_has_nothing_and_all_is_known(client: Client) -> None:
    assert read(client, DRIVER) == ClusterObjects(volumes=(), claims=(), contents=())


def test_volumes_of_every_csi_driver_are_read_and_others_are_left_out(
    cluster: ApiServer, client: Client
) -> None:
    cluster.put(VOLUMES, "nfs", {"spec": {"nfs": {"server": "a"}}})
    cluster.put(VOLUMES, "free", {"spec": {"csi": {"driver": "other", "volumeHandle": "x"}}})
    spec = {
        "csi": {"driver": DRIVER, "volumeHandle": "h", "volumeAttributes": {"origin": "copy"}},
        "volumeAttributesClassName": "gold",
        "claimRef": {"namespace": "shop", "name": "data", "uid": "u"},
        "persistentVolumeReclaimPolicy": "Retain",
        "storageClassName": "powerflex",
    }
    cluster.put(VOLUMES, "bound", {"spec": spec, "status": {"phase": "Bound"}})
    assert read(client, DRIVER).volumes == (
        PersistentVolume("free", "other", "x"),
        PersistentVolume(
            name="bound",
            driver=DRIVER,
            handle="h",
            claim=ObjectName("shop", "data"),
            phase="Bound",
            reclaim_policy="Retain",
            storage_class="powerflex",
            attributes={"origin": "copy"},
            attributes_class="gold",
        ),
    )


def test_claims_are_read_with_their_uid_and_their_volume(cluster: ApiServer, client: Client) -> None:
    metadata = {"namespace": "shop", "name": "data", "uid": "u"}
    cluster.put(CLAIMS, "shop/data", {"metadata": metadata, "spec": {"volumeName": "bound"}})
    cluster.put(CLAIMS, "shop/slow", {"metadata": {**metadata, "name": "slow"}, "spec": {}})
    assert read(client, DRIVER).claims == (
        Claim(ObjectName("shop", "data"), "u", "bound"),
        Claim(ObjectName("shop", "slow"), "u"),
    )


@pytest.mark.parametrize(
    ("source", "status", "handle"),
    [
        ({"volumeHandle": "v"}, {"snapshotHandle": "s"}, "s"),
        ({"snapshotHandle": "s"}, None, "s"),
        ({"volumeHandle": "v"}, {}, ""),
        ({"volumeHandle": "v"}, None, ""),
    ],
)
def test_the_handle_of_a_snapshot_is_in_its_status_or_its_source(
    cluster: ApiServer,
    client: Client,
    source: dict[str, str],
    status: dict[str, str] | None,
    handle: str,
) -> None:
    reference = {"namespace": "shop", "name": "before", "uid": "u"}
    spec = {"driver": DRIVER, "deletionPolicy": "Delete", "source": source, "volumeSnapshotRef": reference}
    cluster.put(CONTENTS, "content", {"spec": spec, "status": status})
    assert read(client, DRIVER).contents == (
        SnapshotContent("content", DRIVER, handle, ObjectName("shop", "before"), "u", "Delete"),
    )


def test_nodes_are_known_by_each_initiator_of_this_driver(cluster: ApiServer, client: Client) -> None:
    nqn = "nqn.2014-08.org.nvmexpress:uuid:1"
    drivers = [
        {"name": "other", "nodeID": "x"},
        {"name": DRIVER, "nodeID": f"sdc:{GUID},{nqn.replace('nqn.', 'nqn:nqn.')}"},
    ]
    cluster.put(NODES, "worker-1", {"spec": {"drivers": drivers}})
    cluster.put(NODES, "worker-2", {"spec": {"drivers": [{"name": DRIVER, "nodeID": "of a newer version"}]}})
    cluster.put(NODES, "worker-3", {"spec": {"drivers": None}})
    assert read(client, DRIVER).nodes == {Initiator.sdc(GUID): "worker-1", Initiator.nvme(nqn): "worker-1"}


def test_classes_are_known_by_name_with_their_parameters(cluster: ApiServer, client: Client) -> None:
    cluster.put(CLASSES, "gold", {"driverName": DRIVER, "parameters": {"iopsLimit": "100"}})
    cluster.put(CLASSES, "plain", {"driverName": DRIVER})
    assert read(client, DRIVER).classes == {"gold": {"iopsLimit": "100"}, "plain": {}}


@pytest.mark.parametrize("resource", [VOLUMES, CLAIMS, CONTENTS, NODES, CLASSES])
def test_what_the_user_may_not_list_is_unknown_and_the_rest_is_read(
    cluster: ApiServer, client: Client, resource: str
) -> None:
    cluster.refused[resource] = 403
    found = read(client, DRIVER)
    known = {VOLUMES: found.volumes, CLAIMS: found.claims, CONTENTS: found.contents}
    assert {name for name, items in known.items() if items is None} == {resource} - {NODES, CLASSES}
    (reason,) = found.unknown
    assert "could not be listed: the Kubernetes API answered 403" in reason


def test_a_cluster_without_some_resources_has_no_such_objects(cluster: ApiServer, client: Client) -> None:
    cluster.refused |= {CONTENTS: 404, CLASSES: 404}
    found = read(client, DRIVER)
    assert (found.contents, found.unknown) == ((), ())


def test_volumes_that_cannot_be_decoded_are_unknown(cluster: ApiServer, client: Client) -> None:
    cluster.put(VOLUMES, "odd", {"spec": {"csi": {"volumeHandle": 7}}})
    assert read(client, DRIVER).volumes is None
