"""``csi-powerflex snapshots``: what the arrays have of this cluster's snapshots."""

from __future__ import annotations

import datetime
from typing import Any

import click

from csi_powerflex.cli import documents, inventory_options as common, settings, tables
from csi_powerflex.cli.volumes import finish, notes
from csi_powerflex.errors import FailedPrecondition
from csi_powerflex.model.cluster import ObjectName
from csi_powerflex.operations.controller.inventory import importing, keeping
from csi_powerflex.operations.controller.inventory.orphans import orphans
from csi_powerflex.operations.controller.inventory.reading import Selection
from csi_powerflex.operations.controller.inventory.records import Inventory, Record


@click.group(name="snapshots", context_settings={"help_option_names": settings.HELP})
def command() -> None:
    """Show the snapshots on the arrays, and prepare their import. Only --yes changes something."""


@command.command(name="list", cls=settings.RoleCommand, context_settings=settings.of("snapshots_list"))
@common.arrays
@common.select
@common.ours
@common.output
def list_snapshots(system: str | None, pool: str | None, ours: bool, output: str, **arrays: Any) -> None:
    """List snapshots with VolumeSnapshot, source, size, pool, age and members of the volume tree."""
    selection = Selection(snapshots=True, everything=not ours, system=system, pool=pool)
    with common.opened(**arrays) as reader:
        found = reader.read(selection)
    _show(found, output, tables.Columns(wide=output == "wide", owner=not ours))


@command.command(name="show", cls=settings.RoleCommand, context_settings=settings.of("snapshots_show"))
@click.argument("snapshot", metavar="SNAPSHOT")
@common.arrays
@click.option("--system", metavar="NAME", help="Look for a name on the array only on this system.")
@common.output
def show(snapshot: str, system: str | None, output: str, **arrays: Any) -> None:
    """Show all that is known of one snapshot.

    SNAPSHOT is a handle, a name on the array, the name of a VolumeSnapshotContent, or NAMESPACE/NAME of a
    VolumeSnapshot.
    """
    with common.opened(**arrays) as reader:
        record = reader.find(snapshot, snapshots=True, system=system)
    now = datetime.datetime.now(datetime.UTC)
    notes(reader.cluster.unknown)
    if output in ("json", "yaml"):
        documents.echo(documents.of_one(record, reader.cluster.unknown, now), output)
    else:
        tables.one(record, now)


@command.command(name="orphans", cls=settings.RoleCommand, context_settings=settings.of("snapshots_orphans"))
@common.arrays
@common.select
@common.least_age
@common.output
def list_orphans(system: str | None, pool: str | None, older_than: int, output: str, **arrays: Any) -> None:
    """List snapshots with a name of this cluster that no VolumeSnapshotContent needs. It only reports."""
    with common.opened(**arrays) as reader:
        found = orphans(
            reader,
            Selection(snapshots=True, system=system, pool=pool),
            now=datetime.datetime.now(datetime.UTC),
            least_age=datetime.timedelta(minutes=older_than),
        )
    _show(found, output, tables.Columns(wide=output == "wide"))


