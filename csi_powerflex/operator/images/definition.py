"""The fields of a VolumeImage."""

from __future__ import annotations

import datetime
import enum
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from csi_powerflex.operator.api import NAME_PATTERN, Column, Definition, Progress, Resource, Status

_NAME = Meta(pattern=NAME_PATTERN, max_length=253)
_KEY = Meta(pattern=r"^[-._a-zA-Z0-9]+$", max_length=253)
# No part of the path begins with a dot, so it cannot leave the claim.
_FILE = Meta(
    pattern=r"^[A-Za-z0-9_][-A-Za-z0-9._]*(/[A-Za-z0-9_][-A-Za-z0-9._]*)*$",
    max_length=1000,
)

CLONES = 100
"""A tree of the array has at most 127 members (docs/snapshots.md). The others are for snapshots of clones."""


class Phase(enum.StrEnum):
    """What a VolumeImage does."""

    READY = "Ready"
    IMPORTING = "Importing"
    CLONING = "Cloning"
    FAILED = "Failed"
    DELETING = "Deleting"


class Stage(enum.StrEnum):
    """How far a cached copy is."""

    IMPORTING = "Importing"
    CACHING = "Caching"
    CLEANING = "Cleaning"
    READY = "Ready"
    FAILED = "Failed"
    RETIRED = "Retired"


MAKING = (Stage.IMPORTING, Stage.CACHING, Stage.CLEANING)


class ImageServer(msgspec.Struct, frozen=True, rename="camel", kw_only=True, omit_defaults=True):
    """A server with the image. All that is secret is in one Secret."""

    url: Annotated[
        str,
        Meta(
            description="The URL, with http or https and without a user. Everyone who may read the "
            "VolumeImage sees it.",
            # The host has no @, so no password comes into the cluster with it.
            pattern=r"^https?://[!$-.0->A-~]+([/?#][!-~]*)?$",
            max_length=4000,
        ),
    ] = ""
    secret: Annotated[str, _NAME, Meta(description="A Secret in the same namespace.")] = ""
    url_key: Annotated[
        str,
        _KEY,
        Meta(description="In place of url: the key of the Secret with the URL, such as a signed one."),
    ] = ""
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


class ImageClaim(msgspec.Struct, frozen=True, rename="camel", kw_only=True, omit_defaults=True):
    """A claim with the image."""

    name: Annotated[
        str,
        _NAME,
        Meta(
            description="A claim in the same namespace. With file, a filesystem claim of any driver; "
            "without, a claim of this driver with volumeMode Block, which has the image as its data."
        ),
    ] = ""
    file: Annotated[str, _FILE, Meta(description="The path of the image on a filesystem claim.")] = ""


class ImageSource(msgspec.Struct, frozen=True, rename="camel", kw_only=True, omit_defaults=True):
    """Where the image is."""

    http: Annotated[ImageServer | None, Meta(description="A server.")] = None
    claim: Annotated[ImageClaim | None, Meta(description="A claim.")] = None


class ImageKeep(msgspec.Struct, frozen=True, rename="camel", kw_only=True, omit_defaults=True):
    """Which cached copies are kept. Clones do not need the copy that they were made from."""

    copies: Annotated[
        int,
        Meta(
            description="The largest number of cached copies. The one that was not used for the longest time "
            "is removed first.",
            ge=1,
            le=100,
        ),
    ] = 10
    unused_hours: Annotated[
        int,
        Meta(
            description="After so many hours without a new clone, a copy is removed; 0 for never. Copies for "
            "storageClasses are kept.",
            ge=0,
            le=87600,
        ),
    ] = 0


