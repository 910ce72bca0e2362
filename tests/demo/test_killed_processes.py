"""The demo's scenario, where each driver process is killed after each of its steps."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from csi_powerflex.demo import environment
from csi_powerflex.demo.environment import Environment
from csi_powerflex.demo.scenario import Scenario


@pytest.fixture
def running_environment() -> Iterator[Environment]:
    """A running environment with devices."""
    with environment.opened(devices=True) as running:
        yield running


@pytest.mark.needs("devices")
def test_a_step_repeated_after_a_kill_gives_the_same_result(running_environment: Environment) -> None:
    nodes = running_environment.nodes.values()
    restart = {running_environment.client: running_environment.start_controller}
    restart |= {node.client: node.start for node in nodes}
    process = {running_environment.client: running_environment.controller}
    process |= {node.client: node.process for node in nodes}
    rpcs = []
    for step in Scenario(running_environment, filesystem="ext4", mebibytes=1).steps():
        first = step.run()
        if step.client is not None:
            process[step.client].kill()
            restart[step.client]()
            assert step.run() == first, step.title
        rpcs.append(step.rpc)
    assert rpcs.count("ControllerPublishVolume") == 3
    assert rpcs.count("NodeStageVolume") == 2
    assert "DeleteVolume" in rpcs
