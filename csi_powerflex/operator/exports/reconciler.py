"""What to do next with a VolumeExport, and what its status is after each step. Nothing here has an effect."""

from __future__ import annotations

import datetime
import enum

from msgspec.structs import replace

from csi_powerflex.errors import DriverError
from csi_powerflex.model.mover import Outcome
from csi_powerflex.operator.api import FINALIZER, Condition, with_condition
from csi_powerflex.operator.exports.definition import ENDED, ExportStatus, Phase, VolumeExport
from csi_powerflex.operator.movers.movers import Running
from csi_powerflex.operator.sources import Taken

COMPLETE = "Complete"
"""The condition of an export that is True after success."""


class Step(enum.Enum):
    """One step."""

    BEGIN = "begin"
    KEEP = "keep"
    CHECK = "check"
    SECURE = "secure"
    EXPORT = "export"
    CLEAN = "clean"
    LET_GO = "let go"
    REST = "rest"


_BY_PHASE = {
    Phase.PENDING: Step.CHECK,
    Phase.SECURING: Step.SECURE,
    Phase.EXPORTING: Step.EXPORT,
    Phase.CLEANING: Step.CLEAN,
}


def next_step(found: VolumeExport) -> Step:
    """The next step with the object."""
    phase, kept = found.status.phase, FINALIZER in found.metadata.finalizers
    if found.deleting or phase in ENDED:
        return Step.LET_GO if kept else Step.REST
    if phase is None:
        return Step.BEGIN
    return _BY_PHASE[phase] if kept else Step.KEEP


def is_overdue(found: VolumeExport, now: datetime.datetime) -> bool:
    """Whether the export has waited as long as it may."""
    since = found.status.waiting_since or now
    return now - since >= datetime.timedelta(seconds=found.spec.timeout_seconds)


def begun(found: VolumeExport, now: datetime.datetime) -> ExportStatus:
    """The status of an export that begins now."""
    status = ExportStatus(
        phase=Phase.PENDING, started_at=now, waiting_since=now, job=f"export-{found.metadata.uid}"
    )
    return _told(status, now, "the export begins")


def checked(found: VolumeExport, storage_class: str, now: datetime.datetime) -> ExportStatus:
    """The source and the target can be used."""
    made = replace(
        found.status,
        phase=Phase.SECURING,
        snapshot=found.spec.snapshot or found.status.job,
        storage_class=storage_class,
        waiting_since=now,
    )
    return _told(made, now, "waits for a snapshot that can be read")


def waiting(found: VolumeExport, reason: DriverError, now: datetime.datetime) -> ExportStatus:
    """Something is missing. It waits, or gives up."""
    return waiting_with(found, found.status, reason, now)


def waiting_with(
    found: VolumeExport, status: ExportStatus, reason: DriverError, now: datetime.datetime
) -> ExportStatus:
    """As ``waiting``, with a status that has changed since the object was read."""
    if is_overdue(found, now):
        return failed(status, f"gave up after {found.spec.timeout_seconds} seconds: {reason}", now)
    return _told(status, now, f"waits: {reason}")


def opening(status: ExportStatus, content: str) -> ExportStatus:
    """The snapshot may be opened in block mode from now on. This is written before it is done."""
    return replace(status, content=content)


def shut(status: ExportStatus) -> ExportStatus:
    """The snapshot may not be opened in block mode any more.

    This is done once. Until the export has ended, another one of the same snapshot may have opened it again.
    """
    return replace(status, content="")


def secured(status: ExportStatus, taken: Taken, now: datetime.datetime) -> ExportStatus:
    """The source can be read."""
    made = replace(status, phase=Phase.EXPORTING, volume_bytes=taken.size)
    return _told(made, now, "the image is made")


def running(status: ExportStatus, mover: Running, now: datetime.datetime) -> ExportStatus:
    """The Job works."""
    return _told(replace(status, progress=mover.progress or status.progress), now, mover.words)


def repeated(status: ExportStatus, error: DriverError, now: datetime.datetime) -> ExportStatus:
    """A step failed in a way that may pass."""
    return _told(status, now, f"is tried again: {error}")


def exported(status: ExportStatus, outcome: Outcome, now: datetime.datetime) -> ExportStatus:
    """The Job is done."""
    made = replace(
        status, phase=Phase.CLEANING, image_bytes=outcome.written, digest=outcome.digest, progress=None
    )
    return _told(made, now, f"{outcome.message}; what was temporary is removed")


def failed(status: ExportStatus, failure: str, now: datetime.datetime) -> ExportStatus:
    """It fails. What was temporary is removed first."""
    made = replace(status, phase=Phase.CLEANING, failure=failure)
    return _told(made, now, f"fails, and removes what was temporary: {failure}")


def cleaned(status: ExportStatus, now: datetime.datetime) -> ExportStatus:
    """Nothing temporary is left: it ends."""
    done = replace(status, completed_at=now, failure="")
    if status.failure:
        return _told(replace(done, phase=Phase.FAILED), now, status.failure)
    text = f"exported {status.volume_bytes} bytes"
    return _told(replace(done, phase=Phase.SUCCEEDED), now, text)


def _told(status: ExportStatus, now: datetime.datetime, text: str) -> ExportStatus:
    """The status with a message, and the condition that follows from its phase."""
    condition = Condition(
        type=COMPLETE,
        status="True" if status.phase is Phase.SUCCEEDED else "False",
        reason=str(status.phase),
        message=text,
        last_transition_time=now,
    )
    return replace(status, message=text, conditions=with_condition(status.conditions, condition))
