"""``csi-powerflex operator``."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import click

from csi_powerflex import names
from csi_powerflex.cli import options, settings
from csi_powerflex.config.operator import MoverSettings, OperatorSettings
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
    help="A kubeconfig file. Without it, the operator works on the cluster that it runs in.",
)
@click.option(
    "--namespace",
    default="powerflex",
    show_default=True,
    help="The namespace of the operator. The cached copies of images are in it.",
)
@click.option(
    "--mover-image",
    default=MoverSettings().image,
    show_default=True,
    help="Image of the data mover. Its Jobs run in the namespaces of the users.",
)
@click.option(
    "--mover-pull-policy",
    type=click.Choice(["Always", "IfNotPresent", "Never"]),
    default="IfNotPresent",
    show_default=True,
    help="When Kubernetes pulls the image of the data mover.",
)
@click.option(
    "--mover-user",
    type=click.IntRange(0, 2**31 - 1),
    default=0,
    show_default=True,
    help="User id of the data mover. Another one than 0 needs a container runtime that gives it the devices "
    "(containerd: device_ownership_from_security_context).",
)
@click.option(
    "--mover-cpu",
    default="",
    metavar="QUANTITY",
    help="Limit for the processors of a data mover, such as 2. Without it there is no limit.",
)
@click.option(
    "--mover-memory",
    default="1Gi",
    show_default=True,
    metavar="QUANTITY",
    help="Limit for the memory of a data mover.",
)
@options.metrics_address
@options.log_lines
def command(
    driver_name: str,
    cluster_id: str,
    systems: Path,
    kubeconfig: Path | None,
    namespace: str,
    mover_image: str,
    mover_pull_policy: str,
    mover_user: int,
    mover_cpu: str,
    mover_memory: str,
    metrics_address: str | None,
    metrics_tls_cert: Path | None,
    metrics_tls_key: Path | None,
    log_level: str,
    log_format: str,
) -> None:
    """Work on the custom resources of powerflex.dev, such as VolumeRevert and SnapshotSchedule.

    Only one process may work on them. It is installed with the extra "operator", and is not in the driver's
    image.
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
                namespace=namespace,
                metrics_address=metrics_address,
                metrics_tls=options.metrics_tls(metrics_tls_cert, metrics_tls_key),
                mover=MoverSettings(
                    image=mover_image,
                    user=mover_user,
                    pull_policy=mover_pull_policy,
                    cpu=mover_cpu,
                    memory=mover_memory,
                ),
            )
        )
