"""``csi-powerflex volumes``: what the arrays have of this cluster's volumes."""

from __future__ import annotations

import datetime
import sys
from collections.abc import Sequence
from typing import Any

import click

from csi_powerflex.cli import documents, inventory_options as common, reverting, settings, tables, undeleting
from csi_powerflex.operations.controller.inventory import importing, release
from csi_powerflex.operations.controller.inventory.orphans import orphans
from csi_powerflex.operations.controller.inventory.reading import Selection
from csi_powerflex.operations.controller.inventory.records import Inventory


@click.group(name="volumes", context_settings={"help_option_names": settings.HELP})
def command() -> None:
    """Show the volumes on the arrays, import, release and undelete them, and revert them to snapshots.

    Only "release", "revert" and "undelete" change something, and only with --yes.
    """


command.add_command(reverting.command)
command.add_command(undeleting.list_trash)
command.add_command(undeleting.undelete)


@command.command(name="list", cls=settings.RoleCommand, context_settings=settings.of("volumes_list"))
@common.arrays
@common.select
@common.ours
@common.output
def list_volumes(system: str | None, pool: str | None, ours: bool, output: str, **arrays: Any) -> None:
    """List volumes with claim, node, size, pool, age, limits and members of the volume tree."""
    selection = Selection(snapshots=False, everything=not ours, system=system, pool=pool)
    with common.opened(**arrays) as reader:
        found = reader.read(selection)
    _show(found, output, tables.Columns(wide=output == "wide", owner=not ours))


@command.command(name="show", cls=settings.RoleCommand, context_settings=settings.of("volumes_show"))
@click.argument("volume", metavar="VOLUME")
@common.arrays
@click.option("--system", metavar="NAME", help="Look for a name on the array only on this system.")
@common.output
def show(volume: str, system: str | None, output: str, **arrays: Any) -> None:
    """Show all that is known of one volume.

    VOLUME is a handle, a name on the array, the name of a PersistentVolume, or NAMESPACE/NAME of a claim.
    """
    with common.opened(**arrays) as reader:
        record = reader.find(volume, snapshots=False, system=system)
    now = datetime.datetime.now(datetime.UTC)
    notes(reader.cluster.unknown)
    if output in ("json", "yaml"):
        documents.echo(documents.of_one(record, reader.cluster.unknown, now), output)
    else:
        tables.one(record, now)


@command.command(name="orphans", cls=settings.RoleCommand, context_settings=settings.of("volumes_orphans"))
@common.arrays
@common.select
@common.least_age
@common.output
def list_orphans(system: str | None, pool: str | None, older_than: int, output: str, **arrays: Any) -> None:
    """List volumes with a name of this cluster that no PersistentVolume and no waiting claim needs.

    It only reports. A volume whose PersistentVolume was deleted with the policy Retain is an orphan too.
    """
    with common.opened(**arrays) as reader:
        found = orphans(
            reader,
            Selection(snapshots=False, system=system, pool=pool),
            now=datetime.datetime.now(datetime.UTC),
            least_age=datetime.timedelta(minutes=older_than),
        )
    _show(found, output, tables.Columns(wide=output == "wide"))


@command.command(name="import", cls=settings.RoleCommand, context_settings=settings.of("volumes_import"))
@click.argument("volume", metavar="VOLUME")
@common.arrays
@click.option("--system", metavar="NAME", help="Look for a name on the array only on this system.")
@common.as_claim
@click.option("--pool", metavar="NAME", help="Refuse the volume unless it is in this pool.")
@click.option("--clone", is_flag=True, help="A writable copy with a foreign name is a volume, no snapshot.")
@common.manifests
def import_volume(volume: str, system: str | None, output: str, **given: Any) -> None:
    """Print a PersistentVolume and a claim for a volume that exists, if it can be used safely.

    VOLUME is as for "show". Nothing is changed: look at the objects, and apply them with kubectl. The driver
    never formats an imported volume.
    """
    request = common.import_request(given, pool=given.pop("pool"), clone=given.pop("clone"))
    with common.opened(**given) as reader:
        record = reader.find(volume, snapshots=False, system=system)
        manifests = importing.volume_manifests(reader, record, request)
    comment = f"volume {record.handle}, called {record.volume.name}, in pool {record.pool}"
    documents.echo_manifests(manifests, comment, output)
    notes(reader.cluster.unknown)


@command.command(name="release", cls=settings.RoleCommand, context_settings=settings.of("volumes_release"))
@click.argument("volume", metavar="VOLUME")
@common.arrays
@click.option("--system", metavar="NAME", help="Look for a name on the array only on this system.")
@click.option(
    "--name", metavar="NAME", help="The new name on the array; by default released- and the volume's id."
)
@click.option(
    "--yes",
    is_flag=True,
    allow_from_autoenv=False,
    help="Do it. Without this option the plan is only shown. It cannot be given in the environment.",
)
def release_volume(volume: str, system: str | None, name: str | None, yes: bool, **arrays: Any) -> None:
    """Give a volume out of this cluster's hands: rename it, so that the driver does not delete it.

    VOLUME is as for "show". It must not be mapped, and no PersistentVolume may have it. Its data stay.
    """
    with common.opened(**arrays) as reader:
        record = reader.find(volume, snapshots=False, system=system)
        planned = release.plan(reader, record, name, unchecked=common.does_without_kubernetes())
        where = f"volume {record.handle} on system {record.system}"
        if planned.done:
            click.echo(f"{where} is called {planned.name!r} already. Nothing is left to do.")
            return
        change = f"from {record.volume.name!r} to {planned.name!r}"
        if not yes:
            click.echo(f"{where} would be renamed {change}. Nothing was changed; give --yes to do it.")
            return
        release.carry_out(reader, planned)
        click.echo(
            f"{where} was renamed {change}. It does not belong to cluster {reader.cluster_id} any more."
        )


def notes(sentences: Sequence[str]) -> None:
    """Print what is not known, on standard error."""
    for sentence in sentences:
        click.echo(f"Note: {tables.printable(sentence)}", err=True)


def finish(found: Inventory, what: str) -> None:
    """Say what is missing in a list. If a system could not be read, the exit status is 1."""
    notes(found.cluster.unknown)
    if not found.records:
        click.echo(f"No {what} were found.", err=True)
    for problem in found.problems:
        click.echo(f"Error: {tables.printable(problem)}", err=True)
    if found.problems:
        sys.exit(1)


def _show(found: Inventory, output: str, columns: tables.Columns) -> None:
    now = datetime.datetime.now(datetime.UTC)
    if output in ("json", "yaml"):
        documents.echo(documents.of_inventory(found, "volumes", now), output)
    elif found.records:
        tables.volumes(found.records, now, columns)
    finish(found, "volumes")
