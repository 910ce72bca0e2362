"""A cluster's API server for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from csi_powerflex.kube.client import Client
from tests.kube.api_server import ApiServer


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[ApiServer]:
    with ApiServer(tmp_path) as server:
        yield server


@pytest.fixture
def client(cluster: ApiServer) -> Iterator[Client]:
    made = Client(cluster.config)
    yield made
    made.close()
