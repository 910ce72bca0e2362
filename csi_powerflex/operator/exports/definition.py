"""The fields of a VolumeExport."""

from __future__ import annotations

import datetime
import enum
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from csi_powerflex.operator.api import NAME_PATTERN, Column, Definition, Progress, Resource, Status

_NAME = Meta(pattern=NAME_PATTERN, max_length=253)
_KEY = Meta(pattern=r"^[-._a-zA-Z0-9]+$", max_length=253)


class Phase(enum.StrEnum):
    """How far an export is."""

    PENDING = "Pending"
    SECURING = "Securing"
    EXPORTING = "Exporting"
    CLEANING = "Cleaning"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


ENDED = (Phase.SUCCEEDED, Phase.FAILED)


class ExportFile(msgspec.Struct, frozen=True, rename="camel", kw_only=True, omit_defaults=True):
    """A file on a claim."""

    claim: Annotated[
        str, _NAME, Meta(description="A filesystem claim in the same namespace, of any driver.")
    ] = ""
    name: Annotated[
        str,
        Meta(
            description="The name of the file, without folders. It must not exist.",
            pattern=r"^[A-Za-z0-9][-A-Za-z0-9._]{0,199}$",
        ),
    ] = ""


class ExportServer(msgspec.Struct, frozen=True, rename="camel", kw_only=True, omit_defaults=True):
    """A server that takes the image with HTTP PUT. All that is secret is in one Secret."""

    secret: Annotated[str, _NAME, Meta(description="A Secret in the same namespace.")] = ""
    url_key: Annotated[
        str, _KEY, Meta(description="The key of the Secret with the URL, such as a signed one.")
    ] = "url"
    credentials_key: Annotated[
        str,
        _KEY,
        Meta(
            description="The key with a bearer token, or with a user and a password in two lines. Only for "
            "https."
        ),
    ] = ""
    authorities_key: Annotated[
        str, _KEY, Meta(description="The key with the certificate authorities to trust, in PEM.")
    ] = ""


class ExportTarget(msgspec.Struct, frozen=True, rename="camel", kw_only=True, omit_defaults=True):
    """Where the image goes."""

    file: Annotated[ExportFile | None, Meta(description="A file on a claim.")] = None
    http: Annotated[ExportServer | None, Meta(description="A server.")] = None


class ExportSpec(msgspec.Struct, frozen=True, rename="camel", kw_only=True, omit_defaults=True):
    """What to export, and where to. It cannot be changed: create another VolumeExport instead."""

    claim: Annotated[
        str,
        _NAME,
        Meta(description="The claim to export, in the same namespace. It may be used meanwhile."),
    ] = ""
    snapshot: Annotated[str, _NAME, Meta(description="In place of claim: the VolumeSnapshot to export.")] = ""
    target: Annotated[ExportTarget, Meta(description="Where the image goes.")] = ExportTarget()
    format: Annotated[
        Literal["qcow2", "raw"],
        Meta(description="The format of the image. A raw one is as large as the volume."),
    ] = "qcow2"
    compressed: Annotated[bool, Meta(description="Whether the parts of a qcow2 image are compressed.")] = (
        False
    )
    verify: Annotated[
        Literal["sample", "full"],
        Meta(description="How much of a raw file is compared. A qcow2 image is always compared as a whole."),
    ] = "sample"
    snapshot_class: Annotated[
        str,
        _NAME,
        Meta(
            description="The VolumeSnapshotClass of the temporary snapshot of a claim. By default the "
            "default class of the driver. One with retentionMinutes is refused."
        ),
    ] = ""
    storage_class_name: Annotated[
        str,
        _NAME,
        Meta(
            description="The StorageClass of the temporary volumes, on the same system. By default that of "
            "the claim. It is necessary if the claim of a snapshot was deleted."
        ),
    ] = ""
    timeout_seconds: Annotated[
        int,
        Meta(
            description="How long to wait for the source and the target, and then for the snapshot.",
            ge=1,
            le=86400,
        ),
    ] = 300


class ExportStatus(Status, frozen=True, rename="camel", kw_only=True, omit_defaults=True):
    """How far the export is."""

    phase: Annotated[
        Phase | None,
        Meta(
            description="Pending (checks), Securing (takes a snapshot), Exporting (the Job of the data mover "
            "runs), Cleaning (removes what was temporary), Succeeded or Failed."
        ),
    ] = None  # type: ignore[assignment]  # narrower than in any status
    started_at: Annotated[datetime.datetime | None, Meta(description="When the export began.")] = None
    completed_at: Annotated[datetime.datetime | None, Meta(description="When it ended.")] = None
    waiting_since: Annotated[
        datetime.datetime | None, Meta(description="Since when it waits; the timeout counts from here.")
    ] = None
    snapshot: Annotated[str, Meta(description="The VolumeSnapshot that is exported.")] = ""
    content: Annotated[
        str,
        Meta(description="The VolumeSnapshotContent that may be opened in block mode during the export."),
    ] = ""
    storage_class: Annotated[str, Meta(description="The StorageClass of the temporary volumes.")] = ""
    job: Annotated[
        str, Meta(description="The name of the Job, of the temporary claim and of the temporary snapshot.")
    ] = ""
    volume_bytes: Annotated[int, Meta(description="The size of the volume, in bytes.")] = 0
    image_bytes: Annotated[int, Meta(description="What was written, in bytes.")] = 0
    digest: Annotated[str, Meta(description="The digest of the image.")] = ""
    progress: Annotated[Progress | None, Meta(description="How far the Job is.")] = None
    failure: Annotated[str, Meta(description="Why the export fails, while it cleans up.")] = ""


class VolumeExport(Resource, frozen=True, kw_only=True):
    """A VolumeExport as the API has it."""

    spec: Annotated[
        ExportSpec,
        Meta(
            extra_json_schema={
                "x-kubernetes-validations": [
                    {
                        "rule": "self == oldSelf",
                        "message": "a VolumeExport cannot be changed; create another one",
                    },
                    {
                        "rule": "has(self.claim) != has(self.snapshot)",
                        "message": "give either claim or snapshot",
                    },
                    {
                        "rule": "has(self.target) && has(self.target.file) != has(self.target.http)",
                        "message": "give either target.file or target.http",
                    },
                    {
                        "rule": "!has(self.target.file) "
                        "|| (has(self.target.file.claim) && has(self.target.file.name))",
                        "message": "target.file needs claim and name",
                    },
                    {
                        "rule": "!has(self.target.http) || has(self.target.http.secret)",
                        "message": "target.http needs secret",
                    },
                ]
            }
        ),
    ] = ExportSpec()
    status: ExportStatus = ExportStatus()


DEFINITION = Definition(
    kind="VolumeExport",
    plural="volumeexports",
    short=("vexp",),
    description="Makes an image of a claim or a VolumeSnapshot, in a file on another claim or on a server. "
    "It is done once.",
    resource=VolumeExport,
    columns=(
        Column("Claim", ".spec.claim", "The claim."),
        Column("Snapshot", ".spec.snapshot", "The snapshot.", wide=True),
        Column("Format", ".spec.format", "The format of the image."),
        Column("Phase", ".status.phase", "How far it is."),
        Column("Percent", ".status.progress.percent", "How far the Job is.", type="integer"),
        Column("Image", ".status.imageBytes", "What was written, in bytes.", type="integer", wide=True),
        Column("Message", ".status.message", "What happens or what is wrong.", wide=True),
        Column("Age", ".metadata.creationTimestamp", "When it was created.", type="date"),
    ),
)
