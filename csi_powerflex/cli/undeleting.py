"""``csi-powerflex volumes trash`` and ``undelete``: deleted volumes that the arrays still keep."""

from __future__ import annotations

import datetime
import sys
from typing import Any

import click

from csi_powerflex.cli import documents, inventory_options as common, settings, tables
from csi_powerflex.operations.controller.inventory import undeleting
from csi_powerflex.operations.controller.inventory.reading import Selection


@click.command(name="trash", cls=settings.RoleCommand, context_settings=settings.of("volumes_trash"))
@common.arrays
@common.select
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json", "yaml"]),
    default="table",
    show_default=True,
    help="How to print: a table, or everything that is known, for programs.",
)
def list_trash(system: str | None, pool: str | None, output: str, **arrays: Any) -> None:
    """List the deleted volumes of this cluster that the arrays still keep, the first to be removed first."""
    with common.opened(**arrays) as reader:
        found, problems = undeleting.deleted(reader, Selection(snapshots=False, system=system, pool=pool))
    if output == "table":
        tables.deleted(found, datetime.datetime.now(datetime.UTC))
    else:
        documents.echo(
            {"volumes": [documents.of_deleted(item) for item in found], "problems": list(problems)}, output
        )
    for problem in problems:
        click.echo(f"Error: {tables.printable(problem)}", err=True)
    if problems:
        sys.exit(1)


@click.command(name="undelete", cls=settings.RoleCommand, context_settings=settings.of("volumes_undelete"))
@click.argument("volume", metavar="VOLUME")
@common.arrays
@common.as_claim
@click.option(
    "--yes",
    is_flag=True,
    allow_from_autoenv=False,
    help="Do it. Without this option the objects are only shown. It cannot be given in the environment.",
)
@common.manifests
def undelete(volume: str, output: str, yes: bool, **given: Any) -> None:
    """Bring a volume back from the trash, and print a PersistentVolume and a claim for it.

    VOLUME is its handle, its name in the trash, or the name of the PersistentVolume that it had (pvc-UID).
    Apply the objects with kubectl. The driver never formats the volume.
    """
    request = common.import_request(given)
    with common.opened(**given) as reader:
        item = undeleting.find(reader, volume)
        made = undeleting.manifests(reader, item, request, datetime.datetime.now(datetime.UTC))
        where = f"volume {item.record.handle} in pool {item.record.pool}"
        if yes:
            undeleting.carry_out(reader, item)
            comment = f"{where} was undeleted, and is called {item.record.volume.name}"
        else:
            comment = f"{where} is still in the trash; give --yes to undelete it, then apply these objects"
    documents.echo_manifests(made, comment, output)
