"""The steps of a VolumeCopy with their effects in the cluster. It needs no array."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from csi_powerflex.errors import AlreadyExists, DriverError, FailedPrecondition, NotFound
from csi_powerflex.kube.client import Client
from csi_powerflex.model.mover import UnreadableMessage, read_outcome
from csi_powerflex.observability.log import Log
from csi_powerflex.operator.api import FINALIZER, GROUP, Definition
from csi_powerflex.operator.copies import objects
from csi_powerflex.operator.copies.definition import (
    DEFINITION,
    CopyStatus,
    Phase,
    Population,
    Stage,
    VolumeCopy,
)
from csi_powerflex.operator.copies.objects import (
    CLASSES,
    CONTENTS,
    VOLUMES,
    Mover,
    Names,
    Plain,
    StorageClass,
)
from csi_powerflex.operator.copies.population import DELETE, RETAIN, Step, next_step
from csi_powerflex.operator.copies.seeing import Objects, Sight
from csi_powerflex.operator.objects import SNAPSHOT_GROUP, claims, snapshots
from csi_powerflex.operator.work import NOW, UNTIL_CHANGED, Change, Happening, Save

log = Log(__name__)

_WAIT_SECONDS = 2.0
_LOOK_SECONDS = 5.0

_Act = Callable[[VolumeCopy, Population, Objects], None]


class Copies:
    """See ``operator.work.Work``.

    Args:
        client: how to reach the cluster.
        driver_name: the driver's CSI name.
        namespace: the operator's namespace, where movers run.
        mover: how movers run.
    """

    definition: Definition = DEFINITION
    kind = VolumeCopy

    def __init__(self, client: Client, *, driver_name: str, namespace: str, mover: Mover) -> None:
        self._client = client
        self._driver = driver_name
        self._namespace = namespace
        self._mover = mover
        self._sight = Sight(client, namespace)
        self._acts: Mapping[Step, _Act] = {
            Step.WAIT: lambda _found, _entry, _seen: None,
            Step.CREATE_SNAPSHOT: self._create_snapshot,
            Step.CREATE_CONTENT: self._create_content,
            Step.CREATE_TWIN: self._create_twin,
            Step.CREATE_SOURCE: self._create_source,
            Step.CREATE_PRIME: self._create_prime,
            Step.CREATE_JOB: self._create_job,
            Step.RETAIN: lambda _found, _entry, seen: self._set_policy(seen.volume, RETAIN),
            Step.RELEASE: lambda _found, _entry, seen: self._set_policy(seen.volume, DELETE),
            Step.SET_POLICY: lambda _found, entry, seen: self._set_policy(seen.final, entry.reclaim_policy),
            Step.DELETE_JOB: lambda _found, _entry, seen: self._delete(objects.jobs(namespace), seen.job),
            Step.DELETE_PRIME: lambda _found, _entry, seen: self._delete(claims(namespace), seen.prime),
            Step.DELETE_VOLUME: lambda _found, _entry, seen: self._delete(VOLUMES, seen.volume),
            Step.HAND_OVER: self._hand_over,
            Step.CLEAN: self._clean,
        }

    def advance(self, found: VolumeCopy, _save: Save[CopyStatus]) -> Change[CopyStatus]:
        """See ``Work.advance``."""
        if FINALIZER not in found.metadata.finalizers:
            return Change(found.status, UNTIL_CHANGED if found.deleting else NOW, _finalizer(found))
        entries = found.status.claims if found.deleting else self._with_new(found)
        if entries != found.status.claims:
            return Change(_told(found, replace(found.status, claims=entries)))
        if not entries:
            pause = UNTIL_CHANGED if found.deleting else _LOOK_SECONDS
            return Change(_told(found, found.status), pause, False if found.deleting else None)
        return self._lead_all(found, entries)

    def _lead_all(self, found: VolumeCopy, entries: Sequence[Population]) -> Change[CopyStatus]:
        """One step for each claim. A claim whose step fails does not stop the others."""
        left: list[Population] = []
        told: list[Happening] = []
        populated, moved = found.status.populated, False
        for entry in entries:
            try:
                step, seen = self._lead(found, entry)
            except DriverError as error:
                left.append(replace(entry, message=str(error)))
                continue
            moved = moved or step is not Step.WAIT
            if step is Step.FORGET:
                populated += seen.seen().delivered
                told += _ended(entry, seen)
                continue
            after = self._after(entry, step, seen)
            if after.stage is Stage.FAILED and entry.stage is not Stage.FAILED:
                told.append(Happening("CopyFailed", f"claim {entry.claim}: {after.message}", warning=True))
            left.append(after)
        status = replace(found.status, claims=tuple(left), populated=populated)
        return Change(_told(found, status), NOW if moved else _WAIT_SECONDS, happenings=tuple(told))

    def _lead(self, found: VolumeCopy, entry: Population) -> tuple[Step, Objects]:
        seen = self._sight.look(found, entry)
        step = next_step(entry, seen.seen(), ending=found.deleting)
        if (act := self._acts.get(step)) is not None:
            act(found, entry, seen)
            log.debug("copy step done", claim=entry.claim, step=step.value)
        return step, seen

    def _after(self, entry: Population, step: Step, seen: Objects) -> Population:
        """What the status has about the claim after the step."""
        if step is Step.RECORD and seen.volume is not None:
            return replace(
                entry,
                stage=Stage.HANDING_OVER,
                volume=seen.volume.metadata.name,
                reclaim_policy=str(seen.volume.spec["persistentVolumeReclaimPolicy"]),
                message="the copy is complete; the claim gets it",
            )
        if step is Step.FAIL:
            return replace(entry, stage=Stage.FAILED, message=self._failure(entry, seen))
        if entry.stage is Stage.FAILED:
            return entry
        return replace(entry, message="" if step is Step.WAIT else step.value)

    def _with_new(self, found: VolumeCopy) -> tuple[Population, ...]:
        """The claims of the status, and those that have come since."""
        known = {entry.uid for entry in found.status.claims}
        come = (
            Population(claim=claim.metadata.name, uid=claim.metadata.uid)
            for claim in self._client.list(claims(found.metadata.namespace), Plain).items
            if claim.metadata.uid not in known and _names(claim, found) and self._may_begin(claim)
        )
        return (*found.status.claims, *come)

    def _may_begin(self, claim: Plain) -> bool:
        """Whether the claim has no volume, has a class of this driver, and its pod, if it waits for one."""
        name = claim.spec.get("storageClassName")
        if not name or claim.spec.get("volumeName") or claim.metadata.deletion_timestamp is not None:
            return False
        try:
            found = self._class(name)
        except NotFound:
            return False
        chosen = objects.SELECTED_NODE in claim.metadata.annotations
        return found.provisioner == self._driver and (chosen or not found.waits)

    def _class(self, name: str) -> StorageClass:
        return self._client.get(CLASSES, name, StorageClass)

    # --- the steps -------------------------------------------------------------------------------

    def _create_snapshot(self, found: VolumeCopy, entry: Population, _seen: Objects) -> None:
        if not found.spec.claim:
            raise FailedPrecondition(f"VolumeSnapshot {found.spec.snapshot} is not there or not ready to use")
        spec: dict[str, Any] = {"source": {"persistentVolumeClaimName": found.spec.claim}}
        if found.spec.snapshot_class:
            spec["volumeSnapshotClassName"] = found.spec.snapshot_class
        namespace = found.metadata.namespace
        made = objects.metadata(entry.uid, Names(entry.uid).snapshot, namespace)
        content = {"apiVersion": SNAPSHOT_GROUP, "kind": "VolumeSnapshot", "metadata": made, "spec": spec}
        self._create(snapshots(namespace), content)

    def _create_content(self, _found: VolumeCopy, entry: Population, seen: Objects) -> None:
        handle = self._handle(seen)
        self._create(CONTENTS, objects.content_of(entry.uid, self._driver, handle, self._namespace))

    def _handle(self, seen: Objects) -> str:
        """The handle of the snapshot. Raises FailedPrecondition: it is of another driver, or not known."""
        bound = str(seen.snapshot.status.get("boundVolumeSnapshotContentName", "")) if seen.snapshot else ""
        content = self._sight.get(CONTENTS, bound) if bound else None
        if content is None:
            raise FailedPrecondition("the VolumeSnapshot has no VolumeSnapshotContent yet")
        if content.spec.get("driver") != self._driver:
            raise FailedPrecondition(
                f"the VolumeSnapshot is of {content.spec.get('driver')}; only those of {self._driver} are "
                "copied"
            )
        if not (handle := str(content.status.get("snapshotHandle", ""))):
            raise FailedPrecondition(f"VolumeSnapshotContent {bound} has no handle yet")
        return handle

    def _create_twin(self, _found: VolumeCopy, entry: Population, _seen: Objects) -> None:
        self._create(snapshots(self._namespace), objects.twin_of(entry.uid, self._namespace))

    def _create_source(self, found: VolumeCopy, entry: Population, seen: Objects) -> None:
        size = str(seen.twin.status.get("restoreSize", "")) if seen.twin else ""
        if not size:
            raise FailedPrecondition("the size of the snapshot is not known yet")
        storage_class = found.spec.source_class or self._class_of_source(found)
        content = objects.source_of(entry.uid, self._namespace, storage_class, size)
        self._create(claims(self._namespace), content)

    def _class_of_source(self, found: VolumeCopy) -> str:
        source = self._sight.get(claims(found.metadata.namespace), found.spec.claim)
        if source is None or not (name := source.spec.get("storageClassName")):
            raise FailedPrecondition(f"claim {found.spec.claim} has no StorageClass; give sourceClass")
        return str(name)

    def _create_prime(self, _found: VolumeCopy, entry: Population, seen: Objects) -> None:
        if seen.claim is not None:
            self._create(claims(self._namespace), objects.prime_of(entry.uid, self._namespace, seen.claim))

    def _create_job(self, _found: VolumeCopy, entry: Population, seen: Objects) -> None:
        content = objects.job_of(entry.uid, self._namespace, self._mover, self._handle(seen))
        self._create(objects.jobs(self._namespace), content)

    def _hand_over(self, _found: VolumeCopy, entry: Population, seen: Objects) -> None:
        if seen.claim is None or seen.volume is None:
            return
        storage_class = self._class(str(seen.claim.spec["storageClassName"]))
        self._create(VOLUMES, objects.final_of(seen.claim, seen.volume, storage_class))
        log.info("volume handed over", claim=entry.claim, volume=Names(entry.uid).final)

    def _clean(self, found: VolumeCopy, _entry: Population, seen: Objects) -> None:
        self._delete(claims(self._namespace), seen.source)
        self._delete(snapshots(self._namespace), seen.twin)
        self._delete(CONTENTS, seen.content)
        if seen.own_snapshot:
            self._delete(snapshots(found.metadata.namespace), seen.snapshot)

    # --- parts of steps --------------------------------------------------------------------------

    def _create(self, path: str, content: dict[str, Any]) -> None:
        """Create an object. If it exists, the next look says whose it is."""
        try:
            self._client.create(path, content)
        except AlreadyExists:
            log.debug("object exists", path=path, object=content["metadata"]["name"])

    def _delete(self, path: str, item: Plain | None) -> None:
        if item is None or item.metadata.deletion_timestamp is not None:
            return
        try:
            self._client.delete(path, item.metadata.name, uid=item.metadata.uid)
        except (NotFound, AlreadyExists):
            return

    def _set_policy(self, volume: Plain | None, policy: str) -> None:
        """Change the policy of the PersistentVolume as it was read."""
        if volume is None:
            return
        version = {"resourceVersion": volume.metadata.resource_version}
        self._client.patch(
            VOLUMES,
            volume.metadata.name,
            {"metadata": version, "spec": {"persistentVolumeReclaimPolicy": policy}},
        )

    def _failure(self, entry: Population, seen: Objects) -> str:
        """Why the copy fails, in the words of the mover if it left any."""
        if seen.volume is None:
            return "the volume that was written does not exist any more; create the claim again"
        labels = f"{objects.CLAIM_LABEL}={entry.uid}"
        texts = [
            _last_words(item)
            for item in self._client.list(objects.pods(self._namespace), Plain, labels=labels).items
        ]
        said = next((text for text in reversed(texts) if text), "the mover failed and left no reason")
        return f"{said}. Create the claim again"


def _last_words(pod: Plain) -> str:
    for container in pod.status.get("containerStatuses", ()):
        ended = container.get("state", {}).get("terminated") or {}
        try:
            return read_outcome(ended.get("message", "")).message
        except UnreadableMessage:
            continue
    return ""


def _names(claim: Plain, found: VolumeCopy) -> bool:
    """Whether the claim wants a copy of this VolumeCopy, in its own namespace."""
    wanted = claim.spec.get("dataSourceRef") or {}
    return (wanted.get("apiGroup"), wanted.get("kind"), wanted.get("name")) == (
        GROUP,
        DEFINITION.kind,
        found.metadata.name,
    ) and wanted.get("namespace") in (None, found.metadata.namespace)


def _finalizer(found: VolumeCopy) -> bool | None:
    return None if found.deleting else True


def _ended(entry: Population, seen: Objects) -> Sequence[Happening]:
    if seen.seen().delivered:
        return [Happening("Populated", f"claim {entry.claim} has its copy")]
    return [Happening("CopyDropped", f"claim {entry.claim} is not copied any more; its volume is removed")]


def _told(found: VolumeCopy, status: CopyStatus) -> CopyStatus:
    """The status with the phase and message that follow from its claims."""
    if found.deleting:
        phase = Phase.DELETING
    else:
        busy = any(entry.stage is not Stage.FAILED for entry in status.claims)
        phase = Phase.COPYING if busy else Phase.READY
    text = "; ".join(f"claim {entry.claim}: {entry.message}" for entry in status.claims if entry.message)
    return replace(status, phase=phase, message=text)
