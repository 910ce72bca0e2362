"""VolumeExport: the data of a claim or snapshot become an image, and nothing temporary is left."""

from __future__ import annotations

from typing import Any

import pytest

from csi_powerflex.kube.client import Client
from csi_powerflex.kube_objects.reader import VOLUMES
from csi_powerflex.model.mover import Exit, Outcome
from csi_powerflex.operator.api import Key
from csi_powerflex.operator.classes import SNAPSHOT_CLASSES
from csi_powerflex.operator.exports.definition import DEFINITION
from csi_powerflex.operator.sources import CONTENTS, MODE_CHANGE
from tests.controller.ended import Life
from tests.figures import Figures
from tests.kube.api_server import ApiServer
from tests.operator.interruptions import killed_everywhere
from tests.operator.movers_world import (
    CLAIMS,
    DRIVER,
    JOBS,
    NAMESPACE,
    PODS,
    POLICIES,
    SNAPSHOTS,
    MoversWorld,
)

pytestmark = pytest.mark.usefixtures("untouched_logging")

PHASES = ("Pending", "Securing", "Exporting", "Cleaning", "Succeeded")
FILE = {"file": {"claim": "images", "name": "data.qcow2"}}
SERVER = {"http": {"secret": "upload", "credentialsKey": "token", "authoritiesKey": "ca.pem"}}


@pytest.fixture
def world(cluster: ApiServer, client: Client, monkeypatch: pytest.MonkeyPatch) -> MoversWorld:
    return MoversWorld(cluster, client, DEFINITION, monkeypatch)


def prepared(world: MoversWorld, name: str = "image", *, mode: str = "Filesystem", **more: Any) -> Key:
    """A claim with the word "hello", a claim for images, and a VolumeExport."""
    if world.named(CLAIMS, "data") is None:
        world.claimed("data", "hello", mode=mode)
        world.claimed("images", "")
    spec = {"claim": "data", "target": FILE, **more}
    return world.create(name, **{key: value for key, value in spec.items() if value is not None})


def job_of(world: MoversWorld, key: Key) -> dict[str, Any]:
    """The specification of the pod of the Job, which does not end yet."""
    world.movers_work = False
    world.drive_to(key, "Exporting")
    world.lead(key)
    (job,) = world.cluster.objects(JOBS)
    pod: dict[str, Any] = job["spec"]["template"]["spec"]
    return pod


# --- success ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["Filesystem", "Block"])
def test_a_claim_in_use_is_exported_and_nothing_temporary_is_left(world: MoversWorld, mode: str) -> None:
    key = prepared(world, mode=mode)
    world.use("data", node="node-2")
    world.drive(key)
    status = world.status(key)
    assert status["phase"] == "Succeeded"
    assert (status["imageBytes"], status["digest"]) == (5, "sha256:ab")
    ((word, arguments),) = world.exported
    assert word == "hello"
    assert arguments[:3] == ["export", "--source=/dev/source", "--format=qcow2"]
    assert "--target=/target/data.qcow2" in arguments
    assert world.word("data") == "hello"
    world.cluster.remove(PODS, "user")
    world.settle()
    assert (world.left(), world.finalizers(key)) == ([], [])
    assert len(world.volumes()) == 2


def test_a_snapshot_is_exported_and_stays(world: MoversWorld) -> None:
    world.claimed("data", "hello")
    world.claimed("images", "")
    world.snapshot("nightly", "data")
    world.data[world.handle(world.claim("data")["spec"]["volumeName"])] = "changed"
    key = prepared(world, claim=None, snapshot="nightly", format="raw", verify="full")
    world.drive(key)
    ((word, arguments),) = world.exported
    assert word == "hello"
    assert {"--format=raw", "--verify=full"} <= set(arguments)
    assert world.named(SNAPSHOTS, "nightly") is not None
    assert world.left() == []


