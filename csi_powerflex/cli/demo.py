"""``csi-powerflex demo``."""

from __future__ import annotations

import sys

import click

from csi_powerflex.cli import settings


@click.command(name="demo", context_settings=settings.of("demo"))
@click.option(
    "--filesystem",
    type=click.Choice(["ext4", "xfs"]),
    default="ext4",
    show_default=True,
    help="Filesystem to put on the volume.",
)
@click.option(
    "--mebibytes",
    type=click.IntRange(1, 4096),
    default=256,
    show_default=True,
    help="How much the pod writes and reads back.",
)
def command(filesystem: str, mebibytes: int) -> None:
    """Walk a volume through its whole life on a simulated PowerFlex.

    Starts the simulator, the controller and two nodes as separate processes, and plays the part of
    Kubernetes: creates a volume, maps, formats and mounts it on one node, writes to it, moves it to the other
    node, compares what it reads there, and deletes it. Needs root for the block devices; without, it shows
    the controller's half. Leaves nothing behind, even when interrupted.
    """
    try:
        from csi_powerflex.demo import show  # noqa: PLC0415 - its packages come with the extra "demo"
    except ModuleNotFoundError as error:
        raise click.ClickException(
            f"the demo needs the package {error.name}, which is not installed: "
            "in a clone of the project, run pip install '.[demo]'"
        ) from error
    sys.exit(show.run(filesystem=filesystem, mebibytes=mebibytes))
