"""What is on a block device: nothing, a filesystem, or something else.

A device that is found blank gets formatted. So three independent checks must agree that it is: blkid, wipefs,
and the blocks themselves: the first and the last 4 MiB, and samples between them. A volume of 64 GiB or less
has one sample in 16 MiB, a larger one has 4096. What cannot be read is an error and never "blank". This finds
every filesystem, and data that fill 16 MiB. It does not prove that no block between the samples was written.

A mark on the device says that this driver began to make a filesystem there and did not finish. It is on the
device itself, so it is right on any node that gets the volume next. It is written before mkfs and removed
after it, always before the first mount, and before the device is given to a pod as a block device. A complete
filesystem is never erased because of a mark. Each mkfs completes the first superblock last, so what an
interrupted mkfs leaves is not taken for a complete filesystem. blkid says "nothing", and no error, also where
it cannot read. So a marked device counts as unfinished only if no complete superblock is in the blocks that
this module has read itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from csi_powerflex.errors import FailedPrecondition, Unavailable
from csi_powerflex.host import blockdev, filesystem
from csi_powerflex.host.run import AtDeadline, run
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.units import GIB, KIB, MIB, readable

# What must be zero at either end of a blank device. The labels of LVM, RAID, LUKS 2 and ZFS are within it.
_EDGE = 4 * MIB
_ZEROS = bytes(_EDGE)
_SAMPLE = 4 * KIB
_MARK_LENGTH = 4 * KIB
# The mark is 4 MiB before this size, or before the end of a smaller device. No mkfs writes there. The place
# does not change when the volume grows.
_MARK_END = GIB
_SAMPLE_DISTANCE = 16 * MIB
_MOST_SAMPLES = 4096
# xfs: the byte sb_inprogress of the superblock (xfs_format.h), which mkfs clears at its end.
_XFS_IN_PROGRESS = 126
_SMALLEST = 4 * _EDGE

_BLKID_NOTHING, _BLKID_AMBIGUOUS = 2, 8


@dataclass(frozen=True, slots=True)
class Blank:
    """Nothing."""


@dataclass(frozen=True, slots=True)
class Formatted:
    """A filesystem. ``type`` is its name for mount(8)."""

    type: str


@dataclass(frozen=True, slots=True)
class Foreign:
    """Something else, such as a partition table, an encrypted container or unknown data.

    ``description`` is for an error message.
    """

    description: str


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A filesystem that this driver began to make for this volume. It was never mounted."""


Content = Blank | Formatted | Foreign | Unfinished


def probe(device: Path, handle: VolumeHandle) -> Content:
    """What is on ``device``, which is the volume ``handle``.

    Raises:
        Unavailable, DeadlineExceeded: the device could not be read, a tool failed, or blkid has missed a
            filesystem.
        FailedPrecondition: the device is smaller than any volume.
    """
    size = blockdev.size(device)
    if size < _SMALLEST:
        raise FailedPrecondition(
            f"{device} has {readable(size)}; no volume of a PowerFlex is below {readable(_SMALLEST)}"
        )
    head = blockdev.read(device, offset=0, length=_EDGE)
    tail = blockdev.read(device, offset=size - _EDGE, length=_EDGE)
    found = _blkid(device)
    incomplete = found is None or (found == Formatted("xfs") and head[_XFS_IN_PROGRESS] != 0)
    if incomplete and is_marked(device, handle):
        _require_no_complete_superblock(device, head)
        return Unfinished()
    if found is not None:
        return found
    signatures = _wipefs(device)
    if signatures:
        return Foreign(f"signatures that wipefs knows ({signatures})")
    for name, edge in (("first", head), ("last", tail)):
        if edge != _ZEROS:
            return Foreign(f"data of an unknown kind: its {name} {readable(_EDGE)} are not all zero")
    for offset in (_mark_offset(device), *_samples(size)):
        if blockdev.read(device, offset=offset, length=_SAMPLE) != _ZEROS[:_SAMPLE]:
            return Foreign(f"data of an unknown kind: its {readable(_SAMPLE)} at byte {offset} are not zero")
    return Blank()


def _require_no_complete_superblock(device: Path, head: bytes) -> None:
    """Raise ``Unavailable`` if ``head``, the first bytes of ``device``, has a complete superblock."""
    for kind in filesystem.KINDS.values():
        offset, magic = kind.magic
        complete = kind.name != "xfs" or head[_XFS_IN_PROGRESS] == 0
        if complete and head.startswith(magic, offset):
            raise Unavailable(
                f"blkid finds nothing on {device}, but a superblock of {kind.name} is there; the device was "
                "not changed. blkid may have been unable to read it: repeat the call. If it stays so, look "
                f"at {device} with blkid, and repair its filesystem"
            )