def test_a_snapshot_whose_claim_was_deleted_needs_a_storage_class(world: MoversWorld) -> None:
    world.claimed("data", "hello")
    world.claimed("images", "")
    world.snapshot("nightly", "data")
    world.cluster.delete(CLAIMS, "data")
    world.settle()
    without = world.create("without", snapshot="nightly", target=FILE)
    world.lead(without)
    world.lead(without)
    assert "create it, or give storageClassName" in world.status(without)["message"]
    key = world.create("with", snapshot="nightly", target=FILE, storageClassName="fast")
    world.drive(key)
    assert world.status(key)["phase"] == "Succeeded"


def test_an_upload_gets_the_files_of_the_secret_and_a_scratch_volume(world: MoversWorld) -> None:
    key = prepared(world, target=SERVER, compressed=True)
    pod = job_of(world, key)
    (container,) = pod["containers"]
    assert {
        "--compressed",
        "--url-file=/server/url",
        "--credentials-file=/server/credentials",
        "--ca-file=/server/authorities",
        "--scratch=/scratch",
    } <= set(container["args"])
    volumes = {item["name"]: item for item in pod["volumes"]}
    assert volumes["server"]["secret"]["secretName"] == "upload"
    assert volumes["server"]["secret"]["items"] == [
        {"key": "url", "path": "url"},
        {"key": "token", "path": "credentials"},
        {"key": "ca.pem", "path": "authorities"},
    ]
    template = volumes["scratch"]["ephemeral"]["volumeClaimTemplate"]
    assert template["metadata"]["labels"] == {"powerflex.dev/made-for": world.object(key)["metadata"]["uid"]}
    scratch = template["spec"]
    assert scratch["storageClassName"] == "fast"
    assert int(scratch["resources"]["requests"]["storage"]) > 9 << 30


def test_the_job_for_a_server_reaches_no_more_than_the_namespace_allows(world: MoversWorld) -> None:
    # Kubernetes adds up policies, and any pod of the namespace may have the label: one that allows something
    # would open what an administrator has closed.
    job_of(world, prepared(world, target=SERVER))
    (policy,) = world.cluster.objects(POLICIES)
    spec = policy["spec"]
    assert (spec["policyTypes"], spec["ingress"]) == (["Ingress"], [])
    assert "egress" not in spec


@pytest.mark.parametrize(("target", "seconds"), [(SERVER, 7 * 24 * 3600), (FILE, None)])
def test_a_server_cannot_keep_a_job_without_end(
    world: MoversWorld, target: dict[str, object], seconds: int | None
) -> None:
    job_of(world, prepared(world, target=target))
    (job,) = world.cluster.objects(JOBS)
    assert job["spec"].get("activeDeadlineSeconds") == seconds


def test_a_raw_upload_needs_no_scratch_volume(world: MoversWorld) -> None:
    pod = job_of(world, prepared(world, target={"http": {"secret": "upload"}}, format="raw"))
    assert {item["name"] for item in pod["volumes"]} == {"device-0", "server"}
    assert [item for item in pod["containers"][0]["args"] if "credentials" in item or "ca-file" in item] == []


def test_the_job_for_a_file_reaches_no_network_and_has_no_token(world: MoversWorld) -> None:
    pod = job_of(world, prepared(world))
    (policy,) = world.cluster.objects(POLICIES)
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert (policy["spec"]["egress"], policy["spec"]["ingress"]) == ([], [])
    assert pod["automountServiceAccountToken"] is False
    assert pod["restartPolicy"] == "Never"
    assert [item["mountPath"] for item in pod["containers"][0]["volumeMounts"]] == ["/target"]


def test_each_phase_is_told_as_an_event(world: MoversWorld) -> None:
    world.drive(prepared(world))
    told = [reason for reason, _ in world.events()]
    assert [phase for phase in PHASES if phase in told] == list(PHASES)


