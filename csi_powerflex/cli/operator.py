"""``csi-powerflex operator``."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import click

from csi_powerflex import names
from csi_powerflex.cli import options, settings
from csi_powerflex.config.operator import OperatorSettings
from csi_powerflex.observability import log


@click.command(name="operator", cls=settings.RoleCommand, context_settings=settings.of("operator"))
@options.driver_name
@click.option(
    "--cluster-id",
    required=True,
    metavar="ID",
    help="The cluster id of the controller.",
)
@click.option(
    "--systems",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="YAML file with the PowerFlex systems, as for the controller. It is read again at each revert.",
)
@click.option(
    "--kubeconfig",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A kubeconfig file. Without it, the cluster that this process runs in is led.",
)
@options.metrics_address
@options.log_lines
def command(
    driver_name: str,
    cluster_id: str,
    systems: Path,
    kubeconfig: Path | None,
    metrics_address: str | None,
    metrics_tls_cert: Path | None,
    metrics_tls_key: Path | None,
    log_level: str,
    log_format: str,
) -> None:
    """Lead the custom resources of powerflex.dev, such as VolumeRevert and SnapshotSchedule.

    One process leads them. It is installed with the extra "operator", and not in the driver's image.
    """
    log.configure(level=log_level, form=log.Format(log_format))
    if importlib.util.find_spec("kopf") is None:
        raise click.ClickException(
            "the operator needs more packages: install csi-powerflex[operator], or use the operator's image"
        )
    # After the check: this imports kopf.
    from csi_powerflex.app import operator  # noqa: PLC0415 - see above

    with options.one_line_errors():
        operator.run(
            OperatorSettings(
                driver_name=driver_name,
                cluster_id=names.require_cluster_id(cluster_id),
                systems_file=systems,
                kubeconfig=kubeconfig,
                metrics_address=metrics_address,
                metrics_tls=options.metrics_tls(metrics_tls_cert, metrics_tls_key),
            )
        )
