"""The steps of a VolumeMove with their effects in the cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from csi_powerflex.config.operator import MoverSettings
from csi_powerflex.errors import (
    AlreadyExists,
    DriverError,
    FailedPrecondition,
    NotFound,
    PermissionDenied,
    is_final,
)
from csi_powerflex.kube.client import Client
from csi_powerflex.model.hold import Custody
from csi_powerflex.model.mover import Outcome
from csi_powerflex.operator.api import Definition
from csi_powerflex.operator.classes import SnapshotClasses
from csi_powerflex.operator.movers.job import MoverJob
from csi_powerflex.operator.movers.movers import Failed, Movers
from csi_powerflex.operator.moves import reconciler
from csi_powerflex.operator.moves.claimed import Claimed, created_again
from csi_powerflex.operator.moves.copy_volumes import Copy
from csi_powerflex.operator.moves.definition import DEFINITION, MovePlan, MoveStatus, Phase, VolumeMove
from csi_powerflex.operator.moves.reconciler import Step
from csi_powerflex.operator.objects import claims
from csi_powerflex.operator.owned import Owned, Whole
from csi_powerflex.operator.sources import Sources
from csi_powerflex.operator.windows.closing import StillAttached, Volumes, policy_of
from csi_powerflex.operator.work import NOW, UNTIL_CHANGED, Change, Clock, Happening, Save

_WAIT_SECONDS = 5.0
_SNAPSHOT_SECONDS = 1.0
_PROGRESS_SECONDS = 5.0
_KEPT_SECONDS = 60.0
_SOURCE = "/dev/source"
_TARGET = "/dev/target"
_WAITS = ("waits: ", "waits, and tries it again: ")

_Act = Callable[[VolumeMove, Save[MoveStatus]], Change[MoveStatus]]


class Moves:
    """See ``operator.work.Work``.

    Args:
        client: how to reach the cluster.
        custody: holds PersistentVolumes, and knows who uses them.
        movers: what all data movers have.
        driver_name: the driver's CSI name.
        now: the present time.
    """

    definition: Definition = DEFINITION
    kind = VolumeMove

    def __init__(
        self, client: Client, custody: Custody, movers: MoverSettings, *, driver_name: str, now: Clock
    ) -> None:
        self._client = client
        self._custody = custody
        self._movers = movers
        self._driver = driver_name
        self._now = now
        self._acts: Mapping[Step, _Act] = {
            Step.BEGIN: lambda found, _save: Change(reconciler.begun(found, now()), finalizer=True),
            Step.KEEP: lambda found, _save: Change(found.status, finalizer=True),
            Step.PLAN: self._plan,
            Step.AWAIT_APPROVAL: self._await_approval,
            Step.HOLD: self._hold,
            Step.SECURE: self._secure,
            Step.COPY: self._copy,
            Step.CLOSE: self._close,
            Step.SWAP: self._swap,
            Step.FINISH: self._finish,
            Step.AWAIT_CONFIRMATION: self._await_confirmation,
            Step.REMOVE: self._remove,
            Step.TURN_BACK: self._turn_back,
            Step.UNDO: self._undo,
            Step.LET_GO: self._let_go,
            Step.REST: lambda found, _save: Change(found.status, UNTIL_CHANGED),
        }

    def advance(self, found: VolumeMove, save: Save[MoveStatus]) -> Change[MoveStatus]:
        """See ``Work.advance``."""
        change = self._acts[reconciler.next_step(found)](found, save)
        return _with_happening(found.status, change)

    # --- before anything is done -----------------------------------------------------------------

    def _plan(self, found: VolumeMove, _save: Save[MoveStatus]) -> Change[MoveStatus]:
        try:
            plan = self._claimed(found).plan()
        except DriverError as error:
            return Change(reconciler.waiting(found, found.status, error, self._now()), _WAIT_SECONDS)
        return Change(reconciler.planned(found.status, plan, self._now()))

    def _await_approval(self, found: VolumeMove, _save: Save[MoveStatus]) -> Change[MoveStatus]:
        if not found.spec.approved:
            return Change(found.status, UNTIL_CHANGED)
        now = self._now()
        name = f"{found.metadata.namespace}/{found.metadata.name}"
        since = (found.status.started_at or now).strftime("%Y-%m-%d %H:%M:%S UTC")
        to = found.spec.storage_class_name
        hold = f"by VolumeMove {name} since {since}: the volume is moved to StorageClass {to}"
        return Change(reconciler.approved(found.status, hold, now))

    # --- what can be undone ----------------------------------------------------------------------

    def _hold(self, found: VolumeMove, _save: Save[MoveStatus]) -> Change[MoveStatus]:
        claimed = self._claimed(found)
        try:
            claimed.require_same()
            # The plan may be of days ago, and the default class or the specification another one since.
            SnapshotClasses(self._client, self._driver).require_removable(found.spec.snapshot_class)
            claimed.require_unused()
            self._custody.take(claimed.volume(), found.status.hold, instead_of="")
            # A pod may have begun to use it before the hold was there.
            claimed.require_unused()
        except DriverError as error:
            return Change(reconciler.waiting(found, found.status, error, self._now()), _WAIT_SECONDS)
        return Change(reconciler.held(found.status, self._now()))

    def _secure(self, found: VolumeMove, _save: Save[MoveStatus]) -> Change[MoveStatus]:
        sources, status, claimed = self._sources(found), found.status, self._claimed(found)
        plan = status.plan or MovePlan()
        try:
            self._require_still(claimed)
            sources.snapshot(status.temporary, found.spec.claim, found.spec.snapshot_class)
            taken = sources.taken(status.temporary)
            if not sources.opened(taken, recorded=status.content):
                return Change(reconciler.opening(status, taken.content), NOW)
            sources.claim(status.temporary, taken, plan.from_class)
            copy = self._copy_of(found).claim(list(claimed.access_modes()))
        except FailedPrecondition as error:
            return Change(reconciler.failed(status, str(error), self._now()))
        except DriverError as error:
            return Change(reconciler.waiting(found, status, error, self._now()), _SNAPSHOT_SECONDS)
        return Change(reconciler.secured(status, copy.metadata.uid, self._now()))

    def _copy(self, found: VolumeMove, _save: Save[MoveStatus]) -> Change[MoveStatus]:
        now, copy = self._now(), self._copy_of(found)
        try:
            self._require_still(self._claimed(found))
            state = self._movers_of(found).lead(self._job(found, copy))
            if isinstance(state, Outcome):
                return Change(self._copied(found, copy, state))
        except (FailedPrecondition, PermissionDenied) as error:
            return Change(reconciler.failed(found.status, str(error), now))
        except DriverError as error:
            return Change(reconciler.repeated(found.status, error, now), _WAIT_SECONDS)
        if isinstance(state, Failed):
            return Change(reconciler.failed(found.status, state.failure, now))
        return Change(reconciler.running(found.status, state, now), _PROGRESS_SECONDS)

    def _copied(self, found: VolumeMove, copy: Copy, outcome: Outcome) -> MoveStatus:
        try:
            self._sources(found).require_made(found.status.temporary)
            volume = copy.hand_over.written()
        except (FailedPrecondition, NotFound) as error:
            words = f"what was written is missing, or is not used: {error}"
            return reconciler.failed(found.status, words, self._now())
        name, policy = volume.metadata.name, policy_of(volume)
        return reconciler.copied(found.status, name, policy, outcome.message, self._now())

    def _close(self, found: VolumeMove, _save: Save[MoveStatus]) -> Change[MoveStatus]:
        try:
            self._require_still(self._claimed(found))
            done = self._end_copying(found) and self._copy_of(found).close()
        except DriverError as error:
            if isinstance(error, FailedPrecondition) and not isinstance(error, StillAttached):
                return Change(reconciler.failed(found.status, str(error), self._now()))
            return Change(reconciler.repeated(found.status, error, self._now()), _WAIT_SECONDS)
        if not done:
            text = "waits until the data mover and the first PersistentVolume of the copy are removed"
            return Change(reconciler.told(found.status, self._now(), text), _SNAPSHOT_SECONDS)
        return Change(reconciler.closed(found.status, self._now()))

    def _turn_back(self, found: VolumeMove, _save: Save[MoveStatus]) -> Change[MoveStatus]:
        return Change(reconciler.failed(found.status, "the VolumeMove was deleted", self._now()))

    def _undo(self, found: VolumeMove, _save: Save[MoveStatus]) -> Change[MoveStatus]:
        """Let Kubernetes remove what was begun, and let pods start. It waits for no node."""
        told: tuple[Happening, ...] = ()
        is_there = False
        try:
            is_there = self._claimed(found).is_there()
            self._custody.release(self._claimed(found).volume(), found.status.hold)
            self._end_copying(found)
            self._copy_of(found).hand_over.abandon()
        except DriverError as error:
            if not (found.deleting and is_final(error) and not isinstance(error, AlreadyExists)):
                return Change(reconciler.repeated(found.status, error, self._now()), _WAIT_SECONDS)
            told = (Happening("NotUndone", f"not all could be undone: {error}", warning=True),)
        undone = reconciler.undone(found.status, self._now(), is_there=is_there)
        return Change(undone, happenings=told)

    # --- what only goes forward ------------------------------------------------------------------

    def _swap(self, found: VolumeMove, save: Save[MoveStatus]) -> Change[MoveStatus]:
        status = found.status
        try:
            if not status.claim_object:
                status = self._begin_to_swap(found)
                save(status)
            done = self._claim_again(found, status)
        except DriverError as error:
            if not status.claim_object and isinstance(error, (FailedPrecondition, NotFound)):
                return Change(reconciler.failed(status, str(error), self._now()))
            return self._blocked(found, status, error)
        if not done:
            text = "waits until the claim is deleted, and bound to the new volume"
            return Change(reconciler.told(status, self._now(), text), _SNAPSHOT_SECONDS)
        return Change(reconciler.swapped(status, self._now()))

    def _begin_to_swap(self, found: VolumeMove) -> MoveStatus:
        """Look at everything once more. Both volumes stay from now on, whichever object is deleted."""
        claimed, volumes = self._claimed(found), Volumes(self._client)
        claim = claimed.require_same()
        self._require_still(claimed)
        plan = found.status.plan or MovePlan()
        volume = volumes.get(plan.persistent_volume)
        policy, copy = policy_of(volume), found.status.new_volume
        if volumes.find(copy) is None:
            raise FailedPrecondition(f"PersistentVolume {copy} of the copy was deleted")
        content = created_again(claim, found.metadata.uid, copy, plan.to_class)
        return reconciler.swapping(found.status, msgspec.json.encode(content).decode(), policy)

    def _claim_again(self, found: VolumeMove, status: MoveStatus) -> bool:
        """Delete the claim and create it again. Returns whether it is bound to the new volume."""
        claimed, volumes = self._claimed(found), Volumes(self._client)
        plan = status.plan or MovePlan()
        path, claim = claims(found.metadata.namespace), claimed.now()
        volumes.retain(status.new_volume)
        if claim is not None and claim.metadata.uid == plan.claim_uid:
            volumes.retain(plan.persistent_volume)
            if not claim.deleting:
                claimed.require_unused()
                self._client.delete(path, found.spec.claim, uid=claim.metadata.uid)
            claim = claimed.now()
            if claim is not None and claim.metadata.uid == plan.claim_uid:
                return False
        if claim is None:
            content: dict[str, Any] = msgspec.json.decode(status.claim_object)
            self._client.create(path, content)
            claim = claimed.now()
        if claim is not None and _is_bound(claim, status.new_volume):
            # Also one that a controller has created: the new volume is reserved for a claim of this name.
            return True
        if claim is None or not claimed.is_moved(claim):
            raise FailedPrecondition(
                f"claim {found.spec.claim} was created by someone else. Delete it if it has no data that you "
                "need: it is then created with the new volume"
            )
        return False

    def _blocked(self, found: VolumeMove, status: MoveStatus, error: DriverError) -> Change[MoveStatus]:
        """It waits for a person. If the object was deleted, it is not kept for that: both volumes stay."""
        made = reconciler.repeated(status, error, self._now())
        if not (found.deleting and isinstance(error, (FailedPrecondition, PermissionDenied, NotFound))):
            return Change(made, _WAIT_SECONDS)
        claimed, plan = self._claimed(found), status.plan or MovePlan()
        claim = claimed.now()
        if claim is not None and claim.metadata.uid == plan.claim_uid and not claim.deleting:
            # The reclaim policy of the old volume stays Retain: a late deletion of the claim loses nothing.
            undoable = replace(status, claim_object="")
            return Change(reconciler.failed(undoable, f"the VolumeMove was deleted: {error}", self._now()))
        self._custody.release(claimed.volume(), status.hold)
        text = (
            f"deleted before the claim was bound again: {error}. PersistentVolume {status.new_volume} has "
            f"the copy, and {plan.persistent_volume} the old data. Both are kept"
        )
        told = Happening("LeftMidway", text, warning=True)
        return Change(made, UNTIL_CHANGED, finalizer=False, happenings=(told,))

    def _finish(self, found: VolumeMove, _save: Save[MoveStatus]) -> Change[MoveStatus]:
        try:
            Volumes(self._client).set_policy(found.status.new_volume, found.status.copy_policy)
            self._custody.release(self._claimed(found).volume(), found.status.hold)
        except DriverError as error:
            return self._blocked(found, found.status, error)
        return Change(reconciler.finished(found, self._now()))

    def _await_confirmation(self, found: VolumeMove, _save: Save[MoveStatus]) -> Change[MoveStatus]:
        if reconciler.may_remove(found, self._now()):
            return Change(reconciler.removing(found.status, self._now()))
        return Change(found.status, _KEPT_SECONDS if found.spec.keep_source_seconds else UNTIL_CHANGED)

    def _remove(self, found: VolumeMove, _save: Save[MoveStatus]) -> Change[MoveStatus]:
        try:
            text = self._copy_of(found).remove_old()
        except DriverError as error:
            return Change(reconciler.repeated(found.status, error, self._now()), _WAIT_SECONDS)
        if not text:
            return Change(found.status, _WAIT_SECONDS)
        return Change(reconciler.removed(found.status, text, self._now()))

    def _let_go(self, found: VolumeMove, _save: Save[MoveStatus]) -> Change[MoveStatus]:
        told: tuple[Happening, ...] = ()
        if found.status.phase is Phase.MOVED:
            told = (_kept(found.status, "set its reclaim policy to Delete when you do not need it"),)
        if found.status.phase is Phase.REMOVING:
            try:
                self._copy_of(found).remove_old()
            except DriverError as error:
                if not is_final(error):
                    raise
                told = (_kept(found.status, str(error)),)
        return Change(found.status, UNTIL_CHANGED, finalizer=False, happenings=told)

    # --- parts of steps --------------------------------------------------------------------------

    def _owned(self, found: VolumeMove) -> Owned:
        return Owned(self._client, DEFINITION, found)

    def _sources(self, found: VolumeMove) -> Sources:
        return Sources(self._owned(found), self._driver)

    def _movers_of(self, found: VolumeMove) -> Movers:
        return Movers(self._owned(found), self._movers)

    def _claimed(self, found: VolumeMove) -> Claimed:
        return Claimed(self._client, self._custody, self._driver, found)

    def _copy_of(self, found: VolumeMove) -> Copy:
        return Copy(self._owned(found), Volumes(self._client), found)

    @staticmethod
    def _require_still(claimed: Claimed) -> None:
        """Raises FailedPrecondition: a pod uses the claim, or it is not held any more."""
        try:
            claimed.require_held()
        except NotFound as error:
            text = f"claim {claimed.found.spec.claim}, or its PersistentVolume, was deleted"
            raise FailedPrecondition(text) from error
        claimed.require_unused()

    def _end_copying(self, found: VolumeMove) -> bool:
        """Begin to remove all that only the copying needs. Returns whether the data mover is removed."""
        sources, name = self._sources(found), found.status.temporary
        if found.status.content:
            sources.shut(found.status.content)
        ended = self._movers_of(found).end(name)
        sources.discard(name)
        sources.discard_snapshot(name)
        return ended

    @staticmethod
    def _job(found: VolumeMove, copy: Copy) -> MoverJob:
        status = found.status
        plan = status.plan or MovePlan()
        return MoverJob(
            status.temporary,
            [
                "copy",
                f"--source={_SOURCE}",
                f"--source-id={plan.volume_handle}",
                f"--target={_TARGET}",
                f"--job={found.metadata.uid}",
                f"--verify={found.spec.verify}",
            ],
            devices={_SOURCE: status.temporary, _TARGET: copy.claim_name},
        )


def _kept(status: MoveStatus, why: str) -> Happening:
    plan = status.plan or MovePlan()
    text = f"the old volume stays as PersistentVolume {plan.persistent_volume}; {why}"
    return Happening("OldVolumeKept", text)


def _is_bound(claim: Whole, volume: str) -> bool:
    return claim.phase == "Bound" and claim.spec.get("volumeName") == volume


def _with_happening(before: MoveStatus, change: Change[MoveStatus]) -> Change[MoveStatus]:
    """Tell each change of the phase, and each new reason why it waits."""
    after = change.status
    waits = after.message != before.message and after.message.startswith(_WAITS)
    if after.phase is before.phase and not waits:
        return change
    told = Happening(str(after.phase), after.message, warning=after.phase in (Phase.FAILED, Phase.UNDOING))
    return Change(after, change.pause, change.finalizer, (*change.happenings, told))