# --- refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"claim": "nothing"}, "claim nothing does not exist"),
        ({"claim": None, "snapshot": "nothing"}, "not found"),
        ({"target": {"file": {"claim": "nothing", "name": "x"}}}, "not found"),
        ({"target": {"file": {"claim": "data", "name": "x"}}}, "the image cannot be on it"),
        ({"target": {"file": {"claim": "raw", "name": "x"}}}, "has no filesystem"),
        ({"claim": "unbound"}, "is not bound"),
        ({"claim": "foreign"}, "has a volume of driver other"),
        ({"claim": "classless"}, "has no StorageClass"),
    ],
)
def test_what_is_missing_or_does_not_fit_is_named_and_fails_in_the_end(
    world: MoversWorld, change: dict[str, Any], reason: str
) -> None:
    world.claimed("data", "hello")
    world.claimed("images", "")
    world.claimed("raw", "", mode="Block")
    world.cluster.put(
        CLAIMS,
        "unbound",
        {"metadata": {"namespace": NAMESPACE}, "spec": {"storageClassName": "x", "volumeName": "y"}},
    )
    foreign = world.claimed("foreign", "")
    found = world.volume(foreign)
    csi = {**found["spec"]["csi"], "driver": "other"}
    world.cluster.put(VOLUMES, foreign, {**found, "spec": {**found["spec"], "csi": csi}})
    world.claimed("classless", "")
    classless = world.claim("classless")
    spec = {key: value for key, value in classless["spec"].items() if key != "storageClassName"}
    world.cluster.put(CLAIMS, "classless", {**classless, "spec": spec})
    key = prepared(world, **change)
    world.rounds.lead(key)
    world.rounds.lead(key)
    assert reason in world.status(key)["message"]
    world.clock.forward(seconds=301)
    for _ in range(4):
        world.rounds.lead(key)
    assert world.status(key)["phase"] == "Failed"
    assert (world.finalizers(key), world.left()) == ([], [])


def test_a_snapshot_of_another_driver_is_refused(world: MoversWorld) -> None:
    world.claimed("data", "hello")
    world.claimed("images", "")
    world.snapshot("nightly", "data")
    (content,) = world.cluster.objects(CONTENTS)
    name = content["metadata"]["name"]
    for changed, reason in (
        ({"spec": {**content["spec"], "driver": "other"}}, "belongs to driver other"),
        ({"spec": {**content["spec"], "volumeSnapshotRef": {"uid": "x"}}}, "is not bound to VolumeSnapshot"),
        ({"status": {}}, "has no handle or size yet"),
    ):
        world.cluster.put(CONTENTS, name, {**content, **changed})
        key = world.create(f"e{len(reason)}", snapshot="nightly", target=FILE)
        world.rounds.lead(key)
        world.rounds.lead(key)
        assert reason in world.status(key)["message"]


def test_a_failure_of_the_mover_fails_the_export_and_cleans_up(world: MoversWorld) -> None:
    world.outcome = Outcome(Exit.TARGET, "data.qcow2 exists, and is not overwritten")
    key = prepared(world)
    world.drive(key)
    world.settle()
    status = world.status(key)
    assert (status["phase"], world.left()) == ("Failed", [])
    assert status["message"] == "data.qcow2 exists, and is not overwritten"


@pytest.mark.parametrize(
    ("kind", "message"),
    [("Complete", "left no outcome"), ("Failed", "the mover failed: too many pods")],
)
def test_a_job_whose_pod_says_nothing_is_not_taken_for_done(
    world: MoversWorld, kind: str, message: str
) -> None:
    key = prepared(world)
    job_of(world, key)
    (job,) = world.cluster.objects(JOBS)
    conditions = [{"type": kind, "status": "True", "message": "too many pods"}]
    world.cluster.put(JOBS, job["metadata"]["name"], {**job, "status": {"conditions": conditions}})
    (pod,) = world.live_pods()
    state = {"terminated": {"exitCode": 137, "message": "Killed"}}
    status = {"phase": "Failed", "containerStatuses": [{"name": "mover", "state": state}]}
    world.cluster.put(PODS, pod["metadata"]["name"], {**pod, "status": status})
    world.drive(key)
    assert world.status(key)["phase"] == "Failed"
    assert message in world.status(key)["message"]


