"""The fields of a VolumeMove."""

from __future__ import annotations

import datetime
import enum
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from csi_powerflex.operator.api import NAME_PATTERN, Column, Definition, Progress, Resource, Status

_NAME = Meta(pattern=NAME_PATTERN, max_length=253)


class Phase(enum.StrEnum):
    """How far a move is. A phase has the name of what is done while the move is in it."""

    PENDING = "Pending"
    PLANNED = "Planned"
    HOLDING = "Holding"
    SECURING = "Securing"
    COPYING = "Copying"
    CLOSING = "Closing"
    SWAPPING = "Swapping"
    FINISHING = "Finishing"
    MOVED = "Moved"
    REMOVING = "Removing"
    SUCCEEDED = "Succeeded"
    UNDOING = "Undoing"
    FAILED = "Failed"


ENDED = (Phase.SUCCEEDED, Phase.FAILED)


class MoveSpec(msgspec.Struct, frozen=True, rename="camel", kw_only=True, omit_defaults=True):
    """What to move, and where to. claim, storageClassName and verify cannot be changed."""

    claim: Annotated[
        str, _NAME, Meta(description="The claim to move, in the same namespace. No pod may use it.")
    ] = ""
    storage_class_name: Annotated[
        str, _NAME, Meta(description="The StorageClass that the claim has afterwards.")
    ] = ""
    approved: Annotated[
        bool,
        Meta(description="Set it to true after you have read status.plan. Until then nothing is done."),
    ] = False
    confirmed: Annotated[
        bool,
        Meta(description="Set it to true when the moved claim works: the old volume is then removed."),
    ] = False
    keep_source_seconds: Annotated[
        int,
        Meta(
            description="So long after the move the old volume is removed, also without confirmed; 0 for "
            "never.",
            ge=0,
            le=31536000,
        ),
    ] = 0
    verify: Annotated[
        Literal["sample", "full"],
        Meta(description="How much of the copy is read again and compared."),
    ] = "sample"
    snapshot_class: Annotated[
        str,
        _NAME,
        Meta(
            description="The VolumeSnapshotClass of the temporary snapshot. By default the default class of "
            "the driver. One with retentionMinutes is refused."
        ),
    ] = ""
    timeout_seconds: Annotated[
        int,
        Meta(
            description="How long to wait for the plan, then until no pod uses the claim, then for the "
            "snapshot. After it the move fails, and nothing is changed.",
            ge=1,
            le=86400,
        ),
    ] = 300


class MovePlan(msgspec.Struct, frozen=True, rename="camel", kw_only=True, omit_defaults=True):
    """What is going to happen."""

    persistent_volume: Annotated[str, Meta(description="The PersistentVolume of the claim.")] = ""
    volume_handle: Annotated[str, Meta(description="The handle of the volume.")] = ""
    claim_uid: Annotated[str, Meta(description="The UID of the claim.")] = ""
    capacity: Annotated[str, Meta(description="The size of the volume, as a quantity.")] = ""
    volume_mode: Annotated[str, Meta(description="Filesystem or Block.")] = ""
    filesystem: Annotated[str, Meta(description="The filesystem on the volume.")] = ""
    from_class: Annotated[str, Meta(description="The StorageClass of the claim.")] = ""
    to_class: Annotated[str, Meta(description="The StorageClass that it gets.")] = ""
    remarks: Annotated[tuple[str, ...], Meta(description="What to know before you approve it.")] = ()


class MoveStatus(Status, frozen=True, rename="camel", kw_only=True, omit_defaults=True):
    """How far the move is."""

    phase: Annotated[
        Phase | None,
        Meta(
            description="Pending (makes the plan), Planned (waits for spec.approved), Holding (keeps pods "
            "from starting), Securing (takes a snapshot), Copying, Closing (the copy gets its "
            "PersistentVolume), Swapping (the claim is deleted and created again), Finishing, Moved (the old "
            "volume is kept), Removing (the old volume is removed), Succeeded, Undoing (removes what was "
            "begun) or Failed."
        ),
    ] = None  # type: ignore[assignment]  # narrower than in any status
    plan: Annotated[MovePlan | None, Meta(description="What is going to happen.")] = None
    started_at: Annotated[datetime.datetime | None, Meta(description="When the move began.")] = None
    moved_at: Annotated[datetime.datetime | None, Meta(description="When the claim had the new volume.")] = (
        None
    )
    completed_at: Annotated[datetime.datetime | None, Meta(description="When it ended.")] = None
    waiting_since: Annotated[
        datetime.datetime | None, Meta(description="Since when it waits; the timeout counts from here.")
    ] = None
    hold: Annotated[str, Meta(description="The text of the hold; empty if there is none.")] = ""
    temporary: Annotated[
        str, Meta(description="The name of the Job, of the snapshot and of the temporary claim.")
    ] = ""
    content: Annotated[
        str, Meta(description="The VolumeSnapshotContent that may be opened in block mode during the copy.")
    ] = ""
    source_policy: Annotated[
        str, Meta(description="The reclaim policy of the old volume before the move.")
    ] = ""
    copy_volume: Annotated[str, Meta(description="The PersistentVolume of the copy, in block mode.")] = ""
    copy_claim_uid: Annotated[str, Meta(description="The UID of the temporary claim of the copy.")] = ""
    copy_policy: Annotated[str, Meta(description="The reclaim policy of the new class.")] = ""
    new_volume: Annotated[str, Meta(description="The PersistentVolume that the claim gets.")] = ""
    claim_object: Annotated[
        str,
        Meta(
            description="The claim as it is created again, in JSON. Once it is here, the move only goes "
            "forward."
        ),
    ] = ""
    progress: Annotated[Progress | None, Meta(description="How far the copy is.")] = None
    failure: Annotated[str, Meta(description="Why the move fails, while it is undone.")] = ""


class VolumeMove(Resource, frozen=True, kw_only=True):
    """A VolumeMove as the API has it."""

    spec: Annotated[
        MoveSpec,
        Meta(
            extra_json_schema={
                "x-kubernetes-validations": [
                    {
                        "rule": "has(self.claim) && has(self.storageClassName)",
                        "message": "give claim and storageClassName",
                    },
                    {
                        "rule": "self.claim == oldSelf.claim "
                        "&& self.storageClassName == oldSelf.storageClassName "
                        "&& has(self.verify) == has(oldSelf.verify) "
                        "&& (!has(self.verify) || self.verify == oldSelf.verify)",
                        "message": "claim, storageClassName and verify cannot be changed; create another "
                        "VolumeMove",
                    },
                ]
            }
        ),
    ] = MoveSpec()
    status: MoveStatus = MoveStatus()


DEFINITION = Definition(
    kind="VolumeMove",
    plural="volumemoves",
    short=("vmove",),
    description="Moves a claim that no pod uses to another StorageClass, also on another system. The claim "
    "keeps its name. The old volume is kept until it is confirmed.",
    resource=VolumeMove,
    columns=(
        Column("Claim", ".spec.claim", "The claim."),
        Column("To", ".spec.storageClassName", "The new class."),
        Column("Phase", ".status.phase", "How far it is."),
        Column("Percent", ".status.progress.percent", "How far the copy is.", type="integer"),
        Column("Old", ".status.plan.persistentVolume", "The old PersistentVolume.", wide=True),
        Column("New", ".status.newVolume", "The new PersistentVolume.", wide=True),
        Column("Message", ".status.message", "What happens or what is wrong.", wide=True),
        Column("Age", ".metadata.creationTimestamp", "When it was created.", type="date"),
    ),
)
