from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from csi_powerflex.app.node import service
from csi_powerflex.config.node import NodeSettings, VolumeLimit
from csi_powerflex.csi.interceptor import Interceptor
from csi_powerflex.csi.server import add_servicers
from csi_powerflex.host import run
from csi_powerflex.pb import csi_pb2_grpc
from csi_powerflex.transport.registry import TransportRegistry
from csi_powerflex.transport.sdc.transport import Sdc
from tests.node.client import Kubelet
from tests.node.loophost import LoopHost
from tests.node.namespaces import own_mounts

ReplaceTool = Callable[[str, str], None]


@pytest.fixture
def host(tmp_path: Path) -> Iterator[LoopHost]:
    """A host in its own mount namespace. Its devices are removed afterwards."""
    host = LoopHost(tmp_path / "host")
    try:
        with own_mounts():
            yield host
    finally:
        host.close()


@pytest.fixture
def missing_device(tmp_path: Path) -> Path:
    """The file of a block device that the kernel does not have."""
    path = tmp_path / "missing-device"
    os.mknod(path, stat.S_IFBLK | 0o600, os.makedev(240, 77))
    return path


@pytest.fixture
def sdc(host: LoopHost) -> Sdc:
    return Sdc(host.settings())


@pytest.fixture
def node(host: LoopHost, tmp_path: Path) -> Iterator[Kubelet]:
    """The node service over a real socket, and a kubelet that calls it."""
    endpoint = f"unix:{tmp_path}/csi.sock"
    settings = NodeSettings(
        endpoint=endpoint,
        driver_name="csi.powerflex.dev",
        mount_roots=(host.kubelet,),
        limit=VolumeLimit(number=10, file=host.folder / "max-volumes"),
        sdc=host.settings(),
    )
    pool = ThreadPoolExecutor(8)
    server = grpc.server(pool)
    node = service(settings, TransportRegistry.of(settings))
    add_servicers(
        server,
        Interceptor(slow_slots=8, slow_call_seconds=5.0),
        [lambda grpc_server: csi_pb2_grpc.add_NodeServicer_to_server(node, grpc_server)],
    )
    server.add_insecure_port(endpoint)
    server.start()
    with grpc.insecure_channel(endpoint) as channel:
        yield Kubelet(channel, host.kubelet)
    server.stop(None).wait()
    pool.shutdown()


@pytest.fixture
def replace_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ReplaceTool:
    """Replace one of the host's tools by a shell script. In it ``$real`` is the tool itself."""
    folder = tmp_path / "tools"
    folder.mkdir()
    search_path = f"{folder}:{run.tools.path}"

    def replace(tool: str, script: str) -> None:
        real = shutil.which(tool)
        path = folder / tool
        path.write_text(f"#!/bin/sh\nreal={real}\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setattr(run, "tools", run.Tools(search_path))

    return replace
