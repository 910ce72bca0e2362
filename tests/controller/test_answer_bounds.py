"""Answers without end and compressed answers: they cost little memory, and the error says what they are."""

from __future__ import annotations

import gzip

import pytest

from csi_powerflex.gateway import client
from csi_powerflex.pb import csi_pb2
from csi_powerflex.simulator.message import Response
from tests.controller.changed_answers import ChangeAnswer, unreadable
from tests.controller.world import World


def test_an_answer_that_is_too_long_is_not_read_to_its_end(
    array45: World, change_answer: ChangeAnswer
) -> None:
    change_answer("StoragePool.list", lambda _: b" " * (8 * 2**20))
    with pytest.MonkeyPatch.context() as patch:
        # A test needs no 256 MiB to see that the limit counts.
        patch.setattr(client, "_LONGEST_LIST", 4 * 2**20)
        assert "the answer is longer than 4 MiB" in unreadable(array45.driver.create)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br"])
def test_a_compressed_answer_is_refused_and_not_unpacked(
    array45: World, change_answer: ChangeAnswer, encoding: str
) -> None:
    bomb = Response(200, gzip.compress(bytes(50 * 2**20)), headers={"Content-Encoding": encoding})
    change_answer("StoragePool.list", lambda _: bomb)
    text = unreadable(array45.driver.create)
    assert f"the answer is compressed with '{encoding}', which was not asked for" in text


def test_the_driver_asks_for_answers_that_are_not_compressed(array45: World) -> None:
    seen: set[str] = set()
    handle = array45.simulator.gateway.run

    def record(route: object, request: object) -> Response:
        seen.add(request.headers.get("accept-encoding", ""))  # type: ignore[attr-defined]  # as the gateway has it
        return handle(route, request)  # type: ignore[arg-type]  # passed on

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(array45.simulator.gateway, "run", record)
        array45.driver.controller.ListVolumes(csi_pb2.ListVolumesRequest(), timeout=10)
    assert seen == {"identity"}
