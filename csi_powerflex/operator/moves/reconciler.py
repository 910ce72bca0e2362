"""What to do next with a VolumeMove, and what its status is after each step. Nothing here has an effect.

Until ``status.claim_object`` is written, the claim is as it was, and a failure or the deletion of the object
undoes what was begun. From then on the move only goes forward. Both volumes are retained then.
"""

from __future__ import annotations

import datetime
import enum

from msgspec.structs import replace

from csi_powerflex.errors import DriverError
from csi_powerflex.operator.api import FINALIZER, Condition, with_condition
from csi_powerflex.operator.movers.movers import Running
from csi_powerflex.operator.moves.definition import ENDED, MovePlan, MoveStatus, Phase, VolumeMove

COMPLETE = "Complete"
"""The condition of a move that is True after success, with nothing left to do."""
MOVED = "Moved"
"""The condition of a move that is True once the claim has the new volume."""


class Step(enum.Enum):
    """One step."""

    BEGIN = "begin"
    KEEP = "keep"
    PLAN = "plan"
    AWAIT_APPROVAL = "await approval"
    HOLD = "hold"
    SECURE = "secure"
    COPY = "copy"
    CLOSE = "close"
    SWAP = "swap"
    FINISH = "finish"
    AWAIT_CONFIRMATION = "await confirmation"
    REMOVE = "remove"
    TURN_BACK = "turn back"
    UNDO = "undo"
    LET_GO = "let go"
    REST = "rest"


_BY_PHASE = {
    Phase.PENDING: Step.PLAN,
    Phase.PLANNED: Step.AWAIT_APPROVAL,
    Phase.HOLDING: Step.HOLD,
    Phase.SECURING: Step.SECURE,
    Phase.COPYING: Step.COPY,
    Phase.CLOSING: Step.CLOSE,
    Phase.SWAPPING: Step.SWAP,
    Phase.FINISHING: Step.FINISH,
    Phase.MOVED: Step.AWAIT_CONFIRMATION,
    Phase.REMOVING: Step.REMOVE,
    Phase.UNDOING: Step.UNDO,
}
_BEFORE_ANYTHING = (None, Phase.PENDING, Phase.PLANNED)
_UNDOABLE = (Phase.HOLDING, Phase.SECURING, Phase.COPYING, Phase.CLOSING, Phase.SWAPPING)
_AFTERWARDS = (Phase.MOVED, Phase.REMOVING, *ENDED)


def next_step(found: VolumeMove) -> Step:
    """The next step with the object."""
    phase, kept = found.status.phase, FINALIZER in found.metadata.finalizers
    if phase in ENDED or (found.deleting and phase in (*_BEFORE_ANYTHING, *_AFTERWARDS)):
        return Step.LET_GO if kept else Step.REST
    if found.deleting and phase in _UNDOABLE and not found.status.claim_object:
        return Step.TURN_BACK
    if phase is None:
        return Step.BEGIN
    return _BY_PHASE[phase] if kept else Step.KEEP


def is_overdue(found: VolumeMove, now: datetime.datetime) -> bool:
    """Whether the move has waited as long as it may."""
    since = found.status.waiting_since or now
    return now - since >= datetime.timedelta(seconds=found.spec.timeout_seconds)


def may_remove(found: VolumeMove, now: datetime.datetime) -> bool:
    """Whether the old volume is not kept any longer."""
    if found.spec.confirmed:
        return True
    kept = datetime.timedelta(seconds=found.spec.keep_source_seconds)
    return bool(kept) and found.status.moved_at is not None and now - found.status.moved_at >= kept


# --- the status after a step -----------------------------------------------------------------------


def begun(found: VolumeMove, now: datetime.datetime) -> MoveStatus:
    """The status of a move that begins now."""
    status = MoveStatus(
        phase=Phase.PENDING, started_at=now, waiting_since=now, temporary=f"move-{found.metadata.uid}"
    )
    return told(status, now, "makes a plan")


def planned(status: MoveStatus, plan: MovePlan, now: datetime.datetime) -> MoveStatus:
    """There is a plan."""
    made = replace(status, phase=Phase.PLANNED, plan=plan)
    return told(made, now, "read status.plan, and set spec.approved to true; until then nothing is done")


def approved(status: MoveStatus, hold: str, now: datetime.datetime) -> MoveStatus:
    """The plan was approved. The hold is written before it is set."""
    made = replace(status, phase=Phase.HOLDING, waiting_since=now, hold=hold)
    return told(made, now, "waits until no pod uses the claim")


def waiting(found: VolumeMove, status: MoveStatus, reason: DriverError, now: datetime.datetime) -> MoveStatus:
    """It is not possible now, or something is missing. It waits, or gives up with nothing changed."""
    if is_overdue(found, now):
        return failed(status, f"gave up after {found.spec.timeout_seconds} seconds: {reason}", now)
    return told(status, now, f"waits: {reason}")


