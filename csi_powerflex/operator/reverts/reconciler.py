"""What to do next with a VolumeRevert, and what its status is after each step. Nothing here has an effect.

The order is that of ``operations.controller.inventory.reverting``: check, hold, take safety snapshots, look
again, overwrite, look whether a volume was mapped meanwhile, release. The status has what an earlier step has
done, so each step can be repeated by a process that knows nothing else.
"""

from __future__ import annotations

import datetime
import enum
from collections.abc import Sequence

from msgspec.structs import replace

from csi_powerflex.errors import DriverError, is_final
from csi_powerflex.operator.api import FINALIZER, Condition, with_condition
from csi_powerflex.operator.reverts.definition import ENDED, Phase, RevertMember, RevertStatus, VolumeRevert

COMPLETE = "Complete"
"""The condition of a revert that is True after success."""

_SHORTEST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 5.0, 60.0


class Step(enum.Enum):
    """One step."""

    BEGIN = "begin"
    KEEP = "keep"
    CHECK = "check"
    HOLD = "hold"
    SECURE = "secure"
    OVERWRITE = "overwrite"
    VERIFY = "verify"
    RELEASE = "release"
    LET_GO = "let go"
    REST = "rest"


_BY_PHASE = {
    Phase.PENDING: Step.CHECK,
    Phase.HOLDING: Step.HOLD,
    Phase.SECURING: Step.SECURE,
    Phase.REVERTING: Step.OVERWRITE,
    Phase.VERIFYING: Step.VERIFY,
    Phase.RELEASING: Step.RELEASE,
}


def next_step(found: VolumeRevert) -> Step:
    """The next step with the object."""
    phase, kept = found.status.phase, FINALIZER in found.metadata.finalizers
    if found.deleting:
        return Step.LET_GO if kept else Step.REST
    if phase is None:
        return Step.BEGIN
    if phase in ENDED:
        # The finalizer stays as long as there is a hold to remove.
        return Step.LET_GO if kept and not found.status.hold else Step.REST
    return _BY_PHASE[phase] if kept else Step.KEEP


def is_overdue(found: VolumeRevert, now: datetime.datetime) -> bool:
    """Whether the revert has waited as long as it may."""
    since = found.status.waiting_since or now
    return now - since >= datetime.timedelta(seconds=found.spec.timeout_seconds)


def pause_of(found: VolumeRevert, now: datetime.datetime) -> float:
    """The seconds until a check is repeated: a tenth of the time that the revert has waited, 5 to 60.

    Each check logs in to the arrays and lists the volumes of all users, and any user may create many reverts
    that wait for a day.
    """
    waited = (now - (found.status.waiting_since or now)).total_seconds()
    return min(max(_SHORTEST_PAUSE_SECONDS, waited / 10), _LONGEST_PAUSE_SECONDS)


# --- the status after a step -----------------------------------------------------------------------


def begun(now: datetime.datetime) -> RevertStatus:
    """The status of a revert that begins now."""
    status = RevertStatus(phase=Phase.PENDING, started_at=now, waiting_since=now)
    return _told(status, now, "the revert begins")


def checked(
    status: RevertStatus, members: Sequence[RevertMember], hold: str, now: datetime.datetime
) -> RevertStatus:
    """The volumes can be reverted."""
    made = replace(status, phase=Phase.HOLDING, members=tuple(members), hold=hold)
    return _told(made, now, "the volumes can be reverted; pods are kept from starting")


def waiting(found: VolumeRevert, reason: DriverError, now: datetime.datetime) -> RevertStatus:
    """It is not possible now, or this is not known. It waits, or gives up with nothing changed."""
    if is_overdue(found, now):
        return failed(found.status, f"gave up after {found.spec.timeout_seconds} seconds: {reason}", now)
    return _told(replace(found.status, phase=Phase.PENDING), now, f"waits: {reason}")


def failed(status: RevertStatus, failure: str, now: datetime.datetime) -> RevertStatus:
    """It fails, and nothing has changed. The holds are removed first if there may be any."""
    if status.hold:
        made = replace(status, phase=Phase.RELEASING, failure=failure)
        return _told(made, now, f"fails, and lets pods start again: {failure}")
    return _ended(replace(status, phase=Phase.FAILED), failure, now)


def held(status: RevertStatus, now: datetime.datetime) -> RevertStatus:
    """The PersistentVolumes are held."""
    made = replace(status, phase=Phase.SECURING, waiting_since=now)
    return _told(made, now, "pods are kept from starting; safety snapshots are taken")


