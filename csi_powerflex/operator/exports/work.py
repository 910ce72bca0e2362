"""The steps of a VolumeExport with their effects in the cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from csi_powerflex.config.operator import MoverSettings
from csi_powerflex.errors import DriverError, FailedPrecondition, PermissionDenied, is_final
from csi_powerflex.kube.client import Client
from csi_powerflex.model.mover import Outcome
from csi_powerflex.operator.api import Definition
from csi_powerflex.operator.classes import SnapshotClasses
from csi_powerflex.operator.exports import reconciler
from csi_powerflex.operator.exports.definition import (
    DEFINITION,
    ENDED,
    ExportFile,
    ExportServer,
    ExportStatus,
    Phase,
    VolumeExport,
)
from csi_powerflex.operator.exports.reconciler import Step
from csi_powerflex.operator.movers.job import MoverJob
from csi_powerflex.operator.movers.movers import Failed, Movers, Running
from csi_powerflex.operator.objects import claims
from csi_powerflex.operator.owned import OWNER_LABEL, Owned, Whole
from csi_powerflex.operator.sources import Source, Sources
from csi_powerflex.operator.work import NOW, UNTIL_CHANGED, Change, Clock, Happening, Save
from csi_powerflex.units import MIB

_WAIT_SECONDS = 5.0
_SNAPSHOT_SECONDS = 1.0
_PROGRESS_SECONDS = 5.0
_SOURCE = "/dev/source"
_FOLDER = "/target"
_SERVER = "/server"
_SCRATCH = "/scratch"

_Act = Callable[[VolumeExport], Change[ExportStatus]]


class Exports:
    """See ``operator.work.Work``.

    Args:
        client: how to reach the cluster.
        movers: what all data movers have.
        driver_name: the driver's CSI name.
        now: the present time.
    """

    definition: Definition = DEFINITION
    kind = VolumeExport

    def __init__(self, client: Client, movers: MoverSettings, *, driver_name: str, now: Clock) -> None:
        self._client = client
        self._movers = movers
        self._driver = driver_name
        self._now = now
        self._acts: Mapping[Step, _Act] = {
            Step.BEGIN: lambda found: Change(reconciler.begun(found, now()), finalizer=True),
            Step.KEEP: lambda found: Change(found.status, finalizer=True),
            Step.CHECK: self._check,
            Step.SECURE: self._secure,
            Step.EXPORT: self._export,
            Step.CLEAN: self._clean,
            Step.LET_GO: self._let_go,
            Step.REST: lambda found: Change(found.status, UNTIL_CHANGED),
        }

    def advance(self, found: VolumeExport, _save: Save[ExportStatus]) -> Change[ExportStatus]:
        """See ``Work.advance``."""
        change = self._acts[reconciler.next_step(found)](found)
        return _with_happening(found.status, change)

    # --- the steps -------------------------------------------------------------------------------

    def _check(self, found: VolumeExport) -> Change[ExportStatus]:
        try:
            source = self._source(found)
            self._require_target(found)
        except DriverError as error:
            return Change(reconciler.waiting(found, error, self._now()), _WAIT_SECONDS)
        return Change(reconciler.checked(found, source.storage_class, self._now()))

    def _secure(self, found: VolumeExport) -> Change[ExportStatus]:
        sources, status = self._sources(found), found.status
        try:
            if found.spec.claim:
                sources.snapshot(status.snapshot, found.spec.claim, found.spec.snapshot_class)
            taken = sources.taken(status.snapshot)
            if not sources.opened(taken, recorded=status.content):
                return Change(reconciler.opening(status, taken.content), NOW)
            sources.claim(status.job, taken, status.storage_class)
        except DriverError as error:
            return Change(reconciler.waiting_with(found, status, error, self._now()), _SNAPSHOT_SECONDS)
        return Change(reconciler.secured(status, taken, self._now()))

    def _export(self, found: VolumeExport) -> Change[ExportStatus]:
        now = self._now()
        try:
            state = self._movers_of(found).lead(_job(found))
            if isinstance(state, Outcome):
                self._sources(found).require_made(found.status.job)
            if isinstance(state, Running):
                status = self._opened(found) if state.progress is None else found.status
                pause = _PROGRESS_SECONDS if status == found.status else NOW
                return Change(reconciler.running(status, state, now), pause)
        except (FailedPrecondition, PermissionDenied) as error:
            return Change(reconciler.failed(found.status, str(error), now))
        except DriverError as error:
            return Change(reconciler.repeated(found.status, error, now), _WAIT_SECONDS)
        if isinstance(state, Failed):
            return Change(reconciler.failed(found.status, state.failure, now))
        return Change(reconciler.exported(found.status, state, now))

    def _opened(self, found: VolumeExport) -> ExportStatus:
        """Open the snapshot once more, as long as nothing is read.

        Another export of the snapshot may have ended, and closed it, before this one has its volume.
        """
        sources = self._sources(found)
        taken = sources.taken(found.status.snapshot)
        if not sources.opened(taken, recorded=found.status.content):
            return reconciler.opening(found.status, taken.content)
        return found.status

    def _clean(self, found: VolumeExport) -> Change[ExportStatus]:
        try:
            if found.status.content:
                self._sources(found).shut(found.status.content)
                return Change(reconciler.shut(found.status), NOW)
            done = self._remove(found)
        except DriverError as error:
            return Change(reconciler.repeated(found.status, error, self._now()), _WAIT_SECONDS)
        if not done:
            return Change(found.status, _SNAPSHOT_SECONDS)
        return Change(reconciler.cleaned(found.status, self._now()), NOW)

    def _let_go(self, found: VolumeExport) -> Change[ExportStatus]:
        """Begin to remove what was temporary.

        Nothing is waited for: it has an owner reference, so Kubernetes removes what is left.
        """
        told: tuple[Happening, ...] = ()
        if found.status.phase not in ENDED:
            try:
                if found.status.content:
                    self._sources(found).shut(found.status.content)
                self._remove(found)
            except DriverError as error:
                if not is_final(error):
                    raise
                text = f"the operator may not remove all: {error}"
                told = (Happening("LeftToKubernetes", text, warning=True),)
        return Change(found.status, UNTIL_CHANGED, finalizer=False, happenings=told)

    # --- parts of steps --------------------------------------------------------------------------

    def _owned(self, found: VolumeExport) -> Owned:
        return Owned(self._client, DEFINITION, found)

    def _sources(self, found: VolumeExport) -> Sources:
        return Sources(self._owned(found), self._driver)

    def _movers_of(self, found: VolumeExport) -> Movers:
        return Movers(self._owned(found), self._movers)

    def _remove(self, found: VolumeExport) -> bool:
        """Begin to remove the Job, the claim and the snapshot. Returns whether all are removed."""
        sources, name = self._sources(found), found.status.job
        ended = self._movers_of(found).end(name)
        ended = sources.discard(name) and ended
        # A snapshot of a user has no label, so it stays.
        return sources.discard_snapshot(name) and ended

    def _source(self, found: VolumeExport) -> Source:
        spec = found.spec
        if spec.claim:
            SnapshotClasses(self._client, self._driver).require_removable(spec.snapshot_class)
        return self._sources(found).look(
            spec.claim, spec.snapshot, storage_class=spec.storage_class_name, field="storageClassName"
        )

    def _require_target(self, found: VolumeExport) -> None:
        """Raises NotFound, FailedPrecondition: the image cannot be put there."""
        file = found.spec.target.file
        if file is None:
            return
        if file.claim == found.spec.claim:
            raise FailedPrecondition(
                f"claim {file.claim} is exported, so the image cannot be on it; give another claim"
            )
        target = self._client.get(claims(found.metadata.namespace), file.claim, Whole)
        if target.spec.get("volumeMode") == "Block":
            raise FailedPrecondition(
                f"claim {file.claim} has no filesystem (volumeMode Block); give another claim"
            )


def _job(found: VolumeExport) -> MoverJob:
    spec, name = found.spec, found.status.job
    arguments = ["export", f"--source={_SOURCE}", f"--format={spec.format}", f"--verify={spec.verify}"]
    if spec.compressed:
        arguments.append("--compressed")
    if spec.target.file is not None:
        return _to_file(name, arguments, spec.target.file)
    return _to_server(found, arguments, spec.target.http or ExportServer())


def _to_file(name: str, arguments: list[str], file: ExportFile) -> MoverJob:
    return MoverJob(
        name,
        [*arguments, f"--target={_FOLDER}/{file.name}"],
        devices={_SOURCE: name},
        volumes=[{"name": "target", "persistentVolumeClaim": {"claimName": file.claim}}],
        mounts=[{"name": "target", "mountPath": _FOLDER}],
    )


def _to_server(found: VolumeExport, arguments: list[str], server: ExportServer) -> MoverJob:
    files = {
        "url": (server.url_key, "--url-file"),
        "credentials": (server.credentials_key, "--credentials-file"),
        "authorities": (server.authorities_key, "--ca-file"),
    }
    items = [{"key": key, "path": path} for path, (key, _) in files.items() if key]
    arguments = [*arguments, *(f"{option}={_SERVER}/{path}" for path, (key, option) in files.items() if key)]
    # 0444: the mover may have another user than the files.
    secret: dict[str, Any] = {"secretName": server.secret, "items": items, "defaultMode": 0o444}
    volumes: list[dict[str, Any]] = [{"name": "server", "secret": secret}]
    mounts = [{"name": "server", "mountPath": _SERVER, "readOnly": True}]
    if found.spec.format == "qcow2":
        arguments.append(f"--scratch={_SCRATCH}")
        # Schedules leave out what has the label.
        template = {"metadata": {"labels": {OWNER_LABEL: found.metadata.uid}}, "spec": _scratch(found)}
        volumes.append({"name": "scratch", "ephemeral": {"volumeClaimTemplate": template}})
        mounts.append({"name": "scratch", "mountPath": _SCRATCH})
    return MoverJob(
        found.status.job, arguments, {_SOURCE: found.status.job}, volumes=volumes, mounts=mounts, network=True
    )


def _scratch(found: VolumeExport) -> dict[str, Any]:
    """A claim with space for the image, which Kubernetes removes with the pod."""
    size = found.status.volume_bytes * 9 // 8 + 256 * MIB
    return {
        "storageClassName": found.status.storage_class,
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": str(size)}},
    }


def _with_happening(before: ExportStatus, change: Change[ExportStatus]) -> Change[ExportStatus]:
    """Tell each change of the phase, and each new message while it waits."""
    after = change.status
    waits = after.phase in (Phase.PENDING, Phase.SECURING) and after.message != before.message
    if after.phase is before.phase and not waits:
        return change
    told = Happening(str(after.phase), after.message, warning=after.phase is Phase.FAILED)
    return Change(after, change.pause, change.finalizer, (*change.happenings, told))
