"""The steps of a VolumeRevert with their effects, in the cluster and on the array."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager

from csi_powerflex.errors import AlreadyExists, DriverError, FailedPrecondition, NotFound, is_final
from csi_powerflex.kube.client import Client
from csi_powerflex.model.cluster import PersistentVolume
from csi_powerflex.model.hold import Custody
from csi_powerflex.observability.log import Log
from csi_powerflex.operations.controller.inventory import reverting
from csi_powerflex.operations.controller.inventory.reading import Reader
from csi_powerflex.operations.controller.inventory.reverting import Member, RevertPlan
from csi_powerflex.operator.api import GROUP, Definition
from csi_powerflex.operator.objects import SNAPSHOT_GROUP, Snapshot, snapshots
from csi_powerflex.operator.reverts import reconciler
from csi_powerflex.operator.reverts.definition import (
    DEFINITION,
    ENDED,
    Phase,
    RevertMember,
    RevertStatus,
    VolumeRevert,
)
from csi_powerflex.operator.reverts.reconciler import Step
from csi_powerflex.operator.reverts.targets import Targets
from csi_powerflex.operator.work import NOW, UNTIL_CHANGED, Change, Clock, Happening, Save

log = Log(__name__)

REVERT_LABEL = f"{GROUP}/volume-revert"
"""On a safety snapshot: the UID of the VolumeRevert that it was taken for."""

_SNAPSHOT_SECONDS = 1.0
_AGAIN_SECONDS = 10.0
# Names of objects have at most 253 characters.
_MAX_CLAIM_CHARACTERS = 200
_REMEDY = "The operator tries it again"

Opened = Callable[[], AbstractContextManager[Reader]]
"""A reader of the arrays and the cluster, as they are at the beginning of the block."""

_Act = Callable[[VolumeRevert, Save[RevertStatus]], Change[RevertStatus]]


class Reverts:
    """See ``operator.work.Work``.

    Args:
        client: how to reach the cluster.
        opened: opens the arrays for a step.
        custody: holds PersistentVolumes.
        driver_name: the driver's CSI name.
        now: the present time.
    """

    definition: Definition = DEFINITION
    kind = VolumeRevert

    def __init__(
        self, client: Client, opened: Opened, custody: Custody, *, driver_name: str, now: Clock
    ) -> None:
        self._client = client
        self._opened = opened
        self._custody = custody
        self._driver = driver_name
        self._now = now
        self._acts: Mapping[Step, _Act] = {
            Step.BEGIN: lambda _found, _save: Change(reconciler.begun(now()), finalizer=True),
            Step.KEEP: lambda found, _save: Change(found.status, finalizer=True),
            Step.CHECK: self._check,
            Step.HOLD: self._hold,
            Step.SECURE: self._secure,
            Step.OVERWRITE: self._overwrite,
            Step.VERIFY: self._verify,
            Step.RELEASE: self._release,
            Step.LET_GO: self._let_go,
            Step.REST: lambda found, _save: Change(found.status, UNTIL_CHANGED),
        }

    def advance(self, found: VolumeRevert, save: Save[RevertStatus]) -> Change[RevertStatus]:
        """See ``Work.advance``."""
        change = self._acts[reconciler.next_step(found)](found, save)
        return _with_happening(found.status, change)

    # --- the steps -------------------------------------------------------------------------------

    def _check(self, found: VolumeRevert, _save: Save[RevertStatus]) -> Change[RevertStatus]:
        try:
            with self._opened() as reader:
                _require_known(reader)
                members = Targets(self._client, reader.cluster, self._driver).of(found)
                if found.status.members not in ((), members):
                    # A name has become that of another object since. What was held for the earlier is let go.
                    self._release_holds(found)
                planned = self._planned(reader, found, members)
        except DriverError as error:
            return self._waiting(found, error)
        return Change(reconciler.checked(found.status, members, planned.hold, self._now()))

    def _hold(self, found: VolumeRevert, _save: Save[RevertStatus]) -> Change[RevertStatus]:
        try:
            for volume in self._volumes(found):
                self._custody.take(volume, found.status.hold, instead_of="")
        except DriverError as error:
            return self._waiting(found, error)
        return Change(reconciler.held(found.status, self._now()))

    def _secure(self, found: VolumeRevert, _save: Save[RevertStatus]) -> Change[RevertStatus]:
        if not all(member.safety_snapshot for member in found.status.members):
            return self._begin_to_secure(found)
        try:
            self._require_held(found)
            for member in found.status.members:
                self._create_safety(found, member)
            handles = self._safety_handles(found)
        except DriverError as error:
            if is_final(error) and not isinstance(error, NotFound):
                return Change(reconciler.failed(found.status, str(error), self._now()))
            return Change(reconciler.still_securing(found, str(error), self._now()), _SNAPSHOT_SECONDS)
        return Change(reconciler.secured(found.status, handles, self._now()))

    def _begin_to_secure(self, found: VolumeRevert) -> Change[RevertStatus]:
        """Look once more, now that no pod can begin to use the volumes. Then name the safety snapshots."""
        try:
            self._require_held(found)
            with self._opened() as reader:
                _require_known(reader)
                self._planned(reader, found, found.status.members)
        except DriverError as error:
            return self._waiting(found, error)
        names = [_safety_name(found, member) for member in found.status.members]
        return Change(reconciler.securing(found.status, names, self._now()))

    def _overwrite(self, found: VolumeRevert, save: Save[RevertStatus]) -> Change[RevertStatus]:
        status = reconciler.attempting(found.status)
        save(status)
        try:
            with self._opened() as reader:
                planned = self._plan_of(reader, found, status.members)
                safety = [reader.find(member.safety_handle, snapshots=True) for member in status.members]
                ids = [record.handle.volume_id for record in safety]
                reverting.overwrite(reader, planned, self._custody, ids, _log_step(found))
        except DriverError as error:
            pause = NOW if is_final(error) else _AGAIN_SECONDS
            return Change(reconciler.not_overwritten(status, error, self._now()), pause)
        return Change(reconciler.overwritten(status, self._now()))

    def _verify(self, found: VolumeRevert, _save: Save[RevertStatus]) -> Change[RevertStatus]:
        try:
            with self._opened() as reader:
                planned = self._plan_of(reader, found, found.status.members)
                reverting.require_unmapped_since(reader, planned)
        except DriverError as error:
            return Change(reconciler.unverified(found.status, error, self._now()), _AGAIN_SECONDS)
        return Change(reconciler.verified(found.status, self._now()))

    def _release(self, found: VolumeRevert, _save: Save[RevertStatus]) -> Change[RevertStatus]:
        try:
            self._release_holds(found)
        except DriverError as error:
            return Change(reconciler.not_released(found.status, error, self._now()), _AGAIN_SECONDS)
        return Change(reconciler.released(found.status, self._now()))

    def _let_go(self, found: VolumeRevert, _save: Save[RevertStatus]) -> Change[RevertStatus]:
        """Remove the holds and then the finalizer. A hold that cannot be removed does not keep the object."""
        told: tuple[Happening, ...] = ()
        if found.status.hold:
            try:
                self._release_holds(found)
            except DriverError as error:
                if not is_final(error):
                    raise
                told = (Happening("HoldLeft", f"a hold could not be removed: {error}", warning=True),)
        if found.deleting and reconciler.may_have_changed(found.status):
            told = (*told, Happening("DeletedMidway", _midway(found.status), warning=True))
        return Change(found.status, UNTIL_CHANGED, finalizer=False, happenings=told)

    # --- parts of steps --------------------------------------------------------------------------

    def _waiting(self, found: VolumeRevert, error: DriverError) -> Change[RevertStatus]:
        """Look again later, or go on at once if it has waited long enough."""
        now = self._now()
        status = reconciler.waiting(found, error, now)
        waits = status.phase is Phase.PENDING
        return Change(status, reconciler.pause_of(found, now) if waits else NOW)

    def _planned(self, reader: Reader, found: VolumeRevert, members: Sequence[RevertMember]) -> RevertPlan:
        """Check that the members can be reverted now. Raises DriverError: they cannot."""
        return reverting.plan(reader, _of(reader, members), self._custody, _run(found))

    @staticmethod
    def _plan_of(reader: Reader, found: VolumeRevert, members: Sequence[RevertMember]) -> RevertPlan:
        """The plan that was checked before. Raises DriverError: a volume or snapshot does not exist."""
        return RevertPlan(_of(reader, members), _run(found), {})

    def _volumes(self, found: VolumeRevert) -> Sequence[PersistentVolume]:
        return [
            PersistentVolume(member.persistent_volume, self._driver, member.volume_handle)
            for member in found.status.members
        ]

    def _require_held(self, found: VolumeRevert) -> None:
        """Raises FailedPrecondition: someone has removed or replaced a hold."""
        for volume in self._volumes(found):
            if self._custody.hold_of(volume) != found.status.hold:
                raise FailedPrecondition(
                    f"the hold on PersistentVolume {volume.name} was removed or replaced; nothing was "
                    "reverted"
                )

    def _release_holds(self, found: VolumeRevert) -> None:
        for volume in self._volumes(found):
            self._custody.release(volume, found.status.hold)

    def _create_safety(self, found: VolumeRevert, member: RevertMember) -> None:
        """Create the safety snapshot of a member, if it is not there."""
        source: dict[str, object] = {"source": {"persistentVolumeClaimName": member.claim}}
        if member.snapshot_class:
            source["volumeSnapshotClassName"] = member.snapshot_class
        content = {
            "apiVersion": SNAPSHOT_GROUP,
            "kind": "VolumeSnapshot",
            "metadata": {
                "name": member.safety_snapshot,
                "namespace": found.metadata.namespace,
                "labels": {REVERT_LABEL: found.metadata.uid},
            },
            "spec": source,
        }
        try:
            self._client.create(snapshots(found.metadata.namespace), content)
        except AlreadyExists:
            log.debug("safety snapshot exists", snapshot=member.safety_snapshot)

    def _safety_handles(self, found: VolumeRevert) -> Sequence[str]:
        """The handles of the safety snapshots.

        Raises:
            NotFound: one of them is not there yet. The message says why.
            FailedPrecondition: an object of someone else has its name.
        """
        taken = [self._safety_snapshot(found, member) for member in found.status.members]
        with self._opened() as reader:
            targets = Targets(self._client, reader.cluster, self._driver)
            return [targets.handle_of(item) for item in taken]

    def _safety_snapshot(self, found: VolumeRevert, member: RevertMember) -> Snapshot:
        taken = self._client.get(snapshots(found.metadata.namespace), member.safety_snapshot, Snapshot)
        if taken.metadata.labels.get(REVERT_LABEL) != found.metadata.uid or taken.claim != member.claim:
            raise FailedPrecondition(
                f"VolumeSnapshot {member.safety_snapshot} exists and is not of this revert; delete it"
            )
        if not taken.ready:
            raise NotFound(
                f"VolumeSnapshot {member.safety_snapshot} is not ready to use"
                f"{f': {taken.problem}' if taken.problem else ''}"
            )
        return taken


def _of(reader: Reader, members: Sequence[RevertMember]) -> tuple[Member, ...]:
    """The members as the arrays have them."""
    return tuple(
        pair
        for member in members
        for pair in reverting.of_volume(reader, member.volume_handle, member.snapshot_handle)
    )


def _run(found: VolumeRevert) -> reverting.Run:
    """The same in each step of the object, so that its hold is recognized."""
    name = f"VolumeRevert {found.metadata.namespace}/{found.metadata.name}"
    if found.status.started_at is None:
        raise FailedPrecondition(f"{name} has no start time in its status; create another one")
    return reverting.Run(found.metadata.uid, name, found.status.started_at, remedy=_REMEDY)


def _require_known(reader: Reader) -> None:
    """Raises FailedPrecondition: objects of the cluster could not be listed."""
    cluster = reader.cluster
    if cluster.volumes is None or cluster.contents is None:
        raise FailedPrecondition(f"the cluster is not known: {'; '.join(cluster.unknown)}")


def _safety_name(found: VolumeRevert, member: RevertMember) -> str:
    claim = member.claim
    if len(claim) > _MAX_CLAIM_CHARACTERS:
        # Claims of a group may begin alike.
        digest = hashlib.sha256(claim.encode()).hexdigest()[:8]
        claim = f"{claim[:_MAX_CLAIM_CHARACTERS].rstrip('-.')}-{digest}"
    return f"{claim}-before-{found.metadata.uid}"


def _log_step(found: VolumeRevert) -> Callable[[str], None]:
    name = f"{found.metadata.namespace}/{found.metadata.name}"
    return lambda sentence: log.info("revert step done", object=name, step=sentence)


def _midway(status: RevertStatus) -> str:
    return (
        "the revert was deleted before it ended, so the claims may have the data of before or of the "
        f"snapshot. The data from before are in VolumeSnapshot {reconciler.safety_of(status)}"
    )


def _with_happening(before: RevertStatus, change: Change[RevertStatus]) -> Change[RevertStatus]:
    """Tell each change of the phase, and each new message while it waits."""
    after = change.status
    if after.phase is before.phase and after.message == before.message:
        return change
    if after.phase not in ENDED and after.phase is not Phase.PENDING and after.phase is before.phase:
        return change
    told = Happening(str(after.phase), after.message, warning=after.phase is Phase.FAILED)
    return Change(after, change.pause, change.finalizer, (*change.happenings, told))
