"""The steps of a VolumeImage with their effects in the cluster. It needs no array."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence

from msgspec.structs import replace

from csi_powerflex.config.operator import MoverSettings
from csi_powerflex.errors import DriverError, FailedPrecondition, NotFound, PermissionDenied, is_final
from csi_powerflex.kube.client import Client
from csi_powerflex.observability.log import Log
from csi_powerflex.operator.api import FINALIZER, Definition
from csi_powerflex.operator.images import reconciler
from csi_powerflex.operator.images.clones import Clones
from csi_powerflex.operator.images.definition import (
    DEFINITION,
    CachedCopy,
    ImageStatus,
    Stage,
    VolumeImage,
    WaitingClaim,
)
from csi_powerflex.operator.images.making import Making
from csi_powerflex.operator.images.objects import IMAGE_LABEL
from csi_powerflex.operator.images.reconciler import Place
from csi_powerflex.operator.images.waiting import FOR_POD, Waiting
from csi_powerflex.operator.movers.movers import Failed, Running
from csi_powerflex.operator.objects import snapshots
from csi_powerflex.operator.owned import Whole
from csi_powerflex.operator.work import NOW, UNTIL_CHANGED, Change, Clock, Happening, Reference, Save

log = Log(__name__)

_WAIT_SECONDS = 1.0
_PROGRESS_SECONDS = 5.0
_LOOK_SECONDS = 60.0
"""A claim that appears begins a round. This is for one whose event was lost, and for what time changes."""

_Act = Callable[[Making, CachedCopy, ImageStatus], tuple[CachedCopy | None, ImageStatus]]


class Images:
    """See ``operator.work.Work``.

    Args:
        client: how to reach the cluster.
        movers: what all data movers have.
        driver_name: the driver's CSI name.
        namespace: the operator's namespace, where the cached copies are.
        now: the present time.
    """

    definition: Definition = DEFINITION
    kind = VolumeImage

    def __init__(
        self, client: Client, movers: MoverSettings, *, driver_name: str, namespace: str, now: Clock
    ) -> None:
        self._client = client
        self._movers = movers
        self._driver = driver_name
        self._namespace = namespace
        self._now = now
        self._waiting = Waiting(client, driver_name)
        self._acts: Mapping[Stage, _Act] = {
            Stage.IMPORTING: self._import,
            Stage.CACHING: self._cache,
            Stage.CLEANING: self._clean,
            Stage.READY: lambda _making, item, status: (item, status),
            Stage.FAILED: self._recover,
            Stage.RETIRED: self._remove,
        }

    def advance(self, found: VolumeImage, _save: Save[ImageStatus]) -> Change[ImageStatus]:
        """See ``Work.advance``."""
        if FINALIZER not in found.metadata.finalizers:
            if found.deleting:
                return Change(found.status, UNTIL_CHANGED)
            return Change(found.status, finalizer=True)
        if found.deleting:
            return self._end(found)
        try:
            ahead, problems = self._waiting.ahead(found)
            status = self._planned(found, ahead)
        except PermissionDenied as error:
            # Another error may pass. This one stays until someone reads it.
            status = reconciler.told(found, found.status, self._now(), [str(error)])
            return Change(status, _PROGRESS_SECONDS)
        told: Sequence[Happening] = ()
        if _course(status) == _course(found.status):
            status, told = self._lead(_with(found, status))
        # Else it is written before anything is done for it.
        return self._change(found, status, told, problems)

    # --- what is wanted --------------------------------------------------------------------------

    def _planned(self, found: VolumeImage, ahead: Sequence[Place]) -> ImageStatus:
        """The status with the claims that have come, and the copies that are needed."""
        status = replace(found.status, claims=self._waiting.claims(found))
        clones: dict[str, set[str]] = {}
        if status.copies:
            status = replace(status, copies=self._still_there(found))
            clones = self._clones(found).living()
        primes: set[str] = set()
        if len(status.claims) > reconciler.MOST_CLAIMS:
            primes = self._clones(found).begun()
        return reconciler.planned(_with(found, status), ahead, clones, self._now(), primes)

    def _still_there(self, found: VolumeImage) -> tuple[CachedCopy, ...]:
        """The copies; one that someone has removed cannot be used any more."""
        labels = f"{IMAGE_LABEL}={found.metadata.uid}"
        items = self._client.list(snapshots(self._namespace), Whole, labels=labels).items
        there = {item.metadata.name for item in items if item.metadata.deletion_timestamp is None}
        return tuple(
            replace(item, stage=Stage.RETIRED, message="its VolumeSnapshot was removed")
            if item.stage is Stage.READY and item.name not in there
            else item
            for item in found.status.copies
        )

    # --- one step for each copy and claim --------------------------------------------------------

    def _lead(self, found: VolumeImage) -> tuple[ImageStatus, Sequence[Happening]]:
        status = self._lead_copies(found, found.status)
        clones, left, told = self._clones(found), [], []
        populated = status.populated
        # One whose step fails does not stop the others.
        for entry in status.claims:
            try:
                led = clones.lead(entry)
            except DriverError as error:
                left.append(replace(entry, message=str(error)))
                continue
            log.debug("clone step done", claim=entry.claim, step=led.step.value)
            if led.claim is not None:
                left.append(led.claim)
            elif led.delivered:
                populated += 1
                text = f"claim {entry.claim} has a clone of {entry.copy}"
                told.append(Happening("Populated", text, also=_reference(entry)))
        return replace(status, claims=tuple(left), populated=populated), told

    def _lead_copies(self, found: VolumeImage, status: ImageStatus) -> ImageStatus:
        """One step for each copy. One whose step fails does not stop the others."""
        making, left = self._making(found), []
        for item in status.copies:
            try:
                after, status = self._acts[item.stage](making, item, status)
            except DriverError as error:
                after = reconciler.waiting(item, f"waits: {error}")
            if after is not None:
                left.append(after)
        return replace(status, copies=tuple(left))

    def _import(
        self, making: Making, item: CachedCopy, status: ImageStatus
    ) -> tuple[CachedCopy | None, ImageStatus]:
        try:
            state = making.imported(item)
        except (FailedPrecondition, PermissionDenied) as error:
            return self._failed(item, str(error)), status
        if isinstance(state, Running):
            return reconciler.running(item, state), status
        if isinstance(state, Failed):
            return self._failed(item, state.failure), status
        if status.digest not in ("", state.digest):
            # Its Job was made before the first import had ended, so the mover did not know the digest.
            failure = f"the image has the digest {state.digest}, and an earlier import had {status.digest}"
            return self._failed(item, f"{failure}; if the image was changed, change checksum"), status
        return reconciler.imported(item, state), reconciler.known(status, state)

    def _cache(
        self, making: Making, item: CachedCopy, status: ImageStatus
    ) -> tuple[CachedCopy | None, ImageStatus]:
        try:
            taken = making.cached(item)
        except (FailedPrecondition, PermissionDenied) as error:
            return self._failed(item, str(error)), status
        if taken is None:
            return reconciler.waiting(item, "waits for the snapshot of the image"), status
        return reconciler.secured(item, taken), status

    def _clean(
        self, making: Making, item: CachedCopy, status: ImageStatus
    ) -> tuple[CachedCopy | None, ImageStatus]:
        try:
            done = making.cleaned(item)
        except NotFound:
            return self._failed(item, "the VolumeSnapshot of the copy was removed"), status
        return reconciler.ready(item, self._now()) if done else item, status

    def _recover(
        self, making: Making, item: CachedCopy, status: ImageStatus
    ) -> tuple[CachedCopy | None, ImageStatus]:
        if making.removed(item) and reconciler.may_retry(item, self._now()):
            return reconciler.retried(item), status
        return item, status

    def _remove(
        self, making: Making, item: CachedCopy, status: ImageStatus
    ) -> tuple[CachedCopy | None, ImageStatus]:
        return None if making.removed(item) else item, status

    def _failed(self, item: CachedCopy, failure: str) -> CachedCopy:
        return reconciler.failed(item, failure, self._now())

    # --- the end ---------------------------------------------------------------------------------

    def _end(self, found: VolumeImage) -> Change[ImageStatus]:
        """Begin to remove all that was made. Kubernetes ends it, also if the driver does not work.

        Clones that are under way are taken back, or given to their claims. Nothing is waited for, so the
        object does not stay.
        """
        clones, making = self._clones(found), self._making(found)
        told: list[Happening] = []
        for entry in found.status.claims:
            with self._telling(told):
                clones.lead(entry)
        for item in found.status.copies:
            with self._telling(told):
                making.removed(item)
        with self._telling(told):
            clones.sweep()
        status = reconciler.told(found, found.status, self._now())
        return Change(status, UNTIL_CHANGED, finalizer=False, happenings=tuple(told))

    @contextlib.contextmanager
    def _telling(self, told: list[Happening]) -> Iterator[None]:
        """Tell an error that stays. Raises DriverError: another one, after which the round is repeated."""
        try:
            yield
        except DriverError as error:
            if not is_final(error):
                raise
            text = f"the operator cannot remove all: {error}"
            told.append(Happening("LeftToKubernetes", text, warning=True))

    # --- parts -----------------------------------------------------------------------------------

    def _change(
        self,
        found: VolumeImage,
        status: ImageStatus,
        told: Sequence[Happening],
        problems: Sequence[str] = (),
    ) -> Change[ImageStatus]:
        before = found.status
        status = reconciler.told(found, status, self._now(), problems)
        return Change(status, _pause(before, status), happenings=(*told, *_happenings(before, status)))

    def _making(self, found: VolumeImage) -> Making:
        return Making(self._client, self._movers, self._driver, self._namespace, found)

    def _clones(self, found: VolumeImage) -> Clones:
        return Clones(self._client, self._namespace, found)


def _with(found: VolumeImage, status: ImageStatus) -> VolumeImage:
    return replace(found, status=status)


def _pause(before: ImageStatus, after: ImageStatus) -> float:
    """Shorter while something changes."""
    if _course(before) != _course(after):
        return NOW
    stages = {item.stage for item in after.copies}
    if any(claim.copy for claim in after.claims) or stages & {Stage.CACHING, Stage.CLEANING, Stage.RETIRED}:
        return _WAIT_SECONDS
    return _PROGRESS_SECONDS if stages & {Stage.IMPORTING, Stage.FAILED} else _LOOK_SECONDS


def _course(status: ImageStatus) -> object:
    """What changes when a step was done. Progress and messages change by themselves."""
    return (
        [(item.name, item.stage) for item in status.copies],
        [(claim.uid, claim.copy, claim.volume) for claim in status.claims],
    )


def _happenings(before: ImageStatus, after: ImageStatus) -> Sequence[Happening]:
    """Each new stage of a copy, and each new reason why a claim gets no clone."""
    stages = {item.name: item.stage for item in before.copies}
    told = []
    for item in after.copies:
        if stages.get(item.name) is not item.stage:
            where = f"{item.name} ({item.pool})"
            text = f"{where}: {item.message}" if item.message else f"{where} can be cloned"
            told.append(Happening(f"Copy{item.stage.value}", text, warning=item.stage is Stage.FAILED))
    known = {claim.uid: claim for claim in before.claims}
    for claim in after.claims:
        earlier = known.get(claim.uid)
        if earlier is not None and earlier.message == claim.message:
            continue
        text, also = f"claim {claim.claim}: {claim.message}", _reference(claim)
        if not claim.pool:
            misfits = not claim.message.startswith(FOR_POD)
            told.append(Happening("ClaimWaits", text, warning=misfits, also=also))
        elif claim.message.startswith("it asks for"):
            told.append(Happening("ClaimTooSmall", text, warning=True, also=also))
        elif earlier is None or not earlier.pool:
            told.append(Happening("ClaimWaits", text, also=also))
    return told


def _reference(claim: WaitingClaim) -> Reference:
    return Reference("v1", "PersistentVolumeClaim", claim.claim, claim.uid)
