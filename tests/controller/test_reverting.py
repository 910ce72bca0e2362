"""``volumes revert``: the data of a volume become those of one of its snapshots."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from click.testing import Result

from csi_powerflex.config.systems.schema import TrashSettings
from csi_powerflex.gateway.array import GatewayArray
from csi_powerflex.gateway.http import Http, Request
from csi_powerflex.kube.http import Http as KubeHttp
from csi_powerflex.kube_objects.custody import ATTACHMENTS
from csi_powerflex.kube_objects.reader import CLAIMS, VOLUMES
from csi_powerflex.names import Kind
from csi_powerflex.operations.controller.inventory import reverting
from csi_powerflex.simulator.faults import Fault, FaultKind
from tests.controller.changed_answers import ChangeAnswer
from tests.controller.cluster_world import NodesCluster, connect
from tests.controller.contents import Contents
from tests.controller.driver import refused
from tests.controller.ended import Killed, Life
from tests.controller.eventually import eventually
from tests.controller.inventory_world import DRIVER, InventoryWorld
from tests.controller.nvme import create_nvme_host, map_to
from tests.controller.world import World
from tests.figures import Figures
from tests.kube.api_server import ApiServer

pytestmark = pytest.mark.usefixtures("untouched_logging")

HOLD = f"{DRIVER}/hold"
PODS = "/api/v1/namespaces/shop/pods"
OVERWRITE = "*.overwriteVolumeContent"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[ApiServer]:
    with ApiServer(tmp_path) as server:
        yield server


class Reverts(InventoryWorld):
    """Claims with snapshots, and what is in them."""

    def __init__(self, world: World, cluster: ApiServer) -> None:
        super().__init__(world, cluster)
        self.contents = Contents(world.array)
        self.handles: dict[str, str] = {}

    def claimed(self, claim: str) -> str:
        """A claim with a volume in which ``old`` is written. Returns its handle."""
        handle = self.provisioned(claim).volume_id
        self.contents.write(handle, f"old {claim}")
        self.handles[claim] = handle
        return handle

    def prepared(self) -> tuple[str, str]:
        """A volume of claim shop/data with a snapshot ``old data`` and the content ``new data``."""
        volume = self.claimed("data")
        snapshot = self.taken("before", volume).snapshot_id
        self.contents.write(volume, "new data")
        return volume, snapshot

    def group(self, *claims: str) -> str:
        """A group snapshot of new claims, which have new content since. Returns its handle."""
        for claim in claims:
            self.claimed(claim)
        made = self.world.driver.group_snapshot("groupsnapshot-1", *(self.handles[claim] for claim in claims))
        for claim in claims:
            self.contents.write(self.handles[claim], f"new {claim}")
        return made.group_snapshot_id

    def revert(self, *arguments: str, **more: Any) -> Result:
        return self.run("volumes", "revert", *arguments, **more)

    def word(self, claim: str = "data") -> str:
        return self.contents.read(self.handles[claim])

    def all_contents(self) -> set[str]:
        """What is in any volume or snapshot that exists."""
        return {self.contents.words.get(volume_id, "") for volume_id in self.world.array.volumes}

    def hold(self, claim: str = "data") -> str | None:
        """The hold on the PersistentVolume of a claim."""
        for volume in self.cluster.objects(VOLUMES):
            if volume["spec"]["claimRef"]["name"] == claim:
                return (volume["metadata"].get("annotations") or {}).get(HOLD)
        raise AssertionError(claim)

    def set_hold(self, text: str, claim: str = "data") -> None:
        """Set the hold as a person would do it."""
        for volume in self.cluster.objects(VOLUMES):
            if volume["spec"]["claimRef"]["name"] == claim:
                metadata = {**volume["metadata"], "annotations": {HOLD: text, "note": "x"}}
                self.cluster.put(VOLUMES, volume["metadata"]["name"], {**volume, "metadata": metadata})


@pytest.fixture
def reverts(array45: World, cluster: ApiServer) -> Reverts:
    return Reverts(array45, cluster)


@pytest.fixture
def each_version(world: World, cluster: ApiServer) -> Reverts:
    return Reverts(world, cluster)


class Hooks:
    """What happens just before a request of the command is sent."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._waiting: list[tuple[str, int, Callable[[], object]]] = []
        send = Http.send

        def sent(http: Http, request: Request) -> Any:
            self._happen(request.url)
            return send(http, request)

        monkeypatch.setattr(Http, "send", sent)

    def before(self, action: str, happen: Callable[[], object], *, skip: int = 0) -> None:
        """Let something happen once before this action is asked for, after ``skip`` others of it."""
        self._waiting.append((action, skip, happen))

    def _happen(self, url: str) -> None:
        for index, (action, skip, happen) in enumerate(self._waiting):
            if not url.endswith(action):
                continue
            if skip:
                self._waiting[index] = (action, skip - 1, happen)
                return
            del self._waiting[index]
            happen()
            return


@pytest.fixture
def hooks(monkeypatch: pytest.MonkeyPatch) -> Hooks:
    return Hooks(monkeypatch)


# --- one volume ----------------------------------------------------------------------------------


def test_a_volume_gets_the_data_of_its_snapshot_and_a_safety_snapshot_those_of_before(
    each_version: Reverts,
) -> None:
    volume, snapshot = each_version.prepared()
    text = each_version.ok("volumes", "revert", "shop/data", "--to", "shop/before", "--yes")
    assert each_version.word() == "old data"
    match = re.search(r"safety snapshot (\S+) \(on the array (\S+)\) was taken", text)
    assert match is not None
    assert each_version.contents.read(match[1]) == "new data"
    assert match[2].startswith("stest")
    assert f"volume {volume} was reverted to {snapshot}" in text
    assert f"To undo it: csi-powerflex volumes revert {volume} --to {match[1]}" in text
    assert each_version.hold() is None


