"""Volumes and snapshots as tables for people. Each fits a terminal of 80 columns, except the wide ones.

Names on the array come from other people too. What a terminal would not print is shown in words.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from csi_powerflex import units
from csi_powerflex.model.array import Limits
from csi_powerflex.operations.controller.inventory.importing import obstacles
from csi_powerflex.operations.controller.inventory.records import Record
from csi_powerflex.operations.controller.inventory.undeleting import Deleted

# Enough for a PersistentVolume, a handle and a name on the array next to the usual columns.
_WIDE = 240
_NONE = "-"
_FIXED = {"SIZE", "AGE", "TREE"}


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns a table has besides the usual ones."""

    wide: bool = False
    owner: bool = False


def volumes(records: Sequence[Record], now: datetime.datetime, columns: Columns) -> None:
    """Print a table of volumes."""
    several = _several_systems(records)
    rows = [
        {
            "VOLUME": str(record.claim) if record.claim else record.volume.name or str(record.handle),
            "NODE": _lines(str(host) for host in record.hosts),
            **_place(record, several=several),
            "AGE": age(record.age(now)),
            **_owner(record, columns, {"LIMITS": _lines(_limits(record)), "TREE": str(record.tree_members)}),
            **_wide(record, columns),
        }
        for record in records
    ]
    _print(rows, wide=columns.wide)


def snapshots(records: Sequence[Record], now: datetime.datetime, columns: Columns) -> None:
    """Print a table of snapshots."""
    several = _several_systems(records)
    policies = any(record.policy for record in records)
    rows = [
        {
            "SNAPSHOT": _snapshot_name(record) or record.volume.name or str(record.handle),
            "SOURCE": str(record.source_claim or record.source or _NONE),
            **({"POLICY": _policy_name(record) or _NONE} if policies else {}),
            **_place(record, several=several),
            "AGE": age(record.age(now)),
            **_owner(record, columns, {"TREE": str(record.tree_members)}),
            **_wide(record, columns),
        }
        for record in records
    ]
    _print(rows, wide=columns.wide)


def deleted(found: Sequence[Deleted], now: datetime.datetime) -> None:
    """Print a table of volumes in the trash."""
    several = _several_systems(item.record for item in found)
    rows = [
        {
            "VOLUME": str(item.record.handle),
            **_place(item.record, several=several),
            "TREE": str(item.record.tree_members),
            "REMOVED IN": age(max(item.due - now, datetime.timedelta())),
        }
        for item in found
    ]
    _print(rows, wide=False)


def one(record: Record, now: datetime.datetime) -> None:
    """Print all that is known of one object."""
    volume = record.volume
    locked = volume.locked_until
    rows = {
        "kind": "snapshot" if record.snapshot else "volume",
        "handle": str(record.handle),
        "name on the array": volume.name or "",
        "UID in the name": record.uid or "",
        "owner": " ".join(filter(None, [record.owner.value, _in_brackets(record.cluster)])),
        **(_snapshot_rows(record) if record.snapshot else _volume_rows(record)),
        "system": record.system,
        "pool": record.pool,
        "size": units.readable(volume.size),
        "provisioning": volume.provisioning.value if volume.provisioning else "a copy",
        "access": volume.access_limit.value,
        "created": f"{volume.created:%Y-%m-%d %H:%M:%S} UTC, {age(record.age(now))} ago",
        "locked until": f"{locked:%Y-%m-%d %H:%M:%S} UTC" if locked else "",
        "copy of": " ".join(filter(None, [record.source, _in_brackets(record.source_claim)])),
        "tree members": str(record.tree_members),
        "mapped to": _lines(
            f"{host}, {host.access.value}, {_limit_text(host.limits)}" for host in record.hosts
        ),
        "cannot be imported": _lines(obstacles(record), separator="\n"),
    }
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for label, value in rows.items():
        table.add_row(label, Text(printable(value or _NONE)))
    _echo(table, wide=False)


def _volume_rows(record: Record) -> dict[str, str]:
    found = record.persistent_volume
    text = f"{found.name}, {found.phase or 'no phase'}, {found.reclaim_policy}" if found else ""
    limits = _limit_text(record.requested) if record.requested else ""
    held = {"held": found.hold} if found and found.hold else {}
    rows = {"claim": str(record.claim or ""), "PersistentVolume": text, **held, "requested limits": limits}
    return {**rows, **({"snapshot policy": _policy_text(record)} if record.policy else {})}


