"""VolumeRevert: a claim gets the data of its snapshot, and those of before stay in a safety snapshot."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from csi_powerflex.kube.client import Client
from csi_powerflex.kube_objects.custody import ATTACHMENTS
from csi_powerflex.kube_objects.reader import CONTENTS, VOLUMES
from csi_powerflex.operator.api import Key
from csi_powerflex.operator.objects import claims, group_snapshots
from csi_powerflex.operator.reverts.definition import VolumeRevert
from csi_powerflex.operator.work import Change, Save
from csi_powerflex.simulator.faults import Fault, FaultKind
from tests.controller.ended import Killed, Life
from tests.controller.world import World
from tests.figures import Figures
from tests.kube.api_server import ApiServer
from tests.operator.reverts_world import HOLD, NAMESPACE, PATH, SNAPSHOTS, RevertsWorld

pytestmark = pytest.mark.usefixtures("untouched_logging")

PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
OVERWRITE = "*.overwriteVolumeContent"
PHASES = ("Pending", "Holding", "Securing", "Reverting", "Verifying", "Releasing", "Succeeded")


@pytest.fixture
def reverts(
    array45: World, cluster: ApiServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> RevertsWorld:
    return RevertsWorld(array45, cluster, client, monkeypatch)


def prepared(reverts: RevertsWorld, claim: str = "data") -> Key:
    """A claim with new data since its snapshot, and a VolumeRevert to it."""
    reverts.claimed(claim, "old")
    reverts.snapshot(f"before-{claim}", claim)
    reverts.contents.write(reverts.handles[claim], "new")
    return reverts.create(f"back-{claim}", claim=claim, snapshot=f"before-{claim}")


def group_prepared(reverts: RevertsWorld) -> Key:
    for claim in ("a", "b"):
        reverts.claimed(claim, f"old {claim}")
    reverts.group("both", "a", "b")
    for claim in ("a", "b"):
        reverts.contents.write(reverts.handles[claim], f"new {claim}")
    return reverts.create("back", groupSnapshot="both")


def use(reverts: RevertsWorld, claim: str) -> None:
    """Let a pod use the claim."""
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": claim}}]
    metadata = {"namespace": NAMESPACE, "name": "user"}
    reverts.cluster.put(PODS, "user", {"metadata": metadata, "spec": {"volumes": volumes}, "status": {}})


def without_holds(reverts: RevertsWorld) -> None:
    """Someone removes the hold of the only PersistentVolume."""
    (volume,) = reverts.cluster.objects(VOLUMES)
    path = f"{VOLUMES}/{volume['metadata']['name']}"
    reverts.cluster.patched(path, {"metadata": {"annotations": {HOLD: None}}})


# --- success ---------------------------------------------------------------------------------------


def test_a_claim_gets_the_data_of_its_snapshot_and_a_safety_snapshot_those_of_before(
    reverts: RevertsWorld,
) -> None:
    key = prepared(reverts)
    reverts.drive(key)
    status = reverts.status(key)
    assert (status["phase"], reverts.word("data")) == ("Succeeded", "old")
    (safety,) = reverts.safety(key)
    assert reverts.word_in_snapshot(safety) == "new"
    assert status["message"] == f"reverted; the data from before are in VolumeSnapshot {safety}"
    assert status["members"][0]["safetySnapshot"] == safety
    assert status["conditions"][0]["type"] == "Complete"
    assert status["conditions"][0]["status"] == "True"
    assert reverts.holds() == []
    assert reverts.object(key)["metadata"].get("finalizers", []) == []


def test_each_phase_is_told_as_an_event(reverts: RevertsWorld) -> None:
    reverts.drive(prepared(reverts))
    told = [reason for reason, _ in reverts.events()]
    assert [phase for phase in PHASES if phase in told] == list(PHASES)


def test_a_revert_can_be_reverted_by_its_safety_snapshot(reverts: RevertsWorld) -> None:
    key = prepared(reverts)
    reverts.drive(key)
    (safety,) = reverts.safety(key)
    again = reverts.create("again", claim="data", snapshot=safety)
    reverts.drive(again)
    assert reverts.status(again)["phase"] == "Succeeded"
    assert reverts.word("data") == "new"


def test_all_claims_of_a_group_are_reverted(reverts: RevertsWorld) -> None:
    key = group_prepared(reverts)
    reverts.drive(key)
    assert reverts.status(key)["phase"] == "Succeeded"
    assert [reverts.word(claim) for claim in "ab"] == ["old a", "old b"]
    assert sorted(map(reverts.word_in_snapshot, reverts.safety(key))) == ["new a", "new b"]


def test_the_safety_snapshot_has_the_class_of_the_snapshot_or_the_one_that_is_given(
    reverts: RevertsWorld,
) -> None:
    classes = []
    for claim, more in (("one", {}), ("two", {"snapshotClass": "slow"})):
        reverts.claimed(claim, "x")
        reverts.snapshot(f"of-{claim}", claim)
        key = reverts.create(f"revert-{claim}", claim=claim, snapshot=f"of-{claim}", **more)
        reverts.drive(key)
        (name,) = reverts.safety(key)
        found = next(item for item in reverts.cluster.objects(SNAPSHOTS) if item["metadata"]["name"] == name)
        classes.append(found["spec"]["volumeSnapshotClassName"])
    assert classes == ["fast", "slow"]


def test_a_snapshot_without_a_class_gets_a_safety_snapshot_of_the_default_class(
    reverts: RevertsWorld,
) -> None:
    key = prepared(reverts)
    (item,) = reverts.cluster.objects(SNAPSHOTS)
    edited(SNAPSHOTS, spec={"source": item["spec"]["source"]})(reverts)
    reverts.drive(key)
    (name,) = reverts.safety(key)
    safety = next(item for item in reverts.cluster.objects(SNAPSHOTS) if item["metadata"]["name"] == name)
    assert (reverts.status(key)["phase"], reverts.word("data")) == ("Succeeded", "old")
    assert "volumeSnapshotClassName" not in safety["spec"]


def test_while_the_volume_is_reverted_it_is_held_by_the_object(reverts: RevertsWorld) -> None:
    key = prepared(reverts)
    reverts.drive_to(key, "Reverting")
    (hold,) = reverts.holds()
    assert "by VolumeRevert shop/back-data since 2026-11-26 09:00:00 UTC" in hold


# --- refusals --------------------------------------------------------------------------------------


def test_it_waits_for_a_pod_that_uses_the_claim_and_goes_on_after_it(reverts: RevertsWorld) -> None:
    key = prepared(reverts)
    use(reverts, "data")
    for _ in range(4):
        reverts.lead(key)
    assert reverts.status(key)["phase"] == "Pending"
    assert "pod shop/user uses its claim data" in reverts.status(key)["message"]
    assert reverts.word("data") == "new"
    reverts.cluster.remove(PODS, "user")
    reverts.drive(key)
    assert reverts.word("data") == "old"


def test_the_longer_it_waits_the_less_it_asks_the_array(reverts: RevertsWorld) -> None:
    prepared(reverts)
    use(reverts, "data")
    key = reverts.create("patient", claim="data", snapshot="before-data", timeoutSeconds=7200)
    reverts.lead(key)
    pauses = [reverts.lead(key)]
    for seconds in (100, 200, 3600, 7200):
        reverts.clock.forward(seconds=seconds)
        pauses.append(reverts.lead(key))
    assert pauses == [5, 10, 30, 60, 0]
    assert "gave up after 7200 seconds" in reverts.status(key)["message"]


def test_it_fails_without_a_change_if_the_pod_does_not_end_in_time(reverts: RevertsWorld) -> None:
    key = prepared(reverts)
    use(reverts, "data")
    reverts.lead(key)
    reverts.clock.forward(seconds=301)
    reverts.drive(key)
    status = reverts.status(key)
    assert status["phase"] == "Failed"
    assert "gave up after 300 seconds" in status["message"]
    assert (reverts.word("data"), reverts.holds(), reverts.safety(key)) == ("new", [], [])
    assert reverts.object(key)["metadata"].get("finalizers", []) == []


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"claim": "nothing", "snapshot": "before-data"}, "was taken of claim data, and not of nothing"),
        ({"claim": "data", "snapshot": "nothing"}, "not found"),
        ({"groupSnapshot": "nothing"}, "not found"),
    ],
)
def test_what_does_not_exist_or_fit_is_named(
    reverts: RevertsWorld, spec: dict[str, str], reason: str
) -> None:
    prepared(reverts)
    key = reverts.create("other", **spec)
    reverts.lead(key)
    reverts.lead(key)
    assert reason in reverts.status(key)["message"]


Edit = Callable[[RevertsWorld], None]


def edited(path: str, **changed: object) -> Edit:
    """Replaces fields of the last object of a resource."""

    def edit(reverts: RevertsWorld) -> None:
        item = reverts.cluster.objects(path)[-1]
        reverts.cluster.put(path, item["metadata"]["name"], {**item, **changed})

    return edit


def of_another_driver(path: str) -> Edit:
    """The last object of a resource belongs to another driver."""

    def edit(reverts: RevertsWorld) -> None:
        item = reverts.cluster.objects(path)[-1]
        spec = {**item["spec"]}
        if "csi" in spec:
            spec["csi"] = {**spec["csi"], "driver": "other"}
        else:
            spec["driver"] = "other"
        reverts.cluster.put(path, item["metadata"]["name"], {**item, "spec": spec})

    return edit


def removed(path: str) -> Edit:
    """Removes the last object of a resource."""
    return lambda reverts: reverts.cluster.remove(path, reverts.cluster.objects(path)[-1]["metadata"]["name"])


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (edited(SNAPSHOTS, status={}), "VolumeSnapshot before-data is not ready to use"),
        (edited(claims(NAMESPACE), spec={}), "claim data is not bound to a PersistentVolume"),
        (of_another_driver(VOLUMES), "claim data has a volume of driver other"),
        (removed(VOLUMES), "of claim data is not known"),
        (of_another_driver(CONTENTS), "VolumeSnapshot before-data belongs to driver other"),
        (removed(CONTENTS), "the VolumeSnapshotContent of VolumeSnapshot before-data is not known"),
    ],
)
def test_what_is_not_ready_or_not_of_the_driver_is_named(
    reverts: RevertsWorld, edit: Edit, reason: str
) -> None:
    key = prepared(reverts)
    edit(reverts)
    reverts.rounds.lead(key)
    reverts.rounds.lead(key)
    assert reason in reverts.status(key)["message"]
    assert (reverts.word("data"), reverts.holds()) == ("new", [])


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (edited(group_snapshots(NAMESPACE), status={}), "VolumeGroupSnapshot both is not ready to use"),
        (edited(SNAPSHOTS, spec={"source": {}}), "VolumeSnapshot both-b of the group names no claim"),
        (
            lambda reverts: (removed(SNAPSHOTS)(reverts), removed(SNAPSHOTS)(reverts)),
            "VolumeGroupSnapshot both has no VolumeSnapshots",
        ),
    ],
)
def test_a_group_that_is_not_complete_is_named(reverts: RevertsWorld, edit: Edit, reason: str) -> None:
    key = group_prepared(reverts)
    edit(reverts)
    reverts.rounds.lead(key)
    reverts.rounds.lead(key)
    assert reason in reverts.status(key)["message"]
    assert reverts.holds() == []


def test_a_volume_that_someone_else_holds_is_left_alone(reverts: RevertsWorld) -> None:
    key = prepared(reverts)
    volume = reverts.cluster.objects(VOLUMES)[0]
    metadata = {**volume["metadata"], "annotations": {HOLD: "checked by Eva"}}
    reverts.cluster.put(VOLUMES, metadata["name"], {**volume, "metadata": metadata})
    reverts.lead(key)
    reverts.lead(key)
    assert "held: checked by Eva" in reverts.status(key)["message"]
    reverts.clock.forward(seconds=301)
    reverts.drive(key)
    assert (reverts.status(key)["phase"], reverts.holds()) == ("Failed", ["checked by Eva"])


def test_a_hold_of_an_earlier_revert_is_told_with_what_ends_it(reverts: RevertsWorld) -> None:
    key = prepared(reverts)
    volume = reverts.cluster.objects(VOLUMES)[0]
    hold = "csi-powerflex volumes revert (run 1) by VolumeRevert shop/first"
    metadata = {**volume["metadata"], "annotations": {HOLD: hold}}
    reverts.cluster.put(VOLUMES, metadata["name"], {**volume, "metadata": metadata})
    reverts.lead(key)
    reverts.lead(key)
    assert (
        f"held by an earlier run: {hold}. If that run does not run any more, delete its VolumeRevert, or "
        "repeat its command with --take-over"
    ) in reverts.status(key)["message"]


def test_a_pod_that_begins_between_the_check_and_the_hold_is_noticed(reverts: RevertsWorld) -> None:
    key = prepared(reverts)
    reverts.drive_to(key, "Securing")
    spec = {
        "nodeName": "n",
        "source": {"persistentVolumeName": reverts.cluster.objects(VOLUMES)[0]["metadata"]["name"]},
    }
    reverts.cluster.put(ATTACHMENTS, "attached", {"spec": spec})
    reverts.lead(key)
    assert reverts.status(key)["phase"] == "Pending"
    assert "VolumeAttachment attached" in reverts.status(key)["message"]
    reverts.clock.forward(seconds=301)
    reverts.drive(key)
    assert (reverts.status(key)["phase"], reverts.holds(), reverts.word("data")) == ("Failed", [], "new")


@pytest.mark.parametrize(("left", "word"), [("b", "old b"), ("c", "old c")])
def test_a_claim_that_leaves_the_group_while_the_revert_waits_is_not_held_any_more(
    reverts: RevertsWorld, left: str, word: str
) -> None:
    key = group_prepared(reverts)
    reverts.drive_to(key, "Securing")
    use(reverts, "b")
    reverts.lead(key)
    assert (reverts.status(key)["phase"], len(reverts.holds())) == ("Pending", 2)
    # The group is taken again of another claim.
    reverts.claimed("c", "old c")
    reverts.snapshot("both-c", "c", group="both")
    reverts.contents.write(reverts.handles["c"], "new c")
    for name in {"a", "b", "c"} - {left}:
        reverts.cluster.remove(SNAPSHOTS, f"both-{name}")
    reverts.cluster.remove(PODS, "user")
    reverts.drive(key)
    assert reverts.status(key)["phase"] == "Succeeded"
    assert (reverts.word("a"), reverts.word(left)) == ("new a", word)
    assert reverts.holds() == []


def test_claims_whose_long_names_begin_alike_have_safety_snapshots_of_their_own(
    reverts: RevertsWorld,
) -> None:
    names = [f"{'data-' * 48}{number}" for number in (1, 2)]
    for claim in names:
        reverts.claimed(claim, "old")
    for number, claim in enumerate(names):
        reverts.snapshot(f"both-{number}", claim, group="both")
        reverts.contents.write(reverts.handles[claim], f"new {number}")
    content = {"metadata": {"namespace": NAMESPACE, "name": "both"}, "status": {"readyToUse": True}}
    reverts.cluster.put(group_snapshots(NAMESPACE), "both", content)
    key = reverts.create("back", groupSnapshot="both")
    reverts.drive(key)
    assert reverts.status(key)["phase"] == "Succeeded", reverts.status(key)["message"]
    safety = [member["safetySnapshot"] for member in reverts.status(key)["members"]]
    assert sorted(reverts.word_in_snapshot(name) for name in safety) == ["new 0", "new 1"]
    assert all(len(name) <= 253 for name in safety)


def test_without_a_safety_snapshot_in_time_nothing_is_reverted(reverts: RevertsWorld) -> None:
    key = prepared(reverts)
    reverts.drive_to(key, "Securing")
    reverts.snapshotter_works = False
    for _ in range(3):
        reverts.lead(key)
    assert "is not ready to use" in reverts.status(key)["message"]
    reverts.clock.forward(seconds=301)
    reverts.drive(key)
    assert (reverts.status(key)["phase"], reverts.holds(), reverts.word("data")) == ("Failed", [], "new")


def test_a_snapshot_of_someone_else_under_the_name_is_no_safety_snapshot(reverts: RevertsWorld) -> None:
    key = prepared(reverts)
    uid = reverts.object(key)["metadata"]["uid"]
    reverts.snapshot(f"data-before-{uid}", "data")
    reverts.drive(key)
    assert reverts.status(key)["phase"] == "Failed"
    assert "is not of this revert" in reverts.status(key)["message"]
    assert (reverts.holds(), reverts.word("data")) == ([], "new")


def test_a_hold_that_was_removed_ends_the_revert_before_anything_is_overwritten(
    reverts: RevertsWorld,
) -> None:
    key = prepared(reverts)
    reverts.drive_to(key, "Reverting")
    volume = reverts.cluster.objects(VOLUMES)[0]
    metadata = {name: value for name, value in volume["metadata"].items() if name != "annotations"}
    reverts.cluster.put(VOLUMES, metadata["name"], {**volume, "metadata": metadata})
    reverts.drive(key)
    assert reverts.status(key)["phase"] == "Failed"
    assert "was removed" in reverts.status(key)["message"]
    assert reverts.word("data") == "new"


def test_a_hold_that_was_removed_before_the_safety_snapshot_is_set_again(reverts: RevertsWorld) -> None:
    key = prepared(reverts)
    reverts.drive_to(key, "Securing")
    without_holds(reverts)
    reverts.lead(key)
    assert reverts.status(key)["phase"] == "Pending"
    assert "was removed or replaced; nothing was reverted" in reverts.status(key)["message"]
    assert reverts.safety(key) == []
    reverts.drive_to(key, "Securing")
    assert len(reverts.holds()) == 1
    reverts.drive(key)
    assert (reverts.status(key)["phase"], reverts.word("data"), reverts.holds()) == ("Succeeded", "old", [])


def test_a_hold_that_was_removed_while_safety_snapshots_are_taken_ends_the_revert(
    reverts: RevertsWorld,
) -> None:
    key = prepared(reverts)
    reverts.drive_to(key, "Securing")
    reverts.lead(key)
    assert reverts.status(key)["members"][0]["safetySnapshot"]
    without_holds(reverts)
    reverts.drive(key)
    assert reverts.status(key)["phase"] == "Failed"
    assert "was removed or replaced; nothing was reverted" in reverts.status(key)["message"]
    assert (reverts.word("data"), reverts.safety(key)) == ("new", [])


def test_a_revert_whose_start_was_removed_from_its_status_does_nothing(reverts: RevertsWorld) -> None:
    key = prepared(reverts)
    reverts.lead(key)
    reverts.cluster.patched(f"{PATH}/{key.name}/status", {"status": {"startedAt": None}})
    reverts.lead(key)
    assert "has no start time in its status; create another one" in reverts.status(key)["message"]
    reverts.clock.forward(seconds=301)
    reverts.drive(key)
    assert (reverts.status(key)["phase"], reverts.word("data"), reverts.holds()) == ("Failed", "new", [])


def test_a_volume_that_was_mapped_while_it_was_overwritten_stays_held(reverts: RevertsWorld) -> None:
    key = prepared(reverts)
    reverts.drive_to(key, "Verifying")
    reverts.map_to(reverts.handles["data"], "a")
    reverts.drive(key)
    status = reverts.status(key)
    assert status["phase"] == "Failed"
    assert "was mapped to" in status["message"]
    assert "delete this object to let pods start again" in status["message"]
    assert (reverts.word("data"), len(reverts.holds())) == ("old", 1)


def test_an_array_that_does_not_say_whether_a_volume_was_mapped_is_asked_again(reverts: RevertsWorld) -> None:
    key = prepared(reverts)
    reverts.drive_to(key, "Verifying")
    fault = Fault(kind=FaultKind.ERROR, code=58, route="Volume.queryBySelectedIds", times=1)
    reverts.world.simulator.gateway.inject(fault)
    assert reverts.lead(key) == 10
    assert reverts.status(key)["phase"] == "Verifying"
    assert "is tried again: the volumes were reverted" in reverts.status(key)["message"]
    assert len(reverts.holds()) == 1
    reverts.drive(key)
    assert (reverts.status(key)["phase"], reverts.word("data"), reverts.holds()) == ("Succeeded", "old", [])


def test_a_refusal_of_the_array_changes_nothing_and_puts_a_group_back(reverts: RevertsWorld) -> None:
    key = group_prepared(reverts)
    fault = Fault(kind=FaultKind.ERROR, code=198, skip=1, times=1, route=OVERWRITE)
    reverts.world.simulator.gateway.inject(fault)
    reverts.drive(key)
    assert reverts.status(key)["phase"] == "Failed"
    assert [reverts.word(claim) for claim in "ab"] == ["new a", "new b"]
    assert reverts.holds() == []


def test_if_the_outcome_is_not_known_it_is_tried_again(reverts: RevertsWorld) -> None:
    key = prepared(reverts)
    fault = Fault(kind=FaultKind.LOST_REPLY, times=5, route=OVERWRITE)
    reverts.world.simulator.gateway.inject(fault)
    reverts.drive_to(key, "Reverting")
    reverts.lead(key)
    assert "the outcome is not known" in reverts.status(key)["message"]
    reverts.drive(key)
    assert (reverts.status(key)["phase"], reverts.word("data")) == ("Succeeded", "old")
    assert reverts.status(key)["attempts"] > 1
    assert reverts.holds() == []


def test_a_volume_that_was_mapped_while_the_outcome_was_open_stays_held_until_the_object_is_deleted(
    reverts: RevertsWorld,
) -> None:
    key = prepared(reverts)
    reverts.world.simulator.gateway.inject(Fault(kind=FaultKind.LOST_REPLY, times=5, route=OVERWRITE))
    reverts.drive_to(key, "Reverting")
    reverts.lead(key)
    reverts.world.simulator.gateway.faults.clear()
    reverts.map_to(reverts.handles["data"], "a")
    reverts.drive(key)
    status = reverts.status(key)
    assert status["phase"] == "Failed"
    assert "was mapped to" in status["message"]
    assert "delete this object to let pods start again" in status["message"]
    assert len(reverts.holds()) == 1
    reverts.cluster.delete(PATH, key.name)
    reverts.drive(key)
    assert (reverts.holds(), reverts.exists(key)) == ([], False)
    assert any(reason == "DeletedMidway" for reason, _ in reverts.events())


# --- interruptions and deletions -------------------------------------------------------------------


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("kind", ["one", "group"])
def test_the_operator_may_be_killed_at_any_request(
    reverts: RevertsWorld, after: bool, kind: str, monkeypatch: pytest.MonkeyPatch, figures: Figures
) -> None:
    life = Life(monkeypatch)
    names = [f"c{number}" for number in range(2 if kind == "group" else 1)]
    for claim in names:
        reverts.claimed(claim, "")
    for position in range(300):
        for claim in names:
            reverts.contents.write(reverts.handles[claim], f"old {claim}")
        if kind == "group":
            reverts.group(f"g{position}", *names)
        else:
            reverts.snapshot(f"s{position}", names[0])
        for claim in names:
            reverts.contents.write(reverts.handles[claim], f"new {claim}")
        spec = (
            {"groupSnapshot": f"g{position}"}
            if kind == "group"
            else {"claim": "c0", "snapshot": f"s{position}"}
        )
        key = reverts.create(f"revert{position}", **spec)
        for _ in _until_killed(reverts, key, life, position, after=after):
            pass
        killed = life.dead
        life.begin_again()
        if killed:
            reverts.new_process()
            reverts.drive(key)
            figures.add("rounds of the operator killed, and repeated")
        status = reverts.status(key)
        assert status["phase"] == "Succeeded", f"killed at request {position}: {status}"
        assert [reverts.word(claim) for claim in names] == [f"old {claim}" for claim in names]
        assert sorted(map(reverts.word_in_snapshot, reverts.safety(key))) == [
            f"new {claim}" for claim in names
        ]
        assert reverts.holds() == []
        assert reverts.object(key)["metadata"].get("finalizers", []) == []
        _forget(reverts, key)
        if not killed:
            assert position > 30
            return
    raise AssertionError("it does not end")


def _until_killed(
    reverts: RevertsWorld, key: Key, life: Life, position: int, *, after: bool
) -> Iterator[None]:
    """Rounds until the process is killed at this request, or until there is nothing to do.

    The snapshot controller is another process, so its requests are not counted.
    """
    left = position
    for _ in range(40):
        life.end_at(left, after=after)
        with contextlib.suppress(Killed):
            pause = reverts.rounds.lead(key)
            if pause in (None, float("inf")):
                life.left = -1
                return
        if life.dead:
            return
        left = life.left
        life.begin_again()
        reverts.snapshotter()
        yield


def _forget(reverts: RevertsWorld, key: Key) -> None:
    """Delete what a position has left, so that no tree fills up."""
    for item in reverts.cluster.objects(SNAPSHOTS):
        reverts.delete_snapshot(item)
    reverts.cluster.delete(PATH, key.name)


@pytest.mark.parametrize("phase", PHASES)
def test_an_object_that_is_deleted_in_any_phase_ends_and_leaves_no_hold(
    reverts: RevertsWorld, phase: str
) -> None:
    key = prepared(reverts)
    reverts.drive_to(key, phase)
    safety = reverts.safety(key)
    reverts.cluster.delete(PATH, key.name)
    reverts.drive(key)
    assert not reverts.exists(key)
    assert reverts.holds() == []
    names = {item["metadata"]["name"] for item in reverts.cluster.objects(SNAPSHOTS)}
    assert {"before-data", *safety} <= names
    assert reverts.word("data") == ("old" if phase in PHASES[4:] else "new")


def test_a_hold_that_may_not_be_removed_does_not_keep_a_deleted_object(reverts: RevertsWorld) -> None:
    key = prepared(reverts)
    reverts.drive_to(key, "Securing")
    volume = reverts.cluster.objects(VOLUMES)[0]["metadata"]["name"]
    reverts.cluster.refused[f"{VOLUMES}/{volume}"] = 403
    reverts.cluster.delete(PATH, key.name)
    reverts.drive(key)
    assert not reverts.exists(key)
    assert any(reason == "HoldLeft" for reason, _ in reverts.events())


@pytest.mark.parametrize("phase", ["Holding", "Releasing"])
def test_a_cluster_that_does_not_answer_delays_the_hold_and_its_end(
    reverts: RevertsWorld, phase: str
) -> None:
    key = prepared(reverts)
    reverts.drive_to(key, phase)
    path = f"{VOLUMES}/{reverts.cluster.objects(VOLUMES)[0]['metadata']['name']}"
    reverts.cluster.refused[path] = 503
    assert (reverts.lead(key) or 0) >= 5, "each attempt logs in to the array"
    assert path in reverts.status(key)["message"]
    reverts.cluster.refused.clear()
    reverts.drive(key)
    assert (reverts.status(key)["phase"], reverts.word("data"), reverts.holds()) == ("Succeeded", "old", [])


def test_a_hold_that_cannot_be_removed_now_keeps_a_deleted_object(reverts: RevertsWorld) -> None:
    key = prepared(reverts)
    reverts.drive_to(key, "Securing")
    path = f"{VOLUMES}/{reverts.cluster.objects(VOLUMES)[0]['metadata']['name']}"
    reverts.cluster.delete(PATH, key.name)
    reverts.cluster.refused[path] = 503
    reverts.lead(key)
    assert reverts.exists(key)
    reverts.cluster.refused.clear()
    reverts.drive(key)
    assert (reverts.exists(key), reverts.holds(), reverts.word("data")) == (False, [], "new")


def test_nothing_begins_while_the_cluster_is_not_known(reverts: RevertsWorld) -> None:
    key = prepared(reverts)
    reverts.lead(key)
    reverts.cluster.refused[VOLUMES] = 503
    reverts.lead(key)
    assert "the cluster is not known" in reverts.status(key)["message"]
    reverts.cluster.refused.clear()
    reverts.drive(key)
    assert reverts.word("data") == "old"


def test_a_status_that_someone_changes_meanwhile_is_not_overwritten(reverts: RevertsWorld) -> None:
    key = prepared(reverts)
    reverts.lead(key)
    work = next(item for item in reverts.rounds.works if item.definition.plural == key.plural)
    advance = work.advance

    def changing(found: VolumeRevert, save: Save[Any]) -> Change[Any]:
        item = reverts.object(key)
        reverts.cluster.put(PATH, key.name, {**item, "metadata": {**item["metadata"], "labels": {"a": "b"}}})
        return advance(found, save)

    work.advance = changing  # type: ignore[method-assign]
    assert reverts.rounds.lead(key) == 0
    assert reverts.status(key)["phase"] == "Pending"
    del work.advance
    reverts.drive(key)
    assert reverts.status(key)["phase"] == "Succeeded"
    assert reverts.object(key)["metadata"]["labels"] == {"a": "b"}
