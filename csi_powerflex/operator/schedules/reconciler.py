"""What to do next with a SnapshotSchedule, and what its status is after each step. There are no effects here.

A run is written into the status before its snapshots are created, and their names follow from its time. So a
run that was interrupted goes on, and no snapshot is taken twice.
"""

from __future__ import annotations

import datetime
import enum
import re
from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from csi_powerflex.errors import InvalidArgument
from csi_powerflex.ids import is_label_value
from csi_powerflex.operator.schedules import retention
from csi_powerflex.operator.schedules.cron import Timing
from csi_powerflex.operator.schedules.definition import (
    Phase,
    Requirement,
    Run,
    ScheduleSpec,
    ScheduleStatus,
    Selector,
    SnapshotSchedule,
)

_HISTORY = 10
_WITH_VALUES = ("In", "NotIn")
_NOT_REMOVED = "not removed: "
_LABEL_PREFIX = re.compile("([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?")
# How long a snapshot that cannot be created is tried again.
_MAX_RUN = datetime.timedelta(minutes=10)


class Step(enum.Enum):
    """One step."""

    REST = "rest"
    REFUSE = "refuse"
    SUSPEND = "suspend"
    ARM = "arm"
    START = "start"
    MISS = "miss"
    TAKE = "take"
    PRUNE = "prune"


@dataclass(frozen=True, slots=True)
class Decision:
    """The next step.

    Attributes:
        at: when the run is due, for START and MISS.
        reason: what is wrong, for REFUSE.
        next_at: when the run after it is due.
    """

    step: Step
    at: datetime.datetime | None = None
    reason: str = ""
    next_at: datetime.datetime | None = None


def decide(found: SnapshotSchedule, now: datetime.datetime) -> Decision:
    """The next step with the object."""
    if found.deleting:
        return Decision(Step.REST)
    try:
        timing = Timing(found.spec.schedule, found.spec.time_zone)
        retention.age(found.spec.keep.age)
        label_selector(found.spec.selector)
    except InvalidArgument as error:
        return Decision(Step.REFUSE, reason=str(error))
    return Decision(Step.SUSPEND) if found.spec.suspend else _timed(found, timing, now)


def _timed(found: SnapshotSchedule, timing: Timing, now: datetime.datetime) -> Decision:
    """The next step with an object that is in use."""
    spec, status = found.spec, found.status
    next_at = timing.after(now)
    if status.since is None or status.timing != timing_of(spec):
        return Decision(Step.ARM, next_at=next_at)
    if status.current is not None:
        return Decision(Step.TAKE, next_at=next_at)
    due = timing.last(_done_until(status, status.since), now)
    if due is None:
        return Decision(Step.PRUNE, next_at=next_at)
    deadline = spec.starting_deadline_seconds
    late = bool(deadline) and (now - due).total_seconds() > deadline
    return Decision(Step.MISS if late else Step.START, at=due, next_at=next_at)


def _done_until(status: ScheduleStatus, since: datetime.datetime) -> datetime.datetime:
    """Runs that were due until then are done, or are not made up."""
    return max(since, status.last.scheduled_at) if status.last is not None else since


def timing_of(spec: ScheduleSpec) -> str:
    """The text that tells whether the times of a schedule have changed."""
    return f"{spec.schedule} {spec.time_zone}"


def label_selector(selector: Selector) -> str:
    """The selector as the API takes it in a query (Kubernetes, "Labels and Selectors").

    The API refuses the query if a label has another form, and a comma in it would begin another condition.

    Raises:
        InvalidArgument: a condition has values and must not, or has none and must; or a label or value has
            another form than labels have.
    """
    _require_labels(selector)
    parts = [f"{key}={value}" for key, value in selector.match_labels.items()]
    return ",".join([*parts, *(_condition(item) for item in selector.match_expressions)])


def _require_labels(selector: Selector) -> None:
    given: list[tuple[str, Sequence[str]]] = [(key, (value,)) for key, value in selector.match_labels.items()]
    given += [(item.key, item.values) for item in selector.match_expressions]
    for key, values in given:
        prefix, slash, name = key.rpartition("/")
        if _LABEL_PREFIX.fullmatch(prefix + slash) is None or not is_label_value(name):
            raise InvalidArgument(f"selector: {key!r} is no label; give one such as app")
        for value in values:
            if value and not is_label_value(value):
                raise InvalidArgument(
                    f"selector: {value!r} of {key} is no value of a label; give at most 63 letters, digits, "
                    "dashes, dots and underscores"
                )


def _condition(item: Requirement) -> str:
    if (item.operator in _WITH_VALUES) != bool(item.values):
        wanted = "needs values" if item.operator in _WITH_VALUES else "takes no values"
        raise InvalidArgument(f"selector: {item.operator} of {item.key} {wanted}")
    values = f"({','.join(item.values)})"
    match item.operator:
        case "In":
            return f"{item.key} in {values}"
        case "NotIn":
            return f"{item.key} notin {values}"
        case "Exists":
            return item.key
    return f"!{item.key}"


# --- the status after a step -----------------------------------------------------------------------


def refused(status: ScheduleStatus, reason: str) -> ScheduleStatus:
    """The specification cannot be used. Nothing is taken or removed until it is changed."""
    return replace(status, phase=Phase.INVALID, message=reason, since=None, current=None, next_at=None)


def suspended(status: ScheduleStatus) -> ScheduleStatus:
    """It is suspended."""
    text = "suspended: no snapshots are taken or removed"
    return replace(status, phase=Phase.SUSPENDED, message=text, since=None, current=None, next_at=None)


def armed(
    status: ScheduleStatus, spec: ScheduleSpec, next_at: datetime.datetime | None, now: datetime.datetime
) -> ScheduleStatus:
    """It begins now, or begins again with other times. What was due before is not made up."""
    return replace(
        status,
        phase=Phase.ACTIVE,
        message="" if next_at is not None else "no run is due within 50 years",
        timing=timing_of(spec),
        since=now,
        current=None,
        next_at=next_at,
    )


def started(status: ScheduleStatus, at: datetime.datetime, now: datetime.datetime) -> ScheduleStatus:
    """A run begins. Earlier ones that were missed are not made up."""
    return replace(status, phase=Phase.TAKING, current=Run(scheduled_at=at, began_at=now))


def missed(status: ScheduleStatus, at: datetime.datetime, spec: ScheduleSpec) -> ScheduleStatus:
    """A run cannot begin in time any more."""
    text = f"was not begun within {spec.starting_deadline_seconds} seconds"
    return finished(status, Run(scheduled_at=at, message=text), status.next_at)


def finished(status: ScheduleStatus, run: Run, next_at: datetime.datetime | None) -> ScheduleStatus:
    """A run has ended."""
    return replace(
        status,
        phase=Phase.ACTIVE,
        message=f"the run of {run.scheduled_at:%Y-%m-%d %H:%M} UTC: {run.message}" if run.message else "",
        current=None,
        last=run,
        history=(run, *status.history)[:_HISTORY],
        next_at=next_at,
    )


def waited(status: ScheduleStatus, next_at: datetime.datetime | None, problems: str) -> ScheduleStatus:
    """There is nothing to do until the next run. ``problems`` says what could not be removed, and why."""
    message = "" if status.message.startswith(_NOT_REMOVED) else status.message
    message = f"{_NOT_REMOVED}{problems}" if problems else message
    return replace(status, phase=Phase.ACTIVE, message=message, next_at=next_at)


def may_try_again(run: Run, now: datetime.datetime) -> bool:
    """Whether what could not be created in the run is still tried again."""
    return now - (run.began_at or run.scheduled_at) < _MAX_RUN
