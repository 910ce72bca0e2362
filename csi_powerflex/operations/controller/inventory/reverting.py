"""Reverting volumes in place: the array replaces the data of a volume by those of one of its snapshots.

The array does it at once, also under a running pod, which would be of no use to it and could destroy data. So
the order is: check, hold, safety snapshot, look again, overwrite, look again, release. The hold
(``model.hold``) keeps pods from starting. It is removed only if the end is known: nothing was begun, all is
done, or all was put back. The safety snapshot keeps what was in the volume. No run removes it.

A run keeps no journal. A run that ended anywhere is repeated: the new one takes its own safety snapshot, so
nothing is lost that was written in between.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from csi_powerflex import names, units
from csi_powerflex.errors import (
    DriverError,
    FailedPrecondition,
    Unavailable,
    VolumeInUse,
    is_final,
)
from csi_powerflex.model.array import Access, Copy, Volume
from csi_powerflex.model.cluster import PersistentVolume
from csi_powerflex.model.hold import Custody
from csi_powerflex.model.moves import MoveState
from csi_powerflex.model.ports import Array
from csi_powerflex.names import Kind
from csi_powerflex.observability.log import Log
from csi_powerflex.operations.controller.inventory.reading import Reader
from csi_powerflex.operations.controller.inventory.records import Owner, Record
from csi_powerflex.operations.controller.lookup import is_taken_snapshot

log = Log(__name__)

_HOLDER = "csi-powerflex volumes revert "
# How often a request is sent whose answer is lost. Before each one the volumes are looked at again.
_ATTEMPTS = 3
_MOVING = "the array moves it to another pool"
_STAY_HELD = "The PersistentVolumes stay held, so no pod begins to use the volumes."
_RUN_AGAIN = "Run the command again with --take-over; it takes another safety snapshot"

Tell = Callable[[str], None]
"""Called with a sentence for each step that was done."""


@dataclass(frozen=True, slots=True)
class Member:
    """A volume and the snapshot that it is reverted to."""

    record: Record
    snapshot: Record

    @property
    def volume_id(self) -> str:
        """The id of the volume on the array."""
        return self.record.handle.volume_id

    @property
    def volumes(self) -> tuple[PersistentVolume, ...]:
        """The PersistentVolumes of the volume."""
        return self.record.persistent_volumes


@dataclass(frozen=True, slots=True)
class Run:
    """What is different in each run.

    Attributes:
        token: text that no other run has.
        by: who runs the command.
        began: when.
        remedy: what to do if the outcome is not known and the volumes stay held.
    """

    token: str
    by: str
    began: datetime.datetime
    remedy: str = _RUN_AGAIN


@dataclass(frozen=True, slots=True)
class RevertPlan:
    """What a revert will do.

    Attributes:
        members: the volumes, all on one system.
        run: the run.
        holds: by PersistentVolume, the hold of an earlier run that is taken over.
    """

    members: tuple[Member, ...]
    run: Run
    holds: Mapping[str, str]

    @property
    def hold(self) -> str:
        """The text of the hold."""
        snapshots = ", ".join(str(member.snapshot.handle) for member in self.members)
        began = f"{self.run.began:%Y-%m-%d %H:%M:%S} UTC"
        return f"{_HOLDER}(run {self.run.token}) by {self.run.by} since {began}, to snapshot {snapshots}"


@dataclass(frozen=True, slots=True)
class Reverted:
    """A volume that was reverted, and the safety snapshot with the data that it had before."""

    member: Member
    safety: Volume


def of_volume(reader: Reader, volume: str, snapshot: str) -> tuple[Member, ...]:
    """The volume and the snapshot with these names, see ``Reader.find``.

    Raises:
        NotFound, InvalidArgument: as ``Reader.find``.
    """
    return (Member(reader.find(volume, snapshots=False), reader.find(snapshot, snapshots=True)),)


def of_group(reader: Reader, group: str) -> tuple[Member, ...]:
    """The volumes and snapshots of a group, see ``Reader.group``.

    Raises:
        FailedPrecondition: the volume of a member does not exist any more.
        NotFound, InvalidArgument: as ``Reader.group``.
    """
    pairs = reader.group(group)
    lost = [str(snapshot.handle) for snapshot, source in pairs if source is None]
    if lost:
        raise FailedPrecondition(
            f"group {group} cannot be reverted: the volumes of its snapshots {', '.join(lost)} do not "
            "exist any more; revert the other volumes one by one, with --to"
        )
    return tuple(Member(source, snapshot) for snapshot, source in pairs if source is not None)


def plan(
    reader: Reader,
    members: Sequence[Member],
    custody: Custody | None,
    run: Run,
    *,
    take_over: bool = False,
    unchecked: bool = False,
) -> RevertPlan:
    """Check that the volumes can be reverted, and say how. Nothing is changed.

    A hold that this run has set already is no obstacle.

    Args:
        reader: has what Kubernetes knows.
        members: the volumes.
        custody: the cluster; None where it is not known.
        run: this run.
        take_over: whether the hold of an earlier run may be taken over.
        unchecked: whether to do without the cluster, and so without a hold.

    Raises:
        FailedPrecondition: it is not possible now. The message has every reason.
        DriverError: the cluster cannot be asked.
    """
    found: list[str] = []
    holds: dict[str, str] = {}
    planned = RevertPlan(tuple(members), run, holds)
    for member in members:
        reasons = list(_obstacles(reader, member))
        if custody is not None:
            for volume in member.volumes:
                reasons += custody.users(volume)
                holds[volume.name] = custody.hold_of(volume)
                if holds[volume.name] != planned.hold:
                    reasons += _obstacles_by_hold(holds[volume.name], take_over=take_over)
        if reasons:
            found.append(f"{_called(member.record)} cannot be reverted: {'; '.join(reasons)}")
    if not unchecked and (custody is None or reader.cluster.volumes is None):
        found.append(
            f"it is not known whether Kubernetes uses the volumes: {'; '.join(reader.cluster.unknown)}. Give "
            "--kubeconfig, or --no-kubernetes to do without this check and without a hold"
        )
    if found:
        raise FailedPrecondition(". ".join(found))
    return planned


def _called(record: Record) -> str:
    names_of_it = filter(None, [str(record.claim or ""), record.volume.name])
    return f"volume {record.handle} ({', '.join(names_of_it)})"


def _obstacles(reader: Reader, member: Member) -> Iterator[str]:
    """Why the volume must not be reverted, or not now."""
    record = member.record
    if record.snapshot or is_taken_snapshot(record.volume):
        yield "it is a snapshot; only volumes are reverted"
    used = any(volume.driver == reader.driver_name for volume in record.persistent_volumes)
    if record.owner not in (Owner.THIS_CLUSTER, Owner.ADOPTED) and not used:
        yield f"it does not belong to cluster {reader.cluster_id}"
    for volume in record.persistent_volumes:
        if volume.driver != reader.driver_name:
            yield f"PersistentVolume {volume.name} of driver {volume.driver} has it"
    if record.waiting is not None:
        yield f"claim {record.waiting.name} waits for it; wait until it is bound"
    yield from _obstacles_on(reader.array_of(record), member)


def _obstacles_on(array: Array, member: Member) -> Iterator[str]:
    """Why the array must not revert the volume, or not now."""
    record, snapshot = member.record, member.snapshot
    # A list of volumes does not say it.
    if array.volume(member.volume_id).replicated:
        yield "it is replicated; end its replication at the array first"
    if not snapshot.snapshot:
        yield f"{snapshot.handle} is a volume and not a snapshot"
    yield from _differences(record.volume, snapshot.volume)
    if _is_moving(array, record.volume):
        yield f"{_MOVING}; wait until the move has ended"
    for host in record.hosts:
        yield f"it is mapped to {host}; stop what uses it, and wait until it is unmapped"
    if snapshot.hosts and snapshot.volume.access_limit is Access.READ_WRITE:
        host = snapshot.hosts[0]
        yield f"snapshot {snapshot.handle} is writable and mapped to {host}, so it may be changing"


def _is_moving(array: Array, volume: Volume) -> bool:
    """Whether the array moves the volume to another pool. Erasure-coded pools have no moves."""
    return not volume.erasure_coded and array.tree(volume.tree_id).state is not MoveState.NONE


def _differences(volume: Volume, snapshot: Volume) -> Iterator[str]:
    """Why the array cannot replace the data of the volume by those of the snapshot."""
    elsewhere = snapshot.handle.system_id != volume.handle.system_id
    if elsewhere or snapshot.tree_id != volume.tree_id or not _is_related(volume, snapshot):
        yield f"snapshot {snapshot} was not taken of it"
    if snapshot.size != volume.size:
        yield (
            f"it has {units.readable(volume.size)} and snapshot {snapshot} has "
            f"{units.readable(snapshot.size)}, because it was expanded since; create a volume from the "
            "snapshot instead"
        )


def _is_related(volume: Volume, snapshot: Volume) -> bool:
    """Whether the snapshot was taken of the volume, or the volume is a copy of the snapshot.

    A snapshot of a clone that was removed since has the volume as its ancestor too, but not its data.
    """
    if snapshot.ancestor_id == volume.handle.volume_id:
        return not snapshot.reparented
    return volume.ancestor_id == snapshot.handle.volume_id and not volume.reparented


def _obstacles_by_hold(hold: str, *, take_over: bool) -> Iterator[str]:
    """Why the hold that a PersistentVolume has does not allow this run."""
    if not hold:
        return
    if not hold.startswith(_HOLDER):
        yield f"its PersistentVolume is held: {hold}"
    elif not take_over:
        yield (
            f"its PersistentVolume is held by an earlier run: {hold}. If that run does not run any more, "
            "delete its VolumeRevert, or repeat its command with --take-over"
        )


def carry_out(
    reader: Reader, planned: RevertPlan, custody: Custody | None, tell: Tell
) -> tuple[Reverted, ...]:
    """Revert the volumes as planned. After any error it can be planned again.

    Raises:
        FailedPrecondition: something has changed since the plan; or another run has taken over.
        VolumeInUse: a volume was mapped in the meantime.
        DriverError: the array or the cluster refused a step, or did not answer. The message says what was
            done, and what to do.
    """
    array = reader.array_of(planned.members[0].record)
    return _Revert(array, reader.cluster_id, planned, custody, tell).run()


def overwrite(
    reader: Reader, planned: RevertPlan, custody: Custody, safety: Sequence[str], tell: Tell
) -> tuple[Reverted, ...]:
    """Only the middle of a revert: overwrite the volumes. They are looked at just before.

    The caller has set the hold of the plan, and then taken the safety snapshots while no one used the
    volumes. It calls ``require_unmapped_since`` afterwards, and removes the hold.

    Args:
        reader: has the arrays.
        planned: which volumes.
        custody: the cluster.
        safety: the ids on the array of the safety snapshots, one of each volume.
        tell: called for each step.

    Raises:
        FailedPrecondition: something has changed since the plan, or the hold is not the one of the plan.
        VolumeInUse: a volume was mapped in the meantime.
        DriverError: the array refused it. If the error is final (``errors.is_final``), this call has changed
            nothing, or has put back what it had changed. Otherwise the outcome is not known.
    """
    array = reader.array_of(planned.members[0].record)
    return _Revert(array, reader.cluster_id, planned, custody, tell).overwrite(safety)


def require_unmapped_since(reader: Reader, planned: RevertPlan) -> None:
    """Check that no volume was mapped while it was reverted.

    Raises:
        VolumeInUse: one was.
        Unavailable: it is not known.
        NotFound: a volume does not exist any more.
    """
    array = reader.array_of(planned.members[0].record)
    _Revert(array, reader.cluster_id, planned, None, lambda _: None).require_unmapped_since()


class _Revert:
    """One run. ``_uncertain`` is whether the outcome is not known, so that the hold must stay."""

    def __init__(
        self, array: Array, cluster_id: str, planned: RevertPlan, custody: Custody | None, tell: Tell
    ) -> None:
        self._array = array
        self._cluster_id = cluster_id
        self._plan = planned
        self._members = planned.members
        self._custody = custody
        self._tell = tell
        self._uncertain = False

    def run(self) -> tuple[Reverted, ...]:
        try:
            self._hold()
            safety = self._look_again(self._take_safety())
            self._overwrite_all(safety)
            self.require_unmapped_since()
        except DriverError as error:
            if not self._uncertain:
                self._release_after(error)
            raise
        except BaseException:
            if not self._uncertain:
                self._release()
            raise
        self._uncertain = False
        self._release()
        return tuple(Reverted(member, safety[member.volume_id]) for member in self._members)

    def overwrite(self, taken: Sequence[str]) -> tuple[Reverted, ...]:
        """See the function ``overwrite``."""
        safety = self._look_again(taken)
        self._overwrite_all(safety)
        return tuple(Reverted(member, safety[member.volume_id]) for member in self._members)

    @property
    def _stay_held(self) -> str:
        return f"{_STAY_HELD} {self._plan.run.remedy}"

    # --- the hold --------------------------------------------------------------------------------

    def _volumes(self) -> Iterator[PersistentVolume]:
        for member in self._members:
            yield from member.volumes

    def _hold(self) -> None:
        if self._custody is None:
            return
        for volume in self._volumes():
            self._custody.take(volume, self._plan.hold, instead_of=self._plan.holds[volume.name])
            self._tell(f"PersistentVolume {volume.name} is held")

    def _require_hold(self) -> None:
        """Check that the hold is still that of this run.

        Raises:
            FailedPrecondition: it is not.
        """
        if self._custody is None:
            return
        for volume in self._volumes():
            found = self._custody.hold_of(volume)
            if found != self._plan.hold:
                raise FailedPrecondition(
                    f"the hold of this run on PersistentVolume {volume.name} was "
                    f"{f'replaced: {found}' if found else 'removed'}; nothing more is changed"
                )

    def _release_after(self, error: DriverError) -> None:
        """Remove the holds after an error with which the run ends. Raises DriverError: one stays."""
        try:
            self._release()
        except DriverError as stays:
            raise type(error)(f"{error}. Besides, {stays}") from error

    def _release(self) -> None:
        """Remove the holds of this run.

        Raises:
            Unavailable: one could not be removed.
        """
        if self._custody is None:
            return
        failed = []
        for volume in self._volumes():
            try:
                self._custody.release(volume, self._plan.hold)
            except DriverError as error:
                failed.append(f"PersistentVolume {volume.name}: {error}")
        if failed:
            raise Unavailable(
                f"the volumes can be used, but a hold could not be removed ({'; '.join(failed)}): remove the "
                "annotation that ends with /hold from it"
            )

    # --- the array -------------------------------------------------------------------------------

    def _take_safety(self) -> Sequence[str]:
        """Take a snapshot of each volume, of all at the same time. Returns the ids of the snapshots."""
        copies = [Copy(member.volume_id, self._safety_name(member.volume_id)) for member in self._members]
        try:
            return self._array.take_snapshots(copies, access=Access.READ_ONLY, retention_minutes=0)
        except DriverError as error:
            raise type(error)(
                f"nothing was reverted, because no safety snapshot could be taken: {error}"
            ) from error

    def _safety_name(self, volume_id: str) -> str:
        """Not the name of a member of a group snapshot: Kubernetes can use such a one only with its group."""
        text = f"safety of {volume_id} in run {self._plan.run.token}"
        return names.array_name(Kind.SNAPSHOT, self._cluster_id, text)

    def _look_again(self, made: Sequence[str]) -> Mapping[str, Volume]:
        """Check that the volumes are as planned, and that there is a safety snapshot of each.

        Returns the safety snapshots by the id of their volume.

        Raises:
            FailedPrecondition, VolumeInUse: they are not. Nothing was reverted.
        """
        self._require_hold()
        snapshots = [member.snapshot.handle.volume_id for member in self._members]
        found = self._read([*made, *snapshots, *(member.volume_id for member in self._members)])
        taken = {found[snapshot_id].ancestor_id: found[snapshot_id] for snapshot_id in made}
        safety: dict[str, Volume] = {}
        for member, snapshot_id in zip(self._members, snapshots, strict=True):
            volume, copy = found[member.volume_id], taken.get(member.volume_id)
            self._require_as_planned(volume, found[snapshot_id])
            if copy is None or copy.size != volume.size:
                raise FailedPrecondition(
                    f"volume {volume} was not reverted: the array shows no safety snapshot of it; run the "
                    "command again"
                )
            self._tell(f"safety snapshot {copy} was taken")
            safety[member.volume_id] = copy
        return safety

    def _require_as_planned(self, volume: Volume, snapshot: Volume) -> None:
        """Check that the volume can still be reverted to the snapshot, and that no host has it.

        Raises:
            FailedPrecondition: it was deleted, is moved, or does not fit the snapshot any more.
            VolumeInUse: it was mapped.
        """
        if names.trashed(volume.name) is not None:
            raise FailedPrecondition(
                f"volume {volume} was deleted in the meantime, and is in the trash; it was not reverted"
            )
        _require_unmapped(volume, "it was not reverted")
        for reason in _differences(volume, snapshot):
            raise FailedPrecondition(f"volume {volume} was not reverted: {reason}")
        if _is_moving(self._array, volume):
            raise FailedPrecondition(
                f"volume {volume} was not reverted: {_MOVING}; wait until the move has ended, and run the "
                "command again"
            )

    def _read(self, volume_ids: Sequence[str]) -> Mapping[str, Volume]:
        return {volume.handle.volume_id: volume for volume in self._array.volumes_by_id(volume_ids)}

    def _overwrite_all(self, safety: Mapping[str, Volume]) -> None:
        done: list[Member] = []
        for member in self._members:
            self._uncertain = True
            try:
                self._overwrite(member.volume_id, member.snapshot.handle.volume_id)
            except DriverError as error:
                if not is_final(error):
                    raise Unavailable(
                        f"whether volume {member.record.handle} was reverted is not known: {error}. "
                        f"{self._done(done)}{_safe(safety)}. {self._stay_held}"
                    ) from error
                self._put_back(done, safety, error)
                self._uncertain = False
                raise type(error)(
                    f"volume {member.record.handle} was not reverted: {error}. "
                    f"{'The others were put back' if done else 'Nothing was changed'}. {_safe(safety)}"
                ) from error
            done.append(member)
            count = f" ({len(done)} of {len(self._members)})" if len(self._members) > 1 else ""
            log.info("volume reverted", volume=member.record.handle, snapshot=member.snapshot.handle)
            self._tell(f"volume {member.record.handle} was reverted to {member.snapshot.handle}{count}")

    @staticmethod
    def _done(done: Sequence[Member]) -> str:
        if not done:
            return ""
        return f"Reverted before it: {', '.join(str(member.record.handle) for member in done)}. "

    def _overwrite(self, volume_id: str, source_id: str) -> None:
        """Overwrite a volume. A request whose answer is lost is sent again, if no one uses the volume.

        Raises:
            DriverError: the array refuses it, so it has not changed, or the outcome is open.
        """
        failure: DriverError | None = None
        for _ in range(_ATTEMPTS):
            try:
                if failure is not None:
                    _require_unmapped(self._array.volume(volume_id), "its outcome is open")
                self._array.overwrite_volume(volume_id, source_id)
            except DriverError as error:
                if failure is not None and is_final(error):
                    # The first request may have had its effect, so this answer is not the whole truth.
                    raise Unavailable(f"{failure}; and then: {error}") from error
                if is_final(error):
                    raise
                failure = error
            else:
                return
        raise failure or AssertionError("there was an attempt")

    def _put_back(self, done: Sequence[Member], safety: Mapping[str, Volume], cause: DriverError) -> None:
        """Give the volumes of a group that were reverted their data from before.

        Raises:
            Unavailable: one of them could not be put back.
        """
        failed = []
        for member in done:
            try:
                _require_unmapped(self._array.volume(member.volume_id), "it was not put back")
                self._overwrite(member.volume_id, safety[member.volume_id].handle.volume_id)
            except DriverError as error:
                failed.append(f"{member.record.handle}: {error}")
            else:
                self._tell(f"volume {member.record.handle} was put back")
        if failed:
            raise Unavailable(
                f"a volume of the group was not reverted: {cause}. Others were, and could not be put back: "
                f"{'; '.join(failed)}. {_safe(safety)}. {self._stay_held}"
            ) from cause

    def require_unmapped_since(self) -> None:
        """Check that no volume was mapped while it was reverted.

        Raises:
            VolumeInUse: one was.
            Unavailable: it is not known.
        """
        try:
            found = self._read([member.volume_id for member in self._members])
        except DriverError as error:
            raise Unavailable(
                f"the volumes were reverted. Whether one was mapped meanwhile is not known: {error}. "
                f"{self._stay_held}"
            ) from error
        for volume in found.values():
            _require_unmapped(
                volume,
                "it was reverted. What uses it there may have data of before in its memory, and may write "
                f"them: stop it. {self._stay_held}",
            )


def _require_unmapped(volume: Volume, state: str) -> None:
    if volume.mappings:
        hosts = ", ".join(map(str, volume.mappings))
        raise VolumeInUse(f"volume {volume} was mapped to {hosts} in the meantime; {state}")


def _safe(safety: Mapping[str, Volume]) -> str:
    """Where the data of before are, for messages."""
    kept = ", ".join(str(snapshot) for snapshot in safety.values())
    return f"The data that the volumes had before are in safety snapshot {kept}"
