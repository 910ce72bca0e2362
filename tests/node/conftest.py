from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from csi_powerflex.csi.interceptor import Interceptor
from csi_powerflex.csi.node import Node, NodeOperations
from csi_powerflex.operations.publishing import Publishing
from csi_powerflex.operations.staging import Staging
from csi_powerflex.pb import csi_pb2_grpc
from csi_powerflex.transport.sdc import Sdc
from tests.node.client import Kubelet
from tests.node.loophost import LoopHost
from tests.node.namespaces import own_mounts


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.geteuid() == 0 and Path("/dev/loop-control").exists():
        return
    skip = pytest.mark.skip(reason="needs root and loop devices")
    for item in items:
        if item.get_closest_marker("root"):
            item.add_marker(skip)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[LoopHost]:
    """A host in a mount namespace of its own; its devices are gone afterwards."""
    host = LoopHost(tmp_path / "host")
    try:
        with own_mounts():
            yield host
    finally:
        host.close()


@pytest.fixture
def sdc(host: LoopHost) -> Sdc:
    return Sdc(host.settings())


@pytest.fixture
def node(host: LoopHost, sdc: Sdc, tmp_path: Path) -> Iterator[Kubelet]:
    """The node service behind its real edge, and a kubelet that calls it."""
    operations = NodeOperations(
        transport=sdc,
        staging=Staging(sdc, (host.kubelet,)),
        publishing=Publishing(sdc, (host.kubelet,)),
    )
    pool = ThreadPoolExecutor(8)
    server = grpc.server(pool, interceptors=[Interceptor(slow_places=8)])
    csi_pb2_grpc.add_NodeServicer_to_server(Node("csi.powerflex.dev", operations, max_volumes=0), server)
    endpoint = f"unix:{tmp_path}/csi.sock"
    server.add_insecure_port(endpoint)
    server.start()
    with grpc.insecure_channel(endpoint) as channel:
        yield Kubelet(channel, host.kubelet)
    server.stop(None).wait()
    pool.shutdown()
