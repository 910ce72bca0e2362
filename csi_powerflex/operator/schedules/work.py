"""The steps of a SnapshotSchedule with their effects in the cluster. It needs no array."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Collection, Mapping, Sequence

import msgspec

from csi_powerflex.errors import AlreadyExists, DriverError, FailedPrecondition, NotFound, is_final
from csi_powerflex.hints import first_of
from csi_powerflex.kube.client import Client
from csi_powerflex.kube_objects.reader import VOLUMES
from csi_powerflex.observability.log import Log
from csi_powerflex.operator.api import GROUP, Definition
from csi_powerflex.operator.images.objects import IMAGE_LABEL
from csi_powerflex.operator.objects import (
    GROUP_SNAPSHOT_GROUP,
    SNAPSHOT_GROUP,
    Claim,
    Snapshot,
    Volume,
    claims,
    group_snapshots,
    snapshots,
)
from csi_powerflex.operator.owned import OWNER_LABEL
from csi_powerflex.operator.schedules import reconciler, retention
from csi_powerflex.operator.schedules.definition import DEFINITION, Run, ScheduleStatus, SnapshotSchedule
from csi_powerflex.operator.schedules.reconciler import Decision, Step
from csi_powerflex.operator.schedules.retention import Taken
from csi_powerflex.operator.work import NOW, UNTIL_CHANGED, Change, Clock, Happening, Save

log = Log(__name__)

UID_LABEL = f"{GROUP}/schedule-uid"
"""On a snapshot: the UID of the schedule that has taken it, and that removes it. Without it, it is kept."""

NAME_LABEL = f"{GROUP}/schedule"
"""On a snapshot: the name of that schedule, for people. A label takes at most 63 characters."""


CLAIM_LABEL = f"{GROUP}/schedule-claim-uid"
"""On a snapshot: the UID of its claim. A claim that is created again under a name has other data."""

# The labels of claims that the operator makes and removes.
_TEMPORARY = {OWNER_LABEL, IMAGE_LABEL}
_AGAIN_SECONDS = 10.0
_MAX_LABEL = 63
# Names of objects have at most 253 characters; the time and the digest need 20.
_MAX_STEM = 230


class Schedules:
    """See ``operator.work.Work``.

    Args:
        client: how to reach the cluster.
        driver_name: the driver's CSI name. Claims of other drivers are left out.
        now: the present time.
    """

    definition: Definition = DEFINITION
    kind = SnapshotSchedule

    def __init__(self, client: Client, *, driver_name: str, now: Clock) -> None:
        self._client = client
        self._driver = driver_name
        self._now = now

    def advance(self, found: SnapshotSchedule, _save: Save[ScheduleStatus]) -> Change[ScheduleStatus]:
        """See ``Work.advance``."""
        now = self._now()
        decision = reconciler.decide(found, now)
        match decision.step:
            case Step.TAKE:
                return self._take(found, found.status.current, decision)
            case Step.PRUNE:
                return self._prune(found, decision, now)
            case Step.START | Step.MISS:
                return _begun(found, decision, now)
            case _:
                return _settled(found, decision, now)

    # --- taking ----------------------------------------------------------------------------------

    def _take(self, found: SnapshotSchedule, run: Run | None, decision: Decision) -> Change[ScheduleStatus]:
        if run is None:
            raise AssertionError("a run is taken only after it has begun")
        chosen, left_out = self._chosen(found)
        problems: dict[str, DriverError] = {}
        if found.spec.group:
            problems = self._take_group(found, run, chosen, left_out)
        else:
            for claim, uid in chosen.items():
                if (error := self._take_one(found, run, claim, uid)) is not None:
                    problems[claim] = error
        if any(not is_final(error) for error in problems.values()) and reconciler.may_try_again(
            run, self._now()
        ):
            text = f"snapshots are tried again: {_listed(problems)}"
            return Change(msgspec.structs.replace(found.status, message=text), _AGAIN_SECONDS)
        return _ended(found, run, chosen, left_out, problems, decision)

    def _chosen(self, found: SnapshotSchedule) -> tuple[Mapping[str, str], Sequence[str]]:
        """The claims to take snapshots of with their UIDs, and why others that are selected are left out."""
        labels = reconciler.label_selector(found.spec.selector)
        selected = self._client.list(claims(found.metadata.namespace), Claim, labels=labels).items
        drivers = {item.metadata.name: item.driver for item in self._client.list(VOLUMES, Volume).items}
        chosen: dict[str, str] = {}
        left_out = []
        for claim in sorted(selected, key=lambda item: item.metadata.name):
            name, driver = claim.metadata.name, drivers.get(claim.volume, "")
            if _TEMPORARY & claim.metadata.labels.keys() and not found.spec.group:
                # Temporary, for a data mover. The newest snapshot of it would stay without end.
                continue
            if not claim.volume or claim.metadata.deletion_timestamp is not None:
                left_out.append(f"claim {name} is not bound")
            elif driver != self._driver:
                left_out.append(f"claim {name} has no volume of {self._driver}")
            else:
                chosen[name] = claim.metadata.uid
        return chosen, left_out

    def _take_one(self, found: SnapshotSchedule, run: Run, claim: str, uid: str) -> DriverError | None:
        """Create the snapshot of a claim, if it is not there. Returns why it could not be created."""
        spec: dict[str, object] = {"source": {"persistentVolumeClaimName": claim}}
        if found.spec.snapshot_class:
            spec["volumeSnapshotClassName"] = found.spec.snapshot_class
        name = snapshot_name(found, run, claim)
        content = {"apiVersion": SNAPSHOT_GROUP, "kind": "VolumeSnapshot", "spec": spec}
        path = snapshots(found.metadata.namespace)
        return self._create(found, run, path, name, content, {CLAIM_LABEL: uid})

    def _take_group(
        self, found: SnapshotSchedule, run: Run, chosen: Collection[str], left_out: Sequence[str]
    ) -> dict[str, DriverError]:
        """Create the group snapshot, if it is not there. It takes every claim that the selector selects."""
        if not chosen:
            return {}
        if left_out:
            reason = FailedPrecondition(f"a group takes every claim of its selector, but {_few(left_out)}")
            return {"the group": reason}
        source = {"selector": msgspec.to_builtins(found.spec.selector)}
        spec: dict[str, object] = {"source": source}
        if found.spec.snapshot_class:
            spec["volumeGroupSnapshotClassName"] = found.spec.snapshot_class
        content = {"apiVersion": GROUP_SNAPSHOT_GROUP, "kind": "VolumeGroupSnapshot", "spec": spec}
        path = group_snapshots(found.metadata.namespace)
        error = self._create(found, run, path, snapshot_name(found, run, ""), content, {})
        return {"the group": error} if error is not None else {}

    def _create(
        self,
        found: SnapshotSchedule,
        run: Run,
        path: str,
        name: str,
        content: Mapping[str, object],
        labels: Mapping[str, str],
    ) -> DriverError | None:
        metadata = {
            "name": name,
            "namespace": found.metadata.namespace,
            "labels": {
                **labels,
                UID_LABEL: found.metadata.uid,
                NAME_LABEL: found.metadata.name[:_MAX_LABEL].rstrip("-."),
            },
            "annotations": {f"{GROUP}/scheduled-at": f"{run.scheduled_at:%Y-%m-%dT%H:%M:%SZ}"},
        }
        try:
            self._client.create(path, {**content, "metadata": metadata})
        except AlreadyExists:
            return self._foreign(found, path, name)
        except DriverError as error:
            return error
        log.info("snapshot created by schedule", snapshot=f"{found.metadata.namespace}/{name}")
        return None

    def _foreign(self, found: SnapshotSchedule, path: str, name: str) -> DriverError | None:
        """Why an object that has the name is not the one of the run; None if it is."""
        try:
            there = self._client.get(path, name, Snapshot)
        except DriverError as error:
            return error
        if there.metadata.labels.get(UID_LABEL) == found.metadata.uid:
            return None
        return FailedPrecondition(f"{name} exists and is not of this schedule")

    # --- removing --------------------------------------------------------------------------------

    def _prune(
        self, found: SnapshotSchedule, decision: Decision, now: datetime.datetime
    ) -> Change[ScheduleStatus]:
        """Remove what is not kept, and wait until the next run."""
        keep = found.spec.keep
        problems: dict[str, DriverError] = {}
        if keep.count or keep.age:
            for item in retention.expired(self._taken(found), keep, now):
                try:
                    self._remove(found, item)
                except DriverError as error:
                    if not is_final(error):
                        raise
                    # One that must not be removed, for example by a policy of the cluster, stops no other.
                    problems[item.name] = error
        status = reconciler.waited(found.status, decision.next_at, _listed(problems))
        told: tuple[Happening, ...] = ()
        if problems and status.message != found.status.message:
            told = (Happening("NotRemoved", status.message, warning=True),)
        pause = (decision.next_at - now).total_seconds() if decision.next_at is not None else UNTIL_CHANGED
        return Change(status, pause, happenings=told)

    def _path(self, found: SnapshotSchedule) -> str:
        namespace = found.metadata.namespace
        return group_snapshots(namespace) if found.spec.group else snapshots(namespace)

    def _taken(self, found: SnapshotSchedule) -> Sequence[Taken]:
        """The snapshots of the schedule that are not being removed already."""
        labels = f"{UID_LABEL}={found.metadata.uid}"
        return [
            Taken(
                item.metadata.name,
                item.metadata.uid,
                item.claim,
                item.metadata.creation_timestamp,
                item.ready,
                item.metadata.labels.get(CLAIM_LABEL, ""),
            )
            for item in self._client.list(self._path(found), Snapshot, labels=labels).items
            if item.metadata.deletion_timestamp is None
            and item.metadata.creation_timestamp is not None
            and item.metadata.labels.get(UID_LABEL) == found.metadata.uid
        ]

    def _remove(self, found: SnapshotSchedule, item: Taken) -> None:
        try:
            self._client.delete(self._path(found), item.name, uid=item.uid)
        except (NotFound, AlreadyExists):
            return
        log.info(
            "snapshot removed by schedule",
            snapshot=f"{found.metadata.namespace}/{item.name}",
            created=item.created,
        )


def snapshot_name(found: SnapshotSchedule, run: Run, claim: str) -> str:
    """The name of a run's snapshot of a claim, or of the group if ``claim`` is empty."""
    stem = f"{found.metadata.name}-{claim}" if claim else found.metadata.name
    digest = hashlib.sha256(f"{found.metadata.uid}\0{claim}".encode()).hexdigest()[:5]
    return f"{stem[:_MAX_STEM].rstrip('-.')}-{run.scheduled_at:%Y%m%d%H%M}-{digest}"


