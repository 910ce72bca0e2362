"""What the nodes of a cluster say about mappings: hosts that are no nodes any more, and nodes with one id."""

from __future__ import annotations

import contextlib
import itertools
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from csi_powerflex.ids import Initiator, NodeIdentity
from csi_powerflex.kube.client import Client
from csi_powerflex.kube.nodes import ATTACHMENTS, CSI_NODES, KubernetesNodes
from csi_powerflex.observability import metrics
from csi_powerflex.pb import csi_pb2
from csi_powerflex.qos_store.kubernetes import VOLUMES
from csi_powerflex.simulator.faults import Fault, FaultKind
from tests.controller.api_server import DRIVER
from tests.controller.cluster_world import NodesCluster, connect
from tests.controller.conftest import MakeWorld
from tests.controller.driver import Mode, block, refused
from tests.controller.interruption import Held, HoldTime
from tests.controller.nvme import NODE, NQN, nvme_hosts
from tests.controller.policies import make_policy
from tests.controller.world import World

PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[NodesCluster]:
    with NodesCluster(tmp_path) as server:
        yield server


@pytest.fixture
def world(make_world: MakeWorld, cluster: NodesCluster, tmp_path: Path) -> World:
    """The operator has allowed that stale mappings are removed. Node n1 has SDC a, n3 has SDC c."""
    world = make_world()
    cluster.put_node("n1", world.node("a"))
    cluster.put_node("n3", world.node("c"))
    return connect(world, cluster, tmp_path, remove_stale=True)


def published(world: World, cluster: NodesCluster, *, node: str = "a") -> csi_pb2.Volume:
    """A volume that is published to an SDC, with its PersistentVolume and without a VolumeAttachment."""
    volume = world.driver.create()
    cluster.put_volume(volume.volume_id)
    world.driver.publish(volume, world.node(node))
    return volume


def reinstall(world: World, cluster: NodesCluster, *, controllers: int = 1) -> None:
    """Node n1 has SDC b now, and SDC a is disconnected. The controllers have seen both."""
    world.simulator.gateway.set_connected("a", connected=False)
    cluster.put_node("n1", world.node("b"))
    cluster.let_nodes_be_seen(controllers)


def see_nodes(cluster: NodesCluster) -> None:
    """Wait until the controller has listed the nodes: it watches three resources."""
    cluster.wait_for_watches(3)


def left(world: World, cluster: NodesCluster) -> csi_pb2.Volume:
    """A volume that is mapped to SDC a of node n1 from before it was reinstalled."""
    volume = published(world, cluster)
    see_nodes(cluster)
    reinstall(world, cluster)
    return volume


def hosts(world: World, volume: csi_pb2.Volume) -> list[str | None]:
    """The names of the hosts that the volume is mapped to."""
    mappings = world.volume(volume.volume_id).mappings
    return [world.array.hosts[mapping.host_id].name for mapping in mappings]


def kept(world: World, volume: csi_pb2.Volume, node: str = "b") -> str:
    """The reason for which a publication and a deletion keep the mapping."""
    before = hosts(world, volume)
    text = refused(PRECONDITION, lambda: world.driver.publish(volume, world.node(node)))
    assert "unmap it from this host at the array" in text
    assert hosts(world, volume) == before
    _, _, reason = text.partition("The driver did not remove the mapping, because ")
    return reason


# --- stale mappings ------------------------------------------------------------------------------------


def test_the_mapping_of_a_reinstalled_node_is_removed_when_the_volume_is_published(
    world: World, cluster: NodesCluster
) -> None:
    volume = left(world, cluster)
    cluster.attach(volume.volume_id, "n1")
    assert world.driver.publish(volume, world.node("b"))
    assert hosts(world, volume) == ["b"]


def test_the_mapping_of_a_removed_node_is_removed(world: World, cluster: NodesCluster) -> None:
    volume = published(world, cluster)
    see_nodes(cluster)
    world.simulator.gateway.set_connected("a", connected=False)
    cluster.remove_node("n1")
    cluster.let_nodes_be_seen()
    cluster.attach(volume.volume_id, "n3")
    assert world.driver.publish(volume, world.node("c"))
    assert hosts(world, volume) == ["c"]


def test_a_volume_with_a_stale_mapping_is_deleted(world: World, cluster: NodesCluster) -> None:
    volume = left(world, cluster)
    world.driver.delete(volume.volume_id)
    assert volume.volume_id.partition("-")[2] not in world.array.volumes


