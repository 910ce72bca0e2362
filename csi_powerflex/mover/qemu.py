"""``qemu-img``, which converts images, under limits.

Its exit status alone proves little: it converts a truncated QCOW2 image to a disk with gaps and says 0. So
an image is checked first, and the result is compared with the image after it.

``qemu-img`` gets the format from ``mover.formats``, never opens the target device of an import, and is told
that a QCOW2 image has no backing file.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from csi_powerflex.errors import Unavailable
from csi_powerflex.host.run import CommandFailed, Completed, Limits, run_limited
from csi_powerflex.model.mover import Phase
from csi_powerflex.mover.disk import SECTOR
from csi_powerflex.mover.formats import Format, Header
from csi_powerflex.mover.outcome import Different, Refused, Work
from csi_powerflex.units import GIB, MIB, readable, round_up

_MEMORY = 2 * GIB
_INSPECT_SECONDS = 60
_LONGEST_SECONDS = 24 * 3600
_SMALLEST_FILE = MIB


class _Info(msgspec.Struct, rename="kebab"):
    """What ``qemu-img info --output=json`` says of an image."""

    format: str
    virtual_size: int
    encrypted: bool = False
    backing_filename: str | None = None
    full_backing_filename: str | None = None
    snapshots: list[Any] = []
    format_specific: dict[str, Any] | None = None


def require_sound(image: Path, header: Header, work: Work) -> None:
    """Let ``qemu-img`` look at an image that is acceptable by its header.

    Raises:
        Refused: it is not what its header says, it refers to other files, or it is damaged.
        Unavailable: ``qemu-img`` did not end in time.
        Stopped: the process has to end.
    """
    info = _info(image, header.format, work)
    _check_info(info, image, header)
    if header.format is Format.RAW:
        return
    done = _run(
        ["qemu-img", "check", "-f", header.format, "--output=json", "--", str(image)],
        accept=(0, 1, 2, 3, 63),
        seconds=_LONGEST_SECONDS,
        work=work,
    )
    # 3 means that clusters are not used, which harms nothing.
    if done.code not in (0, 3):
        raise Refused(
            f"{image.name} is damaged or truncated: {_check_result(done)}; get it again, and compare its "
            "checksum"
        )


def convert(image: Path, header: Header, disk: Path, work: Work) -> None:
    """Convert an image to a sparse RAW file, and compare both.

    Raises:
        Refused: the image cannot be converted.
        Different: the result is not what is in the image.
        Stopped: the process has to end.
    """
    work.begin(Phase.CONVERTING, header.size)
    disk.unlink(missing_ok=True)
    _run(
        [
            "qemu-img",
            "convert",
            "-O",
            "raw",
            "-S",
            "64k",
            "-W",
            "--",
            _opened(image, header.format),
            str(disk),
        ],
        file=header.size,
        seconds=_LONGEST_SECONDS,
        work=work,
        meanwhile=lambda: work.at(_allocated(disk)),
    )
    work.end(header.size)
    if disk.stat().st_size != round_up(header.size, SECTOR):
        raise Different(
            f"the conversion of {image.name} made {disk.stat().st_size} bytes, and the image has "
            f"{header.size}; nothing was written to the target"
        )
    compare(image, header.format, disk, Format.RAW, work)


def compare(one: Path, one_format: Format, other: Path, other_format: Format, work: Work) -> None:
    """Compare the disks in two images.

    Raises:
        Different: they differ.
        Stopped: the process has to end.
    """
    work.begin(Phase.VERIFYING, None)
    done = _run(
        ["qemu-img", "compare", "-p", "-f", one_format, "-F", other_format, "--", str(one), str(other)],
        accept=(0, 1),
        seconds=_LONGEST_SECONDS,
        work=work,
    )
    if done.code:
        raise Different(
            f"{one} and {other} differ after the conversion: {_last_line(done.stdout)}; try again"
        )


def make_qcow2(disk: Path, size: int, image: Path, *, compressed: bool, work: Work) -> None:
    """Make a QCOW2 image of a device or RAW file, and check and compare it.

    Raises:
        Different: the image is not what is on the disk.
        Unavailable: the image could not be written.
        Stopped: the process has to end.
    """
    work.begin(Phase.CONVERTING, size)
    source = json.dumps({"driver": "raw", "file": {"driver": _file_driver(disk), "filename": str(disk)}})
    options = ["-c"] if compressed else []
    _run(
        ["qemu-img", "convert", "-O", "qcow2", "-S", "64k", *options, "--", f"json:{source}", str(image)],
        file=size + size // 8 + 64 * MIB,
        seconds=_LONGEST_SECONDS,
        work=work,
        meanwhile=lambda: work.at(min(_allocated(image), size)),
    )
    require_sound(image, Header(Format.QCOW2, size), work)
    compare(disk, Format.RAW, image, Format.QCOW2, work)


def _info(image: Path, form: Format, work: Work) -> _Info:
    done = _run(
        ["qemu-img", "info", "-U", "-f", form, "--output=json", "--", str(image)],
        seconds=_INSPECT_SECONDS,
        work=work,
    )
    try:
        return msgspec.json.decode(done.stdout, type=_Info)
    except msgspec.DecodeError as error:
        raise Refused(f"qemu-img info says nothing usable of {image.name}: {error}") from error


def _check_info(info: _Info, image: Path, header: Header) -> None:
    """Compare what ``qemu-img`` says with the header. ``mover.formats`` has checked the header before."""
    data = (info.format_specific or {}).get("data") or {}
    extents = [extent.get("filename") for extent in data.get("extents") or []]
    problem = next(
        (
            text
            for found, text in (
                (info.format != header.format, f"qemu-img finds the format {info.format}"),
                (
                    round_up(info.virtual_size, SECTOR) != round_up(header.size, SECTOR),
                    f"qemu-img finds {readable(info.virtual_size)}, and the header {readable(header.size)}",
                ),
                (info.encrypted or data.get("encrypt"), "it is encrypted"),
                (info.backing_filename or info.full_backing_filename, "it names a backing file"),
                (data.get("data-file"), "its data is in another file"),
                (info.snapshots, "it has internal snapshots"),
                (data.get("corrupt"), "it is marked as corrupt"),
                (extents not in ([], [str(image)]), "its extents are in other files"),
            )
            if found
        ),
        None,
    )
    if problem is not None:
        raise Refused(
            f"{image.name} is not accepted: {problem}; make a plain image of it with qemu-img convert"
        )


def _run(
    command: list[str],
    *,
    accept: tuple[int, ...] = (0,),
    file: int = _SMALLEST_FILE,
    seconds: int,
    work: Work,
    meanwhile: Callable[[], None] | None = None,
) -> Completed:
    limits = Limits(memory=_MEMORY, processor=seconds, file=file)
    try:
        return run_limited(
            command, limits=limits, cap=seconds, accept=accept, meanwhile=meanwhile or work.check
        )
    except CommandFailed as error:
        if "No space left" in error.stderr or "Input/output error" in error.stderr:
            raise Unavailable(f"qemu-img could not finish: {error.stderr}") from error
        if error.code == -signal.SIGKILL:
            raise Unavailable(
                f"qemu-img {command[1]} was killed: this pod may have too little memory, or the image needs "
                f"more than {seconds} seconds of processor time"
            ) from error
        raise Refused(f"qemu-img {command[1]} does not accept the image: {error.stderr}") from error


def _opened(image: Path, form: Format) -> str:
    """How ``qemu-img`` opens an image: with its format, and without a backing file."""
    options: dict[str, Any] = {"driver": form, "file": {"driver": "file", "filename": str(image)}}
    if form is Format.QCOW2:
        options["backing"] = None
    return f"json:{json.dumps(options)}"


def _file_driver(disk: Path) -> str:
    return "host_device" if disk.is_block_device() else "file"


def _allocated(path: Path) -> int:
    """How much of a sparse file is allocated; 0 if it does not exist yet."""
    try:
        return path.stat().st_blocks * 512
    except FileNotFoundError:
        return 0


class _Check(msgspec.Struct, rename="kebab"):
    check_errors: int = 0
    corruptions: int = 0


def _check_result(done: Completed) -> str:
    try:
        found = msgspec.json.decode(done.stdout, type=_Check)
    except msgspec.DecodeError:
        return f"qemu-img check says {_last_line(done.stderr)}"
    return f"qemu-img check finds {found.corruptions} corruptions and {found.check_errors} errors"


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.replace("\r", "\n").splitlines() if line.strip()]
    return lines[-1] if lines else "nothing"
