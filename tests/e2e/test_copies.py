"""Snapshots, restored volumes, clones, and groups."""

from __future__ import annotations

from tests.e2e.cluster import Cluster
from tests.e2e.space import Space, of_claim, of_snapshot


def _written(space: Space, claim: str = "data", **more: str) -> None:
    """Create a claim, and a pod ``writer`` on the first worker that writes a file to it."""
    space.claim(claim, **more)  # type: ignore[arg-type]  # names of classes
    space.pod("writer", {"/data": claim}, node="worker1")
    space.run("writer", "echo first > /data/file; sync")


def test_a_snapshot_is_restored_to_the_same_and_to_a_larger_size(space: Space) -> None:
    _written(space)
    space.snapshot("first", "data")
    space.run("writer", "echo second > /data/file; sync")
    space.claim("same", source=of_snapshot("first"))
    space.claim("larger", size=24, source=of_snapshot("first"))
    space.pod("reader", {"/same": "same", "/larger": "larger"}, node="worker2")
    assert space.run("reader", "cat /same/file /larger/file").split() == ["first", "first"]
    assert space.run("writer", "cat /data/file") == "second"
    sizes = space.run("reader", "df -m /same /larger | awk 'NR > 1 { print $2 }'")
    same, larger = map(int, sizes.split())
    assert same < 8192
    assert larger > 23000


def test_a_snapshot_is_kept_when_its_volume_is_deleted(cluster: Cluster, space: Space) -> None:
    _written(space)
    space.snapshot("first", "data")
    space.remove_pod("writer")
    space.kubernetes.delete("persistentvolumeclaims", "data", space.name)
    space.kubernetes.until_deleted("persistentvolumeclaims", ["data"], space.name)
    space.claim("restored", source=of_snapshot("first"))
    space.pod("reader", {"/data": "restored"}, node="worker2")
    assert space.run("reader", "cat /data/file") == "first"


def test_a_clone_has_the_data_and_is_independent_on_the_same_node(space: Space) -> None:
    _written(space, storage_class="powerflex-xfs")
    space.claim("copy", storage_class="powerflex-xfs", source=of_claim("data"))
    space.pod("reader", {"/data": "copy"}, node="worker1")
    assert space.run("reader", "cat /data/file") == "first"
    space.run("reader", "echo own > /data/file; sync")
    assert space.run("writer", "cat /data/file") == "first"


def test_a_group_snapshot_of_two_volumes_is_consistent_and_can_be_restored(space: Space) -> None:
    for name in ("ledger", "journal"):
        space.claim(name, labels={"app": space.name})
    space.pod("bank", {"/ledger": "ledger", "/journal": "journal"}, node="worker1")
    # Entry n is written to the journal before it is written to the ledger, each time with a sync.
    writing = (
        "i=0; while :; do i=$((i + 1)); for book in journal ledger; do "
        "printf '%08d\\n' $i | dd of=/$book/n conv=fsync,notrunc; done; done"
    )
    space.run("bank", f"({writing}) >/dev/null 2>&1 & until [ -s /ledger/n ]; do sleep 0.1; done")
    space.group_snapshot("both", {"app": space.name})
    space.until_group_snapshot("both")
    members = {}
    for snapshot in space.kubernetes.list("volumesnapshots", space.name):
        name = snapshot["metadata"]["name"]
        space.until_snapshot(name)
        members[snapshot["spec"]["source"].get("persistentVolumeClaimName") or source_of(space, snapshot)] = (
            name
        )
    assert set(members) == {"ledger", "journal"}
    for claim, name in members.items():
        space.claim(f"{claim}-cut", source=of_snapshot(name))
    space.pod("auditor", {"/ledger": "ledger-cut", "/journal": "journal-cut"}, node="worker2")
    ledger, journal = map(int, space.run("auditor", "cat /ledger/n /journal/n").split())
    assert journal - ledger in {0, 1}
    assert ledger > 0


def source_of(space: Space, snapshot: dict[str, object]) -> str:
    """The claim of the volume of which a member of a group was taken."""
    status = snapshot["status"]
    assert isinstance(status, dict)
    content = space.kubernetes.get("volumesnapshotcontents", status["boundVolumeSnapshotContentName"])
    handle = content["spec"]["source"]["volumeHandle"]
    (claim,) = (
        volume["spec"]["claimRef"]["name"]
        for volume in space.kubernetes.list("persistentvolumes")
        if volume["spec"]["csi"]["volumeHandle"] == handle
    )
    return str(claim)
