"""NodeGetInfo and NodeGetCapabilities."""

from __future__ import annotations

import grpc
import pytest

from csi_powerflex.csi.node import CAPABILITIES
from csi_powerflex.host import blockdev
from csi_powerflex.pb import csi_pb2
from tests.node.client import Kubelet, refused
from tests.node.disk_content import mbr
from tests.node.loophost import GUID, SYSTEM, LoopHost, command

pytestmark = pytest.mark.needs("devices")


def test_the_node_reports_its_guid_and_the_systems_that_it_reaches(host: LoopHost, node: Kubelet) -> None:
    info = node.info()
    assert info.node_id == f"sdc:{GUID}"
    key = f"csi.powerflex.dev/{SYSTEM}"
    assert dict(info.accessible_topology.segments) == {key: "true", f"{key}-sdc": "true"}
    assert info == node.info()


def test_each_node_can_have_its_own_limit_of_volumes(host: LoopHost, node: Kubelet) -> None:
    assert node.info().max_volumes_per_node == 10
    (host.folder / "max-volumes").write_text("25\n")
    assert node.info().max_volumes_per_node == 25
    for text in ("many", "9" * 30, "0" * 5000):
        (host.folder / "max-volumes").write_text(text)
        with refused(grpc.StatusCode.FAILED_PRECONDITION, "max-volumes", text[:40]):
            node.info()


def test_without_a_configured_limit_the_limit_of_the_array_is_reported(host: LoopHost, node: Kubelet) -> None:
    """It is 8,192 volumes for each host. The scheduler understands 0 as no limit."""
    limit = host.folder / "max-volumes"
    for configured in ("0", "9000"):
        limit.write_text(configured)
        assert node.info().max_volumes_per_node == 8192


def test_volumes_that_the_host_itself_uses_reduce_the_limit(host: LoopHost, node: Kubelet) -> None:
    staged, mounted = host.volume(), host.volume()
    node.stage(staged)
    command("mkfs.ext4", "-q", "-E", "nodiscard", mounted.path)
    command("mount", mounted.path, "/mnt")
    assert node.info().max_volumes_per_node == 9
    (host.folder / "max-volumes").write_text("1")
    assert node.info().max_volumes_per_node == 1  # 0 would mean no limit
    command("umount", "/mnt")
    assert node.info().max_volumes_per_node == 1


def test_a_partition_that_the_host_uses_reduces_the_limit(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    part = host.folder / "part1"
    volume.write(0, mbr())
    command("partx", "--add", volume.path)
    try:
        (number,) = blockdev.numbers(volume.path)[1:]
        command("mknod", part, "b", *number.split(":"))
        command("mkfs.ext4", "-q", "-E", "nodiscard", part)
        assert node.info().max_volumes_per_node == 10
        command("mount", part, "/mnt")
        assert node.info().max_volumes_per_node == 9
        command("umount", "/mnt")
    finally:
        command("partx", "--delete", volume.path)


def test_the_capabilities_are_those_of_the_driver(node: Kubelet) -> None:
    answer = node.stub.NodeGetCapabilities(csi_pb2.NodeGetCapabilitiesRequest())
    assert {capability.rpc.type for capability in answer.capabilities} == set(CAPABILITIES)
