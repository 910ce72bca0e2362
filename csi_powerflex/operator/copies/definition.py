"""The fields of a VolumeCopy."""

from __future__ import annotations

import enum
from typing import Annotated

import msgspec
from msgspec import Meta

from csi_powerflex.operator.api import NAME_PATTERN, Column, Definition, Resource, Status

_NAME = Meta(pattern=NAME_PATTERN, max_length=253)


class Phase(enum.StrEnum):
    """What a VolumeCopy does."""

    READY = "Ready"
    COPYING = "Copying"
    DELETING = "Deleting"


class Stage(enum.StrEnum):
    """How far the copy for one claim is."""

    COPYING = "Copying"
    HANDING_OVER = "HandingOver"
    FAILED = "Failed"


class CopySpec(msgspec.Struct, frozen=True, rename="camel", kw_only=True, omit_defaults=True):
    """What to copy. It cannot be changed: create another VolumeCopy instead."""

    claim: Annotated[
        str,
        _NAME,
        Meta(description="The claim to copy, in the same namespace. Pods may use it: a snapshot is copied."),
    ] = ""
    snapshot: Annotated[str, _NAME, Meta(description="Instead of claim: the VolumeSnapshot to copy.")] = ""
    source_class: Annotated[
        str,
        _NAME,
        Meta(
            description="The StorageClass of the temporary clone that is read. It must be of the system of "
            "the source. By default that of the claim."
        ),
    ] = ""
    snapshot_class: Annotated[
        str,
        _NAME,
        Meta(
            description="The VolumeSnapshotClass of the temporary snapshot of a claim. If it is not given, "
            "the default class."
        ),
    ] = ""


class Population(msgspec.Struct, frozen=True, rename="camel", kw_only=True, omit_defaults=True):
    """The copy for one claim. It is written before the first object is created for it."""

    claim: Annotated[str, Meta(description="The name of the claim.")]
    uid: Annotated[str, Meta(description="The UID of the claim.")]
    stage: Annotated[
        Stage, Meta(description="Copying, HandingOver (the claim gets the volume) or Failed.")
    ] = Stage.COPYING
    volume: Annotated[
        str, Meta(description="The PersistentVolume with the copy, before the claim has it.")
    ] = ""
    reclaim_policy: Annotated[str, Meta(description="What the claim's PersistentVolume gets at the end.")] = (
        ""
    )
    message: Annotated[str, Meta(description="What happens or what is wrong, in words.")] = ""


class CopyStatus(Status, frozen=True, rename="camel", kw_only=True, omit_defaults=True):
    """How far the copies are."""

    phase: Annotated[
        Phase | None,
        Meta(description="Ready (no claim waits), Copying, or Deleting."),
    ] = None  # type: ignore[assignment]  # narrower than in any status
    populated: Annotated[int, Meta(description="How many claims have got a copy.")] = 0
    claims: Annotated[tuple[Population, ...], Meta(description="The claims that wait for a copy.")] = ()


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
                    {
                        "rule": "has(self.claim) || has(self.sourceClass)",
                        "message": "a copy of a snapshot needs sourceClass",
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
        Column("Populated", ".status.populated", "How many claims have got a copy.", type="integer"),
        Column("Message", ".status.message", "What happens or what is wrong.", wide=True),
        Column("Age", ".metadata.creationTimestamp", "When it was created.", type="date"),
    ),
)
