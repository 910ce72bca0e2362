"""The node plugin as the process that a cluster runs."""

from __future__ import annotations

import pytest

from csi_powerflex.pb import csi_pb2
from tests.node.loophost import GUID, SYSTEM, LoopHost
from tests.node.process import NodeProcess

pytestmark = pytest.mark.needs("devices")


def test_a_restart_unmounts_nothing_and_the_next_calls_do_nothing(host: LoopHost) -> None:
    volume = host.volume()
    with NodeProcess(host) as first:
        first.kubelet.stage(volume)
        target = first.kubelet.publish(volume)
        with (target / "file").open("w") as in_use:
            in_use.write("before")
            first.kill()
            before = host.mounts()
            with NodeProcess(host) as second:
                second.kubelet.stage(volume)
                second.kubelet.publish(volume)
                assert host.mounts() == before
            in_use.write(", after")
        assert (target / "file").read_text() == "before, after"


def test_it_ends_in_order_and_takes_its_socket_away(host: LoopHost) -> None:
    with NodeProcess(host) as node:
        assert node.terminate() == 0
    assert not (host.folder / "csi.sock").exists()


def test_the_node_is_known_by_its_sdc_and_by_the_systems_it_reaches(host: LoopHost) -> None:
    other = "0f1e2d3c4b5a6978"
    host.know_systems(SYSTEM, other)
    with NodeProcess(host) as before:
        first = before.kubelet.info()
    with NodeProcess(host) as node:
        info = node.kubelet.stub.NodeGetInfo(csi_pb2.NodeGetInfoRequest())
    assert info == first
    assert info.node_id == f"sdc:{GUID}"
    assert dict(info.accessible_topology.segments) == {
        f"csi.powerflex.dev/{SYSTEM}": "true",
        f"csi.powerflex.dev/{other}": "true",
    }
