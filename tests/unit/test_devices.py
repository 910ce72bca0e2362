"""Looking up the devices of volumes on a node."""

import pytest

from csi_powerflex.errors import Unavailable
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.operations.node.device import Devices
from csi_powerflex.transport.registry import TransportRegistry

HANDLE = VolumeHandle("5a1b2c3d4e5f600f", "b1f0c2d400000001")


def test_a_device_that_is_lost_before_it_has_its_size_is_unavailable() -> None:
    devices = Devices(TransportRegistry([]))
    with pytest.raises(Unavailable, match="this host has no device for volume"):
        devices.wait_for_size(HANDLE, 1)
