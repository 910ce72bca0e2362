"""``csi-powerflex volumes revert``: the data of a volume become those of one of its snapshots."""

from __future__ import annotations

import datetime
import getpass
import secrets
import socket
from collections.abc import Sequence
from typing import Any

import click

from csi_powerflex import units
from csi_powerflex.cli import inventory_options as common, settings, tables
from csi_powerflex.model.hold import Custody
from csi_powerflex.operations.controller.inventory import reverting
from csi_powerflex.operations.controller.inventory.reading import Reader
from csi_powerflex.operations.controller.inventory.reverting import Member, Reverted


@click.command(name="revert", cls=settings.RoleCommand, context_settings=settings.of("volumes_revert"))
@click.argument("volume", metavar="[VOLUME]", required=False)
@common.arrays
@click.option("--to", "snapshot", metavar="SNAPSHOT", help="The snapshot of VOLUME to revert to.")
@click.option(
    "--group",
    metavar="GROUP",
    help="Instead of VOLUME and --to: revert all volumes of this group snapshot. Give its handle, or one "
    "of its snapshots.",
)
@click.option(
    "--take-over",
    is_flag=True,
    allow_from_autoenv=False,
    help="Take over the hold of an earlier run that was interrupted. Make sure that it does not run now.",
)
@click.option(
    "--yes",
    is_flag=True,
    allow_from_autoenv=False,
    help="Do it. Without this option the plan is only shown. It cannot be given in the environment.",
)
def command(
    volume: str | None,
    snapshot: str | None,
    group: str | None,
    take_over: bool,
    yes: bool,
    **arrays: Any,
) -> None:
    """Revert a volume in place to one of its snapshots, or all volumes of a group snapshot to theirs.

    VOLUME and SNAPSHOT are as for "show". No pod may use the volume. What it has now is kept in a safety
    snapshot, to which it can be reverted again.
    """
    if (group is None) == (volume is None) or (volume is None) != (snapshot is None):
        raise click.UsageError("Give either VOLUME and --to SNAPSHOT, or --group GROUP.")
    with common.opened_for_itself(**arrays) as (reader, custody):
        if group is not None:
            members = reverting.of_group(reader, group)
        else:
            members = reverting.of_volume(reader, str(volume), str(snapshot))
        _revert(reader, custody, members, take_over=take_over, yes=yes)


def _revert(
    reader: Reader,
    custody: Custody | None,
    members: Sequence[Member],
    *,
    take_over: bool,
    yes: bool,
) -> None:
    now = datetime.datetime.now(datetime.UTC)
    run = reverting.Run(secrets.token_hex(4), f"{_user()}@{socket.gethostname()}", now)
    unchecked = common.does_without_kubernetes()
    planned = reverting.plan(reader, members, custody, run, take_over=take_over, unchecked=unchecked)
    if not yes:
        for member in members:
            tell(_planned(member, now))
        tell("What was written since is lost from the volume, and is kept in a safety snapshot.")
        tell("Nothing was changed; give --yes to do it.")
        return
    for done in reverting.carry_out(reader, planned, custody, tell):
        tell(_undo(done))


def _planned(member: Member, now: datetime.datetime) -> str:
    record, snapshot = member.record, member.snapshot
    taken = f"{snapshot.volume.created:%Y-%m-%d %H:%M:%S} UTC, {tables.age(snapshot.age(now))} ago"
    what = f"{record.claim or record.volume.name}, {units.readable(record.volume.size)}"
    return (
        f"volume {record.handle} ({what}) on system {record.system} would be reverted to snapshot "
        f"{snapshot.handle}, taken {taken}"
    )


def _undo(done: Reverted) -> str:
    handle = done.safety.handle
    return (
        f"To undo it: csi-powerflex volumes revert {done.member.record.handle} --to {handle}. To have the "
        f"safety snapshot in Kubernetes: csi-powerflex snapshots import {handle} --as NAMESPACE/NAME"
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "a user without a name"  # a container may run with a number that has no name


def tell(sentence: str) -> None:
    """Print a sentence."""
    click.echo(tables.printable(sentence))