def test_a_revert_can_be_reverted(reverts: Reverts) -> None:
    reverts.prepared()
    text = reverts.ok("volumes", "revert", "shop/data", "--to", "shop/before", "--yes")
    safety = text.split("safety snapshot ")[1].split()[0]
    reverts.ok("volumes", "revert", "shop/data", "--to", safety, "--yes")
    assert reverts.word() == "new data"


def test_without_yes_the_plan_is_shown_and_nothing_is_changed(reverts: Reverts) -> None:
    volume, snapshot = reverts.prepared()
    with reverts.world.simulator.gateway.log.watching() as requests:
        text = reverts.ok("volumes", "revert", "shop/data", "--to", "shop/before")
    assert (
        f"volume {volume} (shop/data, 8 GiB) on system array0 would be reverted to snapshot {snapshot}"
        in text
    )
    assert "Nothing was changed; give --yes to do it." in text
    assert not any("action/snapshot" in entry.path or "overwrite" in entry.path for entry in requests)
    assert all(request.method == "GET" for request in reverts.cluster.requests)
    assert reverts.word() == "new data"


def trees(world: World) -> int:
    """How many requests ask whether a volume is being moved. Erasure-coded pools have no moves."""
    return 0 if world.array.dialect.second_generation else 1


def test_a_revert_of_one_volume_sends_five_requests_after_its_plan(each_version: Reverts) -> None:
    each_version.prepared()
    arguments = ("volumes", "revert", "shop/data", "--to", "shop/before")
    with each_version.world.simulator.gateway.log.watching() as planned:
        each_version.ok(*arguments)
    with each_version.world.simulator.gateway.log.watching() as done:
        each_version.ok(*arguments, "--yes")
    assert len(done) == len(planned) + 4 + trees(each_version.world)


