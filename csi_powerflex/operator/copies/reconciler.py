"""What follows for a VolumeCopy and its claims, from values alone. Nothing here has an effect."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from csi_powerflex.operator.api import Condition, Progress, shortened, with_condition
from csi_powerflex.operator.classes import StorageClass
from csi_powerflex.operator.copies.definition import (
    CopyStatus,
    Phase,
    Population,
    Stage,
    VolumeCopy,
)
from csi_powerflex.operator.owned import Whole
from csi_powerflex.operator.sources import FILESYSTEM, Source, size_of
from csi_powerflex.units import whole_percent

READY = "Ready"
"""The condition of a VolumeCopy that is True while no claim waits."""

SELECTED_NODE = "volume.kubernetes.io/selected-node"
MOST_CLAIMS = 50
"""The most claims in the status at a time that have not failed. The others wait for a place."""
MOST_FAILED = 100
"""The most claims in the status that have failed. Of more, the first is forgotten, and tried again."""

_IDLE = (Stage.WAITING, Stage.FAILED)
_WRITING = ("ReadWriteOnce", "ReadWriteOncePod", "ReadWriteMany")
_KEPT = ("storageClassName", "resources", "volumeAttributesClassName")


def is_idle(entry: Population) -> bool:
    """Whether nothing was made for the claim, or nothing of it is left."""
    return entry.stage in _IDLE


def with_new(entries: Sequence[Population], wanting: Sequence[Population]) -> tuple[Population, ...]:
    """The claims of the status and those that have come since, as many as there are places for.

    A claim that was looked at and still waits gives its place to one that was not: nothing was made for it.
    So claims that do not fit keep no other claim from its copy. All have their turn, in the order of names.
    Places change only when all that have one were looked at.
    """
    failed = [entry for entry in entries if entry.stage is Stage.FAILED]
    waited = [entry for entry in entries if entry.stage is Stage.WAITING and entry.message]
    unseen = any(entry.stage is Stage.WAITING and not entry.message for entry in entries)
    free = max(0, MOST_CLAIMS - (len(entries) - len(failed) - len(waited)))
    places = max(0, free - len(waited)) if unseen else free
    last = entries[-1].claim if entries else ""
    made = sorted(wanting, key=lambda entry: (entry.claim <= last, entry.claim))[:places]
    leaving = (*failed[:-MOST_FAILED], *waited[: max(0, len(waited) + len(made) - free)])
    left = {entry.uid for entry in leaving}
    return (*(entry for entry in entries if entry.uid not in left), *made)


def is_waiting(claim: Whole | None) -> bool:
    """Whether the claim still waits for a volume."""
    return claim is not None and not claim.deleting and not claim.spec.get("volumeName")


def mode_of(claim: Whole) -> str:
    """Filesystem or Block."""
    return str(claim.spec.get("volumeMode") or FILESYSTEM)


def unsuitable(claim: Whole, storage_class: StorageClass, driver_name: str) -> str:
    """Why no volume can be made for the claim; empty if one can."""
    name = claim.spec.get("storageClassName")
    if not name:
        return "the claim has no StorageClass; create it with one"
    if storage_class.provisioner != driver_name:
        found = storage_class.provisioner
        return f"StorageClass {name} is of {found}; create the claim with one of {driver_name}"
    modes = claim.spec.get("accessModes") or ()
    if mode_of(claim) == FILESYSTEM and "ReadWriteMany" in modes:
        return "ReadWriteMany is offered with volumeMode Block only; create the claim with another mode"
    return ""


def does_not_fit(claim: Whole, source: Source) -> str:
    """Why the source cannot be copied for the claim; empty if it can."""
    wanted = size_of((claim.spec.get("resources") or {}).get("requests"))
    if source.size > wanted:
        return (
            f"the source has {source.size} bytes, and the claim asks for {wanted}; create the claim with at "
            "least the size of the source"
        )
    if source.mode == "Block" and mode_of(claim) == FILESYSTEM:
        return "the source has volumeMode Block, so it has no filesystem; create the claim with that mode"
    return ""


def temporary(uid: str) -> str:
    """The name of the Job, the snapshot and the claim that is read, for the claim with this UID."""
    return f"copy-{uid}"


def target(uid: str) -> str:
    """The name of the temporary claim that is written."""
    return f"copy-target-{uid}"


def uid_of(name: str, *, is_claim: bool) -> str:
    """The UID in the name of what is temporary; empty if the operator gives nothing such a name."""
    uid = name.removeprefix("copy-")
    if is_claim:
        uid = uid.removeprefix("target-")
    names = (temporary(uid), target(uid)) if is_claim else (temporary(uid),)
    return uid if name in names else ""


def target_of(entry: Population, claim: Whole) -> Mapping[str, Any]:
    """The temporary claim that is written: as the claim of the user, but in block mode."""
    node = claim.metadata.annotations.get(SELECTED_NODE)
    modes = list(claim.spec.get("accessModes") or ())
    if not any(mode in _WRITING for mode in modes):
        modes.append("ReadWriteOnce")
    kept = {name: claim.spec[name] for name in _KEPT if name in claim.spec}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": target(entry.uid),
            **({"annotations": {SELECTED_NODE: node}} if node else {}),
        },
        "spec": {**kept, "accessModes": modes, "volumeMode": "Block"},
    }


# --- the claim after a step ------------------------------------------------------------------------


def said(entry: Population, words: str) -> Population:
    """What happens or what is waited for."""
    return replace(entry, message=words)


def begun(entry: Population, found: VolumeCopy, source: Source) -> Population:
    """The copy begins. This is written before anything is made for it."""
    return replace(
        entry,
        stage=Stage.SECURING,
        snapshot=found.spec.snapshot or temporary(entry.uid),
        source_class=source.storage_class,
        filesystem=source.filesystem,
        message="waits for a snapshot that can be read",
    )


def secured(entry: Population, source_id: str, target_uid: str) -> Population:
    """The source can be read, and the temporary claims exist."""
    changed = replace(entry, source_id=source_id, target_uid=target_uid)
    if entry.stage is Stage.COPYING:
        return changed
    return replace(changed, stage=Stage.COPYING, message="the data are copied")


def copied(entry: Population, claim: Whole, volume: str, policy: str, words: str) -> Population:
    """All data are in ``volume``. This is written before the claim gets it."""
    return replace(
        entry,
        stage=Stage.CLOSING,
        written=volume,
        final=volume if mode_of(claim) == "Block" else f"pvc-{entry.uid}",
        reclaim_policy=policy,
        progress=None,
        message=f"{words}; the data mover ends",
    )


def closed(entry: Population) -> Population:
    """Only the PersistentVolume that the claim gets is left, and no node has it attached."""
    return replace(entry, stage=Stage.BINDING, message="the claim gets the volume")


def undoing(entry: Population, failure: str) -> Population:
    """What was begun is removed. This is written before it is."""
    why = failure or "the claim does not wait for a copy any more"
    return replace(
        entry,
        stage=Stage.UNDOING,
        failure=failure,
        progress=None,
        message=f"removes what was begun: {why}",
    )


def failed(entry: Population) -> Population:
    """Nothing of the copy is left. The claim waits until it is deleted."""
    why = f"{entry.failure}. Delete the claim, and create it again"
    return Population(claim=entry.claim, uid=entry.uid, stage=Stage.FAILED, message=why)


# --- the status ------------------------------------------------------------------------------------


def status_of(
    found: VolumeCopy, entries: Sequence[Population], *, populated: int, now: datetime.datetime
) -> CopyStatus:
    """The status that follows from the claims."""
    phase = Phase.DELETING if found.deleting else _phase(entries)
    words = "; ".join(f"claim {entry.claim}: {entry.message}" for entry in entries if entry.message)
    message = shortened(words or "no claim waits for a copy")
    condition = Condition(
        type=READY,
        status="True" if phase is Phase.READY else "False",
        reason=str(phase),
        message=message,
        last_transition_time=now,
    )
    return replace(
        found.status,
        phase=phase,
        message=message,
        populated=found.status.populated + populated,
        progress=_together(entries),
        claims=tuple(entries),
        conditions=with_condition(found.status.conditions, condition),
    )


def _phase(entries: Sequence[Population]) -> Phase:
    stages = {entry.stage for entry in entries}
    if stages - set(_IDLE):
        return Phase.COPYING
    if Stage.FAILED in stages:
        return Phase.FAILED
    return Phase.WAITING if stages else Phase.READY


def _together(entries: Sequence[Population]) -> Progress | None:
    found = [entry.progress for entry in entries if entry.progress is not None]
    if not found:
        return None
    done, total = sum(item.bytes_done for item in found), sum(item.bytes_total for item in found)
    return Progress(
        bytes_done=done,
        bytes_total=total,
        percent=whole_percent(done, total) if total else 0,
        bytes_per_second=sum(item.bytes_per_second for item in found),
    )
