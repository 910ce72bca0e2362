"""SnapshotSchedule: snapshots by the clock, and the removal of old ones."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from csi_powerflex.kube.client import Client
from csi_powerflex.kube_objects.reader import VOLUMES
from csi_powerflex.operator.api import Key
from csi_powerflex.operator.happenings import Happenings
from csi_powerflex.operator.objects import claims, group_snapshots, snapshots
from csi_powerflex.operator.rounds import Rounds
from csi_powerflex.operator.schedules.definition import DEFINITION
from csi_powerflex.operator.schedules.work import UID_LABEL, Schedules
from tests.controller.ended import Killed, Life
from tests.figures import Figures
from tests.kube.api_server import ApiServer
from tests.operator.clock import Clock

DRIVER = "csi.powerflex.dev"
PATH = DEFINITION.path("shop")
SNAPSHOTS = snapshots("shop")
GROUPS = group_snapshots("shop")
EVENTS = "/api/v1/namespaces/shop/events"


class SchedulesWorld:
    """Claims in the namespace shop, and the operator."""

    def __init__(self, cluster: ApiServer, client: Client) -> None:
        self.cluster = cluster
        self.client = client
        self.clock = Clock("2026-11-26T09:00:30")
        cluster.time = lambda: f"{self.clock():%Y-%m-%dT%H:%M:%SZ}"  # type: ignore[method-assign]
        self.new_process()

    def new_process(self) -> None:
        """The operator after a restart."""
        works = [Schedules(self.client, driver_name=DRIVER, now=self.clock)]
        self.rounds = Rounds(self.client, works, Happenings(self.client, self.clock))

    def claim(self, name: str, *, driver: str = DRIVER, bound: bool = True, **labels: str) -> None:
        """A claim, and its volume if it is bound."""
        self.cluster.put(VOLUMES, f"pv-{name}", {"spec": {"csi": {"driver": driver}}})
        content: dict[str, Any] = {"metadata": {"namespace": "shop", "name": name, "labels": labels}}
        if bound:
            content |= {"spec": {"volumeName": f"pv-{name}"}, "status": {"phase": "Bound"}}
        self.cluster.put(claims("shop"), name, content)

    def create(self, name: str = "hourly", schedule: str = "0 * * * *", **spec: object) -> Key:
        content = {"metadata": {"namespace": "shop", "name": name}, "spec": {"schedule": schedule, **spec}}
        self.cluster.created(PATH, content)
        key = Key(DEFINITION.plural, "shop", name)
        self.settle(key)
        return key

    def change(self, key: Key, **spec: object) -> None:
        self.cluster.patched(f"{PATH}/{key.name}", {"spec": spec})

    def settle(self, key: Key) -> float | None:
        """Rounds until the next run is waited for. Returns the last pause."""
        for _ in range(20):
            pause = self.rounds.lead(key)
            if pause != 0:
                return pause
        raise AssertionError(f"it does not settle: {self.status(key)}")

    def at(self, key: Key, text: str) -> None:
        """Let it be this time, and do what is due. Snapshots that were created get ready."""
        self.clock.set(text)
        self.settle(key)
        self.make_ready()

    def make_ready(self) -> None:
        for path in (SNAPSHOTS, GROUPS):
            for item in self.cluster.objects(path):
                name = item["metadata"]["name"]
                self.cluster.put(path, name, {**item, "status": {"readyToUse": True}})

    def status(self, key: Key) -> dict[str, Any]:
        item = next(found for found in self.cluster.objects(PATH) if found["metadata"]["name"] == key.name)
        status: dict[str, Any] = item.get("status", {})
        return status

    def taken(self, path: str = SNAPSHOTS) -> list[str]:
        """The names of the snapshots without the digest at their end."""
        return sorted(item["metadata"]["name"].rpartition("-")[0] for item in self.cluster.objects(path))


@pytest.fixture
def schedules(cluster: ApiServer, client: Client) -> SchedulesWorld:
    return SchedulesWorld(cluster, client)


# --- taking ----------------------------------------------------------------------------------------


def test_at_its_time_a_snapshot_of_each_claim_of_the_selector_is_taken(schedules: SchedulesWorld) -> None:
    schedules.claim("data", app="db")
    schedules.claim("log", app="db")
    schedules.claim("tmp", app="web")
    key = schedules.create(selector={"matchLabels": {"app": "db"}}, snapshotClass="fast")
    assert schedules.taken() == []
    assert schedules.status(key)["nextAt"] == "2026-11-26T10:00:00Z"
    schedules.at(key, "2026-11-26T10:00:00")
    assert schedules.taken() == ["hourly-data-202611261000", "hourly-log-202611261000"]
    assert {item["spec"]["volumeSnapshotClassName"] for item in schedules.cluster.objects(SNAPSHOTS)} == {
        "fast"
    }
    status = schedules.status(key)
    assert (status["phase"], status["last"]["taken"]) == ("Active", 2)
    assert status["nextAt"] == "2026-11-26T11:00:00Z"
    assert [item["reason"] for item in schedules.cluster.objects(EVENTS)] == ["SnapshotsTaken"]


def test_temporary_claims_of_data_movers_are_no_claims_of_the_schedule(schedules: SchedulesWorld) -> None:
    schedules.claim("data")
    labels: dict[str, Any] = {"powerflex.dev/made-for": "uid"}
    schedules.claim("copy-target", **labels)
    schedules.claim("copy-source", bound=False, **labels)
    key = schedules.create()
    schedules.at(key, "2026-11-26T10:00:00")
    assert schedules.taken() == ["hourly-data-202611261000"]
    assert "message" not in schedules.status(key)["last"]


def test_until_its_time_it_waits(schedules: SchedulesWorld) -> None:
    key = schedules.create()
    assert schedules.settle(key) == 59 * 60 + 30


def test_expressions_select_claims_too(schedules: SchedulesWorld) -> None:
    for name, tier in (("a", "gold"), ("b", "silver"), ("c", "lead")):
        schedules.claim(name, tier=tier)
    schedules.claim("d")
    conditions = [
        {"key": "tier", "operator": "In", "values": ["gold", "silver"]},
        {"key": "tier", "operator": "NotIn", "values": ["silver"]},
        {"key": "tier", "operator": "Exists"},
        {"key": "skip", "operator": "DoesNotExist"},
    ]
    key = schedules.create(selector={"matchExpressions": conditions})
    schedules.at(key, "2026-11-26T10:00:00")
    assert schedules.taken() == ["hourly-a-202611261000"]


def test_claims_without_a_volume_of_the_driver_are_left_out_and_named(schedules: SchedulesWorld) -> None:
    schedules.claim("data")
    schedules.claim("new", bound=False)
    schedules.claim("other", driver="other.example")
    key = schedules.create()
    schedules.at(key, "2026-11-26T10:00:00")
    assert schedules.taken() == ["hourly-data-202611261000"]
    message = schedules.status(key)["message"]
    assert "claim new is not bound" in message
    assert "claim other has no volume of csi.powerflex.dev" in message


def test_claims_that_are_left_out_are_named_also_if_another_claim_fails(schedules: SchedulesWorld) -> None:
    schedules.claim("data")
    schedules.claim("new", bound=False)
    key = schedules.create()
    schedules.cluster.refused[SNAPSHOTS] = 403
    schedules.at(key, "2026-11-26T10:00:00")
    message = schedules.status(key)["message"]
    assert "not taken: data: " in message
    assert message.endswith("; left out: claim new is not bound")


def test_a_group_has_one_group_snapshot_with_the_selector(schedules: SchedulesWorld) -> None:
    schedules.claim("a", app="db")
    schedules.claim("b", app="db")
    key = schedules.create(selector={"matchLabels": {"app": "db"}}, group=True, snapshotClass="groups")
    schedules.at(key, "2026-11-26T10:00:00")
    (made,) = schedules.cluster.objects(GROUPS)
    assert schedules.taken(GROUPS) == ["hourly-202611261000"]
    assert made["spec"] == {
        "source": {"selector": {"matchLabels": {"app": "db"}}},
        "volumeGroupSnapshotClassName": "groups",
    }
    assert schedules.status(key)["last"]["taken"] == 1


def test_a_group_that_would_take_a_claim_of_another_driver_is_not_taken(schedules: SchedulesWorld) -> None:
    schedules.claim("a")
    schedules.claim("b", driver="other.example")
    key = schedules.create(group=True)
    schedules.at(key, "2026-11-26T10:00:00")
    assert schedules.taken(GROUPS) == []
    assert schedules.status(key)["last"]["failed"] == 1
    assert schedules.status(key)["message"].count("claim b has no volume") == 1


def test_missed_runs_are_made_up_once(schedules: SchedulesWorld) -> None:
    schedules.claim("data")
    key = schedules.create()
    schedules.at(key, "2026-11-28T14:20:00")
    assert schedules.taken() == ["hourly-data-202611281400"]
    schedules.at(key, "2026-11-28T14:40:00")
    assert len(schedules.taken()) == 1


def test_a_run_that_is_too_late_is_not_made_up(schedules: SchedulesWorld) -> None:
    schedules.claim("data")
    key = schedules.create(startingDeadlineSeconds=600)
    schedules.at(key, "2026-11-26T10:20:00")
    assert schedules.taken() == []
    assert "was not begun within 600 seconds" in schedules.status(key)["message"]
    schedules.at(key, "2026-11-26T11:05:00")
    assert schedules.taken() == ["hourly-data-202611261100"]


def test_what_was_due_before_the_schedule_existed_or_was_changed_is_not_made_up(
    schedules: SchedulesWorld,
) -> None:
    schedules.claim("data")
    key = schedules.create(schedule="0 9 * * *")
    schedules.at(key, "2026-11-26T09:30:00")
    schedules.change(key, schedule="15 9 * * *")
    schedules.settle(key)
    assert schedules.taken() == []
    schedules.at(key, "2026-11-27T09:15:00")
    assert len(schedules.taken()) == 1


def test_while_it_is_suspended_nothing_is_taken_or_removed_and_nothing_is_made_up_later(
    schedules: SchedulesWorld,
) -> None:
    schedules.claim("data")
    key = schedules.create(keep={"count": 1})
    schedules.at(key, "2026-11-26T10:00:00")
    schedules.change(key, suspend=True)
    schedules.at(key, "2026-11-26T15:00:00")
    assert schedules.status(key)["phase"] == "Suspended"
    schedules.change(key, suspend=False)
    schedules.at(key, "2026-11-26T15:30:00")
    assert schedules.taken() == ["hourly-data-202611261000"]


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"schedule": "0 3 * *  "}, "give five fields of cron"),
        ({"schedule": "99 * * * *"}, "give five fields of cron"),
        # Six fields would be taken as seconds, minutes, and so on.
        ({"schedule": "0 0 3 * * *"}, "give five fields of cron"),
        ({"timeZone": "Mars/Crater"}, "give a name such as Europe/Berlin"),
        ({"timeZone": "../../etc/passwd"}, "give a name such as Europe/Berlin"),
        ({"selector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}, "In of a needs values"),
        (
            {"selector": {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}},
            "Exists of a takes no values",
        ),
        ({"selector": {"matchLabels": {"app": "my app"}}}, "'my app' of app is no value of a label"),
        ({"selector": {"matchLabels": {"app": "a,b=c"}}}, "'a,b=c' of app is no value of a label"),
        ({"selector": {"matchLabels": {"größe": "l"}}}, "'größe' is no label"),
        ({"selector": {"matchLabels": {"/app": "l"}}}, "'/app' is no label"),
        ({"selector": {"matchLabels": {"a/b/app": "l"}}}, "'a/b/app' is no label"),
        ({"selector": {"matchLabels": {"example.org/": "l"}}}, "'example.org/' is no label"),
        (
            {"selector": {"matchExpressions": [{"key": "a", "operator": "In", "values": ["x" * 64]}]}},
            "is no value of a label",
        ),
        # Without a key, the query would select every claim.
        ({"selector": {"matchExpressions": [{"key": "", "operator": "Exists"}]}}, "'' is no label"),
    ],
)
def test_what_cannot_be_used_is_said_in_the_status(
    schedules: SchedulesWorld, spec: dict[str, Any], reason: str
) -> None:
    key = schedules.create(**{"schedule": "0 * * * *", **spec})
    assert schedules.status(key)["phase"] == "Invalid"
    assert reason in schedules.status(key)["message"]
    schedules.rounds.lead(key)
    assert [item["reason"] for item in schedules.cluster.objects(EVENTS)] == ["Invalid"]
    schedules.change(key, schedule="0 * * * *", timeZone="UTC", selector=None)
    schedules.settle(key)
    assert schedules.status(key)["phase"] == "Active"


def test_what_cannot_be_created_is_tried_again_for_ten_minutes(schedules: SchedulesWorld) -> None:
    schedules.claim("data")
    key = schedules.create()
    schedules.cluster.refused[SNAPSHOTS] = 503
    schedules.at(key, "2026-11-26T10:00:00")
    assert schedules.status(key)["phase"] == "Taking"
    schedules.at(key, "2026-11-26T10:11:00")
    assert schedules.status(key)["last"]["failed"] == 1
    assert [item["type"] for item in schedules.cluster.objects(EVENTS)] == ["Warning"]


def test_a_snapshot_of_someone_else_under_the_name_counts_as_a_failure(schedules: SchedulesWorld) -> None:
    schedules.claim("data")
    key = schedules.create()
    schedules.at(key, "2026-11-26T10:00:00")
    (item,) = schedules.cluster.objects(SNAPSHOTS)
    name = item["metadata"]["name"].replace("202611261000", "202611261100")
    schedules.cluster.put(SNAPSHOTS, name, {"metadata": {"namespace": "shop"}})
    schedules.at(key, "2026-11-26T11:00:00")
    assert "exists and is not of this schedule" in schedules.status(key)["message"]


def test_a_name_whose_object_cannot_be_read_counts_as_a_failure(schedules: SchedulesWorld) -> None:
    schedules.claim("data")
    key = schedules.create()
    schedules.at(key, "2026-11-26T10:00:00")
    (item,) = schedules.cluster.objects(SNAPSHOTS)
    name = item["metadata"]["name"].replace("202611261000", "202611261100")
    schedules.cluster.put(SNAPSHOTS, name, {"metadata": {"namespace": "shop"}})
    schedules.cluster.refused[f"{SNAPSHOTS}/{name}"] = 403
    schedules.at(key, "2026-11-26T11:00:00")
    assert f"{SNAPSHOTS}/{name}" in schedules.status(key)["message"]
    assert schedules.status(key)["last"]["failed"] == 1


def test_a_group_without_claims_is_not_taken(schedules: SchedulesWorld) -> None:
    key = schedules.create(group=True)
    schedules.at(key, "2026-11-26T10:00:00")
    assert schedules.taken(GROUPS) == []
    assert schedules.status(key)["phase"] == "Active"


# --- removing --------------------------------------------------------------------------------------


def test_of_each_claim_as_many_are_kept_as_the_count_says(schedules: SchedulesWorld) -> None:
    schedules.claim("a")
    schedules.claim("b")
    key = schedules.create(keep={"count": 2})
    for hour in range(10, 15):
        schedules.at(key, f"2026-11-26T{hour}:00:00")
    schedules.settle(key)
    assert schedules.taken() == [f"hourly-{claim}-20261126{hour}00" for claim in "ab" for hour in (13, 14)]


def test_what_is_too_old_is_removed(schedules: SchedulesWorld) -> None:
    schedules.claim("a")
    key = schedules.create(keep={"age": "90m"})
    for hour in (10, 11, 12):
        schedules.at(key, f"2026-11-26T{hour}:00:00")
    assert schedules.taken() == ["hourly-a-202611261100", "hourly-a-202611261200"]


def test_the_newest_usable_snapshot_stays_also_if_it_is_too_old(schedules: SchedulesWorld) -> None:
    schedules.claim("a")
    key = schedules.create(keep={"age": "1h", "count": 1})
    schedules.at(key, "2026-11-26T10:00:00")
    schedules.cluster.refused[SNAPSHOTS] = 403
    schedules.clock.set("2026-11-27T10:00:00")
    schedules.rounds.lead(key)
    schedules.cluster.refused.clear()
    schedules.cluster.remove(claims("shop"), "a")
    schedules.at(key, "2026-11-27T12:30:00")
    assert schedules.taken() == ["hourly-a-202611261000"]


def test_one_that_is_not_ready_does_not_replace_one_that_is(schedules: SchedulesWorld) -> None:
    schedules.claim("a")
    key = schedules.create(keep={"count": 1})
    schedules.at(key, "2026-11-26T10:00:00")
    schedules.clock.set("2026-11-26T11:00:00")
    schedules.settle(key)
    assert len(schedules.taken()) == 2
    schedules.make_ready()
    schedules.settle(key)
    assert schedules.taken() == ["hourly-a-202611261100"]


def test_snapshots_of_others_and_those_without_the_label_are_never_removed(schedules: SchedulesWorld) -> None:
    schedules.claim("a")
    key = schedules.create(keep={"count": 1})
    schedules.at(key, "2026-11-26T10:00:00")
    (item,) = schedules.cluster.objects(SNAPSHOTS)
    name = item["metadata"]["name"]
    schedules.cluster.patched(f"{SNAPSHOTS}/{name}", {"metadata": {"labels": {UID_LABEL: None}}})
    schedules.cluster.put(
        SNAPSHOTS, "mine", {"metadata": {"namespace": "shop"}, "status": {"readyToUse": True}}
    )
    for hour in (11, 12):
        schedules.at(key, f"2026-11-26T{hour}:00:00")
    schedules.settle(key)
    names = {item["metadata"]["name"] for item in schedules.cluster.objects(SNAPSHOTS)}
    assert {name, "mine"} <= names
    assert len(names) == 3


def test_one_that_may_not_be_removed_keeps_no_other_from_its_removal(schedules: SchedulesWorld) -> None:
    schedules.claim("data")
    key = schedules.create(keep={"count": 1})
    schedules.at(key, "2026-11-26T10:00:00")
    kept = schedules.cluster.objects(SNAPSHOTS)[0]["metadata"]["name"]
    schedules.cluster.refused[f"{SNAPSHOTS}/{kept}"] = 403
    for hour in (11, 12, 13):
        schedules.at(key, f"2026-11-26T{hour}:00:00")
    schedules.settle(key)
    assert schedules.taken() == ["hourly-data-202611261000", "hourly-data-202611261300"]
    assert f"not removed: {kept}: " in schedules.status(key)["message"]
    assert schedules.status(key)["nextAt"] == "2026-11-26T14:00:00Z"
    assert [item["reason"] for item in schedules.cluster.objects(EVENTS)].count("NotRemoved") == 1
    schedules.cluster.refused.clear()
    schedules.settle(key)
    assert schedules.taken() == ["hourly-data-202611261300"]
    assert "message" not in schedules.status(key)


def test_a_removal_without_an_answer_is_repeated_before_the_next_run(schedules: SchedulesWorld) -> None:
    schedules.claim("data")
    key = schedules.create(keep={"count": 1})
    schedules.at(key, "2026-11-26T10:00:00")
    old = schedules.cluster.objects(SNAPSHOTS)[0]["metadata"]["name"]
    schedules.cluster.refused[f"{SNAPSHOTS}/{old}"] = 503
    schedules.at(key, "2026-11-26T11:00:00")
    pause = schedules.settle(key)
    assert pause is not None
    assert pause < 60
    assert schedules.taken() == ["hourly-data-202611261000", "hourly-data-202611261100"]
    schedules.cluster.refused.clear()
    schedules.settle(key)
    assert schedules.taken() == ["hourly-data-202611261100"]


def test_groups_are_kept_by_count_too(schedules: SchedulesWorld) -> None:
    schedules.claim("a")
    key = schedules.create(group=True, keep={"count": 1})
    for hour in (10, 11, 12):
        schedules.at(key, f"2026-11-26T{hour}:00:00")
    schedules.settle(key)
    assert schedules.taken(GROUPS) == ["hourly-202611261200"]


def test_its_snapshots_stay_when_it_is_deleted(schedules: SchedulesWorld) -> None:
    schedules.claim("a")
    key = schedules.create(keep={"count": 1})
    schedules.at(key, "2026-11-26T10:00:00")
    schedules.cluster.delete(PATH, key.name)
    assert schedules.rounds.lead(key) is None
    assert len(schedules.taken()) == 1


def test_nothing_is_done_while_it_is_being_deleted(schedules: SchedulesWorld) -> None:
    schedules.claim("a")
    key = schedules.create()
    schedules.cluster.patched(f"{PATH}/{key.name}", {"metadata": {"finalizers": ["example.org/other"]}})
    schedules.cluster.delete(PATH, key.name)
    schedules.at(key, "2026-11-26T10:00:00")
    assert schedules.taken() == []


def test_one_that_was_removed_by_someone_else_meanwhile_is_no_failure(schedules: SchedulesWorld) -> None:
    schedules.claim("a")
    key = schedules.create(keep={"count": 1})
    schedules.at(key, "2026-11-26T10:00:00")
    (old,) = schedules.cluster.objects(SNAPSHOTS)
    schedules.cluster.refused[f"{SNAPSHOTS}/{old['metadata']['name']}"] = 404
    schedules.at(key, "2026-11-26T11:00:00")
    schedules.at(key, "2026-11-26T12:00:00")
    assert schedules.status(key)["phase"] == "Active"
    assert "failed" not in schedules.status(key)["last"]


# --- interruptions ---------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [False, True])
def test_the_operator_may_be_killed_at_any_request(
    schedules: SchedulesWorld, after: bool, monkeypatch: pytest.MonkeyPatch, figures: Figures
) -> None:
    life = Life(monkeypatch)
    for claim in ("a", "b"):
        schedules.claim(claim)
    key = schedules.create(schedule="* * * * *", keep={"count": 1})
    for position in range(100):
        schedules.clock.forward(minutes=1)
        life.end_at(position, after=after)
        with contextlib.suppress(Killed):
            schedules.settle(key)
        killed = life.dead
        life.begin_again()
        schedules.new_process()
        schedules.settle(key)
        schedules.make_ready()
        schedules.settle(key)
        at = f"{schedules.clock():%Y%m%d%H%M}"
        assert schedules.taken() == [f"hourly-a-{at}", f"hourly-b-{at}"], f"killed at request {position}"
        if not killed:
            assert position > 10
            return
        figures.add("rounds of the operator killed, and repeated")
    raise AssertionError("it does not end")


def test_snapshots_of_a_claim_that_was_created_again_do_not_push_out_the_earlier_ones(
    schedules: SchedulesWorld,
) -> None:
    schedules.claim("data")
    key = schedules.create(keep={"count": 1, "age": "1h"})
    schedules.at(key, "2026-11-26T10:00:00")
    schedules.cluster.remove(claims("shop"), "data")
    schedules.claim("data")
    for time in ("11:00:00", "12:00:00", "12:00:30"):
        schedules.at(key, f"2026-11-26T{time}")
    assert schedules.taken() == ["hourly-data-202611261000", "hourly-data-202611261200"]