def repeated(status: MoveStatus, error: DriverError, now: datetime.datetime) -> MoveStatus:
    """A step that has to be done failed. It is tried again."""
    return told(status, now, f"waits, and tries it again: {error}")


def held(status: MoveStatus, now: datetime.datetime) -> MoveStatus:
    """No pod can begin to use the claim."""
    made = replace(status, phase=Phase.SECURING, waiting_since=now)
    return told(made, now, "pods are kept from starting; a snapshot is taken")


def opening(status: MoveStatus, content: str) -> MoveStatus:
    """The snapshot may be opened in block mode from now on. This is written before it is done."""
    return replace(status, content=content)


def secured(status: MoveStatus, copy_claim_uid: str, now: datetime.datetime) -> MoveStatus:
    """The source can be read, and the claim of the copy exists."""
    made = replace(status, phase=Phase.COPYING, copy_claim_uid=copy_claim_uid)
    return told(made, now, "the data are copied")


def running(status: MoveStatus, mover: Running, now: datetime.datetime) -> MoveStatus:
    """The copy is under way."""
    return told(replace(status, progress=mover.progress or status.progress), now, mover.words)


def copied(status: MoveStatus, volume: str, policy: str, words: str, now: datetime.datetime) -> MoveStatus:
    """The copy is done. ``volume`` is its PersistentVolume in block mode, with its reclaim policy."""
    block = status.plan is not None and status.plan.volume_mode == "Block"
    made = replace(
        status,
        phase=Phase.CLOSING,
        progress=None,
        copy_volume=volume,
        copy_policy=policy,
        new_volume=volume if block else status.temporary,
    )
    return told(made, now, f"{words}; the data mover ends, and the copy gets its PersistentVolume")


def closed(status: MoveStatus, now: datetime.datetime) -> MoveStatus:
    """Only the PersistentVolume for the claim is left of the copy, and no node has it attached."""
    made = replace(status, phase=Phase.SWAPPING, content="")
    return told(made, now, "the claim is deleted and created again with the new volume")


def swapping(status: MoveStatus, claim_object: str, policy: str) -> MoveStatus:
    """From now on the move only goes forward. This is written before the claim is deleted."""
    return replace(status, claim_object=claim_object, source_policy=policy)


def swapped(status: MoveStatus, now: datetime.datetime) -> MoveStatus:
    """The claim is bound to the new volume."""
    return told(replace(status, phase=Phase.FINISHING), now, "the claim has the new volume")


def finished(found: VolumeMove, now: datetime.datetime) -> MoveStatus:
    """The claim can be used."""
    status, plan = found.status, found.status.plan or MovePlan()
    seconds = found.spec.keep_source_seconds
    until = f" or {seconds} seconds are over" if seconds else ""
    text = (
        f"moved; pods may start again. The old volume is kept as PersistentVolume {plan.persistent_volume} "
        f"until spec.confirmed is true{until}"
    )
    made = replace(status, phase=Phase.MOVED, hold="", moved_at=now)
    return told(made, now, text)


def removing(status: MoveStatus, now: datetime.datetime) -> MoveStatus:
    """The old volume is not kept any longer."""
    return told(replace(status, phase=Phase.REMOVING), now, "the old volume is removed")


def removed(status: MoveStatus, text: str, now: datetime.datetime) -> MoveStatus:
    """Nothing is left to do."""
    return told(replace(status, phase=Phase.SUCCEEDED, completed_at=now), now, text)


def failed(status: MoveStatus, failure: str, now: datetime.datetime) -> MoveStatus:
    """It fails, and the claim is as it was. What was begun is undone first."""
    if status.phase in _BEFORE_ANYTHING:
        return told(replace(status, phase=Phase.FAILED, completed_at=now), now, failure)
    made = replace(status, phase=Phase.UNDOING, failure=failure, progress=None)
    return told(made, now, f"fails, and undoes what was begun: {failure}")


def undone(status: MoveStatus, now: datetime.datetime, *, is_there: bool) -> MoveStatus:
    """What was begun is removed. If the claim was not deleted by someone, it can be used as before."""
    made = replace(status, phase=Phase.FAILED, completed_at=now, hold="", content="", failure="")
    then = "The claim has its old volume, and pods may use it" if is_there else "What was begun was removed"
    return told(made, now, f"{status.failure}. {then}")


def told(status: MoveStatus, now: datetime.datetime, text: str) -> MoveStatus:
    """The status with a message, and the conditions that follow from it."""
    facts = {COMPLETE: status.phase is Phase.SUCCEEDED, MOVED: status.moved_at is not None}
    conditions = status.conditions
    for kind, holds in facts.items():
        condition = Condition(
            type=kind,
            status="True" if holds else "False",
            reason=str(status.phase),
            message=text,
            last_transition_time=now,
        )
        conditions = with_condition(conditions, condition)
    return replace(status, message=text, conditions=conditions)