def test_a_clone_can_be_reverted_to_the_snapshot_that_it_was_made_from(reverts: Reverts) -> None:
    volume, snapshot = reverts.prepared()
    clone = reverts.world.driver.restore("pvc-clone", snapshot).volume_id
    reverts.contents.write(clone, "changed")
    reverts.ok("volumes", "revert", clone, "--to", snapshot, "--yes")
    assert reverts.contents.read(clone) == "old data"
    assert reverts.contents.read(volume) == "new data"


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("shop/data",),
        ("--to", "shop/before"),
        ("shop/data", "--group", "x"),
        ("shop/data", "--to", "shop/before", "--group", "x"),
        ("--to", "shop/before", "--group", "x"),
    ],
)
def test_a_wrong_use_of_the_options_is_refused(reverts: Reverts, arguments: tuple[str, ...]) -> None:
    result = reverts.revert(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")


# --- checks --------------------------------------------------------------------------------------


def test_a_volume_is_not_reverted_to_a_snapshot_on_another_system(pair: World, cluster: ApiServer) -> None:
    """Two systems may give the same ids."""
    reverts = Reverts(pair, cluster)
    volume, other = (
        pair.driver.create(f"pvc-{name}", parameters={"systemID": name}).volume_id
        for name in ("array0", "array1")
    )
    own, snapshot = (
        pair.driver.snapshot(handle, f"snapshot-{handle}").snapshot_id for handle in (volume, other)
    )
    assert own.partition("-")[2] == snapshot.partition("-")[2]
    message = reverts.refused("volumes", "revert", volume, "--to", snapshot, "--yes")
    assert "was not taken of it" in message


def test_a_snapshot_that_a_persistent_volume_has_is_not_reverted(reverts: Reverts) -> None:
    volume = reverts.claimed("data")
    snapshot = reverts.world.driver.snapshot(volume, "s-1", snapshotAccessMode="ReadWrite").snapshot_id
    second = reverts.world.driver.snapshot(snapshot, "s-2").snapshot_id
    reverts.persistent_volume("pv-1", snapshot)
    message = reverts.refused("volumes", "revert", snapshot, "--to", second, "--yes")
    assert "it is a snapshot; only volumes are reverted" in message


def _mapped(reverts: Reverts, volume: str, _snapshot: str) -> None:
    reverts.world.driver.publish(volume, reverts.world.node("a"))


def _expanded(reverts: Reverts, volume: str, _snapshot: str) -> None:
    reverts.world.driver.expand(volume, gib=16)


def _attached(reverts: Reverts, volume: str, _snapshot: str) -> None:
    name = f"pvc-{reverts.document('volumes', 'show', volume)['uid']}"
    spec = {"attacher": DRIVER, "nodeName": "worker-a", "source": {"persistentVolumeName": name}}
    reverts.cluster.put(ATTACHMENTS, "attached", {"spec": spec})
    other = {"attacher": DRIVER, "nodeName": "worker-b", "source": {"persistentVolumeName": "other"}}
    reverts.cluster.put(ATTACHMENTS, "other", {"spec": other})


def _used(reverts: Reverts, _volume: str, _snapshot: str) -> None:
    volumes = [{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}, {"name": "tmp", "emptyDir": {}}]
    for name, phase in (("db", "Pending"), ("job", "Succeeded")):
        metadata = {"name": name, "namespace": "shop"}
        reverts.cluster.put(
            PODS, name, {"metadata": metadata, "spec": {"volumes": volumes}, "status": {"phase": phase}}
        )


def _held(reverts: Reverts, _volume: str, _snapshot: str) -> None:
    reverts.set_hold("moved by Eva")


def _of_another_driver(reverts: Reverts, volume: str, _snapshot: str) -> None:
    reverts.persistent_volume("other", volume, driver="other.example.org", claim="elsewhere")


def _waited_for(reverts: Reverts, volume: str, _snapshot: str) -> None:
    uid = reverts.document("volumes", "show", volume)["uid"]
    reverts.cluster.remove(VOLUMES, f"pvc-{uid}")
    reverts.claim("data", uid=uid)


def _of_another_cluster(reverts: Reverts, volume: str, _snapshot: str) -> None:
    uid = reverts.document("volumes", "show", volume)["uid"]
    reverts.cluster.remove(VOLUMES, f"pvc-{uid}")
    reverts.rename(volume, "vothr" + "a" * 26)


def _writable_and_mapped(reverts: Reverts, _volume: str, snapshot: str) -> None:
    array = reverts.world.array
    with array.lock:
        array.change(reverts.world.volume(snapshot), access_limit="ReadWrite")
        array.commit()
    reverts.world.driver.publish(snapshot, reverts.world.node("b"))


REASONS: dict[str, tuple[Callable[[Reverts, str, str], None], str]] = {
    "mapped": (_mapped, "it is mapped to worker-a; stop what uses it, and wait until it is unmapped"),
    "expanded": (_expanded, "it has 16 GiB and snapshot"),
    "attached": (_attached, "VolumeAttachment attached attaches it to node worker-a"),
    "used": (_used, "pod shop/db uses its claim data"),
    "held": (_held, "its PersistentVolume is held: moved by Eva"),
    "another driver": (_of_another_driver, "PersistentVolume other of driver other.example.org has it"),
    "waited for": (_waited_for, "claim shop/data waits for it; wait until it is bound"),
    "another cluster": (_of_another_cluster, "it does not belong to cluster test"),
    "changing snapshot": (_writable_and_mapped, "is writable and mapped to worker-b, so it may be changing"),
}


@pytest.mark.parametrize("case", REASONS)
def test_a_volume_that_must_not_be_reverted_now_is_refused(reverts: Reverts, case: str) -> None:
    volume, snapshot = reverts.prepared()
    prepare, reason = REASONS[case]
    prepare(reverts, volume, snapshot)
    before = len(reverts.world.array.volumes)
    message = reverts.refused("volumes", "revert", volume, "--to", snapshot, "--yes")
    assert reason in message
    assert "job" not in message
    assert (reverts.contents.read(volume), len(reverts.world.array.volumes)) == ("new data", before)


def test_a_volume_that_is_mapped_over_nvme_is_refused(reverts: Reverts) -> None:
    volume, snapshot = reverts.prepared()
    world = reverts.world
    map_to(world, world.driver.get(volume).volume, create_nvme_host(world))
    message = reverts.refused("volumes", "revert", volume, "--to", snapshot, "--yes")
    assert "it is mapped to n1" in message
    assert reverts.word() == "new data"


@pytest.mark.parametrize("members", ["a", "ab"])
def test_a_replicated_volume_is_refused(reverts: Reverts, change_answer: ChangeAnswer, members: str) -> None:
    group = reverts.group(*members)
    change_answer("Volume.get", lambda volume: volume | {"volumeReplicationState": "Replicated"})
    message = reverts.refused("volumes", "revert", "--group", group, "--yes")
    assert "it is replicated; end its replication at the array first" in message
    assert [reverts.word(claim) for claim in members] == [f"new {claim}" for claim in members]


def test_a_volume_is_reverted_to_a_secure_snapshot(reverts: Reverts) -> None:
    volume = reverts.claimed("data")
    snapshot = reverts.world.driver.snapshot(volume, retentionMinutes="60").snapshot_id
    reverts.contents.write(volume, "new data")
    reverts.ok("volumes", "revert", volume, "--to", snapshot, "--yes")
    assert reverts.word() == "old data"
    assert "new data" in reverts.all_contents()


def test_an_ephemeral_volume_of_a_pod_uses_the_claim_with_its_name(reverts: Reverts) -> None:
    volume = reverts.claimed("db-scratch")
    snapshot = reverts.world.driver.snapshot(volume).snapshot_id
    spec = {"volumes": [{"name": "scratch", "ephemeral": {}}]}
    metadata = {"name": "db", "namespace": "shop"}
    reverts.cluster.put(PODS, "db", {"metadata": metadata, "spec": spec, "status": {"phase": "Running"}})
    message = reverts.refused("volumes", "revert", volume, "--to", snapshot, "--yes")
    assert "pod shop/db uses its claim db-scratch" in message


def test_only_a_snapshot_of_the_volume_is_taken(each_version: Reverts) -> None:
    volume, snapshot = each_version.prepared()
    other = each_version.claimed("other")
    foreign = each_version.taken("foreign", other).snapshot_id
    clone = each_version.world.driver.restore("pvc-clone", snapshot).volume_id
    of_clone = each_version.world.driver.snapshot(clone, "snapshot-of-clone").snapshot_id
    for to, reason in (
        (foreign, "was not taken of it"),
        (of_clone, "was not taken of it"),
        (clone, "is a volume and not a snapshot"),
    ):
        assert reason in each_version.refused("volumes", "revert", volume, "--to", to, "--yes")
    message = each_version.refused("volumes", "revert", snapshot, "--to", snapshot, "--yes")
    assert "it is a snapshot; only volumes are reverted" in message
    assert each_version.word() == "new data"


def test_a_snapshot_of_a_clone_that_was_deleted_is_none_of_the_volume(reverts: Reverts) -> None:
    volume, _ = reverts.prepared()
    clone = reverts.world.driver.clone("pvc-clone", volume).volume_id
    of_clone = reverts.world.driver.snapshot(clone, "snapshot-of-clone").snapshot_id
    reverts.world.driver.delete(clone)
    message = reverts.refused("volumes", "revert", volume, "--to", of_clone, "--yes")
    assert "was not taken of it" in message


@pytest.mark.parametrize("resource", [VOLUMES, ATTACHMENTS, PODS])
def test_without_kubernetes_answer_nothing_is_reverted(reverts: Reverts, resource: str) -> None:
    volume, snapshot = reverts.prepared()
    reverts.cluster.refused[resource] = 403
    reverts.refused("volumes", "revert", volume, "--to", snapshot, "--yes")
    assert reverts.word() == "new data"


def test_without_kubernetes_a_revert_must_be_wanted(reverts: Reverts) -> None:
    volume, snapshot = reverts.prepared()
    arguments = ("volumes", "revert", volume, "--to", snapshot, "--yes")
    assert "it is not known whether Kubernetes uses" in reverts.refused(*arguments, kubernetes=False)
    of_the_controller = {"POWERFLEX_CSI_CONTROLLER_KUBERNETES": "false"}
    reverts.refused(*arguments, kubernetes=False, env=of_the_controller)
    reverts.ok(*arguments, "--no-kubernetes", kubernetes=False)
    assert reverts.word() == "old data"


# --- the hold ------------------------------------------------------------------------------------


@pytest.fixture
def following(array45: World, tmp_path: Path) -> Iterator[tuple[World, NodesCluster]]:
    """A controller that follows the PersistentVolumes of a cluster."""
    with NodesCluster(tmp_path) as followed:
        yield connect(array45, followed, tmp_path, remove_stale=False), followed


def _put_held(cluster: NodesCluster, handle: str, hold: str, name: str = "pv-1") -> None:
    metadata = {"annotations": {HOLD: hold, "kubectl": "x"}} if hold else {}
    spec = {"csi": {"driver": DRIVER, "volumeHandle": handle, "volumeAttributes": {}}}
    cluster.put(VOLUMES, name, {"metadata": metadata, "spec": spec})


def test_a_held_volume_is_not_published_or_expanded_until_the_hold_ends(
    following: tuple[World, NodesCluster],
) -> None:
    world, cluster = following
    volume = world.driver.create()
    _put_held(cluster, volume.volume_id, "moved by Eva")
    _put_held(cluster, volume.volume_id, "", "pv-2")

    def publish() -> object:
        return world.driver.publish(volume, world.node("a"))

    def is_held() -> bool:
        try:
            publish()
        except grpc.RpcError:
            return True
        world.driver.unpublish(volume.volume_id, world.node("a"))
        return False

    eventually(is_held)
    message = refused(grpc.StatusCode.FAILED_PRECONDITION, publish)
    assert f"volume {volume.volume_id} is held and is not published: moved by Eva" in message
    assert "remove the annotation that ends with /hold" in message
    assert not world.volume(volume.volume_id).mappings
    message = refused(grpc.StatusCode.ABORTED, lambda: world.driver.expand(volume.volume_id, gib=16))
    assert "is held and is not expanded: moved by Eva" in message
    _put_held(cluster, volume.volume_id, "")
    eventually(lambda: not is_held())
    world.driver.expand(volume.volume_id, gib=16)


def test_the_hold_costs_no_request_of_the_array(following: tuple[World, NodesCluster]) -> None:
    world, _ = following
    volume = world.driver.create()
    world.driver.publish(volume, world.node("a"))
    world.driver.unpublish(volume.volume_id, world.node("a"))
    with world.simulator.gateway.log.watching() as requests:
        world.driver.publish(volume, world.node("a"))
    assert len(requests) == 2


def test_the_volume_is_held_while_it_is_reverted(reverts: Reverts, hooks: Hooks) -> None:
    _, snapshot = reverts.prepared()
    seen: list[str | None] = []
    hooks.before("snapshotVolumes", lambda: seen.append(reverts.hold()))
    hooks.before("overwriteVolumeContent", lambda: seen.append(reverts.hold()))
    reverts.ok("volumes", "revert", "shop/data", "--to", "shop/before", "--yes")
    assert len(seen) == 2
    for hold in seen:
        assert hold is not None
        assert re.fullmatch(
            rf"csi-powerflex volumes revert \(run [0-9a-f]{{8}}\) by .*@\S+ since .* to snapshot {snapshot}",
            hold,
        )
    assert reverts.hold() is None


def test_the_hold_of_an_earlier_run_is_taken_over_only_on_request(reverts: Reverts) -> None:
    reverts.prepared()
    reverts.set_hold("csi-powerflex volumes revert (run 1) by Eva")
    arguments = ("volumes", "revert", "shop/data", "--to", "shop/before", "--yes")
    message = reverts.refused(*arguments)
    assert "held by an earlier run: csi-powerflex volumes revert (run 1) by Eva. If that run" in message
    reverts.ok(*arguments, "--take-over")
    assert (reverts.word(), reverts.hold()) == ("old data", None)


def test_a_run_whose_hold_was_taken_over_changes_nothing_more(reverts: Reverts, hooks: Hooks) -> None:
    reverts.prepared()
    hooks.before("snapshotVolumes", lambda: reverts.set_hold("csi-powerflex volumes revert (run 2) by Eva"))
    message = reverts.revert("shop/data", "--to", "shop/before", "--yes").stderr
    assert "was replaced: csi-powerflex volumes revert (run 2) by Eva; nothing more is changed" in message
    assert reverts.word() == "new data"
    assert reverts.hold() == "csi-powerflex volumes revert (run 2) by Eva"


def test_a_run_whose_hold_was_removed_changes_nothing_more(reverts: Reverts, hooks: Hooks) -> None:
    reverts.prepared()

    def remove() -> None:
        for volume in reverts.cluster.objects(VOLUMES):
            volume["metadata"].pop("annotations")

    hooks.before("snapshotVolumes", remove)
    assert (
        "was removed; nothing more is changed"
        in reverts.revert("shop/data", "--to", "shop/before", "--yes").stderr
    )
    assert reverts.word() == "new data"


def test_a_hold_that_appears_after_the_plan_is_respected(
    reverts: Reverts, monkeypatch: pytest.MonkeyPatch
) -> None:
    reverts.prepared()
    carry_out = reverting.carry_out

    def later(*arguments: Any) -> object:
        reverts.set_hold("moved by Eva")
        return carry_out(*arguments)

    monkeypatch.setattr(reverting, "carry_out", later)
    message = reverts.revert("shop/data", "--to", "shop/before", "--yes").stderr
    assert "is held: moved by Eva; try again" in message
    assert (reverts.word(), reverts.hold()) == ("new data", "moved by Eva")


def test_a_persistent_volume_that_others_change_at_the_same_time_is_held_all_the_same(
    reverts: Reverts, monkeypatch: pytest.MonkeyPatch
) -> None:
    reverts.prepared()
    request, conflicts = KubeHttp.request, iter(range(2))

    def sent(http: KubeHttp, path: str, **given: Any) -> Any:
        if given.get("method") == "PATCH" and next(conflicts, None) is not None:
            for volume in reverts.cluster.objects(VOLUMES):
                reverts.cluster.put(VOLUMES, volume["metadata"]["name"], volume)
        return request(http, path, **given)

    monkeypatch.setattr(KubeHttp, "request", sent)
    reverts.ok("volumes", "revert", "shop/data", "--to", "shop/before", "--yes")
    assert (reverts.word(), reverts.hold()) == ("old data", None)


# --- while it runs -------------------------------------------------------------------------------


def test_a_volume_that_is_mapped_before_it_is_overwritten_is_not_overwritten(
    reverts: Reverts, hooks: Hooks
) -> None:
    volume, snapshot = reverts.prepared()
    world = reverts.world
    hooks.before("snapshotVolumes", lambda: world.driver.publish(volume, world.node("a")))
    message = reverts.revert(volume, "--to", snapshot, "--yes").stderr
    assert "was mapped to" in message
    assert "in the meantime; it was not reverted" in message
    assert (reverts.word(), reverts.hold()) == ("new data", None)


def test_a_volume_that_is_mapped_while_it_is_overwritten_stays_held(reverts: Reverts, hooks: Hooks) -> None:
    volume, snapshot = reverts.prepared()
    world = reverts.world
    hooks.before("overwriteVolumeContent", lambda: world.driver.publish(volume, world.node("a")))
    result = reverts.revert(volume, "--to", snapshot, "--yes")
    assert result.exit_code == 1
    assert "it was reverted. What uses it there may have data of before in its memory" in result.stderr
    assert "stay held" in result.stderr
    assert reverts.hold() is not None


def test_a_volume_that_is_expanded_meanwhile_is_not_overwritten(reverts: Reverts, hooks: Hooks) -> None:
    volume, snapshot = reverts.prepared()
    hooks.before("snapshotVolumes", lambda: reverts.world.driver.expand(volume, gib=16))
    message = reverts.revert(volume, "--to", snapshot, "--yes").stderr
    assert "was not reverted: it has 16 GiB and snapshot" in message
    assert (reverts.word(), reverts.hold()) == ("new data", None)


def test_a_volume_that_is_deleted_into_the_trash_meanwhile_is_not_overwritten(
    array45: World, cluster: ApiServer, hooks: Hooks
) -> None:
    reverts = Reverts(array45.reconfigured(trash=TrashSettings()), cluster)
    volume, snapshot = reverts.prepared()
    hooks.before("snapshotVolumes", lambda: reverts.world.driver.delete(volume))
    message = reverts.revert(volume, "--to", snapshot, "--yes").stderr
    assert "was deleted in the meantime, and is in the trash; it was not reverted" in message
    assert (reverts.word(), reverts.hold()) == ("new data", None)


def test_a_volume_that_is_removed_meanwhile_leaves_its_data_in_the_safety_snapshot(
    reverts: Reverts, hooks: Hooks
) -> None:
    volume, snapshot = reverts.prepared()
    hooks.before("overwriteVolumeContent", lambda: reverts.world.driver.delete(volume))
    result = reverts.revert(volume, "--to", snapshot, "--yes")
    assert result.exit_code == 1
    assert "was not reverted" in result.stderr
    assert {"old data", "new data"} <= reverts.all_contents()


def test_a_snapshot_that_is_removed_meanwhile_changes_nothing(reverts: Reverts, hooks: Hooks) -> None:
    volume, snapshot = reverts.prepared()
    hooks.before("overwriteVolumeContent", lambda: reverts.world.driver.delete_snapshot(snapshot))
    assert "Nothing was changed" in reverts.revert(volume, "--to", snapshot, "--yes").stderr
    assert (reverts.word(), reverts.hold()) == ("new data", None)


def test_two_people_who_revert_at_once_do_not_both_have_the_volume(reverts: Reverts, hooks: Hooks) -> None:
    volume, snapshot = reverts.prepared()
    other: list[Result] = []
    hooks.before("snapshotVolumes", lambda: other.append(reverts.revert(volume, "--to", snapshot, "--yes")))
    reverts.ok("volumes", "revert", volume, "--to", snapshot, "--yes")
    assert other[0].exit_code == 1
    assert "is held by an earlier run" in other[0].stderr
    assert (reverts.word(), reverts.hold()) == ("old data", None)


def test_two_people_without_kubernetes_each_keep_what_was_in_the_volume(
    reverts: Reverts, hooks: Hooks
) -> None:
    volume, snapshot = reverts.prepared()
    arguments = ("volumes", "revert", volume, "--to", snapshot, "--yes", "--no-kubernetes")
    hooks.before("overwriteVolumeContent", lambda: reverts.ok(*arguments, kubernetes=False))
    reverts.ok(*arguments, kubernetes=False)
    assert reverts.word() == "old data"
    assert "new data" in reverts.all_contents()


def test_without_a_safety_snapshot_nothing_is_reverted(reverts: Reverts) -> None:
    volume, snapshot = reverts.prepared()
    reverts.world.simulator.gateway.inject(Fault(kind=FaultKind.ERROR, code=182, route="*.snapshotVolumes"))
    result = reverts.revert(volume, "--to", snapshot, "--yes")
    assert result.exit_code == 1
    assert "nothing was reverted, because no safety snapshot could be taken" in result.stderr
    assert (reverts.word(), reverts.hold()) == ("new data", None)


def test_a_safety_snapshot_that_the_array_does_not_show_is_none(
    reverts: Reverts, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume, snapshot = reverts.prepared()
    other = reverts.world.driver.snapshot(reverts.claimed("other"), "snapshot-other").snapshot_id
    taken = [other.partition("-")[2]]
    monkeypatch.setattr(GatewayArray, "take_snapshots", lambda *_, **__: taken)
    message = reverts.revert(volume, "--to", snapshot, "--yes").stderr
    assert "the array shows no safety snapshot of it; run the command again" in message
    assert (reverts.word(), reverts.hold()) == ("new data", None)


def test_a_refused_overwrite_changes_nothing_and_ends_the_hold(reverts: Reverts) -> None:
    volume, snapshot = reverts.prepared()
    reverts.world.simulator.gateway.inject(Fault(kind=FaultKind.ERROR, code=198, route=OVERWRITE))
    message = reverts.revert(volume, "--to", snapshot, "--yes").stderr
    assert f"volume {volume} was not reverted: " in message
    assert "Nothing was changed. The data that the volumes had before are in safety snapshot" in message
    assert (reverts.word(), reverts.hold()) == ("new data", None)


def test_an_overwrite_without_answer_is_repeated(reverts: Reverts) -> None:
    volume, snapshot = reverts.prepared()
    reverts.world.simulator.gateway.inject(Fault(kind=FaultKind.LOST_REPLY, times=2, route=OVERWRITE))
    reverts.ok("volumes", "revert", volume, "--to", snapshot, "--yes")
    assert (reverts.word(), reverts.hold()) == ("old data", None)


def test_an_overwrite_is_not_repeated_on_a_volume_that_was_mapped_meanwhile(
    reverts: Reverts, hooks: Hooks
) -> None:
    volume, snapshot = reverts.prepared()
    world = reverts.world
    hooks.before("overwriteVolumeContent", lambda: world.driver.publish(volume, world.node("a")))
    world.simulator.gateway.inject(Fault(kind=FaultKind.LOST_REPLY, route=OVERWRITE))
    with world.simulator.gateway.log.watching() as requests:
        message = reverts.revert(volume, "--to", snapshot, "--yes").stderr
    assert sum("overwrite" in entry.path for entry in requests) == 1
    assert "its outcome is open" in message
    assert reverts.hold() is not None


def test_an_open_outcome_keeps_the_hold_and_says_where_the_data_are(reverts: Reverts) -> None:
    volume, snapshot = reverts.prepared()
    reverts.world.simulator.gateway.inject(Fault(kind=FaultKind.LOST_REPLY, route=OVERWRITE))
    message = reverts.revert(volume, "--to", snapshot, "--yes").stderr
    assert f"whether volume {volume} was reverted is not known" in message
    assert "Run the command again with --take-over" in message
    safety = message.split("are in safety snapshot ")[1].split()[0]
    assert reverts.contents.read(safety) == "new data"
    assert reverts.hold() is not None


def test_a_hold_that_cannot_be_removed_is_told(reverts: Reverts, hooks: Hooks) -> None:
    volume, snapshot = reverts.prepared()
    name = reverts.cluster.objects(VOLUMES)[0]["metadata"]["name"]
    hooks.before("overwriteVolumeContent", lambda: reverts.cluster.refused.update({f"{VOLUMES}/{name}": 403}))
    result = reverts.revert(volume, "--to", snapshot, "--yes")
    assert result.exit_code == 1
    assert "the volumes can be used, but a hold could not be removed" in result.stderr
    assert reverts.word() == "old data"


def test_the_error_of_a_run_is_told_also_if_a_hold_cannot_be_removed(reverts: Reverts, hooks: Hooks) -> None:
    volume, snapshot = reverts.prepared()
    name = reverts.cluster.objects(VOLUMES)[0]["metadata"]["name"]
    hooks.before("overwriteVolumeContent", lambda: reverts.cluster.refused.update({f"{VOLUMES}/{name}": 403}))
    reverts.world.simulator.gateway.inject(Fault(kind=FaultKind.ERROR, code=198, route=OVERWRITE))
    message = reverts.revert(volume, "--to", snapshot, "--yes").stderr
    assert f"volume {volume} was not reverted" in message
    assert "Besides, the volumes can be used, but a hold could not be removed" in message


def test_a_persistent_volume_that_was_deleted_meanwhile_needs_no_release(
    reverts: Reverts, hooks: Hooks
) -> None:
    volume, snapshot = reverts.prepared()
    name = reverts.cluster.objects(VOLUMES)[0]["metadata"]["name"]
    hooks.before("overwriteVolumeContent", lambda: reverts.cluster.remove(VOLUMES, name))
    reverts.ok("volumes", "revert", volume, "--to", snapshot, "--yes")
    assert reverts.word() == "old data"


# --- groups --------------------------------------------------------------------------------------


def test_all_volumes_of_a_group_are_reverted(each_version: Reverts) -> None:
    group = each_version.group("a", "b")
    text = each_version.ok("volumes", "revert", "--group", group, "--yes")
    assert [each_version.word(claim) for claim in "ab"] == ["old a", "old b"]
    assert [each_version.hold(claim) for claim in "ab"] == [None, None]
    assert "(1 of 2)" in text
    assert "(2 of 2)" in text
    assert {"new a", "new b"} <= each_version.all_contents()


def test_a_group_is_also_found_by_one_of_its_snapshots_and_reverted_back(reverts: Reverts) -> None:
    group = reverts.group("a", "b")
    text = reverts.ok("volumes", "revert", "--group", group, "--yes")
    safety = text.split("safety snapshot ")[1].split()[0]
    reverts.ok("volumes", "revert", "--group", safety, "--yes")
    assert [reverts.word(claim) for claim in "ab"] == ["new a", "new b"]


def test_each_safety_snapshot_of_a_group_can_be_imported_and_deleted_without_the_others(
    reverts: Reverts,
) -> None:
    group = reverts.group("a", "b")
    text = reverts.ok("volumes", "revert", "--group", group, "--yes")
    first, second = re.findall(r"^To undo it: .* --to (\S+)\. ", text, flags=re.MULTILINE)
    for handle in (first, second):
        reverts.ok("snapshots", "import", handle, "--as", "shop/safety", "--deletion-policy", "Delete")
        # Kubernetes neither uses nor deletes the snapshot of a group that it does not know.
        assert reverts.world.driver.listed_snapshot(handle).group_snapshot_id == ""
    reverts.world.driver.delete_snapshot(first)
    assert {"new a", "new b"} & reverts.all_contents() == {"new b"}


def test_a_group_of_two_sends_seven_requests_after_its_plan(each_version: Reverts) -> None:
    group = each_version.group("a", "b")
    log = each_version.world.simulator.gateway.log
    with log.watching() as planned:
        each_version.ok("volumes", "revert", "--group", group)
    with log.watching() as done:
        each_version.ok("volumes", "revert", "--group", group, "--yes")
    assert len(done) == len(planned) + 5 + 2 * trees(each_version.world)


def test_if_one_of_a_group_is_refused_the_others_are_put_back(reverts: Reverts) -> None:
    group = reverts.group("a", "b", "c")
    reverts.world.simulator.gateway.inject(
        Fault(kind=FaultKind.ERROR, code=198, skip=2, times=1, route=OVERWRITE)
    )
    result = reverts.revert("--group", group, "--yes")
    assert result.exit_code == 1
    assert "The others were put back" in result.stderr
    assert [reverts.word(claim) for claim in "abc"] == ["new a", "new b", "new c"]
    assert [reverts.hold(claim) for claim in "abc"] == [None, None, None]


def test_a_group_that_cannot_be_put_back_stays_held(reverts: Reverts, hooks: Hooks) -> None:
    group = reverts.group("a", "b")
    world = reverts.world
    first = reverts.handles["a"]
    hooks.before("overwriteVolumeContent", lambda: world.driver.publish(first, world.node("a")), skip=1)
    world.simulator.gateway.inject(Fault(kind=FaultKind.ERROR, code=198, skip=1, route=OVERWRITE))
    message = reverts.revert("--group", group, "--yes").stderr
    assert "Others were, and could not be put back: " in message
    assert "it was not put back" in message
    assert all(reverts.hold(claim) for claim in "ab")


def test_an_open_outcome_in_a_group_names_what_was_reverted(reverts: Reverts) -> None:
    group = reverts.group("a", "b")
    reverts.world.simulator.gateway.inject(Fault(kind=FaultKind.LOST_REPLY, skip=1, route=OVERWRITE))
    message = reverts.revert("--group", group, "--yes").stderr
    assert "Reverted before it: " in message
    reverts.world.simulator.gateway.faults.clear()
    reverts.ok("volumes", "revert", "--group", group, "--take-over", "--yes")
    assert [reverts.word(claim) for claim in "ab"] == ["old a", "old b"]
    assert {"new a", "new b"} <= reverts.all_contents()


def test_each_member_of_a_group_that_cannot_be_reverted_is_named(reverts: Reverts) -> None:
    group = reverts.group("a", "b")
    for claim in "ab":
        reverts.world.driver.publish(reverts.handles[claim], reverts.world.node("a"))
    message = reverts.refused("volumes", "revert", "--group", group, "--yes")
    assert all(f"volume {reverts.handles[claim]} (shop/{claim}" in message for claim in "ab")


def test_a_group_whose_volume_was_deleted_is_refused(reverts: Reverts) -> None:
    group = reverts.group("a", "b")
    reverts.world.driver.delete(reverts.handles["a"])
    message = reverts.refused("volumes", "revert", "--group", group, "--yes")
    assert "do not exist any more; revert the other volumes one by one, with --to" in message


def test_a_name_that_is_no_group_is_refused(reverts: Reverts) -> None:
    volume, _ = reverts.prepared()
    assert "is in no group of snapshots" in reverts.refused("volumes", "revert", "--group", volume)
    assert "is called" in reverts.refused("volumes", "revert", "--group", "nothing")


# --- interruptions -------------------------------------------------------------------------------

INTERRUPTIONS = {
    "reset before the effect": Fault(kind=FaultKind.RESET, times=4),
    "reply lost after the effect": Fault(kind=FaultKind.LOST_REPLY, times=4),
    "error after the effect": Fault(kind=FaultKind.ERROR, status=504, after_effect=True, times=4),
    "refused": Fault(kind=FaultKind.ERROR, code=58, times=1),
}


def _repeated(reverts: Reverts, *arguments: str) -> None:
    """Run the command as a person does after an error."""
    reverts.ok("volumes", "revert", *arguments, "--yes", "--take-over")


def _require_right(reverts: Reverts, claims: str, where: str) -> None:
    assert [reverts.word(claim) for claim in claims] == [f"old {claim}" for claim in claims], where
    assert {f"new {claim}" for claim in claims} <= reverts.all_contents(), f"{where}: data are lost"
    assert not any(reverts.hold(claim) for claim in claims), where


def _renew(reverts: Reverts, claims: str) -> None:
    """Let the volumes have their new content again, and no safety snapshots."""
    array = reverts.world.array
    with array.lock:
        for volume in list(array.volumes.values()):
            if (volume.name or "")[:1] in ("s", "g") and reverts.contents.words.get(volume.id, "")[
                :3
            ] == "new":
                tree = array.vtrees[volume.vtree_id]
                array.change(tree, volume_ids=[item for item in tree.volume_ids if item != volume.id])
                array.drop(volume)
        array.commit()
    for claim in claims:
        reverts.contents.write(reverts.handles[claim], f"new {claim}")


@pytest.mark.parametrize("kind", INTERRUPTIONS)
def test_a_revert_that_fails_at_any_request_and_is_repeated_ends_right(
    reverts: Reverts, kind: str, figures: Figures
) -> None:
    group = reverts.group("a", "b")
    gateway = reverts.world.simulator.gateway
    with gateway.log.watching() as requests:
        reverts.ok("volumes", "revert", "--group", group, "--yes")
    count = len(requests)
    for position in range(count):
        _renew(reverts, "ab")
        fault = INTERRUPTIONS[kind]
        gateway.inject(
            Fault(
                kind=fault.kind,
                status=fault.status,
                code=fault.code,
                after_effect=fault.after_effect,
                times=fault.times,
                skip=position,
                path="/api/*",
            )
        )
        result = reverts.revert("--group", group, "--yes")
        gateway.faults.clear()
        if result.exit_code:
            _repeated(reverts, "--group", group)
        _require_right(reverts, "ab", f"{kind} at request {position + 1} of {count}")
        figures.add("reverts interrupted or killed, and repeated")


@pytest.mark.parametrize("after", [False, True])
def test_a_revert_that_is_killed_at_any_request_and_repeated_ends_right(
    reverts: Reverts, after: bool, monkeypatch: pytest.MonkeyPatch, figures: Figures
) -> None:
    group = reverts.group("a", "b")
    life = Life(monkeypatch)
    for position in range(200):
        _renew(reverts, "ab")
        life.end_at(position, after=after)
        with contextlib.suppress(Killed):
            reverts.revert("--group", group, "--yes")
        if not life.dead:
            assert position > 10
            break
        life.begin_again()
        _repeated(reverts, "--group", group)
        _require_right(reverts, "ab", f"killed at request {position + 1}")
        figures.add("reverts interrupted or killed, and repeated")
    else:
        raise AssertionError("the command did not end")


@pytest.mark.parametrize("after", [False, True])
def test_putting_a_group_back_may_be_killed_at_any_request(
    reverts: Reverts, after: bool, monkeypatch: pytest.MonkeyPatch, figures: Figures
) -> None:
    group = reverts.group("a", "b", "c")
    gateway, life = reverts.world.simulator.gateway, Life(monkeypatch)
    refusal = Fault(kind=FaultKind.ERROR, code=198, skip=2, times=1, route=OVERWRITE)
    for back in range(100):
        _renew(reverts, "abc")
        with gateway.log.watching() as requests:
            gateway.inject(refusal)
            life.end_after(OVERWRITE.removeprefix("*."), 3, back, after=after)
            with contextlib.suppress(Killed):
                reverts.revert("--group", group, "--yes")
        gateway.faults.clear()
        ended = not life.dead
        life.begin_again()
        assert {f"new {claim}" for claim in "abc"} <= reverts.all_contents(), (
            f"killed at {back}: data are lost"
        )
        if ended:
            assert sum("overwrite" in entry.path for entry in requests) == 5
            assert [reverts.word(claim) for claim in "abc"] == ["new a", "new b", "new c"]
            assert back > 6
            return
        _repeated(reverts, "--group", group)
        _require_right(reverts, "abc", f"killed at request {back + 1} of putting back")
        figures.add("reverts interrupted or killed, and repeated")
    raise AssertionError("the command did not end")


def test_what_was_written_after_an_interrupted_run_is_kept_too(
    reverts: Reverts, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume, snapshot = reverts.prepared()
    reverts.world.simulator.gateway.inject(Fault(kind=FaultKind.LOST_REPLY, route=OVERWRITE, times=3))
    reverts.revert(volume, "--to", snapshot, "--yes")
    reverts.contents.write(volume, "written in between")
    _repeated(reverts, volume, "--to", snapshot)
    assert {"new data", "written in between"} <= reverts.all_contents()
    assert reverts.word() == "old data"


def test_the_claims_of_a_released_volume_are_not_needed(reverts: Reverts) -> None:
    volume, snapshot = reverts.prepared()
    persistent = reverts.cluster.objects(VOLUMES)[0]
    persistent["spec"].pop("claimRef")
    reverts.cluster.put(VOLUMES, persistent["metadata"]["name"], persistent)
    reverts.cluster.remove(CLAIMS, "shop/data")
    reverts.ok("volumes", "revert", volume, "--to", snapshot, "--yes")
    assert reverts.word() == "old data"


def test_a_foreign_volume_that_a_persistent_volume_of_this_driver_has_can_be_reverted(
    reverts: Reverts,
) -> None:
    handle = reverts.foreign(None, kind=Kind.VOLUME)
    reverts.persistent_volume("imported", handle, claim="old")
    snapshot = reverts.world.driver.snapshot(handle).snapshot_id
    reverts.contents.write(handle, "new")
    reverts.ok("volumes", "revert", handle, "--to", snapshot, "--yes")
    assert reverts.contents.read(handle) == ""
