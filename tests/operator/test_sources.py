"""What a source is, and what of it is not known yet."""

from __future__ import annotations

from typing import Any

import pytest

from csi_powerflex.errors import FailedPrecondition, NotFound
from csi_powerflex.kube.client import Client
from csi_powerflex.kube_objects.reader import VOLUMES
from csi_powerflex.operator.api import Metadata
from csi_powerflex.operator.copies.definition import DEFINITION, VolumeCopy
from csi_powerflex.operator.objects import claims, snapshots
from csi_powerflex.operator.owned import Owned
from csi_powerflex.operator.sources import CONTENTS, MODE_CHANGE, Source, Sources, Taken, size_of
from tests.kube.api_server import ApiServer

CLAIMS, SNAPSHOTS = claims("shop"), snapshots("shop")
GIB = 1 << 30
READY = {"readyToUse": True, "boundVolumeSnapshotContentName": "content"}
CONTENT = {"driver": "d", "sourceVolumeMode": "Filesystem", "volumeSnapshotRef": {"uid": "uid-s"}}
DATA = {"snapshotHandle": "h", "restoreSize": GIB}
TAKEN = Taken("s", "content", "h", GIB, "Filesystem")


@pytest.fixture
def sources(client: Client) -> Sources:
    owner = VolumeCopy(metadata=Metadata(name="copy", namespace="shop", uid="u"))
    return Sources(Owned(client, DEFINITION, owner), "d")


def put_claim(cluster: ApiServer, *, phase: str = "Bound", **spec: Any) -> None:
    """A claim "c" of the volume "pv"."""
    spec = {"volumeName": "pv", "storageClassName": "fast", **spec}
    cluster.put(CLAIMS, "c", {"metadata": {"namespace": "shop"}, "spec": spec, "status": {"phase": phase}})


def put_volume(cluster: ApiServer, name: str = "pv", *, driver: str = "d", **spec: Any) -> None:
    csi = {"driver": driver, "volumeHandle": "x", "fsType": "xfs"}
    cluster.put(VOLUMES, name, {"spec": {"capacity": {"storage": "2Gi"}, "csi": csi, **spec}})


def give_volume(cluster: ApiServer, claim: dict[str, Any], name: str, **spec: Any) -> None:
    """A PersistentVolume of this name is bound to the claim."""
    put_volume(cluster, name, claimRef={"uid": claim["metadata"]["uid"]}, **spec)
    bound = {"spec": {**claim["spec"], "volumeName": name}, "status": {"phase": "Bound"}}
    cluster.put(CLAIMS, claim["metadata"]["name"], {**claim, **bound})


def put_snapshot(cluster: ApiServer, status: dict[str, Any], *, of: str | None = "c") -> None:
    """A snapshot "s" of the claim "c"."""
    source = {"persistentVolumeClaimName": of} if of else {"volumeSnapshotContentName": "content"}
    metadata = {"namespace": "shop", "uid": "uid-s"}
    cluster.put(SNAPSHOTS, "s", {"metadata": metadata, "spec": {"source": source}, "status": status})


def put_content(cluster: ApiServer, status: dict[str, Any] = DATA, **spec: Any) -> None:
    cluster.put(CONTENTS, "content", {"spec": {**CONTENT, **spec}, "status": status})


def look(sources: Sources, claim: str = "", *, storage_class: str = "") -> Source:
    """The source as it is: the claim, or else the snapshot "s"."""
    return sources.look(claim, "" if claim else "s", storage_class=storage_class, field="sourceClass")


# --- claims ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "filesystem"), [("Filesystem", "xfs"), ("Block", "")])
def test_a_claim_is_read_as_its_volume_is(
    cluster: ApiServer, sources: Sources, mode: str, filesystem: str
) -> None:
    put_claim(cluster)
    put_volume(cluster, volumeMode=mode)
    assert look(sources, "c") == Source("fast", mode, filesystem, 2 * GIB)
    assert look(sources, "c", storage_class="other").storage_class == "other"


def test_a_claim_that_is_missing_or_not_bound_is_told(cluster: ApiServer, sources: Sources) -> None:
    with pytest.raises(NotFound, match="claim c does not exist; create it"):
        look(sources, "c")
    put_claim(cluster, phase="Pending")
    put_volume(cluster)
    with pytest.raises(FailedPrecondition, match="claim c is not bound to a PersistentVolume"):
        look(sources, "c")


