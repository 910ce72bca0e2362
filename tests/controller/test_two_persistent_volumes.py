"""Two PersistentVolumes of one volume: what is deleted, and whose limits count."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from csi_powerflex.kube_objects.reader import CONTENTS
from csi_powerflex.model.window import WINDOW
from csi_powerflex.qos_store.kubernetes import VOLUMES
from tests.controller.cluster_world import NodesCluster, connect
from tests.controller.conftest import MakeWorld
from tests.controller.driver import refused
from tests.controller.world import World

PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[NodesCluster]:
    with NodesCluster(tmp_path) as server:
        yield server


@pytest.fixture
def world(make_world: MakeWorld, cluster: NodesCluster, tmp_path: Path) -> World:
    world = make_world()
    cluster.put_node("n1", world.node("a"))
    return connect(world, cluster, tmp_path, remove_stale=False)


def exists(world: World, handle: str) -> bool:
    return handle.partition("-")[2] in world.array.volumes


def test_a_volume_that_a_second_persistent_volume_has_is_not_deleted_and_both_are_named(
    world: World, cluster: NodesCluster
) -> None:
    handle = world.driver.create().volume_id
    cluster.put_volume(handle, name="pv-one")
    cluster.put_volume(handle, name="pv-two", phase="Bound", policy="Retain")
    text = refused(PRECONDITION, lambda: world.driver.delete(handle))
    assert "PersistentVolume pv-one (Released, reclaim policy Delete)" in text
    assert "PersistentVolume pv-two (Bound, reclaim policy Retain)" in text
    assert exists(world, handle)


def test_it_is_deleted_after_the_second_persistent_volume(world: World, cluster: NodesCluster) -> None:
    handle = world.driver.create().volume_id
    cluster.put_volume(handle, name="pv-one")
    cluster.put_volume(handle, name="pv-two", phase="Bound")
    refused(PRECONDITION, lambda: world.driver.delete(handle))
    cluster.remove(VOLUMES, "pv-two")
    world.driver.delete(handle)
    assert not exists(world, handle)


def test_a_restarted_controller_refuses_it_too(world: World, cluster: NodesCluster) -> None:
    handle = world.driver.create().volume_id
    cluster.put_volume(handle, name="pv-two", phase="Bound")
    world.restart()
    refused(PRECONDITION, lambda: world.driver.delete(handle))
    assert exists(world, handle)


def test_a_volume_without_a_persistent_volume_is_deleted(world: World) -> None:
    handle = world.driver.create().volume_id
    world.driver.delete(handle)
    assert not exists(world, handle)


def test_nothing_is_deleted_while_the_persistent_volumes_are_unknown(
    world: World, cluster: NodesCluster
) -> None:
    handle = world.driver.create().volume_id
    cluster.refused[VOLUMES] = 403
    text = refused(grpc.StatusCode.UNAVAILABLE, lambda: world.driver.delete(handle))
    assert "cannot be listed" in text
    assert exists(world, handle)


def test_a_snapshot_that_a_second_content_has_is_not_deleted(world: World, cluster: NodesCluster) -> None:
    snapshot = world.driver.snapshot(world.driver.create().volume_id).snapshot_id
    spec = {"deletionPolicy": "Retain", "source": {"snapshotHandle": snapshot}}
    cluster.put(CONTENTS, "content-two", {"spec": spec})
    text = refused(PRECONDITION, lambda: world.driver.delete_snapshot(snapshot))
    assert "VolumeSnapshotContent content-two" in text
    assert exists(world, snapshot)
    cluster.remove(CONTENTS, "content-two")
    world.driver.delete_snapshot(snapshot)
    assert not exists(world, snapshot)


def test_a_window_keeps_the_volume(world: World, cluster: NodesCluster) -> None:
    handle = world.driver.create().volume_id
    cluster.put_volume(handle)
    cluster.put_volume(handle, name="window", phase="Bound", policy="Retain", **{WINDOW: "true"})
    assert "PersistentVolume window" in refused(PRECONDITION, lambda: world.driver.delete(handle))
    assert exists(world, handle)
