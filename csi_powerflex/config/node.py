"""The node's settings."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from csi_powerflex.errors import InvalidArgument

MdmGroup = tuple[str, ...]
"""The addresses of the MDMs of one system."""


def mdm_group(text: str) -> MdmGroup:
    """The addresses in ``text``, which commas separate, as drv_cfg spells them.

    Raises:
        InvalidArgument: one is no IP address, or comes twice.
    """
    try:
        group = tuple(str(ipaddress.ip_address(part.strip())) for part in text.split(","))
    except ValueError as error:
        raise InvalidArgument(
            f"{text!r} must be the IP addresses of one system's MDMs, separated by commas: {error}"
        ) from error
    if len(set(group)) < len(group):
        raise InvalidArgument(f"{text!r} names an MDM twice")
    return group


@dataclass(frozen=True, slots=True)
class SdcOnDemand:
    """How to bring the SDC up where it does not run.

    Attributes:
        mdms: for each system the addresses of its MDMs.
        systemctl: the name or path of systemctl; where there is none, modprobe loads the kernel module.
        mount_namespace: the host's mount namespace, in which both run, for a process in a container; None
            where this process runs in it.
    """

    mdms: tuple[MdmGroup, ...] = ()
    systemctl: str = "systemctl"
    mount_namespace: Path | None = None


@dataclass(frozen=True, slots=True)
class SdcSettings:
    """Where this host's SDC is met.

    Attributes:
        drv_cfg: the SDC's command-line tool.
        control_device: the character device of its kernel module; where it is missing, the tool is asked.
        by_id: the folder in which a link for each volume's device appears.
        device_seconds: how long to wait for a volume's device, within the deadline of the call.
        configuration: the file from which the SDC takes its MDMs when it starts.
        on_demand: how to bring it up where it does not run; None to leave that to others.
    """

    drv_cfg: Path = Path("/opt/emc/scaleio/sdc/bin/drv_cfg")
    control_device: Path = Path("/dev/scini")
    by_id: Path = Path("/dev/disk/by-id")
    device_seconds: float = 60.0
    configuration: Path = Path("/etc/emc/scaleio/drv_cfg.txt")
    on_demand: SdcOnDemand | None = None


@dataclass(frozen=True, slots=True)
class VolumeLimit:
    """How many volumes this node may have.

    Attributes:
        number: the limit; 0 for the limit of the transport.
        file: a file that holds the limit of this node. It is read at each use. While it is missing or empty,
            ``number`` is the limit.
    """

    number: int = 0
    file: Path | None = None


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """What the node plugin needs to serve.

    Attributes:
        endpoint: the CSI socket, such as ``unix:///csi/csi.sock``.
        driver_name: as in the cluster's CSIDriver object.
        mount_roots: folders below which staging and target paths must lie; the kubelet's, as a rule.
        limit: how many volumes this node may have.
        sdc: this host's SDC.
        metrics_address: HOST:PORT or :PORT to serve metrics and liveness on; None not to.
    """

    endpoint: str
    driver_name: str
    mount_roots: tuple[Path, ...] = (Path("/var/lib/kubelet"),)
    limit: VolumeLimit = VolumeLimit()
    sdc: SdcSettings = SdcSettings()
    metrics_address: str | None = None