def test_a_claim_of_another_driver_is_not_read(cluster: ApiServer, sources: Sources) -> None:
    put_claim(cluster)
    put_volume(cluster, driver="other")
    with pytest.raises(FailedPrecondition, match="has a volume of driver other, and not of d"):
        look(sources, "c")


def test_a_claim_without_a_class_needs_one(cluster: ApiServer, sources: Sources) -> None:
    put_claim(cluster, storageClassName="")
    put_volume(cluster)
    with pytest.raises(FailedPrecondition, match="claim c has no StorageClass; give sourceClass"):
        look(sources, "c")
    assert look(sources, "c", storage_class="fast").storage_class == "fast"


# --- snapshots -------------------------------------------------------------------------------------


def test_a_snapshot_has_the_class_and_filesystem_of_its_claim(cluster: ApiServer, sources: Sources) -> None:
    put_claim(cluster)
    put_volume(cluster)
    put_snapshot(cluster, READY)
    put_content(cluster)
    assert look(sources) == Source("fast", "Filesystem", "xfs", GIB)


@pytest.mark.parametrize("of", ["c", None], ids=["of a claim that is deleted", "imported"])
def test_a_snapshot_without_its_claim_needs_a_class(
    cluster: ApiServer, sources: Sources, of: str | None
) -> None:
    put_snapshot(cluster, READY, of=of)
    put_content(cluster)
    with pytest.raises(NotFound, match=r"claim (c|of the snapshot) does not exist; create it, or give"):
        look(sources)
    assert look(sources, storage_class="fast") == Source("fast", "Filesystem", "", GIB)


@pytest.mark.parametrize("status", [{}, {"readyToUse": True}, {**READY, "readyToUse": False}])
def test_a_snapshot_that_is_not_ready_is_waited_for(
    cluster: ApiServer, sources: Sources, status: dict[str, Any]
) -> None:
    put_snapshot(cluster, {**status, "error": {"message": "the array is full"}})
    put_content(cluster)
    with pytest.raises(NotFound, match="VolumeSnapshot s is not ready to use: the array is full"):
        sources.taken("s")


@pytest.mark.parametrize("status", [{}, {"snapshotHandle": "h"}, {"restoreSize": GIB}])
def test_a_content_without_handle_or_size_is_waited_for(
    cluster: ApiServer, sources: Sources, status: dict[str, Any]
) -> None:
    put_snapshot(cluster, READY)
    put_content(cluster, status)
    with pytest.raises(NotFound, match="VolumeSnapshotContent content has no handle or size yet"):
        sources.taken("s")


def test_the_content_of_another_snapshot_or_driver_is_not_read(cluster: ApiServer, sources: Sources) -> None:
    put_snapshot(cluster, READY)
    put_content(cluster, volumeSnapshotRef={"uid": "another"})
    with pytest.raises(NotFound, match="content is not bound to VolumeSnapshot s"):
        sources.taken("s")
    put_content(cluster, driver="other")
    with pytest.raises(FailedPrecondition, match="VolumeSnapshot s belongs to driver other, and not to d"):
        sources.taken("s")


def test_a_snapshot_is_taken_with_the_class_that_was_given(cluster: ApiServer, sources: Sources) -> None:
    sources.snapshot("one", "c", "")
    sources.snapshot("two", "c", "slow")
    sources.snapshot("two", "c", "slow")
    source = {"persistentVolumeClaimName": "c"}
    assert [item["spec"] for item in cluster.objects(SNAPSHOTS)] == [
        {"source": source},
        {"source": source, "volumeSnapshotClassName": "slow"},
    ]


# --- what is made to read it -----------------------------------------------------------------------


def test_only_a_filesystem_snapshot_has_to_be_opened_in_block_mode(
    cluster: ApiServer, sources: Sources
) -> None:
    put_snapshot(cluster, READY)
    put_content(cluster, sourceVolumeMode="Block")
    assert sources.opened(sources.taken("s"), recorded="")
    put_content(cluster)
    assert sources.taken("s") == TAKEN
    assert not sources.opened(TAKEN, recorded="")
    assert not sources.opened(TAKEN, recorded="of-an-earlier-snapshot")
    assert sources.opened(TAKEN, recorded="content")
    assert sources.opened(TAKEN, recorded=""), "it is open already"
    sources.shut("content")
    assert not sources.opened(TAKEN, recorded="")
    (content,) = cluster.objects(CONTENTS)
    assert MODE_CHANGE not in content["metadata"]["annotations"]