def test_a_volume_with_a_stale_mapping_leaves_its_snapshot_policy_when_it_is_deleted(
    world: World, cluster: NodesCluster
) -> None:
    make_policy(world)
    volume = left(world, cluster)
    world.driver.modify(volume.volume_id, snapshotPolicy="hourly")
    world.driver.delete(volume.volume_id)
    assert volume.volume_id.partition("-")[2] not in world.array.volumes


def test_a_deletion_keeps_a_mapping_that_any_node_wants(world: World, cluster: NodesCluster) -> None:
    volume = left(world, cluster)
    cluster.attach(volume.volume_id, "n1")
    text = refused(PRECONDITION, lambda: world.driver.delete(volume.volume_id))
    assert text.endswith("because VolumeAttachment attachment-n1 wants the volume on node n1")
    assert hosts(world, volume) == ["a"]


def test_without_the_permission_a_mapping_is_kept_and_the_former_node_is_named(
    make_world: MakeWorld, cluster: NodesCluster, tmp_path: Path
) -> None:
    world = make_world()
    cluster.put_node("n1", world.node("a"))
    connect(world, cluster, tmp_path, remove_stale=False)
    volume = left(world, cluster)
    text = refused(PRECONDITION, lambda: world.driver.publish(volume, world.node("b")))
    assert "is mapped to a (host id" in text
    assert "once node n1, now of no node of this cluster" in text
    assert "The driver did not remove" not in text
    assert hosts(world, volume) == ["a"]
    assert cluster.asked() == 0


def test_a_host_that_is_a_node_keeps_its_mapping_without_a_request(
    world: World, cluster: NodesCluster
) -> None:
    volume = published(world, cluster)
    see_nodes(cluster)
    world.simulator.gateway.set_connected("a", connected=False)
    text = kept(world, volume, "c")
    assert text.startswith("node n1 has registered sdc:")
    assert cluster.asked() == 0


def test_a_host_that_is_connected_keeps_its_mapping(world: World, cluster: NodesCluster) -> None:
    volume = left(world, cluster)
    world.simulator.gateway.set_connected("a", connected=True)
    assert kept(world, volume).endswith("is connected to the array")


def test_a_mapping_is_kept_while_a_volume_attachment_wants_the_volume_on_another_node(
    world: World, cluster: NodesCluster
) -> None:
    volume = left(world, cluster)
    cluster.attach(volume.volume_id, "n1")
    cluster.attach(volume.volume_id, "n3")
    assert kept(world, volume) == "VolumeAttachment attachment-n3 wants the volume on node n3"
    cluster.detach("n3")
    assert world.driver.publish(volume, world.node("b"))


def test_a_mapping_is_kept_while_a_removed_node_has_a_volume_attachment(
    world: World, cluster: NodesCluster
) -> None:
    volume = left(world, cluster)
    cluster.attach(volume.volume_id, "removed")
    assert kept(world, volume) == "VolumeAttachment attachment-removed wants the volume on node removed"


def test_a_mapping_is_kept_while_another_driver_wants_the_volume(world: World, cluster: NodesCluster) -> None:
    volume = left(world, cluster)
    cluster.attach_inline(volume.volume_id, "n3", driver="other.example")
    assert kept(world, volume) == "VolumeAttachment inline-n3 wants the volume on node n3"


def test_a_mapping_is_kept_while_the_volume_of_an_attachment_is_not_known(
    world: World, cluster: NodesCluster
) -> None:
    volume = left(world, cluster)
    cluster.attach("of-no-persistent-volume", "n3")
    assert kept(world, volume) == "the volume of VolumeAttachment attachment-n3 is not known"
    cluster.attach("of-no-persistent-volume", "n3", driver="other.example")
    assert world.driver.publish(volume, world.node("b"))


def test_a_mapping_is_kept_while_another_driver_has_registered_the_host(
    world: World, cluster: NodesCluster
) -> None:
    volume = left(world, cluster)
    guid = world.simulator.hosts["a"].guid
    cluster.put_node("n4", guid.lower(), driver="other.example")
    assert kept(world, volume).endswith("for driver other.example")
    assert "node n4 has registered" in kept(world, volume)


def test_a_mapping_is_kept_while_a_node_id_of_the_driver_cannot_be_read(
    world: World, cluster: NodesCluster
) -> None:
    volume = left(world, cluster)
    cluster.put_node("n4", "something else")
    assert kept(world, volume) == "node n4 has the node id 'something else', which cannot be read"


def test_a_mapping_is_kept_while_the_driver_is_not_registered_on_its_node(
    world: World, cluster: NodesCluster
) -> None:
    """As while the node's plugin is replaced. The same node may have the same SDC afterwards."""
    volume = published(world, cluster)
    see_nodes(cluster)
    world.simulator.gateway.set_connected("a", connected=False)
    cluster.put_node("n1", None)
    cluster.let_nodes_be_seen()
    assert kept(world, volume, "c").endswith("and the driver is not registered there now")


