"""Answers that no array should give: they are refused where they come in, and nothing is made of them."""

from __future__ import annotations

import base64
import contextlib
import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from csi_powerflex.pb import csi_pb2
from csi_powerflex.simulator.message import Request, Response
from csi_powerflex.simulator.routes import Route
from tests.controller.driver import refused
from tests.controller.world import World

Change = Callable[[Any], Any]


@contextlib.contextmanager
def changing(world: World) -> Iterator[Callable[[str, Change], None]]:
    """Change what a route answers: ``change(route, function of the decoded answer)``."""
    gateway = world.simulator.gateway
    run, changes, changed_routes = gateway.run, dict[str, Change](), set[str]()

    def answer(route: Route, request: Request) -> Response:
        response = run(route, request)
        if route.name not in changes:
            return response
        changed_routes.add(route.name)
        changed = changes[route.name](json.loads(response.content()))
        content = changed if isinstance(changed, bytes) else json.dumps(changed).encode()
        return Response(response.status, content, response.content_type, response.headers)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(gateway, "run", answer)
        yield changes.__setitem__
    assert changed_routes == changes.keys(), "a change was of an answer that nobody asked for"


@pytest.fixture
def change(array45: World) -> Iterator[Callable[[str, Change], None]]:
    """``changing`` for the one system."""
    with changing(array45) as change:
        yield change


def unreadable(call: Callable[[], object]) -> str:
    text = refused(grpc.StatusCode.UNAVAILABLE, call)
    assert "unexpected" not in text
    return text


@pytest.mark.parametrize("wrong", ["", "../x", "0" * 15, "G" * 16, 7, None])
def test_a_volume_is_not_given_an_id_that_is_none(
    array45: World, change: Callable[[str, Change], None], wrong: object
) -> None:
    change("Volume.create", lambda _: {"id": wrong})
    unreadable(array45.driver.create)
    change("Volume.create", lambda answer: answer)
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
def test_a_number_or_id_that_cannot_be_is_an_answer_that_cannot_be_read(
    array45: World, change: Callable[[str, Change], None], key: str, value: object
) -> None:
    volume = array45.driver.create()
    change("Volume.get", lambda answer: answer | {key: value})
    unreadable(lambda: array45.driver.get(volume.volume_id))


def test_an_answer_that_names_no_snapshot_does_not_pass_for_one(
    array45: World, change: Callable[[str, Change], None]
) -> None:
    volume = array45.driver.create()
    change("System.snapshotVolumes", lambda answer: answer | {"volumeIdList": []})
    unreadable(lambda: array45.driver.snapshot(volume.volume_id))
    change("System.snapshotVolumes", lambda answer: answer)
    assert array45.driver.snapshot(volume.volume_id).source_volume_id == volume.volume_id
    assert len(array45.array.volumes) == 2


def test_an_answer_nested_without_end_is_one_that_cannot_be_read(
    array45: World, change: Callable[[str, Change], None]
) -> None:
    volume = array45.driver.create()
    change("Volume.get", lambda _: b'{"unknown":' + b"[" * 100_000)
    unreadable(lambda: array45.driver.get(volume.volume_id))


def test_an_sdc_with_a_strange_guid_is_nobodys_node_and_keeps_none_from_theirs(
    array45: World, change: Callable[[str, Change], None]
) -> None:
    change("Sdc.list", lambda answer: [answer[0] | {"sdcGuid": "no GUID"}, *answer[1:]])
    volume = array45.driver.create()
    assert array45.driver.publish(volume, array45.node("b"))


def test_a_largest_volume_beyond_all_numbers_is_the_largest_number(
    array45: World, change: Callable[[str, Change], None]
) -> None:
    def huge(answer: Any) -> Any:
        return {
            "systemLimitEntryList": [
                {**each, "maxVal": str(10**30)} for each in answer["systemLimitEntryList"]
            ]
        }

    change("System.querySystemLimits", huge)
    answer = array45.driver.controller.GetCapacity(csi_pb2.GetCapacityRequest(), timeout=30)
    assert 0 < answer.maximum_volume_size.value <= answer.available_capacity


@pytest.mark.parametrize("token", ["two\nlines", "", "ü", " blank"])
def test_a_token_that_cannot_be_sent_is_none_and_is_not_shown(
    array45: World, change: Callable[[str, Change], None], token: str
) -> None:
    change("/rest/auth/login", lambda answer: answer | {"access_token": token})
    text = unreadable(array45.driver.create)
    assert "did not answer with a token" in text
    assert token == "" or token not in text


def test_credentials_that_an_error_of_the_gateway_repeats_are_not_passed_on(
    world: World, json_log: io.StringIO
) -> None:
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