def test_a_content_that_is_deleted_needs_no_undoing(sources: Sources) -> None:
    with pytest.raises(NotFound):
        sources.opened(TAKEN, recorded="content")
    sources.shut("content")


def test_the_temporary_claim_has_the_data_in_block_mode(cluster: ApiServer, sources: Sources) -> None:
    made = sources.claim("temporary", TAKEN, "fast")
    assert sources.claim("temporary", TAKEN, "fast").metadata.uid == made.metadata.uid
    group = "snapshot.storage.k8s.io"
    assert made.spec["dataSource"] == {"apiGroup": group, "kind": "VolumeSnapshot", "name": "s"}
    assert (made.spec["volumeMode"], made.spec["storageClassName"]) == ("Block", "fast")
    assert size_of(made.spec["resources"]["requests"]) == GIB


def test_what_was_read_is_known_only_while_its_claim_is_there(cluster: ApiServer, sources: Sources) -> None:
    sources.claim("temporary", TAKEN, "fast")
    (made,) = cluster.objects(CLAIMS)
    give_volume(cluster, made, f"pvc-{made['metadata']['uid']}")
    sources.require_made("temporary")
    give_volume(cluster, made, "pv")
    with pytest.raises(FailedPrecondition, match="has got PersistentVolume pv, which existed before"):
        sources.require_made("temporary")
    cluster.remove(CLAIMS, "temporary")
    with pytest.raises(FailedPrecondition, match="claim temporary was deleted, so it is not known"):
        sources.require_made("temporary")


def test_only_what_was_made_is_discarded(cluster: ApiServer, sources: Sources) -> None:
    put_claim(cluster)
    put_volume(cluster, persistentVolumeReclaimPolicy="Retain")
    put_snapshot(cluster, READY)
    put_content(cluster, deletionPolicy="Retain")
    assert sources.discard("c")
    assert sources.discard_snapshot("s")
    assert len(cluster.objects(CLAIMS)) == len(cluster.objects(SNAPSHOTS)) == 1
    assert cluster.objects(VOLUMES)[0]["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
    assert cluster.objects(CONTENTS)[0]["spec"]["deletionPolicy"] == "Retain"


def test_what_was_made_is_discarded_with_its_volume(cluster: ApiServer, sources: Sources) -> None:
    sources.claim("temporary", TAKEN, "fast")
    assert sources.discard("temporary"), "one without a volume"
    for name, before, after in (("pvc-{}", "Retain", "Delete"), ("pv", "Delete", "Retain")):
        sources.claim("temporary", TAKEN, "fast")
        (made,) = cluster.objects(CLAIMS)
        volume = name.format(made["metadata"]["uid"])
        give_volume(cluster, made, volume, persistentVolumeReclaimPolicy=before)
        assert sources.discard("temporary")
        assert cluster.objects(CLAIMS) == []
        (found,) = (item for item in cluster.objects(VOLUMES) if item["metadata"]["name"] == volume)
        assert found["spec"]["persistentVolumeReclaimPolicy"] == after


def test_a_snapshot_whose_content_is_deleted_is_discarded(cluster: ApiServer, sources: Sources) -> None:
    for status in ({}, READY):
        sources.snapshot("one", "c", "")
        (made,) = cluster.objects(SNAPSHOTS)
        cluster.put(SNAPSHOTS, "one", {**made, "status": status})
        assert sources.discard_snapshot("one")
        assert cluster.objects(SNAPSHOTS) == []


# --- sizes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("storage", "size"),
    [
        ("8589934592", 8 << 30),
        ("8Gi", 8 << 30),
        ("1.5k", 1500),
        ("1e3", 1000),
        ("1E", 10**18),
        ("1500m", 2),
        ("0", 0),
        ("-1", 0),
        ("8 GiB", 0),
        ("", 0),
    ],
)
def test_a_size_is_read_in_all_forms_and_rounded_up(storage: str, size: int) -> None:
    assert size_of({"storage": storage}) == size


def test_a_size_that_is_missing_is_not_known() -> None:
    assert (size_of({}), size_of(None)) == (0, 0)