def test_a_host_that_was_never_seen_as_a_node_keeps_its_mapping(world: World, cluster: NodesCluster) -> None:
    """It may be a node of another cluster, which imported the volume."""
    volume = published(world, cluster, node="b")
    see_nodes(cluster)
    world.simulator.gateway.set_connected("b", connected=False)
    assert "has not seen sdc:" in kept(world, volume, "c")
    assert cluster.asked() == 0


def test_a_restarted_controller_keeps_the_mapping_of_a_host_that_it_has_not_seen(
    world: World, cluster: NodesCluster
) -> None:
    volume = left(world, cluster)
    world.restart()
    assert "since it started" in kept(world, volume)


@pytest.mark.parametrize("resource", [ATTACHMENTS, VOLUMES, CSI_NODES])
def test_a_mapping_is_kept_while_the_cluster_cannot_be_read(
    world: World, cluster: NodesCluster, resource: str
) -> None:
    volume = left(world, cluster)
    cluster.refused[resource] = 403
    assert kept(world, volume).startswith("the cluster cannot be read: the Kubernetes API answered 403")
    cluster.refused.clear()
    assert world.driver.publish(volume, world.node("b"))


def test_a_volume_that_this_cluster_did_not_create_keeps_its_mapping(
    world: World, cluster: NodesCluster
) -> None:
    volume = left(world, cluster)
    world.volume(volume.volume_id).name = "by-hand"
    assert kept(world, volume) == "the name of the volume is none that this cluster gave"
    world.reconfigured(adopt_volumes=("by-",))
    assert kept(world, volume) == "the name of the volume is none that this cluster gave"


