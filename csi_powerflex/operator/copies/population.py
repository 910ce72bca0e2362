"""What to do next for one claim that waits for a copy. There are no effects here.

All objects of a population have names that follow from the UID of the claim. So what exists says how far it
is.
The volume is written through a claim of the operator, called prime. At the end a second PersistentVolume for
the same volume, with the volume mode of the user's claim, is bound to that claim. A volume could be deleted
twice, or with its data, so the order is strict:

1. The PersistentVolume of the prime gets the policy Retain before the second one exists.
2. No pod and no VolumeAttachment uses the first before the second exists.
3. The first is deleted before the second gets another policy than Retain.

So at each time at most one PersistentVolume lets Kubernetes delete the volume.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from csi_powerflex.operator.copies.definition import Population, Stage

RETAIN = "Retain"
DELETE = "Delete"


class Step(enum.Enum):
    """One step for one claim."""

    WAIT = "wait"
    CREATE_SNAPSHOT = "create the snapshot of the source"
    CREATE_CONTENT = "create the content of the snapshot in the operator's namespace"
    CREATE_TWIN = "create the snapshot in the operator's namespace"
    CREATE_SOURCE = "create the claim with the clone that is read"
    CREATE_PRIME = "create the claim that is written"
    CREATE_JOB = "create the mover"
    RECORD = "record that the copy is complete"
    FAIL = "fail"
    RETAIN = "keep the volume"
    DELETE_JOB = "delete the mover"
    HAND_OVER = "create the PersistentVolume of the claim"
    RELEASE = "let Kubernetes delete the volume"
    DELETE_PRIME = "delete the claim that was written"
    DELETE_VOLUME = "delete the PersistentVolume that was written"
    SET_POLICY = "give the PersistentVolume of the claim its policy"
    CLEAN = "delete what the copy was read from"
    FORGET = "forget the claim"


class JobState(enum.Enum):
    """How the mover is."""

    ABSENT = "absent"
    RUNNING = "running"
    COMPLETE = "complete"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What exists for a claim.

    Attributes:
        wanted: the claim exists with its UID, is not being deleted, and is not bound to another volume.
        delivered: the claim is bound to the PersistentVolume that was made for it.
        snapshot, content, twin: whether the snapshot of the source, and its content and itself in the
            operator's namespace, exist.
        snapshot_ready, twin_ready: whether they can be used.
        source, prime: whether the operator's claims exist.
        volume: the PersistentVolume of the prime exists.
        policy: its reclaim policy.
        job: how the mover is.
        in_use: a pod of the mover exists, or a VolumeAttachment names the PersistentVolume of the prime.
        final: the PersistentVolume of the claim exists.
        final_policy: its reclaim policy.
    """

    wanted: bool
    delivered: bool = False
    snapshot: bool = False
    snapshot_ready: bool = False
    content: bool = False
    twin: bool = False
    twin_ready: bool = False
    source: bool = False
    prime: bool = False
    volume: bool = False
    policy: str = ""
    job: JobState = JobState.ABSENT
    in_use: bool = False
    final: bool = False
    final_policy: str = ""


def next_step(entry: Population, seen: Seen, *, ending: bool) -> Step:
    """The next step.

    Args:
        entry: what the status has about the claim.
        seen: what exists.
        ending: the VolumeCopy is being deleted.
    """
    if seen.final:
        return _finish(entry, seen)
    if entry.stage is Stage.FAILED or ending or not seen.wanted:
        return _take_back(seen, keep=entry.stage is Stage.FAILED and seen.wanted and not ending)
    if entry.stage is Stage.HANDING_OVER:
        return _hand_over(seen)
    return _copy(seen)


def _copy(seen: Seen) -> Step:
    match seen.job:
        case JobState.COMPLETE:
            return Step.RECORD if seen.prime and seen.volume else Step.FAIL
        case JobState.FAILED:
            return Step.FAIL
        case JobState.RUNNING:
            return Step.WAIT
        case JobState.ABSENT:
            return _prepare(seen)


def _prepare(seen: Seen) -> Step:
    """What the mover needs, in the order in which one thing needs the other."""
    if not seen.snapshot_ready:
        return Step.WAIT if seen.snapshot else Step.CREATE_SNAPSHOT
    needed = (
        (seen.content, Step.CREATE_CONTENT),
        (seen.twin, Step.CREATE_TWIN),
        (seen.twin_ready, Step.WAIT),
        (seen.source, Step.CREATE_SOURCE),
        (seen.prime, Step.CREATE_PRIME),
    )
    return next((step for there, step in needed if not there), Step.CREATE_JOB)


def _hand_over(seen: Seen) -> Step:
    if not seen.volume:
        return Step.FAIL
    if seen.policy != RETAIN:
        return Step.RETAIN
    if seen.job is not JobState.ABSENT:
        return Step.DELETE_JOB
    return Step.WAIT if seen.in_use else Step.HAND_OVER


def _finish(entry: Population, seen: Seen) -> Step:
    """The claim's PersistentVolume exists: only it may be left, also if the claim is deleted."""
    if seen.wanted and not seen.delivered:
        return Step.WAIT
    if seen.volume and seen.policy != RETAIN:
        return Step.RETAIN
    if seen.prime:
        return Step.DELETE_PRIME
    if seen.volume:
        return Step.DELETE_VOLUME
    # Also for a claim that was deleted meanwhile: it may have been used before.
    if seen.final_policy != entry.reclaim_policy:
        return Step.SET_POLICY
    return _cleaned(seen, Step.FORGET)


def _take_back(seen: Seen, *, keep: bool) -> Step:
    """Nothing is handed over: the volume and all that was made for it is deleted."""
    if seen.job is not JobState.ABSENT:
        return Step.DELETE_JOB
    if seen.volume and seen.policy != DELETE:
        return Step.RELEASE
    if seen.prime:
        return Step.DELETE_PRIME
    if seen.volume:
        return Step.WAIT
    return _cleaned(seen, Step.WAIT if keep else Step.FORGET)


def _cleaned(seen: Seen, then: Step) -> Step:
    if seen.source or seen.twin or seen.content or seen.snapshot:
        return Step.CLEAN
    return then
