"""The process of the node plugin."""

from __future__ import annotations

import pytest

from csi_powerflex.pb import csi_pb2
from tests.node.client import block, filesystem
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


def test_it_ends_with_status_0_and_removes_its_socket(host: LoopHost) -> None:
    with NodeProcess(host) as node:
        assert node.terminate() == 0
    assert not (host.folder / "csi.sock").exists()


def test_the_node_has_the_guid_of_its_sdc_and_the_systems_that_it_reaches(host: LoopHost) -> None:
    other = "0f1e2d3c4b5a6978"
    host.know_systems(SYSTEM, other)
    with NodeProcess(host) as before:
        first = before.kubelet.info()
    with NodeProcess(host) as node:
        info = node.kubelet.stub.NodeGetInfo(csi_pb2.NodeGetInfoRequest())
    assert info == first
    assert info.node_id == f"sdc:{GUID}"
    assert dict(info.accessible_topology.segments) == {
        f"csi.powerflex.dev/{system}{ending}": "true" for system in (SYSTEM, other) for ending in ("", "-sdc")
    }


@pytest.mark.parametrize("kind", ["filesystem", "block"])
def test_pods_can_end_after_a_restart_of_the_plugin(host: LoopHost, kind: str) -> None:
    """In other drivers pods stay in Terminating, because state in memory or private mounts was lost."""
    capability = block() if kind == "block" else filesystem()
    volume = host.volume()
    with NodeProcess(host) as first:
        first.kubelet.stage(volume, capability)
        target = first.kubelet.publish(volume, capability)
        first.kill()
    with NodeProcess(host) as second:
        second.kubelet.unpublish(volume)
        second.kubelet.unstage(volume)
    assert not target.exists()
    assert host.mounts() == []
