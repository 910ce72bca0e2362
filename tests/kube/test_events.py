"""Events about volumes: to which object they are written, how often, and that no one waits for them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from csi_powerflex.ids import VolumeHandle
from csi_powerflex.kube.client import Client
from csi_powerflex.kube.events import VOLUMES, KubernetesEvents
from csi_powerflex.model.notices import Notice
from csi_powerflex.observability import metrics
from tests.controller.eventually import eventually
from tests.kube.api_server import Answer, ApiServer

DRIVER = "csi.example.org"
HANDLES = [VolumeHandle("0123456789abcdef", f"{number:016x}") for number in range(300)]
SHOP = "/api/v1/namespaces/shop/events"
NO_NAMESPACE = "/api/v1/namespaces/default/events"
CLAIM = {"namespace": "shop", "name": "data", "uid": "u-1"}


@pytest.fixture
def events(cluster: ApiServer) -> Iterator[KubernetesEvents]:
    """They are not started yet. The name of a PersistentVolume is ``pv-`` and the handle."""
    made = KubernetesEvents(DRIVER, Client(cluster.config), "pv-{}".format, pause=0.0, retry_seconds=0.0)
    yield made
    made.close()


def put_volume(cluster: ApiServer, *handles: VolumeHandle, phase: str = "Bound") -> None:
    for handle in handles:
        spec = {"claimRef": CLAIM, "csi": {"volumeHandle": str(handle)}}
        cluster.put(VOLUMES, f"pv-{handle}", {"spec": spec, "status": {"phase": phase}})


def count(result: str) -> float:
    return metrics.EVENTS.labels(result)._value.get()  # type: ignore[no-any-return]


def written(cluster: ApiServer, many: int, resource: str = SHOP) -> list[dict[str, Any]]:
    """Wait for so many events, and return them."""
    eventually(lambda: len(cluster.objects(resource)) == many)
    return cluster.objects(resource)


def test_an_event_names_the_claim_the_reason_and_the_driver(
    cluster: ApiServer, events: KubernetesEvents
) -> None:
    put_volume(cluster, HANDLES[0])
    events.start()
    events.tell(HANDLES[0], Notice.HOST_NOT_CONNECTED, "Look at the SDC.")
    (event,) = written(cluster, 1)
    assert event["involvedObject"] == {"apiVersion": "v1", "kind": "PersistentVolumeClaim", **CLAIM}
    assert (event["reason"], event["message"]) == ("HostNotConnected", "Look at the SDC.")
    assert (event["type"], event["source"]) == ("Warning", {"component": DRIVER})
    assert event["firstTimestamp"] == event["lastTimestamp"]


def test_an_event_of_a_volume_without_a_bound_claim_is_that_of_the_persistent_volume(
    cluster: ApiServer, events: KubernetesEvents
) -> None:
    put_volume(cluster, HANDLES[0], phase="Released")
    events.start()
    events.tell(HANDLES[0], Notice.STALE_MAPPING_REMOVED, "Removed.")
    (event,) = written(cluster, 1, NO_NAMESPACE)
    assert event["involvedObject"]["kind"] == "PersistentVolume"
    assert event["involvedObject"]["name"] == f"pv-{HANDLES[0]}"
    assert event["type"] == "Normal"


def test_a_notice_that_is_repeated_is_written_once(cluster: ApiServer, events: KubernetesEvents) -> None:
    put_volume(cluster, *HANDLES[:2])
    events.start()
    for _ in range(3):
        events.tell(HANDLES[0], Notice.HOST_NOT_CONNECTED, "Text.")
    events.tell(HANDLES[0], Notice.LIMITS_NOT_APPLIED, "Text.")
    reasons = [event["reason"] for event in written(cluster, 2)]
    assert reasons == ["HostNotConnected", "LimitsNotApplied"]


def test_two_controllers_with_the_same_notice_write_one_event(
    cluster: ApiServer, events: KubernetesEvents
) -> None:
    put_volume(cluster, HANDLES[0])
    before = count("written")
    other = KubernetesEvents(DRIVER, Client(cluster.config), "pv-{}".format)
    for each in (events, other):
        each.start()
        each.tell(HANDLES[0], Notice.LIMITS_NOT_APPLIED, "Text.")
    eventually(lambda: count("written") == before + 2)
    other.close()
    # They differ where ten minutes begin between the two.
    assert len(cluster.objects(SHOP)) in (1, 2)
    assert any(request.method == "POST" for request in cluster.requests)


def test_an_event_is_written_again_where_the_api_did_not_answer(
    cluster: ApiServer, events: KubernetesEvents
) -> None:
    put_volume(cluster, HANDLES[0])
    cluster.prescribe(Answer(503, (b"away",)), Answer(503, (b"away",)))
    events.start()
    events.tell(HANDLES[0], Notice.HOST_NOT_CONNECTED, "Text.")
    assert written(cluster, 1)


def test_a_refused_event_is_left_out_and_the_next_one_is_written(
    cluster: ApiServer, events: KubernetesEvents
) -> None:
    put_volume(cluster, *HANDLES[:2])
    before = count("failed")
    cluster.prescribe(Answer.status_object(403, "no"))
    events.start()
    events.tell(HANDLES[0], Notice.HOST_NOT_CONNECTED, "First.")
    events.tell(HANDLES[1], Notice.HOST_NOT_CONNECTED, "Second.")
    assert [event["message"] for event in written(cluster, 1)] == ["Second."]
    assert count("failed") == before + 1


def test_an_api_that_stays_away_ends_the_attempts(cluster: ApiServer, events: KubernetesEvents) -> None:
    before = count("failed")
    cluster.down = True
    events.start()
    events.tell(HANDLES[0], Notice.HOST_NOT_CONNECTED, "Text.")
    eventually(lambda: count("failed") == before + 1)
    assert len(cluster.requests) == 5


def test_an_event_of_a_volume_that_kubernetes_does_not_have_is_left_out(cluster: ApiServer) -> None:
    before = count("failed")
    events = KubernetesEvents(DRIVER, Client(cluster.config), lambda _: None)
    events.start()
    events.tell(HANDLES[0], Notice.HOST_NOT_CONNECTED, "Text.")
    eventually(lambda: count("failed") == before + 1)
    events.close()
    assert cluster.requests == []


def test_more_notices_than_the_queue_has_are_dropped_and_no_one_waits(
    cluster: ApiServer, events: KubernetesEvents
) -> None:
    before = count("dropped")
    for handle in HANDLES:
        events.tell(handle, Notice.HOST_NOT_CONNECTED, "Text.")
    assert count("dropped") == before + 300 - 256
    assert cluster.requests == []


def test_an_unexpected_error_costs_one_event(cluster: ApiServer) -> None:
    put_volume(cluster, HANDLES[1])
    names: dict[str, str] = {str(HANDLES[1]): f"pv-{HANDLES[1]}"}
    events = KubernetesEvents(DRIVER, Client(cluster.config), names.__getitem__, first_pause=0.0)
    events.start()
    events.tell(HANDLES[0], Notice.HOST_NOT_CONNECTED, "First.")
    events.tell(HANDLES[1], Notice.HOST_NOT_CONNECTED, "Second.")
    assert [event["message"] for event in written(cluster, 1)] == ["Second."]
    events.close()


def test_a_long_text_and_a_long_name_fit_into_what_the_api_accepts(
    cluster: ApiServer, events: KubernetesEvents
) -> None:
    claim = {**CLAIM, "name": "d" * 199 + "-" * 3 + "x" * 40}
    spec = {"claimRef": claim}
    cluster.put(VOLUMES, f"pv-{HANDLES[0]}", {"spec": spec, "status": {"phase": "Bound"}})
    events.start()
    events.tell(HANDLES[0], Notice.HOST_NOT_CONNECTED, "ä" * 2000)
    (event,) = written(cluster, 1)
    assert len(event["message"].encode()) <= 1024
    assert len(event["metadata"]["name"]) <= 253
    assert "-." not in event["metadata"]["name"]
