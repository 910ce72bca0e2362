"""Answers that no array should give: the driver refuses them when it decodes them."""

from __future__ import annotations

import base64
import contextlib
import io
import json
from typing import Any

import pytest

from csi_powerflex.pb import csi_pb2
from csi_powerflex.simulator.message import Request, Response
from csi_powerflex.simulator.routes import Route
from tests.controller.changed_answers import ChangeAnswer, unreadable
from tests.controller.world import World


@pytest.mark.parametrize("wrong", ["", "../x", "0" * 15, "G" * 16, 7, None])
def test_an_invalid_volume_id_is_refused(array45: World, change_answer: ChangeAnswer, wrong: object) -> None:
    change_answer("Volume.create", lambda _: {"id": wrong})
    unreadable(array45.driver.create)
    change_answer("Volume.create", lambda answer: answer)
    assert array45.driver.create().volume_id.partition("-")[2] in array45.array.volumes
    assert len(array45.array.volumes) == 1


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("sizeInKb", -8),
        ("sizeInKb", 2**62),
        ("creationTime", 10**15),
        ("creationTime", -1),
        ("secureSnapshotExpTime", 10**15),
        ("ancestorVolumeId", "x"),
        ("consistencyGroupId", ""),
    ],
)
def test_an_impossible_number_or_id_is_refused(
    array45: World, change_answer: ChangeAnswer, key: str, value: object
) -> None:
    volume = array45.driver.create()
    change_answer("Volume.get", lambda answer: answer | {key: value})
    unreadable(lambda: array45.driver.get(volume.volume_id))


def test_an_answer_without_a_snapshot_is_refused(array45: World, change_answer: ChangeAnswer) -> None:
    volume = array45.driver.create()
    change_answer("System.snapshotVolumes", lambda answer: answer | {"volumeIdList": []})
    unreadable(lambda: array45.driver.snapshot(volume.volume_id))
    change_answer("System.snapshotVolumes", lambda answer: answer)
    assert array45.driver.snapshot(volume.volume_id).source_volume_id == volume.volume_id
    assert len(array45.array.volumes) == 2


def test_an_endlessly_nested_answer_is_refused(array45: World, change_answer: ChangeAnswer) -> None:
    volume = array45.driver.create()
    change_answer("Volume.get", lambda _: b'{"unknown":' + b"[" * 100_000)
    unreadable(lambda: array45.driver.get(volume.volume_id))


def test_an_sdc_with_an_invalid_guid_does_not_affect_other_nodes(
    array45: World, change_answer: ChangeAnswer
) -> None:
    change_answer("Sdc.list", lambda answer: [answer[0] | {"sdcGuid": "no GUID"}, *answer[1:]])
    volume = array45.driver.create()
    assert array45.driver.publish(volume, array45.node("b"))


def test_a_maximum_volume_size_above_64_bits_becomes_the_largest_number(
    array45: World, change_answer: ChangeAnswer
) -> None:
    def huge(answer: Any) -> Any:
        return {
            "systemLimitEntryList": [
                {**each, "maxVal": str(10**30)} for each in answer["systemLimitEntryList"]
            ]
        }

    change_answer("System.querySystemLimits", huge)
    answer = array45.driver.controller.GetCapacity(csi_pb2.GetCapacityRequest(), timeout=30)
    assert 0 < answer.maximum_volume_size.value <= answer.available_capacity


@pytest.mark.parametrize("token", ["two\nlines", "line-feed\n", "", "ü", " blank"])
def test_a_token_that_cannot_be_sent_is_refused_and_not_shown(
    array45: World, change_answer: ChangeAnswer, token: str
) -> None:
    change_answer("/rest/auth/login", lambda answer: answer | {"access_token": token})
    text = unreadable(array45.driver.create)
    assert "did not answer the login with a token" in text
    assert token == "" or token not in text


def test_credentials_in_an_error_of_the_gateway_are_masked(world: World, json_log: io.StringIO) -> None:
    run = world.simulator.gateway.run
    sent: list[str] = []

    def repeat(route: Route, request: Request) -> Response:
        if route.name != "Volume.create":
            return run(route, request)
        carried = request.headers["authorization"].partition(" ")[2]
        password = world.systems[0].read_password().reveal()
        sent[:] = [carried, password]
        with contextlib.suppress(ValueError):
            sent.append(base64.b64decode(carried, validate=True).decode().partition(":")[2])
        return Response(500, json.dumps({"message": f"who is {sent}?", "httpStatusCode": 500}).encode())

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(world.simulator.gateway, "run", repeat)
        text = unreadable(world.driver.create)
    assert "who is" in text
    assert "***" in text
    assert len(sent) >= 2
    for secret in sent:
        assert secret not in text
        assert secret not in json_log.getvalue()