def _settled(found: SnapshotSchedule, decision: Decision, now: datetime.datetime) -> Change[ScheduleStatus]:
    """A step that takes and removes nothing."""
    match decision.step:
        case Step.REFUSE:
            return _refused(found, decision)
        case Step.SUSPEND:
            return Change(reconciler.suspended(found.status), UNTIL_CHANGED)
        case Step.ARM:
            return Change(reconciler.armed(found.status, found.spec, decision.next_at, now))
        case _:
            return Change(found.status, UNTIL_CHANGED)


def _refused(found: SnapshotSchedule, decision: Decision) -> Change[ScheduleStatus]:
    told: tuple[Happening, ...] = ()
    if found.status.message != decision.reason:
        told = (Happening("Invalid", decision.reason, warning=True),)
    return Change(reconciler.refused(found.status, decision.reason), UNTIL_CHANGED, happenings=told)


def _begun(found: SnapshotSchedule, decision: Decision, now: datetime.datetime) -> Change[ScheduleStatus]:
    """A run begins, or is too late to begin."""
    if decision.at is None:
        raise AssertionError("a run has a time")
    if decision.step is Step.START:
        return Change(reconciler.started(found.status, decision.at, now))
    status = reconciler.missed(found.status, decision.at, found.spec)
    return Change(status, NOW, happenings=(Happening("Missed", status.message, warning=True),))