def test_a_pod_that_does_not_start_is_explained(world: MoversWorld) -> None:
    key = prepared(world)
    job_of(world, key)
    (pod,) = world.live_pods()
    waiting = {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}
    condition = {"type": "PodScheduled", "status": "False", "message": "no node has capacity"}
    status = {
        "phase": "Pending",
        "containerStatuses": [{"name": "mover", "state": waiting}],
        "conditions": [condition],
    }
    world.cluster.put(PODS, pod["metadata"]["name"], {**pod, "status": status})
    world.rounds.lead(key)
    message = world.status(key)["message"]
    assert "is Pending: ErrImagePull: no such image; no node has capacity" in message


@pytest.mark.parametrize(
    ("told", "why"),
    [('{"exit":12,"message":"no space left"}', ": no space left"), ("Killed", ": it left no outcome")],
)
def test_a_pod_that_failed_is_explained_while_another_one_is_awaited(
    world: MoversWorld, told: str, why: str
) -> None:
    key = prepared(world)
    job_of(world, key)
    (pod,) = world.live_pods()
    state = {"terminated": {"exitCode": 12, "message": told}}
    status = {"phase": "Failed", "containerStatuses": [{"name": "mover", "state": state}]}
    world.cluster.put(PODS, pod["metadata"]["name"], {**pod, "status": status})
    world.rounds.lead(key)
    assert f"failed, and another one is started{why}" in world.status(key)["message"]


@pytest.mark.parametrize(
    "state", [None, {}, {"waiting": {"reason": "ContainerCreating"}}, {"terminated": {}}]
)
def test_a_pod_that_was_evicted_has_no_outcome_and_another_one_is_awaited(
    world: MoversWorld, state: dict[str, Any] | None
) -> None:
    key = prepared(world)
    job_of(world, key)
    (pod,) = world.live_pods()
    containers = [] if state is None else [{"name": "mover", "state": state}]
    status = {"phase": "Failed", "reason": "Evicted", "containerStatuses": containers}
    world.cluster.put(PODS, pod["metadata"]["name"], {**pod, "status": status})
    world.rounds.lead(key)
    assert world.status(key)["phase"] == "Exporting"
    assert "another one is started: it left no outcome" in world.status(key)["message"]


def test_the_progress_of_the_mover_is_shown(world: MoversWorld) -> None:
    key = prepared(world)
    job_of(world, key)
    world.require_progress(key)


@pytest.mark.parametrize("line", ["no JSON", "{}"])
def test_a_log_that_is_not_of_the_mover_shows_no_progress(world: MoversWorld, line: str) -> None:
    key = prepared(world)
    job_of(world, key)
    (pod,) = world.live_pods()
    work = next(item for item in world.rounds.works if item.definition.plural == key.plural)
    work._client.last_lines = lambda *_given, **_more: line  # type: ignore[attr-defined]
    world.rounds.lead(key)
    assert world.status(key)["message"] == f"pod {pod['metadata']['name']} runs"


@pytest.mark.parametrize("status", [403, 503])
def test_a_cluster_that_refuses_the_job_is_told(world: MoversWorld, status: int) -> None:
    key = prepared(world)
    world.drive_to(key, "Exporting")
    world.cluster.refused[JOBS] = status
    world.lead(key)
    assert JOBS in world.status(key)["message"]
    assert world.status(key)["phase"] == ("Cleaning" if status == 403 else "Exporting")
    del world.cluster.refused[JOBS]
    world.drive(key)
    assert world.status(key)["phase"] == ("Failed" if status == 403 else "Succeeded")


def test_a_cluster_that_does_not_answer_delays_the_cleaning(world: MoversWorld) -> None:
    key = prepared(world)
    world.drive_to(key, "Cleaning")
    name = world.status(key)["job"]
    world.cluster.refused[f"{JOBS}/{name}"] = 503
    world.rounds.lead(key)
    world.rounds.lead(key)
    assert "is tried again" in world.status(key)["message"]
    world.cluster.refused.clear()
    world.drive(key)
    assert (world.status(key)["phase"], world.left()) == ("Succeeded", [])


