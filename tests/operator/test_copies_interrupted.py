"""VolumeCopy: the operator is killed, objects are deleted in each stage, and a second operator is late."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from csi_powerflex.app import operator
from csi_powerflex.config.operator import OperatorSettings
from csi_powerflex.kube.client import Client
from csi_powerflex.kube.http import Http
from csi_powerflex.operator.happenings import Happenings
from csi_powerflex.operator.rounds import Rounds
from tests.controller.ended import Life
from tests.figures import Figures
from tests.kube.api_server import ApiServer
from tests.operator.copies_world import KEY, CopiesWorld
from tests.operator.interruptions import each_position, killed_everywhere
from tests.operator.movers_world import CLAIMS, DRIVER

pytestmark = pytest.mark.usefixtures("untouched_logging")

STAGES = ("Waiting", "Securing", "Copying", "Closing", "Binding")


@pytest.fixture
def world(cluster: ApiServer, client: Client, monkeypatch: pytest.MonkeyPatch) -> CopiesWorld:
    return CopiesWorld(cluster, client, monkeypatch)


def end(world: CopiesWorld) -> None:
    """Lead it to the end, remove what users have made, and look that nothing is left."""
    world.drive(KEY)
    world.settle()
    if world.named(CLAIMS, "mine") is not None:
        world.cluster.delete(CLAIMS, "mine")
    if world.exists(KEY):
        world.drive(KEY)
    world.settle()
    world.require_nothing_left()


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    ("mode", "source"), [("Filesystem", "claim"), ("Block", "claim"), ("Filesystem", "snapshot")]
)
def test_an_operator_that_is_killed_at_any_request_is_followed_by_another(
    world: CopiesWorld, mode: str, source: str, after: bool, monkeypatch: pytest.MonkeyPatch, figures: Figures
) -> None:
    life = Life(monkeypatch)
    world.copy(**({"claim": "data"} if source == "claim" else {"snapshot": "nightly"}))
    world.want(volumeMode=mode)

    def require() -> None:
        assert world.waiting() == [], world.status(KEY)
        world.require_delivered(word="hello" if source == "claim" else "night")
        assert world.finalizers(KEY) == []

    killed = killed_everywhere(world, KEY, life, after=after, require=require)
    figures.add("rounds of the operator killed, and repeated", killed)
    assert killed > 60


@pytest.mark.parametrize("deleted", ["claim", "copy", "both"])
@pytest.mark.parametrize(
    ("mode", "stage"),
    [("Block", "Closing"), ("Block", "Binding"), *(("Filesystem", stage) for stage in STAGES)],
)
def test_a_deletion_in_any_stage_leaves_nothing(
    world: CopiesWorld, stage: str, mode: str, deleted: str
) -> None:
    for rounds in (0, 1, 3) if stage == "Closing" else (0, 1):
        world.copy()
        world.want(volumeMode=mode)
        world.drive_to_stage(stage)
        world.rounds_of(rounds)
        if deleted != "copy":
            world.cluster.delete(CLAIMS, "mine")
        if deleted != "claim":
            world.delete(KEY)
        world.drive(KEY)
        world.settle()
        claim = world.named(CLAIMS, "mine")
        if claim is not None and claim["spec"].get("volumeName"):
            world.require_delivered()
        else:
            assert world.volumes() == {world.source}
        assert world.exists(KEY) == (deleted == "claim")
        end(world)
        if world.exists(KEY):
            world.delete(KEY)


class Pausing:
    """A client whose request of a number waits until something else is done."""

    def __init__(self, client: Client, position: int, meanwhile: Any) -> None:
        self._http, self._left, self._meanwhile = client._http, position, meanwhile
        client._http = self  # type: ignore[assignment]
        self.paused = False

    def request(self, *given: Any, **more: Any) -> Any:
        if self._left == 0:
            self.paused = True
            self._meanwhile()
        self._left -= 1
        return self._http.request(*given, **more)


@pytest.mark.parametrize(
    ("mode", "stage"),
    [
        ("Filesystem", "Securing"),
        ("Filesystem", "Copying"),
        ("Filesystem", "Closing"),
        ("Block", "Closing"),
        ("Block", "Binding"),
    ],
)
def test_a_second_operator_that_is_late_changes_nothing(
    cluster: ApiServer, world: CopiesWorld, mode: str, stage: str
) -> None:
    """A second process stops before one of its requests, and goes on after the first has ended its work."""
    world.copy()

    def ended_by_the_first() -> None:
        world.drive(KEY)
        world.settle()
        world.require_delivered()

    def step(position: int) -> bool:
        world.want(volumeMode=mode)
        world.drive_to_stage(stage)
        late = Client(cluster.config)
        pausing = Pausing(late, position, ended_by_the_first)
        settings = OperatorSettings(DRIVER, "test", Path("/nonexistent"))
        Rounds(late, operator.works(late, settings), Happenings(late, world.clock)).lead(KEY)
        world.drive(KEY)
        world.settle()
        world.require_delivered()
        end(world)
        Http.close(pausing._http)
        return pausing.paused

    each_position(step, least=3)