@command.command(name="import", cls=settings.RoleCommand, context_settings=settings.of("snapshots_import"))
@click.argument("snapshot", metavar="SNAPSHOT")
@common.arrays
@click.option("--system", metavar="NAME", help="Look for a name on the array only on this system.")
@click.option(
    "--as",
    metavar="NAMESPACE/NAME",
    callback=common.object_name,
    required=True,
    help="The new VolumeSnapshot that gets the snapshot.",
)
@click.option("--source", metavar="VOLUME", help="Refuse the snapshot unless it is one of this volume.")
@click.option("--block", is_flag=True, help="Its volume was used as a block device.")
@click.option("--snapshot-class", default="", metavar="NAME", help="The VolumeSnapshotClass, if any.")
@click.option(
    "--deletion-policy",
    type=click.Choice([importing.RETAIN, importing.DELETE]),
    default=importing.RETAIN,
    show_default=True,
    help="What happens to the snapshot when the VolumeSnapshot is deleted.",
)
@click.option(
    "--yes",
    is_flag=True,
    allow_from_autoenv=False,
    help="Lock a snapshot that a policy of the array has taken, so that the policy does not remove it. It "
    "cannot be given in the environment.",
)
@common.manifests
def import_snapshot(
    snapshot: str,
    system: str | None,
    source: str | None,
    output: str,
    yes: bool,
    **given: Any,
) -> None:
    """Print a VolumeSnapshotContent and a VolumeSnapshot for a snapshot that exists.

    SNAPSHOT is as for "show". Look at the objects, and apply them with kubectl. A snapshot that a policy of
    the array has taken is locked first, with --yes. Nothing else is changed.
    """
    name: ObjectName = given.pop("as")  # no name of an argument in Python
    wanted = {key: given.pop(key) for key in ("block", "snapshot_class")}
    policy = given.pop("deletion_policy")
    with common.opened(**given) as reader:
        record = reader.find(snapshot, snapshots=True, system=system)
        request = importing.SnapshotImportRequest(
            name,
            policy=policy,
            source=reader.find(source, snapshots=False, system=system).handle if source is not None else None,
            unchecked=common.does_without_kubernetes(),
            **wanted,
        )
        manifests = importing.snapshot_manifests(reader, record, request)
        locked = keeping.needs_lock(record)
        if locked:
            _require_yes(record, yes=yes)
            keeping.lock(reader, record)
    called = f", called {record.volume.name}" if record.volume.name else ""
    comment = f"snapshot {record.handle}{called}, in pool {record.pool}"
    comment += f"; it was locked, so snapshot policy {record.policy} keeps it" if locked else ""
    documents.echo_manifests(manifests, comment, output)
    notes(reader.cluster.unknown)


def _require_yes(record: Record, *, yes: bool) -> None:
    """Refuse to print objects for a snapshot that would vanish.

    Raises:
        FailedPrecondition: the option was not given.
    """
    if not yes:
        raise FailedPrecondition(
            f"{record.handle} was not imported: snapshot policy {record.policy} has taken it, and removes it "
            "when it expires. Give --yes to lock it on the array and to print the objects; csi-powerflex "
            "snapshots unlock gives it back to its policy"
        )


@command.command(name="unlock", cls=settings.RoleCommand, context_settings=settings.of("snapshots_unlock"))
@click.argument("snapshot", metavar="SNAPSHOT")
@common.arrays
@click.option("--system", metavar="NAME", help="Look for a name on the array only on this system.")
@click.option(
    "--yes",
    is_flag=True,
    allow_from_autoenv=False,
    help="Do it. Without this option nothing is changed. It cannot be given in the environment.",
)
def unlock(snapshot: str, system: str | None, yes: bool, **arrays: Any) -> None:
    """Give a locked snapshot back to the snapshot policy that has taken it.

    SNAPSHOT is as for "show". No VolumeSnapshotContent may have it. The policy removes it when it expires, or
    at once if it has expired.
    """
    with common.opened(**arrays) as reader:
        record = reader.find(snapshot, snapshots=True, system=system)
        locked = keeping.require_unlockable(reader, record, unchecked=common.does_without_kubernetes())
        if locked and yes:
            keeping.unlock(reader, record)
    what = f"snapshot {record.handle} of snapshot policy {record.policy}"
    if not locked:
        click.echo(tables.printable(f"{what} is not locked."))
    elif yes:
        click.echo(tables.printable(f"{what} was unlocked. The policy removes it when it expires."))
    else:
        click.echo(tables.printable(f"{what} would be unlocked. The policy removes it when it expires."))
        click.echo("Nothing was changed; give --yes to do it.")


def _show(found: Inventory, output: str, columns: tables.Columns) -> None:
    now = datetime.datetime.now(datetime.UTC)
    if output in ("json", "yaml"):
        documents.echo(documents.of_inventory(found, "snapshots", now), output)
    elif found.records:
        tables.snapshots(found.records, now, columns)
    finish(found, "snapshots")