def securing(status: RevertStatus, names: Sequence[str], now: datetime.datetime) -> RevertStatus:
    """The safety snapshots are going to have these names."""
    pairs = zip(status.members, names, strict=True)
    members = tuple(replace(member, safety_snapshot=name) for member, name in pairs)
    return _told(replace(status, members=members), now, "safety snapshots are taken")


def still_securing(found: VolumeRevert, missing: str, now: datetime.datetime) -> RevertStatus:
    """The safety snapshots are not there yet."""
    if is_overdue(found, now):
        return failed(found.status, f"there is no safety snapshot: {missing}", now)
    return _told(found.status, now, f"waits for a safety snapshot: {missing}")


def secured(status: RevertStatus, handles: Sequence[str], now: datetime.datetime) -> RevertStatus:
    """The safety snapshots are there."""
    pairs = zip(status.members, handles, strict=True)
    members = tuple(replace(member, safety_handle=handle) for member, handle in pairs)
    made = replace(status, phase=Phase.REVERTING, members=members)
    return _told(made, now, "the volumes are overwritten")


def attempting(status: RevertStatus) -> RevertStatus:
    """The array is told to overwrite the volumes. This is written before it is done."""
    return replace(status, attempts=status.attempts + 1)


def not_overwritten(status: RevertStatus, error: DriverError, now: datetime.datetime) -> RevertStatus:
    """An attempt, which is counted in the status, has failed.

    A first attempt that was refused has changed nothing. After an earlier attempt that may not have ended,
    this is not known. Then the volumes stay held, and a person decides.
    """
    if not is_final(error):
        return _told(status, now, f"is tried again, because the outcome is not known: {error}")
    if status.attempts == 1:
        return failed(status, str(error), now)
    return stuck(
        status, f"an earlier attempt may have reverted volumes, and another one failed: {error}", now
    )


def overwritten(status: RevertStatus, now: datetime.datetime) -> RevertStatus:
    """The volumes have the data of their snapshots."""
    return _told(replace(status, phase=Phase.VERIFYING), now, "the volumes were reverted")


def unverified(status: RevertStatus, error: DriverError, now: datetime.datetime) -> RevertStatus:
    """Whether a volume was mapped meanwhile is not known, or it was."""
    if not is_final(error):
        return _told(status, now, f"is tried again: {error}")
    return stuck(status, str(error), now)


def stuck(status: RevertStatus, failure: str, now: datetime.datetime) -> RevertStatus:
    """It fails in a way that a person has to look at. The volumes stay held."""
    where = f"The data from before are in VolumeSnapshot {safety_of(status)}"
    text = f"{failure}. {where}. The claims stay held; delete this object to let pods start again"
    return _ended(replace(status, phase=Phase.FAILED), text, now)


def verified(status: RevertStatus, now: datetime.datetime) -> RevertStatus:
    """No volume was mapped meanwhile."""
    return _told(
        replace(status, phase=Phase.RELEASING), now, "the volumes were reverted; pods may start again"
    )


def not_released(status: RevertStatus, error: DriverError, now: datetime.datetime) -> RevertStatus:
    """A hold could not be removed yet."""
    return _told(status, now, f"a hold could not be removed, which is tried again: {error}")


def released(status: RevertStatus, now: datetime.datetime) -> RevertStatus:
    """The holds were removed: it ends."""
    if status.failure:
        return _ended(replace(status, phase=Phase.FAILED, hold=""), status.failure, now)
    text = f"reverted; the data from before are in VolumeSnapshot {safety_of(status)}"
    return _ended(replace(status, phase=Phase.SUCCEEDED, hold=""), text, now)


def safety_of(status: RevertStatus) -> str:
    """The names of the safety snapshots, for messages."""
    return ", ".join(member.safety_snapshot for member in status.members if member.safety_snapshot)


def may_have_changed(status: RevertStatus) -> bool:
    """Whether the volumes may have other data than before, while the revert has not ended."""
    return status.attempts > 0 and status.phase in (Phase.REVERTING, Phase.VERIFYING, Phase.FAILED)


def _ended(status: RevertStatus, text: str, now: datetime.datetime) -> RevertStatus:
    return _told(replace(status, completed_at=now, failure=""), now, text)


def _told(status: RevertStatus, now: datetime.datetime, text: str) -> RevertStatus:
    """The status with a message, and the condition that follows from its phase."""
    done = status.phase is Phase.SUCCEEDED
    condition = Condition(
        type=COMPLETE,
        status="True" if done else "False",
        reason=str(status.phase),
        message=text,
        last_transition_time=now,
    )
    return replace(status, message=text, conditions=with_condition(status.conditions, condition))
