"""The fields of a SnapshotSchedule."""

from __future__ import annotations

import datetime
import enum
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from csi_powerflex.operator.api import NAME_PATTERN, Column, Definition, Resource, Status

_NAME = Meta(pattern=NAME_PATTERN, max_length=253)
AGE_PATTERN = r"^[1-9][0-9]{0,4}(m|h|d|w)$"


class Phase(enum.StrEnum):
    """What a schedule does."""

    ACTIVE = "Active"
    TAKING = "Taking"
    SUSPENDED = "Suspended"
    INVALID = "Invalid"


class Requirement(msgspec.Struct, frozen=True, rename="camel", kw_only=True, omit_defaults=True):
    """A condition on a label."""

    key: Annotated[str, Meta(description="The label.")]
    operator: Annotated[
        Literal["In", "NotIn", "Exists", "DoesNotExist"], Meta(description="How the label is compared.")
    ]
    values: Annotated[tuple[str, ...], Meta(description="The values for In and NotIn.", max_length=100)] = ()


class Selector(msgspec.Struct, frozen=True, rename="camel", kw_only=True, omit_defaults=True):
    """Labels of claims. An empty one selects every claim of the namespace."""

    match_labels: Annotated[
        dict[str, str], Meta(description="Labels that a claim must have, with these values.")
    ] = {}
    match_expressions: Annotated[
        tuple[Requirement, ...],
        Meta(description="Further conditions, all of which must hold.", max_length=100),
    ] = ()


class Keep(msgspec.Struct, frozen=True, rename="camel", kw_only=True, omit_defaults=True):
    """Which snapshots of the schedule to keep. The newest usable one of each claim is always kept."""

    count: Annotated[
        int, Meta(description="How many of each claim, or how many groups; 0 for no limit.", ge=0, le=1000)
    ] = 0
    age: Annotated[
        str,
        Meta(
            description="For how long, as a number with m, h, d or w for minutes, hours, days or weeks; "
            "empty for no limit.",
            pattern=AGE_PATTERN,
        ),
    ] = ""


class ScheduleSpec(msgspec.Struct, frozen=True, rename="camel", kw_only=True, omit_defaults=True):
    """When to take snapshots of which claims, and which to keep."""

    schedule: Annotated[
        str,
        Meta(
            description="When, as five fields of cron: minute, hour, day of month, month, day of week.",
            min_length=9,
            max_length=200,
        ),
    ]
    time_zone: Annotated[
        str, Meta(description="The time zone of the schedule, such as Europe/Berlin.", max_length=100)
    ] = "UTC"
    selector: Annotated[Selector, Meta(description="Which claims of the namespace.")] = Selector()
    snapshot_class: Annotated[
        str,
        _NAME,
        Meta(
            description="The VolumeSnapshotClass, or with group the VolumeGroupSnapshotClass. By default the "
            "default class of the driver."
        ),
    ] = ""
    group: Annotated[
        bool,
        Meta(description="Take one VolumeGroupSnapshot of all claims, at one point in time."),
    ] = False
    keep: Annotated[Keep, Meta(description="Which snapshots to keep. By default all.")] = Keep()
    suspend: Annotated[
        bool,
        Meta(
            description="Take no snapshots, and remove none. Runs that are missed meanwhile are not made up."
        ),
    ] = False
    starting_deadline_seconds: Annotated[
        int,
        Meta(
            description="How late a run may begin, for example because the operator did not work. Of several "
            "missed runs only the last one is made up. 0 for no limit.",
            ge=0,
            le=31536000,
        ),
    ] = 0


class Run(msgspec.Struct, frozen=True, rename="camel", kw_only=True, omit_defaults=True):
    """One run of the schedule."""

    scheduled_at: Annotated[datetime.datetime, Meta(description="When it was due.")]
    began_at: Annotated[datetime.datetime | None, Meta(description="When it began.")] = None
    taken: Annotated[int, Meta(description="How many snapshots were created.")] = 0
    failed: Annotated[int, Meta(description="How many could not be created.")] = 0
    message: Annotated[str, Meta(description="What was left out or failed, and why.")] = ""


class ScheduleStatus(Status, frozen=True, rename="camel", kw_only=True, omit_defaults=True):
    """What the schedule has done, and does next."""

    phase: Annotated[
        Phase | None,
        Meta(description="Active, Taking (creates snapshots), Suspended, or Invalid (the message says why)."),
    ] = None  # type: ignore[assignment]  # narrower than in any status
    since: Annotated[
        datetime.datetime | None,
        Meta(
            description="Runs that were due before are not made up: the schedule was created, changed or "
            "suspended then."
        ),
    ] = None
    timing: Annotated[str, Meta(description="The schedule and time zone that the status is about.")] = ""
    current: Annotated[Run | None, Meta(description="The run under way.")] = None
    last: Annotated[Run | None, Meta(description="The last run.")] = None
    next_at: Annotated[datetime.datetime | None, Meta(description="When the next run is due.")] = None
    history: Annotated[
        tuple[Run, ...], Meta(description="The last runs, the newest first.", max_length=10)
    ] = ()


class SnapshotSchedule(Resource, frozen=True, kw_only=True):
    """A SnapshotSchedule as the API has it."""

    spec: ScheduleSpec = ScheduleSpec(schedule="")
    status: ScheduleStatus = ScheduleStatus()


DEFINITION = Definition(
    kind="SnapshotSchedule",
    plural="snapshotschedules",
    short=("snapsched",),
    description="Takes snapshots of claims at defined times, and removes old ones that it has taken. They "
    "stay when it is deleted.",
    resource=SnapshotSchedule,
    columns=(
        Column("Schedule", ".spec.schedule", "When."),
        Column("Zone", ".spec.timeZone", "The time zone of the schedule.", wide=True),
        Column("Phase", ".status.phase", "What it does."),
        Column("Last", ".status.last.scheduledAt", "When the last run was due.", type="date"),
        Column("Next", ".status.nextAt", "When the next run is due."),
        Column("Message", ".status.message", "What is wrong.", wide=True),
        Column("Age", ".metadata.creationTimestamp", "When it was created.", type="date"),
    ),
)
