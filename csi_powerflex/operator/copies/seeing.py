"""Looks at what exists for a claim that waits for a copy."""

from __future__ import annotations

from dataclasses import dataclass

from csi_powerflex.errors import FailedPrecondition, NotFound
from csi_powerflex.kube.client import Client
from csi_powerflex.operator.copies.definition import Population, VolumeCopy
from csi_powerflex.operator.copies.objects import (
    ATTACHMENTS,
    CLAIM_LABEL,
    CONTENTS,
    VOLUMES,
    Names,
    Plain,
    jobs,
    pods,
)
from csi_powerflex.operator.copies.population import JobState, Seen
from csi_powerflex.operator.objects import claims, snapshots


@dataclass(frozen=True, slots=True, kw_only=True)
class Objects:
    """The objects for one claim; None for those that do not exist.

    Attributes:
        claim: the user's claim, if it has the UID.
        snapshot: what is copied: the snapshot of the user, or the one that was taken of the claim.
        own_snapshot: ``snapshot`` was made for this claim, so it is deleted at the end.
        volume: the PersistentVolume of the prime.
        final: the PersistentVolume of the claim.
        in_use: see ``Seen``.
    """

    claim: Plain | None
    snapshot: Plain | None
    own_snapshot: bool
    content: Plain | None
    twin: Plain | None
    source: Plain | None
    prime: Plain | None
    volume: Plain | None
    job: Plain | None
    final: Plain | None
    in_use: bool

    def seen(self) -> Seen:
        """What they mean for the next step."""
        bound = str(self.claim.spec.get("volumeName", "")) if self.claim else ""
        final = self.final.metadata.name if self.final else ""
        alive = self.claim is not None and self.claim.metadata.deletion_timestamp is None
        return Seen(
            wanted=alive and bound in ("", final),
            delivered=bool(final) and bound == final,
            snapshot=self.snapshot is not None and self.own_snapshot,
            snapshot_ready=_ready(self.snapshot),
            content=self.content is not None,
            twin=self.twin is not None,
            twin_ready=_ready(self.twin),
            source=self.source is not None,
            prime=self.prime is not None,
            volume=self.volume is not None,
            policy=_policy(self.volume),
            job=_state(self.job),
            in_use=self.in_use,
            final=self.final is not None,
            final_policy=_policy(self.final),
        )


class Sight:
    """Reads the objects for a claim.

    Args:
        client: how to reach the cluster.
        namespace: the operator's namespace.
    """

    def __init__(self, client: Client, namespace: str) -> None:
        self._client = client
        self._namespace = namespace

    def look(self, found: VolumeCopy, entry: Population) -> Objects:
        """The objects as they are now.

        Raises:
            FailedPrecondition: an object of someone else has the name of one of them.
            DriverError: the cluster does not answer.
        """
        names, namespace = Names(entry.uid), found.metadata.namespace
        claim = self.get(claims(namespace), entry.claim)
        prime = self._own(claims(self._namespace), names.prime, entry.uid)
        taken = self._own(snapshots(namespace), names.snapshot, entry.uid) if found.spec.claim else None
        volume = self._volume(entry, prime)
        return Objects(
            claim=claim if claim is not None and claim.metadata.uid == entry.uid else None,
            snapshot=taken if found.spec.claim else self.get(snapshots(namespace), found.spec.snapshot),
            own_snapshot=bool(found.spec.claim),
            content=self._own(CONTENTS, names.twin, entry.uid),
            twin=self._own(snapshots(self._namespace), names.twin, entry.uid),
            source=self._own(claims(self._namespace), names.source, entry.uid),
            prime=prime,
            volume=volume,
            job=self._own(jobs(self._namespace), names.job, entry.uid),
            final=self._own(VOLUMES, names.final, entry.uid),
            in_use=self._in_use(entry, volume),
        )

    def get(self, path: str, name: str) -> Plain | None:
        """An object, if it exists."""
        try:
            return self._client.get(path, name, Plain)
        except NotFound:
            return None

    def _own(self, path: str, name: str, uid: str) -> Plain | None:
        item = self.get(path, name)
        if item is not None and item.metadata.labels.get(CLAIM_LABEL) != uid:
            raise FailedPrecondition(
                f"{path}/{name} exists and was not made for this claim; look who made it, and delete it"
            )
        return item

    def _volume(self, entry: Population, prime: Plain | None) -> Plain | None:
        """The PersistentVolume of the prime, also if the prime does not exist any more.

        Raises:
            FailedPrecondition: the PersistentVolume belongs to another claim.
        """
        name = entry.volume or (str(prime.spec.get("volumeName", "")) if prime else "")
        item = self.get(VOLUMES, name) if name else None
        if item is None:
            return None
        owner = item.spec.get("claimRef") or {}
        expected = (self._namespace, Names(entry.uid).prime)
        if (owner.get("namespace"), owner.get("name")) != expected:
            raise FailedPrecondition(
                f"PersistentVolume {name} belongs to claim {owner.get('namespace')}/{owner.get('name')} and "
                f"not to {'/'.join(expected)}; it is left as it is"
            )
        return item

    def _in_use(self, entry: Population, volume: Plain | None) -> bool:
        labels = f"{CLAIM_LABEL}={entry.uid}"
        if self._client.list(pods(self._namespace), Plain, labels=labels).items:
            return True
        if volume is None:
            return False
        name = volume.metadata.name
        return any(
            item.spec.get("source", {}).get("persistentVolumeName") == name
            for item in self._client.list(ATTACHMENTS, Plain).items
        )


def _ready(snapshot: Plain | None) -> bool:
    if snapshot is None or snapshot.metadata.deletion_timestamp is not None:
        return False
    return bool(snapshot.status.get("readyToUse"))


def _policy(volume: Plain | None) -> str:
    return str(volume.spec.get("persistentVolumeReclaimPolicy", "")) if volume else ""


def _state(job: Plain | None) -> JobState:
    if job is None:
        return JobState.ABSENT
    true = {item["type"] for item in job.status.get("conditions", ()) if item.get("status") == "True"}
    if "Complete" in true:
        return JobState.COMPLETE
    return JobState.FAILED if "Failed" in true else JobState.RUNNING
