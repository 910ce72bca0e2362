"""``csi-powerflex demo``."""

from __future__ import annotations

import sys

import click

from csi_powerflex.cli import settings


@click.command(name="demo", cls=settings.RoleCommand, context_settings=settings.of("demo"))
@click.option(
    "--filesystem",
    type=click.Choice(["ext4", "xfs"]),
    default="ext4",
    show_default=True,
    help="Filesystem of the volume.",
)
@click.option(
    "--mebibytes",
    type=click.IntRange(1, 4096),
    default=256,
    show_default=True,
    help="Number of MiB that the pod writes and reads.",
)
def command(filesystem: str, mebibytes: int) -> None:
    """Walk a volume through its whole life on a simulated PowerFlex.

    It starts the simulator, the controller and two nodes as separate processes and makes the calls of
    Kubernetes. It creates a volume, then maps, formats and mounts it on one node, and writes to it. It
    moves the volume to the other node, compares the data there, and deletes the volume. The block devices
    need root. Without root, the demo shows only the controller. It removes everything at the end, even if
    interrupted.
    """
    try:
        from csi_powerflex.demo import show  # noqa: PLC0415 - it needs packages of the extra "demo"
    except ModuleNotFoundError as error:
        raise click.ClickException(
            f"the demo needs the package {error.name}, which is not installed; "
            "run pip install '.[demo]' in a clone of the project"
        ) from error
    sys.exit(show.run(filesystem=filesystem, mebibytes=mebibytes))
