"""A round reads an object, does one step and writes the status; what fails is repeated later."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import prometheus_client
import pytest

from csi_powerflex.errors import PermissionDenied
from csi_powerflex.kube.client import Client
from csi_powerflex.operator.api import FINALIZER, Condition, Key, with_condition
from csi_powerflex.operator.happenings import Happenings
from csi_powerflex.operator.reverts.definition import DEFINITION, RevertStatus, VolumeRevert
from csi_powerflex.operator.rounds import Rounds, difference
from csi_powerflex.operator.work import UNTIL_CHANGED, Change, Happening, Save
from tests.kube.api_server import ApiServer
from tests.operator.clock import Clock

pytestmark = pytest.mark.usefixtures("untouched_logging")

PATH = DEFINITION.path("shop")
KEY = Key(DEFINITION.plural, "shop", "one")
EVENTS = "/api/v1/namespaces/shop/events"

Advance = Callable[[VolumeRevert, Save[RevertStatus]], Change[RevertStatus]]


class Doing:
    """Work whose step a test gives."""

    definition = DEFINITION
    kind = VolumeRevert

    def __init__(self, advance: Advance) -> None:
        self.step = advance

    def advance(self, found: VolumeRevert, save: Save[RevertStatus]) -> Change[RevertStatus]:
        return self.step(found, save)


def told(found: VolumeRevert, text: str) -> RevertStatus:
    return msgspec.structs.replace(found.status, message=text)


@pytest.fixture
def one(cluster: ApiServer) -> ApiServer:
    """A cluster with one object."""
    cluster.created(PATH, {"metadata": {"namespace": "shop", "name": "one"}, "spec": {"claim": "data"}})
    return cluster


def rounds(client: Client, advance: Advance) -> Rounds:
    return Rounds(client, [Doing(advance)], Happenings(client, Clock()))


def status(cluster: ApiServer) -> dict[str, Any]:
    found: dict[str, Any] = cluster.objects(PATH)[0].get("status", {})
    return found


def test_the_status_has_the_generation_that_it_is_about(one: ApiServer, client: Client) -> None:
    led = rounds(client, lambda found, _save: Change(told(found, "hello"), UNTIL_CHANGED))
    assert led.lead(KEY) == UNTIL_CHANGED
    assert status(one) == {"message": "hello", "observedGeneration": 1}


def test_a_status_that_does_not_change_is_not_written(one: ApiServer, client: Client) -> None:
    led = rounds(client, lambda found, _save: Change(told(found, "hello"), UNTIL_CHANGED))
    led.lead(KEY)
    led.lead(KEY)
    assert [request.method for request in one.requests] == ["GET", "PATCH", "GET"]


def test_a_long_message_is_shortened(one: ApiServer, client: Client) -> None:
    rounds(client, lambda found, _save: Change(told(found, "x" * 5000))).lead(KEY)
    assert len(status(one)["message"]) == 2000
    assert status(one)["message"].endswith("x...")


def test_the_finalizers_of_others_stay(one: ApiServer, client: Client) -> None:
    one.patched(f"{PATH}/one", {"metadata": {"finalizers": ["other/one"]}})
    rounds(client, lambda found, _save: Change(found.status, finalizer=True)).lead(KEY)
    assert one.objects(PATH)[0]["metadata"]["finalizers"] == ["other/one", FINALIZER]
    rounds(client, lambda found, _save: Change(found.status, finalizer=False)).lead(KEY)
    assert one.objects(PATH)[0]["metadata"]["finalizers"] == ["other/one"]


def test_what_is_saved_is_there_before_the_step_goes_on(one: ApiServer, client: Client) -> None:
    seen: list[dict[str, Any]] = []

    def advance(found: VolumeRevert, save: Save[RevertStatus]) -> Change[RevertStatus]:
        save(told(found, "begins"))
        seen.append(status(one))
        return Change(told(found, "done"))

    rounds(client, advance).lead(KEY)
    assert seen[0]["message"] == "begins"
    assert status(one)["message"] == "done"


def test_a_step_does_not_go_on_if_the_object_has_changed_before_it_is_saved(
    one: ApiServer, client: Client
) -> None:
    gone_on = []

    def advance(found: VolumeRevert, save: Save[RevertStatus]) -> Change[RevertStatus]:
        one.patched(f"{PATH}/one", {"metadata": {"labels": {"a": "b"}}})
        save(told(found, "begins"))
        gone_on.append(True)
        return Change(found.status)

    assert rounds(client, advance).lead(KEY) == 0
    assert (gone_on, status(one)) == ([], {})


def test_an_object_that_does_not_exist_any_more_ends_its_rounds(cluster: ApiServer, client: Client) -> None:
    assert rounds(client, lambda found, _save: Change(found.status)).lead(KEY) is None


@pytest.mark.parametrize("error", [PermissionDenied("no"), ValueError("a defect")])
def test_after_a_failure_the_pauses_grow_to_a_minute_and_begin_again_after_success(
    one: ApiServer, client: Client, error: Exception
) -> None:
    fails = [True]

    def advance(found: VolumeRevert, _save: Save[RevertStatus]) -> Change[RevertStatus]:
        if fails[0]:
            raise error
        return Change(found.status, UNTIL_CHANGED)

    led = rounds(client, advance)
    assert [led.lead(KEY) for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
    fails[0] = False
    assert led.lead(KEY) == UNTIL_CHANGED
    fails[0] = True
    assert led.lead(KEY) == 1


def test_an_event_is_written_once_and_a_refused_one_fails_nothing(one: ApiServer, client: Client) -> None:
    told_once = Happening("Something", "happened", warning=True)
    led = rounds(client, lambda found, _save: Change(found.status, happenings=(told_once,)))
    led.lead(KEY)
    led.lead(KEY)
    (event,) = one.objects(EVENTS)
    assert (event["reason"], event["message"], event["type"]) == ("Something", "happened", "Warning")
    assert event["involvedObject"]["kind"] == "VolumeRevert"
    one.refused[EVENTS] = 403
    assert led.lead(KEY) == 0


def test_the_objects_of_each_phase_are_counted(one: ApiServer, client: Client) -> None:
    def many(phase: str) -> float:
        labels = {"resource": "volumereverts", "phase": phase}
        return prometheus_client.REGISTRY.get_sample_value("csi_powerflex_operator_objects", labels) or 0.0

    before = many("pending")
    led = rounds(client, lambda found, _save: Change(msgspec.structs.replace(found.status, phase="Pending")))
    led.lead(KEY)
    led.lead(KEY)
    assert many("pending") == before + 1
    one.delete(PATH, "one")
    led.lead(KEY)
    assert many("pending") == before


def test_a_difference_is_a_merge_patch() -> None:
    before = {"a": 1, "b": {"c": 1, "d": 2}, "e": [1], "f": 1}
    after = {"a": 1, "b": {"c": 2}, "e": [1, 2], "g": 3}
    assert difference(before, after) == {"b": {"c": 2, "d": None}, "e": [1, 2], "f": None, "g": 3}
    assert difference(before, before) == {}


def test_a_condition_keeps_its_time_as_long_as_its_status_is_the_same() -> None:
    clock = Clock()

    def condition(status: Any) -> Condition:
        return Condition("Complete", status, "R", "m", clock())

    first = with_condition((), condition("False"))
    clock.forward(hours=1)
    second = with_condition(first, condition("False"))
    third = with_condition(second, condition("True"))
    assert second[0].last_transition_time == first[0].last_transition_time
    assert (len(third), third[0].last_transition_time) == (1, clock())