class ImageSpec(msgspec.Struct, frozen=True, rename="camel", kw_only=True, omit_defaults=True):
    """The image, and how it is cached. A change of source, format, checksum or size needs another import."""

    source: Annotated[ImageSource, Meta(description="Where the image is.")] = ImageSource()
    format: Annotated[
        Literal["auto", "raw", "qcow2", "vmdk"],
        Meta(
            description="The format that the image must have. A raw one without partition table and "
            "filesystem has to be given as raw."
        ),
    ] = "auto"
    checksum: Annotated[
        str,
        Meta(
            description="sha256:HEX or sha512:HEX of the image as it is at its source.",
            pattern=r"^(sha256:[0-9a-fA-F]{64}|sha512:[0-9a-fA-F]{128})$",
        ),
    ] = ""
    size: Annotated[
        str,
        Meta(
            description="The size of the cached copies. The disk of the image must fit. Claims must have at "
            "least this size.",
            pattern=r"^[1-9][0-9]{0,8}(Mi|Gi|Ti)$",
        ),
    ] = "8Gi"
    storage_classes: Annotated[
        tuple[Annotated[str, _NAME], ...],
        Meta(
            description="StorageClasses for which the image is cached before a claim needs it.", max_length=20
        ),
    ] = ()
    snapshot_class: Annotated[
        str,
        _NAME,
        Meta(
            description="The VolumeSnapshotClass of the cached copies. By default the default class of the "
            "driver. One with retentionMinutes is refused."
        ),
    ] = ""
    scratch_class: Annotated[
        str,
        _NAME,
        Meta(
            description="The StorageClass, of any driver, of the temporary filesystem of an import. By "
            "default that of the claim."
        ),
    ] = ""
    clones_per_copy: Annotated[
        int,
        Meta(
            description="The largest number of clones of one cached copy. For more clones, another copy is "
            "made. Snapshots of the clones are members of the same tree on the array.",
            ge=1,
            le=1000,
        ),
    ] = CLONES
    keep: Annotated[ImageKeep, Meta(description="Which cached copies are kept.")] = ImageKeep()


class CachedCopy(msgspec.Struct, frozen=True, rename="camel", kw_only=True, omit_defaults=True):
    """A cached copy. It is written before the first object is created for it."""

    name: Annotated[
        str,
        Meta(
            description="The name of its VolumeSnapshot in the namespace of the operator, and of what is "
            "temporary."
        ),
    ]
    pool: Annotated[
        str, Meta(description="Where it is: the system, protection domain and pool that its class names.")
    ]
    revision: Annotated[str, Meta(description="The revision of the specification that it is made of.")]
    storage_class: Annotated[str, Meta(description="The StorageClass that it was made with.")]
    attributes_class: Annotated[str, Meta(description="The VolumeAttributesClass that it was made with.")] = (
        ""
    )
    stage: Annotated[
        Stage,
        Meta(
            description="Importing (the Job of the data mover runs), Caching (a snapshot is taken), Cleaning "
            "(what was temporary is removed), Ready, Failed (it is tried again), or Retired (it is removed)."
        ),
    ] = Stage.IMPORTING
    content: Annotated[
        str,
        Meta(
            description="The VolumeSnapshotContent in the namespace of the VolumeImage, until it is removed."
        ),
    ] = ""
    clones: Annotated[int, Meta(description="How many clones of it exist or are being made.")] = 0
    size_bytes: Annotated[int, Meta(description="Its size, in bytes.")] = 0
    used_at: Annotated[datetime.datetime | None, Meta(description="When it was made or used last.")] = None
    attempts: Annotated[int, Meta(description="How many times the import has failed.")] = 0
    retry_at: Annotated[datetime.datetime | None, Meta(description="When the import is tried again.")] = None
    progress: Annotated[Progress | None, Meta(description="How far the Job is.")] = None
    message: Annotated[str, Meta(description="What happens now, or what is wrong and what to do.")] = ""


