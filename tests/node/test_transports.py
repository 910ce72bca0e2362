"""Volumes that were published over another transport."""

from __future__ import annotations

import grpc
import pytest

from csi_powerflex.host import mountinfo
from csi_powerflex.model.publish_context import PublishContext
from csi_powerflex.pb import csi_pb2
from tests.node.client import Kubelet, block, filesystem, refused
from tests.node.loophost import LoopHost, Volume

pytestmark = pytest.mark.needs("devices")


def foreign(volume: Volume) -> dict[str, str]:
    """The publish context of a newer version for a volume with another transport."""
    context = PublishContext(volume.handle, "fc", volume.size, read_only=False, details={"wwpn": "50:06:01"})
    return context.to_dict()


def test_a_volume_with_an_unsupported_transport_is_not_staged(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    request = csi_pb2.NodeStageVolumeRequest(
        volume_id=str(volume.handle),
        publish_context=foreign(volume),
        staging_target_path=str(node.staging(volume)),
        volume_capability=filesystem(),
        volume_context={"origin": "empty"},
    )
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "over transport 'fc'", "this node has: sdc, nvme"):
        node.stub.NodeStageVolume(request, timeout=node.timeout)
    assert mountinfo.of_device(volume.path) == ()


@pytest.mark.parametrize("capability", [filesystem(), block()], ids=["filesystem", "block"])
def test_a_volume_with_an_unsupported_transport_is_not_published(
    host: LoopHost, node: Kubelet, capability: csi_pb2.VolumeCapability
) -> None:
    volume = host.volume()
    request = csi_pb2.NodePublishVolumeRequest(
        volume_id=str(volume.handle),
        publish_context=foreign(volume),
        staging_target_path=str(node.staging(volume)),
        target_path=str(node.target(volume)),
        volume_capability=capability,
        volume_context={"origin": "empty"},
    )
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "over transport 'fc'"):
        node.stub.NodePublishVolume(request, timeout=node.timeout)
    assert mountinfo.of_device(volume.path) == ()