def test_a_volume_from_before_is_not_taken_for_the_source(world: MoversWorld) -> None:
    world.available("old", "of someone else", "fast")
    key = prepared(world)
    world.drive(key)
    world.settle()
    assert (world.status(key)["phase"], world.left()) == ("Failed", [])
    assert "which existed before, so other data were read" in world.status(key)["message"]
    assert world.data[world.handle("old")] == "of someone else"


def test_a_job_of_someone_else_under_the_name_is_left_alone(world: MoversWorld) -> None:
    key = prepared(world)
    name = f"export-{world.object(key)['metadata']['uid']}"
    world.cluster.put(JOBS, name, {"metadata": {"namespace": NAMESPACE}, "status": {"conditions": [{}]}})
    world.drive(key)
    assert "was not made for this VolumeExport" in world.status(key)["message"]
    assert world.named(JOBS, name) is not None


def test_a_cluster_that_does_not_answer_keeps_a_deleted_object(world: MoversWorld) -> None:
    key = prepared(world)
    job_of(world, key)
    path = f"{JOBS}/{world.status(key)['job']}"
    world.cluster.refused[path] = 503
    world.delete(key)
    world.lead(key)
    assert world.exists(key)
    world.cluster.refused.clear()
    world.drive(key)
    world.settle()
    assert (world.exists(key), world.left()) == (False, [])


def test_the_snapshot_has_the_class_that_is_given(world: MoversWorld) -> None:
    world.cluster.put(SNAPSHOT_CLASSES, "slow", {"driver": DRIVER})
    key = prepared(world, snapshotClass="slow")
    world.drive_to(key, "Exporting")
    (item,) = world.cluster.objects(SNAPSHOTS)
    assert item["spec"]["volumeSnapshotClassName"] == "slow"


def test_a_lost_node_delays_the_end_but_not_a_deletion(world: MoversWorld) -> None:
    key = prepared(world)
    job_of(world, key)
    world.detaches = False
    world.delete(key)
    world.drive(key)
    assert not world.exists(key)
    world.detaches = True
    world.settle()
    assert world.left() == []


# --- interruptions and deletions -------------------------------------------------------------------


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("source", ["claim", "snapshot"])
def test_the_operator_may_be_killed_at_any_request(
    world: MoversWorld, source: str, after: bool, monkeypatch: pytest.MonkeyPatch, figures: Figures
) -> None:
    world.claimed("data", "hello")
    world.claimed("images", "")
    world.snapshot("nightly", "data")
    spec: dict[str, Any] = {"claim": None, "snapshot": "nightly"} if source == "snapshot" else {}
    key = prepared(world, **spec)

    def require() -> None:
        status = world.status(key)
        assert status["phase"] == "Succeeded", status
        assert [word for word, _ in world.exported] == ["hello"]
        assert (world.left(), world.finalizers(key)) == ([], [])
        assert len(world.volumes()) == 2

    killed = killed_everywhere(world, key, Life(monkeypatch), after=after, require=require)
    figures.add("rounds of the operator killed, and repeated", killed)
    assert killed > 50


@pytest.mark.parametrize("source", ["claim", "snapshot"])
@pytest.mark.parametrize("phase", PHASES)
def test_an_object_that_is_deleted_in_any_phase_leaves_nothing(
    world: MoversWorld, phase: str, source: str
) -> None:
    world.claimed("data", "hello")
    world.claimed("images", "")
    world.snapshot("nightly", "data")
    spec: dict[str, Any] = {"claim": None, "snapshot": "nightly"} if source == "snapshot" else {}
    key = prepared(world, **spec)
    world.drive_to(key, phase)
    world.delete(key)
    world.drive(key)
    world.settle()
    assert not world.exists(key)
    assert (world.left(), world.word("data")) == ([], "hello")
    assert len(world.cluster.objects(SNAPSHOTS)) == 1
    assert len(world.volumes()) == 2