def test_a_host_whose_connection_the_array_does_not_tell_keeps_its_mapping(
    world: World, cluster: NodesCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = left(world, cluster)
    monkeypatch.setattr("csi_powerflex.simulator.resources.host._connection", lambda _: None)
    assert "does not say whether host a" in kept(world, volume)


def test_a_host_that_the_array_removed_meanwhile_keeps_its_mapping(
    world: World, cluster: NodesCluster
) -> None:
    volume = left(world, cluster)
    host = world.simulator.hosts["a"]
    found = world.array.host_by_guid(host.guid)
    assert found is not None
    found.guid = None
    assert "that can be a node" in kept(world, volume)


def test_a_host_id_that_means_another_host_now_keeps_its_mapping(world: World, cluster: NodesCluster) -> None:
    volume = left(world, cluster)
    found = world.array.host_by_guid(world.simulator.hosts["a"].guid)
    assert found is not None
    found.guid = str(uuid.uuid4()).upper()
    assert f"host {found.id} was a" in kept(world, volume)


def test_two_controllers_that_remove_a_stale_mapping_publish_once(
    world: World, cluster: NodesCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One is held at each of its requests until the other has answered."""
    held, other = Held(monkeypatch), world.another()
    cluster.wait_for_watches(6)
    reinstall(world, cluster, controllers=2)
    for position, when in itertools.product(range(4), HoldTime):
        volume = world.driver.create(f"pvc-{position}-{when}")
        cluster.put_volume(volume.volume_id)
        world.driver.publish(volume, world.node("a"))
        cluster.attach(volume.volume_id, "n1")
        held.arm(position, when)
        with ThreadPoolExecutor(1) as caller:
            first = caller.submit(world.driver.publish, volume, world.node("b"))
            held.wait()
            assert other.publish(volume, world.node("b"))
            held.release()
            assert first.result(timeout=60)
        assert hosts(world, volume) == ["b"], f"held {when} request {position + 1}"


def test_two_controllers_that_publish_to_two_nodes_keep_the_mapping(
    world: World, cluster: NodesCluster
) -> None:
    """Each sees the VolumeAttachment of the other."""
    volume = left(world, cluster)
    cluster.attach(volume.volume_id, "n1")
    cluster.attach(volume.volume_id, "n3")
    assert "on node n3" in kept(world, volume, "b")
    assert "on node n1" in kept(world, volume, "c")


@pytest.mark.parametrize("kind", [FaultKind.RESET, FaultKind.LOST_REPLY])
def test_an_interrupted_removal_is_completed_by_the_repeated_call(
    world: World, cluster: NodesCluster, kind: FaultKind
) -> None:
    volume = left(world, cluster)
    fault = world.simulator.gateway.inject(Fault(kind=kind, route="Volume.removeMappedSdc", times=1))
    with contextlib.suppress(grpc.RpcError):
        world.driver.publish(volume, world.node("b"))
    assert world.simulator.gateway.faults.struck(fault) == 1
    assert world.driver.publish(volume, world.node("b"))
    assert hosts(world, volume) == ["b"]


# --- nodes with one id ---------------------------------------------------------------------------------


def test_no_volume_is_published_to_two_nodes_that_have_one_sdc_guid(
    world: World, cluster: NodesCluster
) -> None:
    volume = world.driver.create()
    see_nodes(cluster)
    cluster.put_node("clone", world.node("a").lower())
    cluster.let_nodes_be_seen()
    text = refused(PRECONDITION, lambda: world.driver.publish(volume, world.node("a")))
    assert "nodes clone, n1 have the same SDC GUID or NQN" in text
    assert "give the copy a GUID and NQN of its own" in text
    assert world.volume(volume.volume_id).mappings == []
    assert metrics.SHARED_INITIATORS._value.get() == 1
    assert world.driver.publish(volume, world.node("c"))


def test_no_volume_is_published_to_two_nodes_that_have_one_nqn(world: World, cluster: NodesCluster) -> None:
    """Also if each has an SDC of its own, and if the case differs."""
    volume = world.driver.create()
    cluster.put_node("n1", f"{world.node('a')},{NODE}")
    cluster.put_node("clone", f"{world.node('b')},nqn:{NQN.upper().replace('NQN', 'nqn', 1)}")
    see_nodes(cluster)
    cluster.let_nodes_be_seen()
    for node in (NODE, f"{world.node('a')},{NODE}", f"{world.node('b')},{NODE}"):
        text = refused(PRECONDITION, lambda node=node: world.driver.publish(volume, node))  # type: ignore[misc]  # bound
        assert "nodes clone, n1 have the same SDC GUID or NQN" in text
    assert world.volume(volume.volume_id).mappings == []
    assert nvme_hosts(world) == []


def test_a_shared_volume_is_refused_too_and_unpublished_still(world: World, cluster: NodesCluster) -> None:
    shared = block(Mode.MULTI_NODE_MULTI_WRITER)
    volume = world.driver.create(capabilities=[shared])
    world.driver.publish(volume, world.node("a"), shared)
    see_nodes(cluster)
    clone = f"{world.node('a')},nqn:nqn.2014-08.org.example:clone"
    cluster.put_node("clone", clone)
    cluster.let_nodes_be_seen()
    for node in (world.node("a"), clone):
        refused(PRECONDITION, lambda node=node: world.driver.publish(volume, node, shared))  # type: ignore[misc]  # bound
    world.driver.unpublish(volume.volume_id, world.node("a"))
    assert world.volume(volume.volume_id).mappings == []


def test_nodes_are_published_to_again_when_the_copy_has_an_id_of_its_own(
    world: World, cluster: NodesCluster
) -> None:
    see_nodes(cluster)
    cluster.put_node("clone", world.node("a"))
    cluster.put_node("clone", world.node("b"))
    cluster.put_node("clone", "something else")
    cluster.let_nodes_be_seen()
    volume = world.driver.create()
    assert world.driver.publish(volume, world.node("a"))
    assert metrics.SHARED_INITIATORS._value.get() == 0


def test_publications_go_on_while_the_nodes_are_not_listed(
    make_world: MakeWorld, cluster: NodesCluster, tmp_path: Path
) -> None:
    world = make_world()
    cluster.put_node("n1", world.node("a"))
    cluster.put_node("clone", world.node("a"))
    cluster.refused[CSI_NODES] = 403
    connect(world, cluster, tmp_path, remove_stale=True)
    volume = world.driver.create()
    assert world.driver.publish(volume, world.node("a"))


def test_a_publication_sends_no_request_to_the_cluster(world: World, cluster: NodesCluster) -> None:
    see_nodes(cluster)
    volume = world.driver.create()
    before = len(cluster.requests)
    world.driver.publish(volume, world.node("a"))
    assert len(cluster.requests) == before


def test_only_the_hosts_that_were_seen_last_are_remembered(cluster: NodesCluster) -> None:
    guids = [str(uuid.uuid4()).upper() for _ in range(2)]
    with contextlib.closing(KubernetesNodes(DRIVER, Client(cluster.config), max_seen=1)) as nodes:
        nodes.start()
        cluster.wait_for_watches()
        for guid in guids:
            cluster.put_node("n1", f"sdc:{guid}")
        cluster.put_node("n1", None)
        cluster.let_nodes_be_seen()
        assert [nodes.describe(Initiator.sdc(guid)) for guid in guids] == [
            "",
            "once node n1, now of no node of this cluster",
        ]


@pytest.mark.parametrize(("max_seen", "known"), [(2, 1), (1, 0)])
def test_the_former_initiators_of_a_node_are_remembered_as_long_as_it_is_known_to_have_had_them(
    cluster: NodesCluster, max_seen: int, known: int
) -> None:
    older, newer = (Initiator.sdc(str(uuid.uuid4())) for _ in range(2))
    with contextlib.closing(KubernetesNodes(DRIVER, Client(cluster.config), max_seen=max_seen)) as nodes:
        nodes.start()
        cluster.wait_for_watches()
        for node_id in (str(older), str(newer), NODE):
            cluster.put_node("n1", node_id)
        cluster.let_nodes_be_seen()
        assert list(nodes.former_initiators(NodeIdentity.parse(NODE))) == [newer][:known]
        assert nodes.former_initiators(NodeIdentity.of([older])) == ()
        cluster.put_node("n2", str(newer))
        cluster.let_nodes_be_seen()
        assert nodes.former_initiators(NodeIdentity.parse(NODE)) == ()


# --- nodes with two initiators -------------------------------------------------------------------------


def test_a_published_node_has_its_whole_node_id_also_after_a_restart(
    world: World, cluster: NodesCluster
) -> None:
    """Kubernetes compares it with the id in the CSINode. A part of it would count as another node."""
    node = f"{world.node('a')},{NODE}"
    cluster.put_node("n1", node)
    volume = world.driver.create()
    assert world.driver.publish(volume, NODE)["transport"] == "nvme"
    driver = world.restart()
    cluster.wait_for_watches(6)
    cluster.let_nodes_be_seen()
    assert list(driver.get(volume.volume_id).status.published_node_ids) == [node]
    listed = driver.controller.ListVolumes(csi_pb2.ListVolumesRequest(), timeout=30).entries
    assert [list(entry.status.published_node_ids) for entry in listed] == [[node]]


def changed_transport(world: World, cluster: NodesCluster) -> csi_pb2.Volume:
    """A shared volume that is mapped to SDC a of node n1, which uses only NVMe now."""
    shared = block(Mode.MULTI_NODE_MULTI_WRITER)
    volume = world.driver.create(capabilities=[shared])
    world.driver.publish(volume, world.node("a"), shared)
    see_nodes(cluster)
    cluster.put_node("n1", NODE)
    cluster.let_nodes_be_seen()
    return volume


def test_a_node_that_changed_its_transport_can_still_be_detached(world: World, cluster: NodesCluster) -> None:
    volume = changed_transport(world, cluster)
    world.driver.unpublish(volume.volume_id, NODE)
    assert hosts(world, volume) == []
    assert nvme_hosts(world) == []


def test_a_node_that_changed_its_transport_keeps_that_of_its_volumes(
    world: World, cluster: NodesCluster
) -> None:
    """To map the volume to its new host as well would make two devices of it."""
    volume = changed_transport(world, cluster)
    shared = block(Mode.MULTI_NODE_MULTI_WRITER)
    assert world.driver.publish(volume, NODE, shared)["transport"] == "sdc"
    assert hosts(world, volume) == ["a"]
    world.driver.unpublish(volume.volume_id, NODE)
    assert world.driver.publish(volume, NODE, shared)["transport"] == "nvme"


def test_an_sdc_that_another_node_has_now_is_no_former_one(world: World, cluster: NodesCluster) -> None:
    volume = changed_transport(world, cluster)
    cluster.put_node("n4", world.node("a"))
    cluster.let_nodes_be_seen()
    world.driver.unpublish(volume.volume_id, NODE)
    assert hosts(world, volume) == ["a"]


def test_a_node_that_was_reinstalled_with_another_sdc_is_not_its_old_host(
    world: World, cluster: NodesCluster
) -> None:
    """The old host may be another machine that still runs."""
    volume = left(world, cluster)
    world.driver.unpublish(volume.volume_id, world.node("b"))
    assert hosts(world, volume) == ["a"]


def test_the_mapping_to_an_nvme_host_that_is_no_node_any_more_is_kept(
    world: World, cluster: NodesCluster
) -> None:
    """The array does not tell whether an NVMe host is connected."""
    cluster.put_node("n1", NODE)
    see_nodes(cluster)
    cluster.let_nodes_be_seen()
    volume = world.driver.create()
    cluster.put_volume(volume.volume_id)
    world.driver.publish(volume, NODE)
    cluster.remove_node("n1")
    cluster.let_nodes_be_seen()
    assert kept(world, volume, "c").startswith("the array does not say whether host csi-")
