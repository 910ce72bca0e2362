"""The fields of a VolumeCopy."""

from __future__ import annotations

import enum
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from csi_powerflex.operator.api import NAME_PATTERN, Column, Definition, Progress, Resource, Status

_NAME = Meta(pattern=NAME_PATTERN, max_length=253)


class Phase(enum.StrEnum):
    """What a VolumeCopy does."""

    READY = "Ready"
    WAITING = "Waiting"
    COPYING = "Copying"
    FAILED = "Failed"
    DELETING = "Deleting"


class Stage(enum.StrEnum):
    """How far the copy for one claim is. A stage has the name of what is done while the claim is in it."""

    WAITING = "Waiting"
    SECURING = "Securing"
    COPYING = "Copying"
    CLOSING = "Closing"
    BINDING = "Binding"
    UNDOING = "Undoing"
    FAILED = "Failed"


class CopySpec(msgspec.Struct, frozen=True, rename="camel", kw_only=True, omit_defaults=True):
    """What to copy. It cannot be changed: create another VolumeCopy instead."""

    claim: Annotated[
        str,
        _NAME,
        Meta(description="The claim to copy, in the same namespace. Pods may use it: a snapshot is copied."),
    ] = ""
    snapshot: Annotated[str, _NAME, Meta(description="In place of claim: the VolumeSnapshot to copy.")] = ""
    verify: Annotated[
        Literal["sample", "full"],
        Meta(description="How much of a copy is read again and compared."),
    ] = "sample"
    source_class: Annotated[
        str,
        _NAME,
        Meta(
            description="The StorageClass of the temporary volume that is read, on the system of the source. "
            "By default that of the claim. It is necessary if the claim of a snapshot was deleted."
        ),
    ] = ""
    snapshot_class: Annotated[
        str,
        _NAME,
        Meta(
            description="The VolumeSnapshotClass of the temporary snapshot of a claim. By default the "
            "default class of the driver. One with retentionMinutes is refused."
        ),
    ] = ""


class Population(msgspec.Struct, frozen=True, rename="camel", kw_only=True, omit_defaults=True):
    """The copy for one claim. It is written before the first object is created for it."""

    claim: Annotated[str, Meta(description="The name of the claim.")]
    uid: Annotated[str, Meta(description="The UID of the claim.")]
    stage: Annotated[
        Stage,
        Meta(
            description="Waiting (nothing is done yet), Securing (takes a snapshot), Copying (the Job of the "
            "data mover runs), Closing (the Job ends), Binding (the claim gets the volume), Undoing (removes "
            "what was begun) or Failed."
        ),
    ] = Stage.WAITING
    snapshot: Annotated[str, Meta(description="The VolumeSnapshot that is copied.")] = ""
    content: Annotated[
        str,
        Meta(description="The VolumeSnapshotContent that may be opened in block mode during the copy."),
    ] = ""
    source_class: Annotated[
        str, Meta(description="The StorageClass of the temporary volume that is read.")
    ] = ""
    source_id: Annotated[str, Meta(description="What identifies the data: the handle of the snapshot.")] = ""
    filesystem: Annotated[str, Meta(description="The filesystem on the source.")] = ""
    target_uid: Annotated[str, Meta(description="The UID of the temporary claim that is written.")] = ""
    written: Annotated[
        str, Meta(description="The PersistentVolume with the copy, in block mode, before the claim has it.")
    ] = ""
    final: Annotated[str, Meta(description="The PersistentVolume that the claim gets.")] = ""
    reclaim_policy: Annotated[str, Meta(description="The reclaim policy that it gets at the end.")] = ""
    progress: Annotated[Progress | None, Meta(description="How far the Job is.")] = None
    failure: Annotated[str, Meta(description="Why the copy fails, while it is undone.")] = ""
    message: Annotated[str, Meta(description="What happens now, or what is wrong and what to do.")] = ""


class CopyStatus(Status, frozen=True, rename="camel", kw_only=True, omit_defaults=True):
    """How far the copies are."""

    phase: Annotated[
        Phase | None,
        Meta(
            description="Ready (no claim waits), Waiting (claims wait for what the message says), Copying, "
            "Failed (a copy failed, and no other is under way) or Deleting."
        ),
    ] = None  # type: ignore[assignment]  # narrower than in any status
    populated: Annotated[int, Meta(description="How many claims have got a copy.")] = 0
    progress: Annotated[Progress | None, Meta(description="How far all Jobs are together.")] = None
    claims: Annotated[
        tuple[Population, ...],
        Meta(
            description="The claims that wait for a copy.",
            extra_json_schema={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["uid"]},
        ),
    ] = ()


class VolumeCopy(Resource, frozen=True, kw_only=True):
    """A VolumeCopy as the API has it."""

    spec: Annotated[
        CopySpec,
        Meta(
            extra_json_schema={
                "x-kubernetes-validations": [
                    {
                        "rule": "self == oldSelf",
                        "message": "a VolumeCopy cannot be changed; create another one",
                    },
                    {
                        "rule": "has(self.claim) != has(self.snapshot)",
                        "message": "give either claim or snapshot",
                    },
                ]
            }
        ),
    ] = CopySpec()
    status: CopyStatus = CopyStatus()


DEFINITION = Definition(
    kind="VolumeCopy",
    plural="volumecopies",
    short=("vcopy",),
    description="Claims whose dataSourceRef names it get a full copy of a claim or VolumeSnapshot, which "
    "shares nothing with it on the array.",
    resource=VolumeCopy,
    columns=(
        Column("Claim", ".spec.claim", "The claim that is copied."),
        Column("Snapshot", ".spec.snapshot", "The snapshot that is copied."),
        Column("Phase", ".status.phase", "What it does."),
        Column("Percent", ".status.progress.percent", "How far the Jobs are.", type="integer"),
        Column("Populated", ".status.populated", "How many claims have got a copy.", type="integer"),
        Column("Message", ".status.message", "What happens or what is wrong.", wide=True),
        Column("Age", ".metadata.creationTimestamp", "When it was created.", type="date"),
    ),
    populates=True,
)