def _ended(
    found: SnapshotSchedule,
    run: Run,
    chosen: Collection[str],
    left_out: Sequence[str],
    problems: dict[str, DriverError],
    decision: Decision,
) -> Change[ScheduleStatus]:
    many = min(len(chosen), 1) if found.spec.group else len(chosen)
    parts = [f"not taken: {_listed(problems)}"] if problems else []
    # The problem of a group names them already.
    parts += [f"left out: {_few(left_out)}"] if left_out and not (found.spec.group and problems) else []
    parts += ["no claim is selected"] if not chosen and not left_out else []
    done = msgspec.structs.replace(
        run, taken=many - len(problems), failed=len(problems), message="; ".join(parts)
    )
    status = reconciler.finished(found.status, done, decision.next_at)
    count = f"{done.taken} snapshots taken" if done.taken != 1 else "1 snapshot taken"
    text = f"{count} for {run.scheduled_at:%Y-%m-%d %H:%M} UTC{f'; {done.message}' if done.message else ''}"
    told = Happening("SnapshotsFailed" if problems else "SnapshotsTaken", text, warning=bool(problems))
    return Change(status, NOW, happenings=(told,))


def _listed(problems: dict[str, DriverError]) -> str:
    return _few([f"{name}: {error}" for name, error in problems.items()])


def _few(texts: Sequence[str]) -> str:
    return first_of(texts)
