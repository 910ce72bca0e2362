"""Listing volumes and snapshots."""

from __future__ import annotations

import grpc
import pytest

from csi_powerflex.csi import controller
from csi_powerflex.pb import csi_pb2
from csi_powerflex.simulator.inprocess import Client
from tests.controller.driver import GIB, Driver, Mode, block, refused
from tests.controller.world import World


def volumes(driver: Driver, *, max_entries: int = 0, token: str = "") -> csi_pb2.ListVolumesResponse:
    request = csi_pb2.ListVolumesRequest(max_entries=max_entries, starting_token=token)
    return driver.controller.ListVolumes(request, timeout=60)


def snapshots(driver: Driver, **fields: str | int) -> csi_pb2.ListSnapshotsResponse:
    return driver.controller.ListSnapshots(
        csi_pb2.ListSnapshotsRequest(**fields),  # type: ignore[arg-type]  # the test names the fields
        timeout=60,
    )


def ids(answer: csi_pb2.ListVolumesResponse) -> list[str]:
    return [entry.volume.volume_id for entry in answer.entries]


def foreign_volume(world: World, name: str) -> str:
    """A volume that the driver has not created."""
    client = Client(world.simulator.gateway)
    (pool,) = world.array.pools
    body = {"name": name, "storagePoolId": pool, "volumeSizeInKb": str(8 * GIB // 1024)}
    if world.array.dialect.version == "5.0":
        body["volumeType"] = "ThinProvisioned"
    return f"{world.array.system.id}-{client.post('/api/types/Volume/instances', body)['id']}"


def test_volumes_are_listed_with_size_and_nodes(world: World, driver: Driver) -> None:
    shared = block(Mode.MULTI_NODE_MULTI_WRITER)
    volume = driver.create(gib=16, capabilities=[shared])
    driver.publish(volume, world.node("a"), shared)
    driver.publish(volume, world.node("b"), shared)
    (entry,) = volumes(driver).entries
    assert entry.volume == volume
    assert set(entry.status.published_node_ids) == {world.node("a"), world.node("b")}


def test_clones_and_restored_volumes_are_volumes_and_snapshots_are_not(driver: Driver) -> None:
    volume = driver.create("pvc-1")
    snapshot = driver.snapshot(volume.volume_id)
    made = {
        volume.volume_id,
        driver.clone("pvc-2", volume.volume_id).volume_id,
        driver.restore("pvc-3", snapshot.snapshot_id).volume_id,
    }
    assert set(ids(volumes(driver))) == made
    assert [entry.snapshot for entry in snapshots(driver).entries] == [snapshot]


def test_other_clusters_volumes_are_not_listed(world: World, driver: Driver) -> None:
    volume = driver.create()
    foreign_volume(world, "someone-elses")
    foreign_volume(world, f"vothr{'a' * 26}")
    assert ids(volumes(driver)) == [volume.volume_id]


def test_a_foreign_volume_that_is_mapped_to_a_node_is_listed(world: World, driver: Driver) -> None:
    static = foreign_volume(world, "static")
    assert ids(volumes(driver)) == []
    driver.publish(static, world.node("a"))
    (entry,) = volumes(driver).entries
    assert (entry.volume.volume_id, list(entry.status.published_node_ids)) == (static, [world.node("a")])
    # After a restart, a volume of the driver on the node shows that the node belongs to the cluster.
    driver.publish(driver.create(), world.node("a"))
    assert static in ids(volumes(world.restart()))


def test_pages_have_each_volume_once_and_need_one_request(world: World, driver: Driver) -> None:
    made = {driver.create(f"pvc-{number}").volume_id for number in range(7)}
    since = world.simulator.gateway.log.last
    found, token = [], ""
    while True:
        page = volumes(driver, max_entries=3, token=token)
        assert len(page.entries) <= 3
        found += ids(page)
        token = page.next_token
        if not token:
            break
    assert sorted(found) == sorted(made)
    assert len(found) == 7
    assert len(world.simulator.gateway.log.find(since=since)) == 1


def test_callers_with_pages_of_different_sizes_and_repeated_pages_get_the_same_list(array45: World) -> None:
    made = sorted(array45.driver.create(f"pvc-{number}").volume_id for number in range(7))
    answers = {size: [volumes(array45.driver, max_entries=size)] for size in (2, 3, 7)}
    for size, pages in answers.items():
        while token := pages[-1].next_token:
            page = volumes(array45.driver, max_entries=size, token=token)
            assert volumes(array45.driver, max_entries=size, token=token) == page
            pages.append(page)
    for size, pages in answers.items():
        assert [volume_id for page in pages for volume_id in ids(page)] == made
        assert {len(page.entries) for page in pages[:-1]} <= {size}


def test_a_new_list_has_what_changed_although_pages_of_older_lists_are_kept(world: World) -> None:
    driver, node = world.driver, world.node("a")
    made = sorted(driver.create(f"pvc-{number}").volume_id for number in range(3))
    before = volumes(driver, max_entries=2)
    driver.publish(made[0], node)
    driver.delete(made[1])
    after = volumes(driver, max_entries=1)
    assert [ids(before), ids(after)] == [made[:2], made[:1]]
    assert list(after.entries[0].status.published_node_ids) == [node]
    assert not before.entries[0].status.published_node_ids
    assert ids(volumes(driver, max_entries=1, token=after.next_token)) == [made[2]]


def test_a_page_can_be_requested_again_and_has_the_state_of_the_first(array45: World) -> None:
    driver = array45.driver
    for number in range(4):
        driver.create(f"pvc-{number}")
    first = volumes(driver, max_entries=2)
    second = volumes(driver, max_entries=2, token=first.next_token)
    driver.delete(second.entries[0].volume.volume_id)
    driver.create("pvc-new")
    assert volumes(driver, max_entries=2, token=first.next_token) == second


def test_an_unknown_token_is_aborted(array45: World) -> None:
    for number in range(4):
        array45.driver.create(f"pvc-{number}")
    token = volumes(array45.driver, max_entries=2).next_token
    for bad in ("invalid-token", f"{token}x", "1.1", token.partition(".")[0]):
        refused(grpc.StatusCode.ABORTED, lambda bad=bad: volumes(array45.driver, token=bad))  # type: ignore[misc]  # the default binds it
    refused(grpc.StatusCode.ABORTED, lambda: volumes(array45.restart(), token=token))
    refused(grpc.StatusCode.INVALID_ARGUMENT, lambda: volumes(array45.driver, max_entries=-1))


def test_several_systems_are_listed_together(pair: World) -> None:
    made = {
        pair.driver.create(f"pvc-{name}", parameters={"systemID": name}).volume_id
        for name in ("array0", "array1")
    }
    assert set(ids(volumes(pair.driver))) == made


def test_snapshots_are_found_by_id_and_by_source(driver: Driver) -> None:
    first, second = driver.create("pvc-1"), driver.create("pvc-2")
    of_first = driver.snapshot(first.volume_id, "snapshot-1")
    of_second = driver.snapshot(second.volume_id, "snapshot-2")
    assert [entry.snapshot for entry in snapshots(driver, snapshot_id=of_first.snapshot_id).entries] == [
        of_first
    ]
    found = snapshots(driver, source_volume_id=second.volume_id)
    assert [entry.snapshot for entry in found.entries] == [of_second]
    assert len(snapshots(driver).entries) == 2
    for source, some in ((first, True), (second, False)):
        both = snapshots(driver, snapshot_id=of_first.snapshot_id, source_volume_id=source.volume_id)
        assert bool(both.entries) is some


def test_unknown_ids_give_an_empty_list(world: World, driver: Driver) -> None:
    missing = f"{world.array.system.id}-{'f' * 16}"
    for unknown in ("fake-id", missing):
        assert not snapshots(driver, snapshot_id=unknown).entries
        assert not snapshots(driver, source_volume_id=unknown).entries
    assert not snapshots(driver, snapshot_id=driver.create().volume_id).entries


def test_snapshots_are_listed_in_pages(array45: World) -> None:
    volume = array45.driver.create()
    for number in range(5):
        array45.driver.snapshot(volume.volume_id, f"snapshot-{number}")
    first = snapshots(array45.driver, max_entries=2)
    rest = snapshots(array45.driver, starting_token=first.next_token)
    assert (len(first.entries), len(rest.entries), rest.next_token) == (2, 3, "")


def test_get_volume(world: World, driver: Driver) -> None:
    volume = driver.create()
    driver.publish(volume, world.node("b"))
    request = csi_pb2.ControllerGetVolumeRequest(volume_id=volume.volume_id)
    found = driver.controller.ControllerGetVolume(request, timeout=30)
    assert found.volume == volume
    assert list(found.status.published_node_ids) == [world.node("b")]
    request.volume_id = "fake-vol-id"
    refused(grpc.StatusCode.NOT_FOUND, lambda: driver.controller.ControllerGetVolume(request, timeout=30))


@pytest.mark.parametrize("max_entries", [0, 4, 1000])
def test_a_page_fits_into_a_message_even_if_the_caller_allows_more(
    array45: World, monkeypatch: pytest.MonkeyPatch, max_entries: int
) -> None:
    monkeypatch.setattr(controller, "MAX_PAGE_ENTRIES", 3)
    driver = array45.driver
    made = sorted(driver.create(f"pvc-{number}").volume_id for number in range(7))
    for number, volume_id in enumerate(made):
        driver.snapshot(volume_id, f"snapshot-{number}")
    pages = [volumes(driver, max_entries=max_entries)]
    while pages[-1].next_token:
        pages.append(volumes(driver, max_entries=max_entries, token=pages[-1].next_token))
    assert [len(page.entries) for page in pages] == [3, 3, 1]
    assert [volume_id for page in pages for volume_id in ids(page)] == made
    first = snapshots(driver, max_entries=max_entries)
    assert (len(first.entries), bool(first.next_token)) == (3, True)


def test_the_largest_page_of_volumes_on_ten_nodes_each_is_shorter_than_four_mebibytes() -> None:
    entry = csi_pb2.ListVolumesResponse.Entry(
        volume=csi_pb2.Volume(
            capacity_bytes=2**62,
            volume_id="0123456789abcdef-0123456789abcdef",
            accessible_topology=[
                csi_pb2.Topology(segments={"csi.powerflex.dev/0123456789abcdef": "true"}),
            ],
        ),
        status=csi_pb2.ListVolumesResponse.VolumeStatus(
            published_node_ids=["sdc:01234567-89AB-CDEF-0123-456789ABCDEF"] * 10
        ),
    )
    page = csi_pb2.ListVolumesResponse(entries=[entry] * controller.MAX_PAGE_ENTRIES, next_token="0" * 32)
    assert page.ByteSize() < 4 * 2**20
