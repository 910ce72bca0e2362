"""``csi-powerflex controller``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from csi_powerflex import names
from csi_powerflex.app import controller
from csi_powerflex.cli import options, settings
from csi_powerflex.config.controller import ControllerSettings
from csi_powerflex.config.systems import loader
from csi_powerflex.errors import InvalidArgument
from csi_powerflex.observability import log

role_options = options.together(
    click.option(
        "--systems",
        required=True,
        type=click.Path(dir_okay=False, path_type=Path),
        help="YAML file with the PowerFlex systems: endpoints, user, password or passwordFile, caFile.",
    ),
    click.option(
        "--cluster-id",
        required=True,
        metavar="ID",
        help="Four characters of a-z and 0-9 in the names of this cluster's volumes on the array. "
        "Never change it.",
    ),
    click.option(
        "--over-commit",
        type=click.FloatRange(1, 10),
        default=10.0,
        show_default=True,
        help="How many times the real capacity of a pool may be provisioned to thin volumes.",
    ),
    click.option(
        "--state-file",
        type=click.Path(dir_okay=False, path_type=Path),
        help="File that keeps the QoS limits that were set by ControllerModifyVolume. "
        "Without it, they are lost at a restart.",
    ),
    click.option(
        "--kubernetes/--no-kubernetes",
        "in_kubernetes",
        default=False,
        show_default=True,
        help="Read VolumeAttributesClasses and nodes from the Kubernetes cluster that this process runs in. "
        "Replaces --state-file.",
    ),
    click.option(
        "--kubeconfig",
        type=click.Path(dir_okay=False, path_type=Path),
        help="With --kubernetes: a kubeconfig file, to use its cluster instead.",
    ),
    click.option(
        "--remove-stale-mappings/--no-remove-stale-mappings",
        default=False,
        show_default=True,
        help="With --kubernetes: remove a mapping to a host that was a node of the cluster, if the host is "
        "disconnected, no CSINode has it and no VolumeAttachment wants the volume.",
    ),
    click.option(
        "--events/--no-events",
        default=False,
        show_default=True,
        help="With --kubernetes: write Kubernetes Events to claims about what no failed call tells, such as "
        "a volume that was mapped to a disconnected host.",
    ),
    click.option(
        "--orphans-seconds",
        type=click.FloatRange(0),
        default=0.0,
        show_default=True,
        help="With --kubernetes: seconds between two counts of the cluster's volumes and snapshots that "
        "nothing in Kubernetes needs, for the metrics; 0 for no counts.",
    ),
    click.option(
        "--watch-seconds",
        type=click.FloatRange(0),
        default=300.0,
        show_default=True,
        help="Seconds between two checks of each system in the background; 0 for no checks.",
    ),
)
"""The options of the controller only."""


def settings_from(
    *,
    endpoint: str,
    driver_name: str,
    metrics_address: str | None,
    metrics_tls_cert: Path | None,
    metrics_tls_key: Path | None,
    slow_call_seconds: float,
    systems: Path,
    cluster_id: str,
    over_commit: float,
    state_file: Path | None,
    in_kubernetes: bool,
    kubeconfig: Path | None,
    remove_stale_mappings: bool,
    events: bool,
    orphans_seconds: float,
    watch_seconds: float,
    **_others: object,
) -> ControllerSettings:
    """The controller's settings from the options. Options of other roles are ignored.

    Raises:
        DriverError: an option has a wrong value, or the systems file cannot be used.
    """
    needing = {
        "--remove-stale-mappings": (remove_stale_mappings, "to read which nodes the cluster has"),
        "--events": (events, "to write to the cluster's claims"),
        "--orphans-seconds": (orphans_seconds, "to read what the cluster needs"),
    }
    for option, (given, reason) in needing.items():
        if given and not in_kubernetes:
            raise InvalidArgument(f"{option} needs --kubernetes, {reason}; give both")
    return ControllerSettings(
        endpoint=endpoint,
        driver_name=driver_name,
        cluster_id=names.require_cluster_id(cluster_id),
        systems=loader.load(systems),
        over_commit=over_commit,
        state_file=state_file,
        systems_file=systems,
        in_kubernetes=in_kubernetes,
        kubeconfig=kubeconfig,
        remove_stale_mappings=remove_stale_mappings,
        events=events,
        orphans_seconds=orphans_seconds,
        watch_seconds=watch_seconds,
        metrics_address=metrics_address,
        metrics_tls=options.metrics_tls(metrics_tls_cert, metrics_tls_key),
        slow_call_seconds=slow_call_seconds,
    )


@click.command(name="controller", cls=settings.RoleCommand, context_settings=settings.of("controller"))
@options.endpoint
@role_options
@options.metrics_address
@options.slow_call_seconds
@options.driver_name
@options.log_lines
def command(log_level: str, log_format: str, **given: Any) -> None:
    """Serve CSI's identity and controller services.

    Creates, maps and deletes volumes through the gateways of the systems file. Runs once or several times for
    each cluster, together with the CSI sidecars. No other process has the array's credentials.
    """
    log.configure(level=log_level, form=log.Format(log_format))
    with options.one_line_errors():
        controller.run(settings_from(**given))