def _snapshot_rows(record: Record) -> dict[str, str]:
    found = record.content
    text = f"{found.name}, {found.deletion_policy}" if found else ""
    return {
        "VolumeSnapshot": _snapshot_name(record),
        "VolumeSnapshotContent": text,
        "group": record.volume.group_id or "",
        **({"snapshot policy": _policy_text(record)} if record.policy else {}),
    }


def _policy_name(record: Record) -> str:
    """The policy that has taken a snapshot, and whether it keeps it."""
    if record.policy is None:
        return ""
    return f"{record.policy.name} ({'locked' if record.volume.policy_locked else 'auto'})"


def _policy_text(record: Record) -> str:
    """All that is known of the policy of a volume or snapshot."""
    policy = record.policy
    if policy is None:
        return ""
    schedule = f", {policy.schedule}" if policy.minutes else ""
    if not record.snapshot:
        return f"{policy.name}{schedule}"
    fate = "locked, so it is kept" if record.volume.policy_locked else "removed when it expires"
    return f"{policy.name}{schedule}; {fate}"


def _snapshot_name(record: Record) -> str:
    return str(record.content.snapshot) if record.content and record.content.snapshot else ""


def _several_systems(records: Iterable[Record]) -> bool:
    return len({record.system for record in records}) > 1


def _place(record: Record, *, several: bool) -> dict[str, str]:
    """Size and pool; and the system, if there are several in the table."""
    system = {"SYSTEM": record.system} if several else {}
    return {"SIZE": units.readable(record.volume.size).replace(" ", ""), **system, "POOL": record.pool}


def _owner(record: Record, columns: Columns, others: dict[str, str]) -> dict[str, str]:
    """The owner, in a list of objects of all owners. Only a wide table is wide enough for ``others`` too."""
    if not columns.owner:
        return others
    return {"OWNER": record.cluster or record.owner.value, **(others if columns.wide else {})}


def _wide(record: Record, columns: Columns) -> dict[str, str]:
    if not columns.wide:
        return {}
    found = record.content if record.snapshot else record.persistent_volume
    return {
        "CONTENT" if record.snapshot else "PERSISTENTVOLUME": found.name if found else _NONE,
        "NAME": record.volume.name or _NONE,
        "HANDLE": str(record.handle),
    }


def _limits(record: Record) -> list[str]:
    """The limits of the mappings, each one once; those that are requested if there is no mapping."""
    texts = []
    for limits in [host.limits for host in record.hosts] or [record.requested or Limits()]:
        if limits.iops:
            texts.append(f"{limits.iops} IOPS")
        if limits.bandwidth_kbps:
            texts.append(f"{limits.bandwidth_kbps} KB/s")
    return list(dict.fromkeys(texts))


def _limit_text(limits: Limits) -> str:
    return f"{limits.iops or 'unlimited'} IOPS, {limits.bandwidth_kbps or 'unlimited'} KB/s"


def _in_brackets(name: object) -> str:
    return f"({name})" if name else ""


def _lines(texts: Iterable[str], *, separator: str = "\n") -> str:
    return separator.join(texts) or _NONE


def age(duration: datetime.timedelta) -> str:
    """A duration in its largest whole unit, such as 3d."""
    seconds = int(duration.total_seconds())
    for unit, name in ((365 * 86400, "y"), (86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= unit:
            return f"{seconds // unit}{name}"
    return f"{seconds}s"


def printable(text: str) -> str:
    """The text with each character that a terminal would not print as its number, except line breaks."""
    return "".join(mark if mark.isprintable() or mark == "\n" else f"\\x{ord(mark):02x}" for mark in text)


def _print(rows: Sequence[dict[str, str]], *, wide: bool) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in rows[0] if rows else ():
        fixed = heading in _FIXED
        table.add_column(heading, justify="right" if fixed else "left", no_wrap=fixed, overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(value)) for value in row.values()))
    _echo(table, wide=wide)


def _echo(table: Table, *, wide: bool) -> None:
    """Print a table without spaces at the end of lines. A file or a pipe counts as 80 columns."""
    console = Console(markup=False, highlight=False, emoji=False)
    if wide:
        console.width = max(console.width, _WIDE)
    with console.capture() as captured:
        console.print(table)
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))
