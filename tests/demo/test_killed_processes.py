"""Kill -9 of the process that took a step, between any two steps of a volume's life."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from csi_powerflex.demo import environment
from csi_powerflex.demo.environment import Environment
from csi_powerflex.demo.scenario import Scenario


@pytest.fixture
def stage() -> Iterator[Environment]:
    """A running scene."""
    with environment.opened(devices=True) as running:
        yield running


@pytest.mark.needs("devices")
def test_whoever_is_killed_after_a_step_comes_to_the_same_end_when_it_is_repeated(stage: Environment) -> None:
    restart = {stage.client: stage.start_controller} | {
        node.client: node.start for node in stage.nodes.values()
    }
    process = {stage.client: stage.controller} | {node.client: node.process for node in stage.nodes.values()}
    taken = []
    for step in Scenario(stage, filesystem="ext4", mebibytes=1).steps():
        first = step.run()
        if step.client is not None:
            process[step.client].kill()
            restart[step.client]()
            assert step.run() == first, step.title
        taken.append(step.rpc)
    assert taken.count("ControllerPublishVolume") == 3
    assert taken.count("NodeStageVolume") == 2
    assert "DeleteVolume" in taken
