"""Imports of images: from a URL, a file or a device, to a block device.

An image is first complete in the scratch folder. Then its checksum, its format and its content are checked,
it is converted to a sparse RAW file, and that is copied to the target (``mover.copying``).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from csi_powerflex.errors import InvalidArgument
from csi_powerflex.mover import copying, formats, qemu, unpacking, web
from csi_powerflex.mover.copying import Copied, TargetState, Verify
from csi_powerflex.mover.disk import Disk
from csi_powerflex.mover.formats import Compression, Format, Header
from csi_powerflex.mover.mark import Job
from csi_powerflex.mover.outcome import Refused, TargetRefused, Work
from csi_powerflex.mover.web import Checksum, Server
from csi_powerflex.units import MIB, readable

_MARGIN = 64 * MIB


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """What to import, and how.

    Attributes:
        source: where the image is.
        format: the format that it must have, or AUTO. An image without a known begin is RAW only if asked
            for.
        checksum: of the image as it is at the source; None for none.
        scratch: a folder of this job alone, with space for the image and its data.
        state: what is known of the target.
        verify: how much of the result is compared.
    """

    source: Server | Path
    format: Format
    checksum: Checksum | None
    scratch: Path
    state: TargetState = TargetState.UNKNOWN
    verify: Verify = Verify.SAMPLE


@dataclass(frozen=True, slots=True)
class Imported:
    """What was imported: the format of the image, its digest as ``sha256:<hex>``, and the copy."""

    format: Format
    digest: str
    copied: Copied


@dataclass(frozen=True, slots=True)
class Found:
    """What an image is, as ``inspect`` prints it. An image that is not accepted has a reason."""

    accepted: bool
    reason: str
    format: str
    compression: str
    size: int


def import_image(request: ImportRequest, target: Disk, job: str, work: Work) -> Imported:
    """Import an image to a block device.

    If this is interrupted anywhere, the same call continues: a complete download is used again, and the
    target continues at its last mark.

    Raises:
        Refused: the image is not acceptable.
        TargetRefused: the target is too small, or has content that this job did not write.
        Different: the result is not what is in the image.
        Unavailable: a server, device or folder does not answer, or the folder is full.
        Stopped: the process has to end.
    """
    Job.parse(job, "")
    _require_own(target, job)
    image, digest = _fetched(request, target.size, work)
    image = _unpacked(image, request.scratch, target.size, work)
    header = _examined(image, request.format)
    if header.size > target.size:
        raise TargetRefused(
            f"the image has a disk of {readable(header.size)}, and the target {target.path} has only "
            f"{readable(target.size)}; give a volume of at least {readable(header.size)}"
        )
    disk = _converted(image, header, request.scratch, work)
    with Disk.source(disk) as source:
        identity = f"{digest} as {header.format}"
        copied = copying.copy(
            source, target, Job.parse(job, identity), state=request.state, verify=request.verify, work=work
        )
    _clear(request.scratch)
    return Imported(header.format, digest, copied)


def inspect_image(path: Path, wanted: Format, work: Work) -> Found:
    """What an image is, and whether it would be accepted. A compressed one is not unpacked.

    Raises:
        Unavailable: it cannot be read.
        Stopped: the process has to end.
    """
    head = formats.head_of(path)
    compression = formats.compression_of(head)
    if compression is not Compression.NONE:
        return Found(accepted=True, reason="", format="", compression=compression, size=0)
    try:
        header = _examined(path, wanted)
        qemu.require_sound(path, header, work)
    except Refused as refusal:
        return Found(accepted=False, reason=str(refusal), format="", compression=compression, size=0)
    return Found(accepted=True, reason="", format=header.format, compression=compression, size=header.size)


def _require_own(target: Disk, job: str) -> None:
    """Refuse the target of another job before anything is downloaded."""
    mark = copying.mark_of(target)
    if mark is not None and mark.job != job:
        raise TargetRefused(copying.begun_by_another(target, mark, job))


class _Receipt(msgspec.Struct, frozen=True):
    """Says that the download in the scratch folder is complete, and has the requested checksum."""

    source: str
    size: int
    digest: str


def _fetched(request: ImportRequest, size: int, work: Work) -> tuple[Path, str]:
    """The whole image as a file, and its digest."""
    if isinstance(request.source, Path):
        return request.source, web.digest_of(request.source, request.checksum, work)
    _prepare(request.scratch)
    image, receipt_file = request.scratch / "image", request.scratch / "receipt.json"
    receipt, wanted = _read_receipt(receipt_file), f"{request.source.shown} {request.checksum}"
    if (
        receipt is not None
        and receipt.source == wanted
        and _has_size(image, receipt.size)
        and web.digest_of(image, None, work) == receipt.digest
    ):
        return image, receipt.digest
    receipt_file.unlink(missing_ok=True)
    # An image is not larger than its disk, except for its tables.
    limit = size + size // 8 + _MARGIN
    done = web.download(request.source, image, limit=limit, checksum=request.checksum, work=work)
    receipt_file.write_bytes(msgspec.json.encode(_Receipt(wanted, done.size, done.digest)))
    return image, done.digest


def _prepare(scratch: Path) -> None:
    if not scratch.is_dir():
        raise InvalidArgument(f"the scratch folder {scratch} does not exist; mount a volume there")


def _read_receipt(file: Path) -> _Receipt | None:
    try:
        return msgspec.json.decode(file.read_bytes(), type=_Receipt)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def _has_size(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _unpacked(image: Path, scratch: Path, limit: int, work: Work) -> Path:
    kind = formats.compression_of(formats.head_of(image))
    if kind is Compression.NONE:
        return image
    _prepare(scratch)
    unpacked = scratch / "unpacked"
    unpacking.unpack(image, kind, unpacked, limit=limit, work=work)
    if formats.compression_of(formats.head_of(unpacked)) is not Compression.NONE:
        raise Refused(f"{image.name} is compressed more than once; compress the image only once")
    return unpacked


def _examined(image: Path, wanted: Format) -> Header:
    head, length = formats.head_of(image), formats.length_of(image)
    return formats.examine(head, wanted=wanted, length=length, name=image.name)


def _converted(image: Path, header: Header, scratch: Path, work: Work) -> Path:
    """The image as a RAW file, checked."""
    if header.format is Format.RAW:
        return image
    qemu.require_sound(image, header, work)
    _prepare(scratch)
    disk = scratch / "disk.raw"
    qemu.convert(image, header, disk, work)
    return disk


def _clear(scratch: Path) -> None:
    """Remove the files of this job from the scratch folder."""
    for name in ("image", "receipt.json", "unpacked", "disk.raw"):
        (scratch / name).unlink(missing_ok=True)
