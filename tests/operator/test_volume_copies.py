"""VolumeCopy: claims get a full copy, also if the operator is killed or something is deleted meanwhile."""

from __future__ import annotations

from typing import Any

import pytest

from csi_powerflex.kube.client import Client
from tests.kube.api_server import ApiServer
from tests.operator.copies_world import KEY, CopiesWorld

pytestmark = pytest.mark.usefixtures("untouched_logging")


@pytest.fixture
def world(cluster: ApiServer, client: Client, monkeypatch: pytest.MonkeyPatch) -> CopiesWorld:
    return CopiesWorld(cluster, client, monkeypatch)


@pytest.mark.parametrize("mode", ["Filesystem", "Block"])
def test_a_claim_gets_a_full_copy_and_nothing_else_is_left(world: CopiesWorld, mode: str) -> None:
    world.copy()
    world.want(volumeMode=mode)
    world.drive(KEY)
    world.settle()
    world.require_delivered()
