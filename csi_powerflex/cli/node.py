"""``csi-powerflex node``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from csi_powerflex import ids
from csi_powerflex.app import node
from csi_powerflex.cli import options, settings
from csi_powerflex.config.node import (
    NodeSettings,
    NodeZone,
    NvmeSettings,
    SdcOnDemand,
    SdcSettings,
    VolumeLimit,
    mdm_group,
)
from csi_powerflex.model.transport import AUTO, TRANSPORTS
from csi_powerflex.observability import log

_SDC = SdcSettings()
_ON_DEMAND = SdcOnDemand()
_NVME = NvmeSettings()
_PATH = click.Path(path_type=Path)


def _zone(context: click.Context, option: click.Parameter, value: Any) -> Any:
    """Refuse a zone that cannot be one, and an empty variable, which click takes for a missing one."""
    variable = f"{context.auto_envvar_prefix}_{str(option.name).upper()}"
    if value is None and os.environ.get(variable) == "":
        raise click.BadParameter(f"{variable} is empty; give it a value or remove it")
    if isinstance(value, str) and not ids.is_zone(value):
        raise click.BadParameter(f"{value!r} is not usable; give {ids.ZONE_RULE}")
    return value


def _system_ids(_context: click.Context, _option: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    for system_id in value:
        if not ids.is_object_id(system_id):
            raise click.BadParameter(
                f"{system_id!r} is not the id of a system; give its 16 hexadecimal digits in lower case"
            )
    return value


role_options = options.together(
    click.option(
        "--kubelet-dir",
        type=_PATH,
        default=Path("/var/lib/kubelet"),
        show_default=True,
        help="The kubelet's folder. Volumes are mounted only below it.",
    ),
    click.option(
        "--mount-root",
        "mount_roots",
        multiple=True,
        type=_PATH,
        help="Another folder below which volumes may be mounted. Can be given several times.",
    ),
    click.option(
        "--max-volumes",
        type=click.IntRange(0, 999_999_999),
        default=0,
        show_default=True,
        help="How many volumes this node may have, including those that the host itself uses; "
        "0 for the limit of PowerFlex.",
    ),
    click.option(
        "--max-volumes-file",
        type=_PATH,
        help="File that holds the number for this node instead, such as one made from a label of the node. "
        "It is read at each NodeGetInfo.",
    ),
    click.option(
        "--zone",
        callback=_zone,
        metavar="NAME",
        help="Zone of this node, as in the zones of the systems file.",
    ),
    click.option(
        "--zone-file",
        type=_PATH,
        callback=_zone,
        help="File that holds the zone of this node instead, such as one made from a label of the node. "
        "It is read at each NodeGetInfo. Without a zone in it, the node does not register.",
    ),
    click.option(
        "--transport",
        type=click.Choice([AUTO, *TRANSPORTS]),
        default=AUTO,
        show_default=True,
        help="How this node reaches volumes; auto for every way that works here. Volumes that are here by "
        "another way stay usable.",
    ),
    click.option(
        "--drv-cfg", type=_PATH, default=_SDC.drv_cfg, show_default=True, help="The SDC's command-line tool."
    ),
    click.option(
        "--scini-device",
        type=_PATH,
        default=_SDC.control_device,
        show_default=True,
        help="Control device of the SDC's kernel module. Where it is missing, the tool is used.",
    ),
    click.option(
        "--by-id-dir",
        type=_PATH,
        default=_SDC.by_id,
        show_default=True,
        help="Folder with a link to the device of each volume.",
    ),
    click.option(
        "--device-timeout",
        type=click.FloatRange(min=1),
        default=_SDC.device_seconds,
        show_default=True,
        metavar="SECONDS",
        help="Longest wait for a volume's device, within the deadline of the call.",
    ),
    click.option(
        "--sdc-on-demand",
        is_flag=True,
        help="Start the SDC where it does not run, and add the MDMs of --sdc-mdm that it does not know. "
        "The driver never stops or restarts it, and does not start it while the host has volumes.",
    ),
    click.option(
        "--sdc-mdm",
        "sdc_mdms",
        multiple=True,
        metavar="ADDRESS[,ADDRESS...]",
        help="With --sdc-on-demand: the IP addresses of one system's MDMs. Give it once for each system.",
    ),
    click.option(
        "--systemctl",
        default=_ON_DEMAND.systemctl,
        show_default=True,
        metavar="TOOL",
        help="With --sdc-on-demand: name or path of systemctl, which starts scini. "
        "Where it is not installed, modprobe loads the kernel module.",
    ),
    click.option(
        "--host-mount-namespace",
        type=_PATH,
        metavar="FILE",
        help="With --sdc-on-demand or --nvme-load-modules, in a container: the mount namespace in which "
        "systemctl and modprobe run. "
        "It is /proc/1/ns/mnt where the container shares the host's process ids.",
    ),
    click.option(
        "--drv-cfg-file",
        type=_PATH,
        default=_SDC.configuration,
        show_default=True,
        help="With --sdc-on-demand: the file from which the SDC reads its MDMs when it starts.",
    ),
    click.option(
        "--nvme-system",
        "nvme_systems",
        multiple=True,
        callback=_system_ids,
        metavar="ID",
        help="The id of a system that this host reaches over NVMe/TCP. Give it once for each system. Without "
        "one, this node does not offer NVMe/TCP.",
    ),
    click.option(
        "--nvme-folder",
        type=_PATH,
        default=_NVME.folder,
        show_default=True,
        help="Folder of the files hostnqn and hostid, the identity of this host for NVMe.",
    ),
    click.option(
        "--nvme-create-hostnqn",
        is_flag=True,
        help="Create these files from the UUID of the machine if this host has no NQN.",
    ),
    click.option(
        "--nvme-single-path",
        is_flag=True,
        help="Use NVMe/TCP on a kernel without native multipath, with one connection to each system. If its "
        "portal fails, the volumes wait until it is back.",
    ),
    click.option(
        "--nvme-io-queues",
        type=click.IntRange(1, 128),
        metavar="NUMBER",
        help="I/O queues of each NVMe/TCP connection. The default is one per CPU, at most 8. With many "
        "portals, the driver takes fewer.",
    ),
    click.option(
        "--nvme-load-modules",
        is_flag=True,
        help="Load the kernel module nvme-tcp if it is missing.",
    ),
)
"""The options of the node only."""


def settings_from(
    *,
    endpoint: str,
    driver_name: str,
    metrics_address: str | None,
    slow_call_seconds: float,
    kubelet_dir: Path,
    mount_roots: tuple[Path, ...],
    max_volumes: int,
    max_volumes_file: Path | None,
    zone: str | None,
    zone_file: Path | None,
    drv_cfg: Path,
    scini_device: Path,
    by_id_dir: Path,
    device_timeout: float,
    sdc_on_demand: bool,
    sdc_mdms: tuple[str, ...],
    systemctl: str,
    host_mount_namespace: Path | None,
    drv_cfg_file: Path,
    transport: str,
    nvme_systems: tuple[str, ...],
    nvme_folder: Path,
    nvme_create_hostnqn: bool,
    nvme_single_path: bool,
    nvme_io_queues: int | None,
    nvme_load_modules: bool,
    **_others: object,
) -> NodeSettings:
    """The node's settings from the options. Options of other roles are ignored."""
    if zone is not None and zone_file is not None:
        raise click.UsageError("--zone and --zone-file are both given; give one of them")
    if sdc_mdms and not sdc_on_demand:
        raise click.UsageError("--sdc-mdm needs --sdc-on-demand")
    on_demand = SdcOnDemand(
        mdms=tuple(map(mdm_group, sdc_mdms)), systemctl=systemctl, mount_namespace=host_mount_namespace
    )
    return NodeSettings(
        endpoint=endpoint,
        driver_name=driver_name,
        mount_roots=(kubelet_dir, *mount_roots),
        limit=VolumeLimit(number=max_volumes, file=max_volumes_file),
        zone=NodeZone(name=zone, file=zone_file),
        sdc=SdcSettings(
            drv_cfg=drv_cfg,
            control_device=scini_device,
            by_id=by_id_dir,
            device_seconds=device_timeout,
            configuration=drv_cfg_file,
            on_demand=on_demand if sdc_on_demand else None,
        ),
        nvme=NvmeSettings(
            systems=nvme_systems,
            folder=nvme_folder,
            create_host_nqn=nvme_create_hostnqn,
            single_path=nvme_single_path,
            io_queues=nvme_io_queues,
            load_modules=nvme_load_modules,
            mount_namespace=host_mount_namespace,
            device_seconds=device_timeout,
        ),
        transport=transport,
        metrics_address=metrics_address,
        slow_call_seconds=slow_call_seconds,
    )


@click.command(name="node", cls=settings.RoleCommand, context_settings=settings.of("node"))
@options.endpoint
@options.driver_name
@role_options
@options.metrics_address
@options.slow_call_seconds
@options.log_lines
def command(log_level: str, log_format: str, **given: Any) -> None:
    """Serve CSI's identity and node services on this host.

    Formats and mounts the volumes that the controller has mapped to this host. Runs once on each node, as
    root and with the host's /dev. It has no credentials of an array.
    """
    log.configure(level=log_level, form=log.Format(log_format))
    with options.one_line_errors():
        node.run(settings_from(**given))
