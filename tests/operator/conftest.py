"""A cluster's API server, and a simulated array next to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from csi_powerflex.kube.client import Client
from tests.controller.conftest import array45, authority, make_world
from tests.kube.api_server import ApiServer

__all__ = ["array45", "authority", "make_world"]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[ApiServer]:
    with ApiServer(tmp_path) as server:
        yield server


@pytest.fixture
def client(cluster: ApiServer) -> Iterator[Client]:
    made = Client(cluster.config)
    yield made
    made.close()