class WaitingClaim(msgspec.Struct, frozen=True, rename="camel", kw_only=True, omit_defaults=True):
    """A claim that waits for a clone. It is written before the first object is created for it."""

    claim: Annotated[str, Meta(description="The name of the claim.")]
    uid: Annotated[str, Meta(description="The UID of the claim.")]
    pool: Annotated[str, Meta(description="Where its volume has to be.")] = ""
    storage_class: Annotated[str, Meta(description="Its StorageClass.")] = ""
    attributes_class: Annotated[str, Meta(description="Its VolumeAttributesClass.")] = ""
    requested_bytes: Annotated[int, Meta(description="The size that it asks for, in bytes.")] = 0
    copy: Annotated[str, Meta(description="The cached copy that it gets a clone of.")] = ""
    volume: Annotated[str, Meta(description="The PersistentVolume of the clone.")] = ""
    message: Annotated[str, Meta(description="What happens now, or what is wrong and what to do.")] = ""


class ImageStatus(Status, frozen=True, rename="camel", kw_only=True, omit_defaults=True):
    """The cached copies, and the claims that wait."""

    phase: Annotated[
        Phase | None,
        Meta(
            description="Ready (nothing is to be done), Importing, Cloning, Failed (the import has failed "
            "and is tried again) or Deleting."
        ),
    ] = None  # type: ignore[assignment]  # narrower than in any status
    revision: Annotated[
        str, Meta(description="Changes with source, format, checksum and size of the specification.")
    ] = ""
    digest: Annotated[
        str, Meta(description="The digest of the image of this revision. Each further import must have it.")
    ] = ""
    disk_bytes: Annotated[int, Meta(description="The size of the disk of the image, in bytes.")] = 0
    format: Annotated[str, Meta(description="The format that the image has.")] = ""
    made: Annotated[int, Meta(description="How many cached copies were begun.")] = 0
    populated: Annotated[int, Meta(description="How many claims have got a clone.")] = 0
    progress: Annotated[Progress | None, Meta(description="How far the Job is that runs.")] = None
    copies: Annotated[
        tuple[CachedCopy, ...],
        Meta(
            description="The cached copies.",
            extra_json_schema={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ] = ()
    claims: Annotated[
        tuple[WaitingClaim, ...],
        Meta(
            description="The claims that wait for a clone, at most 100 at a time.",
            extra_json_schema={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["uid"]},
        ),
    ] = ()


_RULES = {
    "give either source.http or source.claim": (
        "has(self.source) && has(self.source.http) != has(self.source.claim)"
    ),
    "source.http needs either url or urlKey": (
        "!has(self.source) || !has(self.source.http) "
        "|| has(self.source.http.url) != has(self.source.http.urlKey)"
    ),
    "source.http.secret and the keys need each other": (
        "!has(self.source) || !has(self.source.http) || has(self.source.http.secret) "
        "== (has(self.source.http.urlKey) || has(self.source.http.credentialsKey) "
        "|| has(self.source.http.authoritiesKey))"
    ),
    "source.claim needs name": (
        "!has(self.source) || !has(self.source.claim) || has(self.source.claim.name)"
    ),
}


class VolumeImage(Resource, frozen=True, kw_only=True):
    """A VolumeImage as the API has it."""

    spec: Annotated[
        ImageSpec,
        Meta(
            extra_json_schema={
                "x-kubernetes-validations": [
                    {"rule": rule, "message": message} for message, rule in _RULES.items()
                ]
            }
        ),
    ] = ImageSpec()
    status: ImageStatus = ImageStatus()


DEFINITION = Definition(
    kind="VolumeImage",
    plural="volumeimages",
    short=("vimg",),
    description="Claims whose dataSourceRef names it get a clone of an image. It is imported once for each "
    "pool, and cached there.",
    resource=VolumeImage,
    columns=(
        Column("Phase", ".status.phase", "What it does."),
        Column("Percent", ".status.progress.percent", "How far the Job is.", type="integer"),
        Column("Format", ".status.format", "The format of the image."),
        Column("Disk", ".status.diskBytes", "The size of its disk, in bytes.", type="integer", wide=True),
        Column("Populated", ".status.populated", "How many claims have got a clone.", type="integer"),
        Column("Message", ".status.message", "What happens or what is wrong.", wide=True),
        Column("Age", ".metadata.creationTimestamp", "When it was created.", type="date"),
    ),
    populates=True,
)
