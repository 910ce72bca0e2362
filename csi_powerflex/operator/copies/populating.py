"""The steps of the copy for one claim, with their effects in the cluster.

A data mover reads a snapshot and writes the volume of a temporary claim. At the end the claim of the user
gets that volume. Until the stage Binding, the copy is undone if the claim does not wait any more or the
VolumeCopy is deleted. From then on it goes forward.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from msgspec.structs import replace

from csi_powerflex.config.operator import MoverSettings
from csi_powerflex.errors import AlreadyExists, DriverError, FailedPrecondition, NotFound, is_final
from csi_powerflex.model.mover import Outcome
from csi_powerflex.operator.classes import SnapshotClasses, StorageClass, StorageClasses
from csi_powerflex.operator.copies import reconciler
from csi_powerflex.operator.copies.definition import Population, Stage, VolumeCopy
from csi_powerflex.operator.movers.job import MoverJob
from csi_powerflex.operator.movers.movers import Failed, Movers
from csi_powerflex.operator.objects import claims, snapshots
from csi_powerflex.operator.owned import Owned, Whole
from csi_powerflex.operator.sources import Sources, Taken
from csi_powerflex.operator.windows.closing import StillAttached, Volumes, policy_of
from csi_powerflex.operator.windows.handover import HandOver, Successor
from csi_powerflex.operator.work import NOW, Happening, Reference

_WAIT_SECONDS = 5.0
_SOON_SECONDS = 1.0
_IDLE_SECONDS = 30.0
_SOURCE = "/dev/source"
_TARGET = "/dev/target"


@dataclass(frozen=True, slots=True)
class Led:
    """What came of a step.

    Attributes:
        entry: the claim as the status has it afterwards; None to forget it.
        pause: the seconds until the next step.
        happenings: what to tell.
        populated: the claim has got its copy.
    """

    entry: Population | None
    pause: float = NOW
    happenings: tuple[Happening, ...] = ()
    populated: bool = False


@dataclass(frozen=True, slots=True)
class Populating:
    """The copy for one claim.

    Attributes:
        owned: makes its objects.
        movers: what all data movers have.
        classes: the StorageClasses.
        driver_name: the driver's CSI name.
        found: the VolumeCopy.
        entry: the claim as the status has it.
        claim: the claim as it is now; None if it does not exist any more.
    """

    owned: Owned
    movers: MoverSettings
    classes: StorageClasses
    driver_name: str
    found: VolumeCopy
    entry: Population
    claim: Whole | None

    def lead(self) -> Led:
        """Do the next step. The same step may have been interrupted anywhere before.

        An error is in the message of the claim, and the step is repeated.
        """
        try:
            return _STEPS[self.entry.stage](self)
        except DriverError as error:
            words = f"waits: {error}"
            pause = _SOON_SECONDS if self.entry.stage is Stage.SECURING else _WAIT_SECONDS
            if words == self.entry.message:
                return Led(self.entry, pause)
            told = () if _passes_soon(error) else (self._told("CopyWaits", words, warning=True),)
            return Led(reconciler.said(self.entry, words), pause, told)

    # --- the stages ------------------------------------------------------------------------------

    def wait(self) -> Led:
        """Begin the copy, if the claim, its class and the source fit."""
        if self.claim is None or not self._is_wanted:
            return Led(None)
        name = str(self.claim.spec.get("storageClassName") or "")
        storage_class = self.classes.get(name) if name else StorageClass()
        if words := reconciler.unsuitable(self.claim, storage_class, self.driver_name):
            raise FailedPrecondition(words)
        if storage_class.waits and reconciler.SELECTED_NODE not in self.claim.metadata.annotations:
            words = f"waits for a pod that uses the claim: StorageClass {name} has WaitForFirstConsumer"
            return Led(reconciler.said(self.entry, words), _WAIT_SECONDS)
        spec = self.found.spec
        source = self._sources.look(
            spec.claim, spec.snapshot, storage_class=spec.source_class, field="sourceClass"
        )
        if words := reconciler.does_not_fit(self.claim, source):
            raise FailedPrecondition(words)
        if spec.claim:
            SnapshotClasses(self.owned.client, self.driver_name).require_removable(spec.snapshot_class)
        begins = self._told("CopyBegins", "a full copy is made; this may take a while")
        return Led(reconciler.begun(self.entry, self.found, source), happenings=(begins,))

    def secure(self) -> Led:
        """Take the snapshot, and make the temporary claims."""
        if self.claim is None or not self._is_wanted:
            return Led(reconciler.undoing(self.entry, ""))
        return Led(self._secured(self.claim))

    def _secured(self, claim: Whole) -> Population:
        """Make what the data mover needs, as far as it does not exist."""
        sources, entry, spec = self._sources, self.entry, self.found.spec
        if spec.claim:
            sources.snapshot(entry.snapshot, spec.claim, spec.snapshot_class)
        taken = sources.taken(entry.snapshot)
        if not sources.opened(taken, recorded=entry.content):
            return replace(entry, content=taken.content)
        if self._needs_another_source(taken):
            # Written before there is a claim of it: the Job for the earlier snapshot must not read this one.
            self._mover.end(self._temporary)
            return replace(entry, source_id=taken.handle)
        sources.claim(self._temporary, taken, entry.source_class)
        target = self.owned.ensure(claims(self.owned.namespace), reconciler.target_of(entry, claim))
        if entry.target_uid not in ("", target.metadata.uid):
            # The mover may have ended with the earlier target, and this one is empty.
            self._mover.end(self._temporary)
        return reconciler.secured(entry, entry.source_id or taken.handle, target.metadata.uid)

    def _needs_another_source(self, taken: Taken) -> bool:
        """Whether the snapshot and the claim that the Job reads were both deleted."""
        path = claims(self.owned.namespace)
        is_other = self.entry.source_id not in ("", taken.handle)
        return is_other and self.owned.find(path, self._temporary) is None

    def copy(self) -> Led:
        """Let the data mover copy, and look at it."""
        if self.claim is None or not self._is_wanted:
            return Led(reconciler.undoing(self.entry, ""))
        state = self._mover.lead(self._job)
        if isinstance(state, Outcome):
            return self._copied(self.claim, state)
        if isinstance(state, Failed):
            return self._failed(state.failure)
        if state.progress is not None:
            entry = replace(self.entry, progress=state.progress)
            return Led(reconciler.said(entry, state.words), _WAIT_SECONDS)
        # As long as nothing is copied, something that the pod needs may be missing.
        secured = self._secured(self.claim)
        pause = NOW if secured != self.entry else _WAIT_SECONDS
        return Led(reconciler.said(secured, state.words), pause)

    def _copied(self, claim: Whole, outcome: Outcome) -> Led:
        try:
            self._sources.require_made(self._temporary)
            volume = self._hand_over.written()
        except (FailedPrecondition, NotFound) as error:
            return self._failed(f"what was written is not used: {error}")
        name, policy = volume.metadata.name, policy_of(volume)
        return Led(reconciler.copied(self.entry, claim, name, policy, outcome.message))

    def close(self) -> Led:
        """End the data mover, and remove the temporary claim and its PersistentVolume in block mode."""
        if self.claim is None or not self._is_wanted:
            return Led(reconciler.undoing(self.entry, ""))
        if self.entry.content:
            return self._shut()
        if not self._end_copying():
            return Led(reconciler.said(self.entry, "waits until the data mover has ended"), _SOON_SECONDS)
        storage_class = str(self.claim.spec.get("storageClassName") or "")
        filesystem = self.entry.filesystem or self.classes.filesystem(storage_class)
        try:
            done = self._hand_over.close(Successor(filesystem, storage_class))
        except StillAttached:
            raise
        except FailedPrecondition as error:
            return self._failed(str(error))
        if not done:
            words = "waits until the temporary claim and its PersistentVolume are removed"
            return Led(reconciler.said(self.entry, words), _SOON_SECONDS)
        return Led(reconciler.closed(self.entry))

    def bind(self) -> Led:
        """Give the claim its volume. It is not undone any more once the claim has it."""
        try:
            given = self._give()
        except NotFound as error:
            if self._is_wanted:
                return self._failed(f"the volume with the copy is missing: {error}")
            given = False
        except FailedPrecondition:
            if self._is_wanted:
                raise
            given = False
        if not given:
            return Led(reconciler.undoing(self.entry, ""))
        if not self._is_bound and self._is_wanted:
            words = "waits until Kubernetes has bound the claim"
            return Led(reconciler.said(self.entry, words), _SOON_SECONDS)
        return self._finish()

    @property
    def _is_bound(self) -> bool:
        return self.claim is not None and self.claim.spec.get("volumeName") == self.entry.final

    def _give(self) -> bool:
        """Returns whether the claim has the volume: no, if it did not have it and does not wait any more.

        It also gets it if the VolumeCopy is being deleted, because all is copied.
        """
        if self._hand_over.is_given(self.entry.uid):
            return True
        if self.claim is None or not reconciler.is_waiting(self.claim):
            return False
        self._hand_over.give(self.claim)
        return True

    def _finish(self) -> Led:
        """Set the reclaim policy, also if the claim was deleted since, and remove what is left."""
        final = self.entry.final
        Volumes(self.owned.client).set_policy(final, self.entry.reclaim_policy)
        removed = self._end_copying() and self._removed()
        if not removed and not self.found.deleting:
            words = "waits until what was temporary is removed"
            return Led(reconciler.said(self.entry, words), _SOON_SECONDS)
        if self._is_bound or reconciler.is_waiting(self.claim):
            told = self._told("Populated", f"claim {self.entry.claim} has its copy, PersistentVolume {final}")
            return Led(None, happenings=(told,), populated=True)
        return Led(None, happenings=(self._dropped,))

    def undo(self) -> Led:
        """Let Kubernetes remove what was begun. A VolumeCopy that was deleted does not wait for it."""
        told: tuple[Happening, ...] = ()
        ended = False
        try:
            if self.entry.content:
                return self._shut()
            stopped = self._end_copying()
            self._hand_over.abandon()
            ended = self._removed() and stopped
        except DriverError as error:
            if not (self.found.deleting and is_final(error) and not isinstance(error, AlreadyExists)):
                raise
            told = (self._told("NotUndone", f"not all could be undone: {error}", warning=True),)
        if not ended and not self.found.deleting:
            return Led(self.entry, _SOON_SECONDS)
        if self.entry.failure and self._is_wanted:
            return Led(reconciler.failed(self.entry))
        return Led(None, happenings=(*told, self._dropped))

    def rest(self) -> Led:
        """The copy has failed. It is not begun again for the same claim."""
        return Led(self.entry if self._is_wanted else None, _IDLE_SECONDS)

    # --- parts of steps --------------------------------------------------------------------------

    @property
    def _is_wanted(self) -> bool:
        """Whether the claim waits for a copy, and the VolumeCopy is not being deleted."""
        return reconciler.is_waiting(self.claim) and not self.found.deleting

    @property
    def _temporary(self) -> str:
        return reconciler.temporary(self.entry.uid)

    @property
    def _sources(self) -> Sources:
        return Sources(self.owned, self.driver_name)

    @property
    def _mover(self) -> Movers:
        return Movers(self.owned, self.movers)

    @property
    def _hand_over(self) -> HandOver:
        return HandOver(
            self.owned,
            Volumes(self.owned.client),
            reconciler.target(self.entry.uid),
            temporary_uid=self.entry.target_uid,
            first=self.entry.written,
            final=self.entry.final,
        )

    @property
    def _job(self) -> MoverJob:
        return MoverJob(
            self._temporary,
            [
                "copy",
                f"--source={_SOURCE}",
                f"--source-id={self.entry.source_id}",
                f"--target={_TARGET}",
                f"--job={self.entry.uid}",
                f"--verify={self.found.spec.verify}",
            ],
            devices={_SOURCE: self._temporary, _TARGET: reconciler.target(self.entry.uid)},
        )

    def _shut(self) -> Led:
        """Let the snapshot not be opened in block mode any more.

        This is a step of its own, which is done once. Later, another copy of the same snapshot may have
        opened it again.
        """
        self._sources.shut(self.entry.content)
        return Led(replace(self.entry, content=""), NOW)

    def _end_copying(self) -> bool:
        """Begin to remove all that only the copying needs. Returns whether the data mover is removed."""
        ended = self._mover.end(self._temporary)
        self._sources.discard(self._temporary)
        # A snapshot of a user has another name, and no label.
        self._sources.discard_snapshot(self._temporary)
        return ended

    def _removed(self) -> bool:
        """Whether the temporary claims and the temporary snapshot do not exist any more."""
        path = claims(self.owned.namespace)
        names = ((path, self._temporary), (path, reconciler.target(self.entry.uid)))
        found = [self.owned.remove(*item) for item in names]
        return self.owned.remove(snapshots(self.owned.namespace), self._temporary) and all(found)

    def _failed(self, failure: str) -> Led:
        told = self._told("CopyFailed", failure, warning=True)
        return Led(reconciler.undoing(self.entry, failure), happenings=(told,))

    @property
    def _dropped(self) -> Happening:
        if not self.entry.claim:
            return self._told("LateRemoved", "what a process of the operator has made too late is removed")
        return self._told("CopyDropped", f"claim {self.entry.claim} gets no copy; what was begun is removed")

    def _told(self, reason: str, text: str, *, warning: bool = False) -> Happening:
        """An Event about the VolumeCopy, and about the claim if it exists."""
        claim = Reference("v1", "PersistentVolumeClaim", self.entry.claim, self.entry.uid)
        also = None if self.claim is None else claim
        return Happening(reason, text, warning=warning, also=also)


def _passes_soon(error: DriverError) -> bool:
    """Whether it is usual that the step has to be repeated, such as for a snapshot that is not ready yet."""
    return isinstance(error, NotFound) or not is_final(error)


_STEPS: Mapping[Stage, Callable[[Populating], Led]] = {
    Stage.WAITING: Populating.wait,
    Stage.SECURING: Populating.secure,
    Stage.COPYING: Populating.copy,
    Stage.CLOSING: Populating.close,
    Stage.BINDING: Populating.bind,
    Stage.UNDOING: Populating.undo,
    Stage.FAILED: Populating.rest,
}
