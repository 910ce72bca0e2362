"""Exports of a disk: to a QCOW2 or RAW file, or with HTTP PUT."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from csi_powerflex.errors import InvalidArgument, Unavailable
from csi_powerflex.mover import copying, qemu, web
from csi_powerflex.mover.copying import Verify
from csi_powerflex.mover.disk import Disk
from csi_powerflex.mover.formats import Format
from csi_powerflex.mover.outcome import TargetRefused, Work
from csi_powerflex.mover.web import Server


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """What to export, and how.

    Attributes:
        source: the block device, whose content does not change meanwhile.
        target: a file that does not exist, or a server.
        format: QCOW2 or RAW.
        compressed: whether QCOW2 is compressed.
        scratch: a folder of this job alone; only a QCOW2 image for a server needs it.
        verify: how much of a RAW file is compared. A QCOW2 image is always compared as a whole.
    """

    source: Path
    target: Path | Server
    format: Format
    compressed: bool = False
    scratch: Path | None = None
    verify: Verify = Verify.SAMPLE


@dataclass(frozen=True, slots=True)
class Exported:
    """What was exported, in bytes: the disk, the file, and the digest of the file as ``sha256:<hex>``."""

    size: int
    written: int
    digest: str


def export_disk(request: ExportRequest, work: Work) -> Exported:
    """Export a disk. If this is interrupted, the same call begins again.

    Raises:
        TargetRefused: the file exists.
        Refused: the source is no disk, or the server refuses the image.
        Different: the image is not what is on the disk.
        Unavailable: a server, device or folder does not answer, or the folder is full.
        Stopped: the process has to end.
    """
    if request.format not in (Format.RAW, Format.QCOW2):
        raise InvalidArgument(f"a disk is exported as raw or qcow2, not as {request.format}")
    with Disk.source(request.source) as source:
        if isinstance(request.target, Path):
            return _to_file(request, source, request.target, work)
        return _to_server(request, source, request.target, work)


def _to_file(request: ExportRequest, source: Disk, target: Path, work: Work) -> Exported:
    if target.exists():
        raise TargetRefused(f"{target} exists, and is not overwritten; give another name, or delete it")
    partial = target.with_name(f".{target.name}.partial")
    with _created(partial, request, source) as own:
        written = _make(request, source, own, work)
        digest = web.digest_of(partial, None, work)
        try:
            # A link fails if the name exists by now, and a rename would replace it.
            os.link(partial, target)
            _require_own(own, target)
            partial.unlink()
            _flush_folder(target.parent)
        except FileExistsError as error:
            raise TargetRefused(f"{target} was created meanwhile, and is not overwritten") from error
        except OSError as error:
            raise Unavailable(f"{target} cannot be created: {error.strerror}") from error
    return Exported(source.size, written, digest)


def _created(image: Path, request: ExportRequest, source: Disk) -> Disk:
    """The new file of this job. What an interrupted job has left under the name is removed."""
    image.unlink(missing_ok=True)
    return Disk.new_file(image, source.size if request.format is Format.RAW else 0)


def _require_own(own: Disk, target: Path) -> None:
    """Raises Unavailable: another job that makes the same image has replaced the file of this one."""
    with Disk.file(target) as found:
        is_own = found.is_same_as(own)
    if not is_own:
        # Here it only is a second name of the file of that job.
        target.unlink()
        raise Unavailable(f"another job makes {target} too; give one of them another name")


def _to_server(request: ExportRequest, source: Disk, server: Server, work: Work) -> Exported:
    if request.format is Format.RAW:
        sent = web.upload(server, source, work)
        return Exported(source.size, sent.size, sent.digest)
    if request.scratch is None or not request.scratch.is_dir():
        raise InvalidArgument("a QCOW2 image for a server needs a scratch folder that exists; give one")
    image = request.scratch / "export.qcow2"
    with _created(image, request, source) as own:
        _make(request, source, own, work)
    with Disk.file(image) as made:
        sent = web.upload(server, made, work)
    image.unlink()
    return Exported(source.size, sent.size, sent.digest)


def _make(request: ExportRequest, source: Disk, image: Disk, work: Work) -> int:
    """Make the image in a new file; returns the bytes that were written."""
    if request.format is Format.RAW:
        return copying.copy_to_file(source, image, verify=request.verify, work=work).written
    qemu.make_qcow2(source.path, source.size, image.path, compressed=request.compressed, work=work)
    with Disk.file(image.path) as made:
        made.flush()
        return made.size


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
