"""The node's settings."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from csi_powerflex.call_context import SLOW_CALL_SECONDS
from csi_powerflex.errors import InvalidArgument
from csi_powerflex.observability.endpoint import TlsFiles

MdmGroup = tuple[str, ...]
"""The addresses of the MDMs of one system."""


def mdm_group(text: str) -> MdmGroup:
    """The addresses in ``text``, separated by commas, in the form that drv_cfg prints.

    Raises:
        InvalidArgument: one is not an IP address, or is there twice.
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
    """How to start the SDC where it does not run.

    Attributes:
        mdms: for each system, the addresses of its MDMs.
        systemctl: the name or path of systemctl. Where it is not installed, modprobe loads the kernel module.
        mount_namespace: the file of the host's mount namespace, in which systemctl and modprobe run, for a
            process in a container; None where this process runs in that namespace.
        module: the folder that exists while the kernel module is loaded.
        reach_seconds: how long a new MDM may take until the SDC has reached its system.
        poll_seconds: how often that is checked.
    """

    mdms: tuple[MdmGroup, ...] = ()
    systemctl: str = "systemctl"
    mount_namespace: Path | None = None
    module: Path = Path("/sys/module/scini")
    reach_seconds: float = 15.0
    poll_seconds: float = 0.25


@dataclass(frozen=True, slots=True)
class SdcSettings:
    """How to reach this host's SDC.

    Attributes:
        drv_cfg: the SDC's command-line tool.
        control_device: the character device of its kernel module. Where it is missing, the tool is used.
        by_id: the folder with a link to the device of each volume.
        device_seconds: the longest wait for a volume's device, within the deadline of the call.
        configuration: the file from which the SDC reads its MDMs when it starts.
        on_demand: how to start the SDC where it does not run; None to never start it.
        slow_poll_seconds: how often to check for a link, in case an event is missed.
        first_rescan_seconds: how long to wait before the SDC is asked to rescan. A mapping reaches the host
            without a rescan in one to three seconds.
        lock_seconds: how long a call waits for the rescan of another call.
    """

    drv_cfg: Path = Path("/opt/emc/scaleio/sdc/bin/drv_cfg")
    control_device: Path = Path("/dev/scini")
    by_id: Path = Path("/dev/disk/by-id")
    device_seconds: float = 60.0
    configuration: Path = Path("/etc/emc/scaleio/drv_cfg.txt")
    on_demand: SdcOnDemand | None = None
    slow_poll_seconds: float = 1.0
    first_rescan_seconds: float = 2.0
    lock_seconds: float = 20.0


MAX_IO_QUEUES = 8
"""The most I/O queues of one connection, unless the operator sets another number."""


@dataclass(frozen=True, slots=True)
class NvmeSettings:
    """How this host reaches volumes over NVMe/TCP.

    Attributes:
        systems: the ids of the systems that this host reaches. The array tells a host nothing before the
            first volume is mapped to it, so they cannot be asked for.
        folder: the folder of the files hostnqn and hostid.
        create_host_nqn: whether to create these files if this host has no NQN.
        single_path: whether to serve a kernel without native multipath, with one connection.
        io_queues: the I/O queues of each connection; None for one per CPU, at most ``MAX_IO_QUEUES``.
        load_modules: whether to load the kernel modules if they are missing.
        mount_namespace: the file of the host's mount namespace, in which modprobe runs, for a process in a
            container; None where this process runs in that namespace.
        sysfs: the folder where sysfs is mounted.
        dev: the folder with the files of block devices.
        fabrics: the file through which the kernel makes connections.
        device_seconds: the longest wait for a volume's device, within the deadline of the call.
        poll_seconds: how often to look for the device, in case an event is missed.
        first_rescan_seconds: how long to wait before the kernel is asked to rescan. A mapping reaches the
            host without a rescan in less than a second.
        settle_seconds: after this time, a device that was here before the call is checked a second time. It
            might belong to an earlier mapping that is being removed.
        retry_seconds: the pause before portals are tried again within one call.
        discovery_seconds: how long a discovery service may take to answer.
        upkeep_seconds: how often lost or missing connections are looked for.
    """

    systems: tuple[str, ...] = ()
    folder: Path = Path("/etc/nvme")
    create_host_nqn: bool = False
    single_path: bool = False
    io_queues: int | None = None
    load_modules: bool = False
    mount_namespace: Path | None = None
    sysfs: Path = Path("/sys")
    dev: Path = Path("/dev")
    fabrics: Path = Path("/dev/nvme-fabrics")
    device_seconds: float = 60.0
    poll_seconds: float = 0.1
    first_rescan_seconds: float = 2.0
    settle_seconds: float = 0.2
    retry_seconds: float = 1.0
    discovery_seconds: float = 3.0
    upkeep_seconds: float = 60.0


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
class NodeZone:
    """The zone of this node. Without a name and a file it has none.

    Attributes:
        name: the zone.
        file: a file that holds the zone. It is read at each use. While it holds no zone, the node has no
            topology and cannot register.
    """

    name: str | None = None
    file: Path | None = None


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """What the node needs to serve.

    Attributes:
        endpoint: the CSI socket, such as ``unix:///csi/csi.sock``.
        driver_name: as in the cluster's CSIDriver object.
        mount_roots: folders below which staging and target paths must be, such as the kubelet's.
        limit: how many volumes this node may have.
        zone: in which zone this node is.
        sdc: how to reach this host's SDC.
        nvme: how this host uses NVMe/TCP.
        transport: the name of the transport that this node offers for new volumes; "auto" for every one
            that works.
        metrics_address: HOST:PORT or :PORT to serve metrics and liveness on; None to serve none.
        metrics_tls: the certificate to serve them with; None to serve them over plain HTTP.
        slow_call_seconds: a call that changes nothing is logged at level info from this duration on.
    """

    endpoint: str
    driver_name: str
    mount_roots: tuple[Path, ...] = (Path("/var/lib/kubelet"),)
    limit: VolumeLimit = VolumeLimit()
    zone: NodeZone = NodeZone()
    sdc: SdcSettings = SdcSettings()
    nvme: NvmeSettings = NvmeSettings()
    transport: str = "auto"
    metrics_address: str | None = None
    metrics_tls: TlsFiles | None = None
    slow_call_seconds: float = SLOW_CALL_SECONDS
