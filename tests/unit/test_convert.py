"""Requests of the protocol as the model's objects."""

import pytest

from csi_powerflex.csi.convert import controller as convert
from csi_powerflex.csi.convert.capability import capabilities, capability
from csi_powerflex.errors import InvalidArgument
from csi_powerflex.model.array import Provisioning
from csi_powerflex.model.capability import AccessMode, Capability, Filesystem, RawBlock
from csi_powerflex.model.parameters import MutableParameters
from csi_powerflex.pb import csi_pb2

MODES = csi_pb2.VolumeCapability.AccessMode


def capability_message(mode: int = MODES.SINGLE_NODE_WRITER) -> csi_pb2.VolumeCapability:
    message = csi_pb2.VolumeCapability(
        mount=csi_pb2.VolumeCapability.MountVolume(fs_type="xfs", mount_flags=["noatime", "discard"])
    )
    message.access_mode.mode = mode  # type: ignore[assignment]  # numbers that the protocol lacks too
    return message


def test_a_mount_capability_is_converted() -> None:
    assert capability(capability_message()) == Capability(
        Filesystem("xfs", ("noatime", "discard")), AccessMode.SINGLE_NODE_WRITER
    )


def test_without_a_type_the_filesystem_is_ext4() -> None:
    message = capability_message()
    message.mount.Clear()
    message.mount.SetInParent()
    assert capability(message).use == Filesystem("ext4")


@pytest.mark.parametrize("mode", AccessMode)
def test_every_access_mode_is_converted(mode: AccessMode) -> None:
    message = capability_message(MODES.Mode.Value(mode.name))
    message.block.SetInParent()
    assert capability(message) == Capability(RawBlock(), mode)


def test_a_capability_without_access_type_is_refused() -> None:
    message = csi_pb2.VolumeCapability(access_mode=MODES(mode=MODES.SINGLE_NODE_WRITER))
    with pytest.raises(InvalidArgument, match="must say block or mount"):
        capability(message)


def test_a_capability_without_access_mode_is_refused() -> None:
    message = csi_pb2.VolumeCapability(block=csi_pb2.VolumeCapability.BlockVolume())
    with pytest.raises(InvalidArgument, match="must name an access mode"):
        capability(message)
    with pytest.raises(InvalidArgument, match="must name an access mode"):
        capability(capability_message(MODES.UNKNOWN))


def test_an_access_mode_of_a_later_protocol_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="access mode 99 is not known"):
        capability(capability_message(99))


def test_one_capability_that_cannot_be_read_refuses_all() -> None:
    with pytest.raises(InvalidArgument, match="must say block or mount"):
        capabilities([capability_message(), csi_pb2.VolumeCapability()])


def create_request() -> csi_pb2.CreateVolumeRequest:
    return csi_pb2.CreateVolumeRequest(
        name="pvc-1",
        capacity_range=csi_pb2.CapacityRange(required_bytes=5, limit_bytes=9),
        volume_capabilities=[capability_message()],
        parameters={"provisioning": "thick", "csi.storage.k8s.io/pvc/name": "x"},
    )


def test_a_volume_request_is_converted() -> None:
    request = convert.volume_request(create_request(), MutableParameters())
    assert (request.name, request.required, request.limit) == ("pvc-1", 5, 9)
    assert request.capabilities == (capability(capability_message()),)
    assert request.parameters.provisioning is Provisioning.THICK


def test_a_volume_request_without_range_leaves_the_size_open() -> None:
    message = create_request()
    message.ClearField("capacity_range")
    request = convert.volume_request(message, MutableParameters())
    assert (request.required, request.limit) == (0, 0)
