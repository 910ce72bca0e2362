"""What the node says if a volume's device does not appear: which connection is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from csi_powerflex.config.node import SdcSettings
from csi_powerflex.errors import Unavailable
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model.publish_context import PublishContext
from csi_powerflex.transport.sdc.transport import Sdc

HANDLE = VolumeHandle("0123456789abcdef", "fedcba9876543210")
TOOL = """#!/bin/sh
echo MDM-ID {system} SDC ID 6b18479c00000003 INSTALLATION ID 68ab55462cbb3ae4 IPs [0]-192.0.2.1
"""


def failure(folder: Path, *, known: str, host_connected: bool = True) -> str:
    """The message of a host whose SDC is configured for the system ``known``."""
    tool = folder / "drv_cfg"
    tool.write_text(TOOL.format(system=known))
    tool.chmod(0o755)
    settings = SdcSettings(
        drv_cfg=tool,
        control_device=folder / "scini",
        by_id=folder,
        device_seconds=0.3,
        slow_poll_seconds=0.05,
    )
    context = PublishContext(HANDLE, "sdc", 1, read_only=False, host_connected=host_connected)
    with pytest.raises(Unavailable) as missing:
        Sdc(settings).attach(context)
    text = str(missing.value)
    assert text.startswith(f"the device of volume {HANDLE} did not appear within ")
    return text


def test_a_host_that_the_array_had_lost_is_told_to_look_at_its_connection(tmp_path: Path) -> None:
    text = failure(tmp_path, known=HANDLE.system_id, host_connected=False)
    assert "The array was not connected to this host when the volume was mapped: check on the host" in text
    assert f"the MDMs of system {HANDLE.system_id} (drv_cfg --query_mdms, TCP port 6611)" in text


def test_a_host_that_knows_the_system_is_told_that_the_connection_may_be_lost(tmp_path: Path) -> None:
    text = failure(tmp_path, known=HANDLE.system_id)
    assert f"The SDC is configured for system {HANDLE.system_id}, but may have lost its connection" in text


def test_a_host_that_does_not_know_the_system_is_told_to_add_it(tmp_path: Path) -> None:
    text = failure(tmp_path, known="f" * 16)
    assert f"is not connected to system {HANDLE.system_id} (it knows: {'f' * 16}): add its MDMs with" in text
