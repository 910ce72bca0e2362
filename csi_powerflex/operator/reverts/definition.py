"""The fields of a VolumeRevert."""

from __future__ import annotations

import datetime
import enum
from typing import Annotated

import msgspec
from msgspec import Meta

from csi_powerflex.operator.api import NAME_PATTERN, Column, Definition, Resource, Status

_NAME = Meta(pattern=NAME_PATTERN, max_length=253)


class Phase(enum.StrEnum):
    """How far a revert is. A phase has the name of what is done while the revert is in it."""

    PENDING = "Pending"
    HOLDING = "Holding"
    SECURING = "Securing"
    REVERTING = "Reverting"
    VERIFYING = "Verifying"
    RELEASING = "Releasing"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


ENDED = (Phase.SUCCEEDED, Phase.FAILED)


class RevertSpec(msgspec.Struct, frozen=True, rename="camel", kw_only=True, omit_defaults=True):
    """What to revert, and to what. It cannot be changed: create another VolumeRevert instead."""

    claim: Annotated[
        str,
        _NAME,
        Meta(description="The claim to revert, in the same namespace. No pod may use it."),
    ] = ""
    snapshot: Annotated[str, _NAME, Meta(description="The VolumeSnapshot of the claim to revert it to.")] = ""
    group_snapshot: Annotated[
        str,
        _NAME,
        Meta(
            description="In place of claim and snapshot: a VolumeGroupSnapshot. All its claims are reverted "
            "to their snapshots, or none."
        ),
    ] = ""
    snapshot_class: Annotated[
        str,
        _NAME,
        Meta(
            description="The VolumeSnapshotClass of the safety snapshots, which keep the data from before "
            "the revert. By default that of the snapshot, or the default class of the driver."
        ),
    ] = ""
    timeout_seconds: Annotated[
        int,
        Meta(
            description="How long to wait until no pod uses the claims, and then for the safety snapshots. "
            "After it the revert fails, and nothing is changed.",
            ge=1,
            le=86400,
        ),
    ] = 300


class RevertMember(msgspec.Struct, frozen=True, rename="camel", kw_only=True, omit_defaults=True):
    """One claim that is reverted."""

    claim: Annotated[str, Meta(description="Its name.")]
    snapshot: Annotated[str, Meta(description="The VolumeSnapshot that it is reverted to.")]
    persistent_volume: Annotated[str, Meta(description="The PersistentVolume of the claim.")]
    volume_handle: Annotated[str, Meta(description="The handle of the volume.")]
    snapshot_handle: Annotated[str, Meta(description="The handle of the snapshot.")]
    snapshot_class: Annotated[str, Meta(description="The VolumeSnapshotClass of the safety snapshot.")] = ""
    safety_snapshot: Annotated[
        str, Meta(description="The VolumeSnapshot with the data from before the revert.")
    ] = ""
    safety_handle: Annotated[str, Meta(description="The handle of the safety snapshot.")] = ""


class RevertStatus(Status, frozen=True, rename="camel", kw_only=True, omit_defaults=True):
    """How far the revert is."""

    phase: Annotated[
        Phase | None,
        Meta(
            description="Pending (waits until no pod uses the claims), Holding (keeps pods from starting), "
            "Securing (takes safety snapshots), Reverting, Verifying (looks whether a volume was mapped "
            "meanwhile), Releasing (lets pods start again), Succeeded or Failed."
        ),
    ] = None  # type: ignore[assignment]  # narrower than in any status
    started_at: Annotated[datetime.datetime | None, Meta(description="When the revert began.")] = None
    completed_at: Annotated[datetime.datetime | None, Meta(description="When it ended.")] = None
    waiting_since: Annotated[
        datetime.datetime | None, Meta(description="Since when it waits; the timeout counts from here.")
    ] = None
    hold: Annotated[
        str, Meta(description="The text of the hold on the PersistentVolumes; empty if there is none.")
    ] = ""
    attempts: Annotated[int, Meta(description="How often the array was told to overwrite the volumes.")] = 0
    failure: Annotated[str, Meta(description="Why the revert fails, while the holds are removed.")] = ""
    members: Annotated[tuple[RevertMember, ...], Meta(description="The claims.")] = ()


class VolumeRevert(Resource, frozen=True, kw_only=True):
    """A VolumeRevert as the API has it."""

    spec: Annotated[
        RevertSpec,
        Meta(
            extra_json_schema={
                "x-kubernetes-validations": [
                    {
                        "rule": "self == oldSelf",
                        "message": "a VolumeRevert cannot be changed; create another one",
                    },
                    {
                        "rule": "has(self.claim) == has(self.snapshot) "
                        "&& has(self.claim) != has(self.groupSnapshot)",
                        "message": "give either claim and snapshot, or groupSnapshot",
                    },
                ]
            }
        ),
    ] = RevertSpec()
    status: RevertStatus = RevertStatus()


DEFINITION = Definition(
    kind="VolumeRevert",
    plural="volumereverts",
    short=("vrev",),
    description="Gives claims the data of their snapshots, in place. The data from before are kept in "
    "safety snapshots. It is done once.",
    resource=VolumeRevert,
    columns=(
        Column("Claim", ".spec.claim", "The claim."),
        Column("Snapshot", ".spec.snapshot", "The snapshot that it is reverted to."),
        Column("Group", ".spec.groupSnapshot", "The group snapshot.", wide=True),
        Column("Phase", ".status.phase", "How far it is."),
        Column(
            "Safety",
            ".status.members[*].safetySnapshot",
            "The snapshots with the data from before.",
            wide=True,
        ),
        Column("Message", ".status.message", "What happens or what is wrong.", wide=True),
        Column("Age", ".metadata.creationTimestamp", "When it was created.", type="date"),
    ),
)
