"""What the owner of a claim is told by Kubernetes Events although the call succeeded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from csi_powerflex.qos_store.kubernetes import VOLUMES
from csi_powerflex.simulator.initial_state import DomainPlan, InitialState, PoolPlan
from csi_powerflex.simulator.inprocess import Client
from csi_powerflex.simulator.settings import Settings
from csi_powerflex.simulator.simulator import SystemPlan
from tests.controller.api_server import DRIVER
from tests.controller.cluster_world import NodesCluster
from tests.controller.conftest import MakeWorld
from tests.controller.driver import refused
from tests.controller.eventually import eventually
from tests.controller.world import World

EVENTS = "/api/v1/namespaces/shop/events"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[NodesCluster]:
    with NodesCluster(tmp_path) as server:
        yield server


@pytest.fixture
def world(make_world: MakeWorld, cluster: NodesCluster, tmp_path: Path) -> World:
    """The controller writes events, and may remove stale mappings."""
    world = make_world()
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(json.dumps(cluster.kubeconfig()), encoding="utf-8")
    world.more |= {
        "in_kubernetes": True,
        "kubeconfig": kubeconfig,
        "events": True,
        "remove_stale_mappings": True,
    }
    cluster.put_node("n1", world.node("a"))
    world.restart()
    return world


def bind(cluster: NodesCluster, handle: str, class_name: str | None = None) -> None:
    """Put the PersistentVolume of a claim in namespace shop, and wait until the controller has seen it."""
    spec = {
        "csi": {"driver": DRIVER, "volumeHandle": handle, "volumeAttributes": {}},
        "claimRef": {"namespace": "shop", "name": "data", "uid": "u-1"},
        "volumeAttributesClassName": class_name,
    }
    cluster.put(VOLUMES, f"pv-{handle}", {"spec": spec, "status": {"phase": "Bound"}})
    cluster.wait_for_watches(3)
    version = cluster.bookmark(VOLUMES)
    cluster.end_watches()
    eventually(lambda: version in cluster.watched_from(VOLUMES))


def event(cluster: NodesCluster) -> dict[str, Any]:
    eventually(lambda: bool(cluster.objects(EVENTS)))
    (found,) = cluster.objects(EVENTS)
    return found


def test_a_claim_is_told_that_its_volume_went_to_a_host_that_is_not_connected(
    world: World, cluster: NodesCluster
) -> None:
    volume = world.driver.create()
    bind(cluster, volume.volume_id)
    world.simulator.gateway.set_connected("a", connected=False)
    world.driver.publish(volume, world.node("a"))
    told = event(cluster)
    assert told["reason"] == "HostNotConnected"
    assert told["involvedObject"]["name"] == "data"
    assert "reports that this host is not connected" in told["message"]


def test_a_claim_is_told_that_a_stale_mapping_of_its_volume_was_removed(
    world: World, cluster: NodesCluster
) -> None:
    volume = world.driver.create()
    bind(cluster, volume.volume_id)
    world.driver.publish(volume, world.node("a"))
    world.simulator.gateway.set_connected("a", connected=False)
    cluster.put_node("n1", world.node("b"))
    cluster.let_nodes_be_seen()
    world.driver.publish(volume, world.node("b"))
    told = event(cluster)
    assert told["reason"] == "StaleMappingRemoved"
    assert "is not one any more. The driver removed this mapping." in told["message"]


def test_a_claim_is_told_that_the_limits_of_its_new_class_were_not_applied(
    world: World, cluster: NodesCluster
) -> None:
    volume = world.driver.create()
    bind(cluster, volume.volume_id, "missing")
    cluster.put_class("bad", iopsLimit="5")
    bind(cluster, volume.volume_id, "bad")
    told = event(cluster)
    assert told["reason"] == "LimitsNotApplied"
    assert "could not be set on the array" in told["message"]


def test_a_claim_is_told_that_its_volume_is_moved_and_when_it_has_ended(
    make_world: MakeWorld, cluster: NodesCluster, tmp_path: Path
) -> None:
    pools = (PoolPlan(), PoolPlan(name="sp2"))
    plan = SystemPlan(
        initial_state=InitialState(domains=(DomainPlan(pools=pools),)),
        settings=Settings(migration_kb_per_second=1024 * 1024),
    )
    world = make_world(plan)
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(json.dumps(cluster.kubeconfig()), encoding="utf-8")
    world.more |= {"in_kubernetes": True, "kubeconfig": kubeconfig, "events": True}
    world.restart()
    volume = world.driver.create()
    bind(cluster, volume.volume_id)
    refused(grpc.StatusCode.ABORTED, lambda: world.driver.modify(volume.volume_id, storagepool="sp2"))
    told = event(cluster)
    assert (told["reason"], told["type"]) == ("VolumeMoving", "Normal")
    assert told["involvedObject"]["name"] == "data"
    assert "The volume is being moved from pool pd1/sp1 to pool pd1/sp2" in told["message"]
    Client(world.simulator.gateway).act(
        "Volume", volume.volume_id.partition("-")[2], "pauseVTreeMigration", pauseType="Gracefully"
    )
    refused(grpc.StatusCode.ABORTED, lambda: world.driver.modify(volume.volume_id, storagepool="sp2"))
    Client(world.simulator.gateway).act("Volume", volume.volume_id.partition("-")[2], "resumeVTreeMigration")
    world.array.clock.advance(3600)
    world.driver.modify(volume.volume_id, storagepool="sp2")
    eventually(lambda: len(cluster.objects(EVENTS)) == 3)
    types = {each["reason"]: each["type"] for each in cluster.objects(EVENTS)}
    assert types == {"VolumeMoving": "Normal", "VolumeMovePaused": "Warning", "VolumeMoved": "Normal"}


def test_a_publication_does_not_fail_where_events_are_refused(world: World, cluster: NodesCluster) -> None:
    volume = world.driver.create()
    bind(cluster, volume.volume_id)
    cluster.refused[EVENTS] = 403
    world.simulator.gateway.set_connected("a", connected=False)
    assert world.driver.publish(volume, world.node("a"))
    eventually(lambda: any(request.method == "POST" for request in cluster.requests))
    assert cluster.objects(EVENTS) == []


def test_without_the_option_no_event_is_written(world: World, cluster: NodesCluster) -> None:
    world.more["events"] = False
    world.restart()
    cluster.end_watches()
    volume = world.driver.create()
    bind(cluster, volume.volume_id)
    world.simulator.gateway.set_connected("a", connected=False)
    world.driver.publish(volume, world.node("a"))
    assert {request.method for request in cluster.requests} == {"GET"}