def filesystem_of(device: Path) -> str | None:
    """The type of the filesystem that blkid finds on ``device``; None where it finds something else.

    Raises:
        Unavailable, DeadlineExceeded: the device could not be read.
    """
    found = _blkid(device)
    return found.type if isinstance(found, Formatted) else None


def _samples(size: int) -> list[int]:
    """Offsets where a filesystem has data even if its beginning was overwritten.

    ext4 has copies of its superblock in groups of 128 MiB (1 and powers of 3, 5, 7), and btrfs at 64 MiB and
    256 GiB. XFS has a header in each of its groups, which are a quarter of the volume or less.
    """
    spares = {128 * MIB * group for group in (1, 3, 5, 7, 9, 25, 27, 49)} | {64 * MIB, 256 * GIB}
    parts = {size * part // 16 // _SAMPLE * _SAMPLE for part in range(1, 16)}
    distance = max(_SAMPLE_DISTANCE, size // _MOST_SAMPLES // _SAMPLE * _SAMPLE)
    return sorted(
        offset for offset in {*spares, *parts, *range(distance, size, distance)} if offset < size - _EDGE
    )


def is_marked(device: Path, handle: VolumeHandle) -> bool:
    """Whether the mark for ``handle`` is on ``device``.

    Raises:
        Unavailable: the device could not be read.
    """
    return blockdev.read(device, offset=_mark_offset(device), length=_MARK_LENGTH) == _mark(handle)


def mark(device: Path, handle: VolumeHandle) -> None:
    """Write the mark on ``device``: a filesystem is being made for ``handle``.

    Raises:
        Unavailable: it could not be written.
    """
    blockdev.write(device, _mark(handle), offset=_mark_offset(device))


def unmark(device: Path, handle: VolumeHandle) -> None:
    """Remove the mark, if it is there.

    Raises:
        Unavailable: it could not be read or written.
    """
    if is_marked(device, handle):
        blockdev.write(device, bytes(_MARK_LENGTH), offset=_mark_offset(device))


def erase_unfinished(device: Path, handle: VolumeHandle) -> None:
    """Erase what an interrupted mkfs left, so that the next mkfs finds a blank device. The mark stays.

    Raises:
        FailedPrecondition: there is no mark for ``handle``, so the data may belong to a user.
        Unavailable, DeadlineExceeded: it could not be erased. The mark is still there.
    """
    if not is_marked(device, handle):
        raise FailedPrecondition(f"{device} carries no mark of an unfinished filesystem for volume {handle}")
    run(["wipefs", "--all", "--quiet", "--", str(device)], at_deadline=AtDeadline.LEAVE)
    blockdev.write(device, _ZEROS, offset=0)


def _mark(handle: VolumeHandle) -> bytes:
    text = f"csi-powerflex: a filesystem is being made on volume {handle}; it holds no data yet\n"
    return text.encode().ljust(_MARK_LENGTH, b"\0")


def _mark_offset(device: Path) -> int:
    return min(_MARK_END, blockdev.size(device)) - _EDGE


def _blkid(device: Path) -> Formatted | Foreign | None:
    """What blkid finds on the device itself and not in blkid's cache; None for nothing."""
    completed = run(
        ["blkid", "--probe", "--output", "export", "--", str(device)],
        accept=(0, _BLKID_NOTHING, _BLKID_AMBIGUOUS),
    )
    if completed.code == _BLKID_NOTHING:
        return None
    if completed.code == _BLKID_AMBIGUOUS:
        return Foreign("more than one kind of content at a time, as blkid reports")
    facts = dict(line.split("=", 1) for line in completed.stdout.splitlines() if "=" in line)
    if facts.get("USAGE") == "filesystem" and "TYPE" in facts:
        return Formatted(facts["TYPE"])
    if "PTTYPE" in facts:
        return Foreign(f"a partition table ({facts['PTTYPE']})")
    return Foreign(f"{facts.get('TYPE', 'something unnamed')} ({facts.get('USAGE', 'of unknown use')})")


def _wipefs(device: Path) -> str:
    """The signatures that wipefs finds; empty for none."""
    completed = run(["wipefs", "--no-act", "--noheadings", "--output", "TYPE,OFFSET", "--", str(device)])
    return ", ".join(" at ".join(line.split()) for line in completed.stdout.splitlines() if line.strip())