# A webhook answers 400 by default, and a ValidatingAdmissionPolicy 422.
@pytest.mark.parametrize("status", [403, 400, 422])
def test_what_may_not_be_removed_does_not_keep_a_deleted_object(world: MoversWorld, status: int) -> None:
    key = prepared(world)
    job_of(world, key)
    name = world.status(key)["job"]
    world.cluster.refused[f"DELETE {JOBS}/{name}"] = status
    world.delete(key)
    world.rounds.lead(key)
    assert not world.exists(key)
    assert any(reason == "LeftToKubernetes" for reason, _ in world.events())


def test_an_api_server_that_is_down_only_delays_the_deletion(world: MoversWorld) -> None:
    key = prepared(world)
    job_of(world, key)
    world.delete(key)
    world.cluster.down = True
    world.rounds.lead(key)
    world.cluster.down = False
    assert world.exists(key)
    world.drive(key)
    world.settle()
    assert (world.exists(key), world.left()) == (False, [])


def test_a_snapshot_of_a_user_may_be_opened_in_block_mode_only_during_the_export(world: MoversWorld) -> None:
    world.claimed("data", "hello")
    world.claimed("images", "")
    world.snapshot("nightly", "data")
    key = prepared(world, claim=None, snapshot="nightly")
    job_of(world, key)
    (content,) = world.cluster.objects(CONTENTS)
    assert content["metadata"]["annotations"] == {MODE_CHANGE: "true"}
    world.movers_work = True
    world.drive(key)
    (content,) = world.cluster.objects(CONTENTS)
    assert content["metadata"].get("annotations", {}) == {}


def test_another_export_of_the_snapshot_does_not_take_the_right_to_open_it(world: MoversWorld) -> None:
    world.claimed("data", "hello")
    world.claimed("images", "")
    world.snapshot("nightly", "data")
    (content,) = world.cluster.objects(CONTENTS)
    path = f"{CONTENTS}/{content['metadata']['name']}"
    world.cluster.patched(path, {"metadata": {"annotations": {MODE_CHANGE: "true"}}})
    key = prepared(world, claim=None, snapshot="nightly")
    while world.status(key).get("phase") != "Exporting":
        world.rounds.lead(key)
    world.cluster.patched(path, {"metadata": {"annotations": {MODE_CHANGE: None}}})
    world.drive(key)
    world.settle()
    assert (world.status(key)["phase"], world.left()) == ("Succeeded", [])
    assert [word for word, _ in world.exported] == ["hello"]


def test_an_export_that_cannot_end_does_not_take_the_right_of_another_one_again(world: MoversWorld) -> None:
    world.claimed("data", "hello")
    world.claimed("images", "")
    world.snapshot("nightly", "data")
    key = prepared(world, claim=None, snapshot="nightly")
    world.drive_to(key, "Cleaning")
    world.rounds.lead(key)
    (content,) = world.cluster.objects(CONTENTS)
    assert content["metadata"]["annotations"] == {}
    path = f"{CONTENTS}/{content['metadata']['name']}"
    world.cluster.patched(path, {"metadata": {"annotations": {MODE_CHANGE: "true"}}})
    for _ in range(4):
        world.rounds.lead(key)
    assert world.status(key)["phase"] == "Cleaning"
    (content,) = world.cluster.objects(CONTENTS)
    assert content["metadata"]["annotations"] == {MODE_CHANGE: "true"}


def test_classes_that_keep_volumes_and_snapshots_keep_nothing_temporary(world: MoversWorld) -> None:
    world.policy = world.snapshot_policy = "Retain"
    key = prepared(world)
    world.drive(key)
    world.settle()
    assert (world.status(key)["phase"], world.left()) == ("Succeeded", [])
    assert (sorted(world.data.values()), world.taken, len(world.volumes())) == (["", "hello"], {}, 2)
