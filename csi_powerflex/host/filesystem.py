"""The filesystems that volumes can have: how to make, check, measure and grow them, and their error counters.

``KINDS`` has one row for each name of ``model.capability.FILESYSTEMS``. This module does not decide whether a
device may be formatted: ``operations.node.staging`` does.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from csi_powerflex.errors import FailedPrecondition, InvalidArgument
from csi_powerflex.host import btrfs, fssize
from csi_powerflex.host.run import AtDeadline, run

# The limit for work that takes longer on a larger volume. The deadline of the call is the one that counts.
_LONG_SECONDS = 24 * 3600.0

# A bit in the exit code of e2fsck(8): errors are left that it may not repair without asking.
_E2FSCK_UNCORRECTED = 4


@dataclass(frozen=True, slots=True)
class FilesystemKind:
    """What one type of filesystem needs.

    Attributes:
        name: its name for mount(8).
        magic: where a complete first superblock has its magic number, in bytes from the start of the device,
            and that number.
        mkfs: the tool that makes it.
        defaults: the driver's options for ``mkfs``. None of them forces anything, so the tool's own refusal
            is the last safeguard. None of them discards: a new thin volume has nothing to free, and on a
            large one the attempt takes minutes.
        joined: the option of which the tool uses only the last occurrence, so the values are joined.
        mount_options: the driver's options for a mount.
        mount_without_recovery: the mount option that leaves the journal alone, for a read-only device.
        size: measures it; the arguments are the device and the mount point.
        grow: the command that grows it while mounted; the arguments are the same.
        tools: the programs that are needed for it.
    """

    name: str
    magic: tuple[int, bytes]
    mkfs: str
    defaults: tuple[tuple[str, str], ...]
    joined: str | None
    mount_options: tuple[str, ...]
    mount_without_recovery: str
    size: Callable[[Path, Path], int]
    grow: Callable[[Path, Path], tuple[str, ...]]
    tools: tuple[str, ...]


KINDS: dict[str, FilesystemKind] = {
    kind.name: kind
    for kind in (
        FilesystemKind(
            name="ext4",
            magic=fssize.EXT4_MAGIC,
            mkfs="mkfs.ext4",
            defaults=(("-q", ""), ("-m", "0"), ("-E", "nodiscard")),
            joined="-E",
            mount_options=(),
            mount_without_recovery="noload",
            size=lambda device, _point: fssize.ext4(device),
            grow=lambda device, _point: ("resize2fs", str(device)),
            tools=("mkfs.ext4", "e2fsck", "resize2fs"),
        ),
        FilesystemKind(
            name="xfs",
            magic=(0, b"XFSB"),
            mkfs="mkfs.xfs",
            defaults=(("-q", ""), ("-K", "")),
            joined=None,
            # XFS refuses to mount a UUID twice. A copy has the UUID of its source. A volume has its own once
            # more, if a filesystem on its lost device is still held by a process.
            mount_options=("nouuid",),
            mount_without_recovery="norecovery",
            size=lambda _device, point: fssize.xfs(point),
            grow=lambda _device, point: ("xfs_growfs", "-d", str(point)),
            tools=("mkfs.xfs", "xfs_growfs"),
        ),
        FilesystemKind(
            name="btrfs",
            magic=btrfs.MAGIC,
            mkfs="mkfs.btrfs",
            defaults=(("-q", ""), ("-K", "")),
            joined=None,
            # No option. For kernels before Linux 6.7, see host.btrfs.
            mount_options=(),
            mount_without_recovery="rescue=nologreplay",
            size=lambda _device, point: fssize.btrfs(point),
            grow=lambda _device, point: ("btrfs", "filesystem", "resize", "max", str(point)),
            tools=("mkfs.btrfs", "btrfs"),
        ),
    )
}


def kind(name: str) -> FilesystemKind:
    """The filesystem of that name.

    Raises:
        InvalidArgument: this driver does not know it.
    """
    found = KINDS.get(name)
    if found is None:
        raise InvalidArgument(f"filesystem type {name!r} is not supported; choose one of {', '.join(KINDS)}")
    return found


def make(
    device: Path,
    name: str,
    options: tuple[tuple[str, str], ...],
    *,
    keep_open: int,
    finished: Callable[[], None],
) -> None:
    """Make a filesystem on ``device``, which is blank.

    Args:
        options: from ``model.format_options.parse``.
        keep_open: the descriptor of ``blockdev.locked``, so that mkfs keeps the device locked as long as it
            runs.
        finished: called when the filesystem is complete, even if that is after the end of this call.

    Raises:
        CommandFailed, CommandTimedOut: mkfs failed or did not end. An incomplete filesystem may be on the
            device.
    """
    of = kind(name)
    command = [of.mkfs]
    for option, value in _merged(of, options):
        command += [f"{option}={value}"] if option.startswith("--") else [option, *([value] if value else ())]
    run(
        [*command, "--", str(device)],
        cap=_LONG_SECONDS,
        at_deadline=AtDeadline.LEAVE,
        keep_open=(keep_open,),
        afterwards=finished,
    )
    finished()


def _merged(of: FilesystemKind, options: tuple[tuple[str, str], ...]) -> list[tuple[str, str]]:
    """The defaults and the user's options, which replace a default or are joined with it."""
    merged = dict(of.defaults)
    rest = []
    for option, value in options:
        if option == of.joined:
            merged[option] = f"{merged[option]},{value}"
        elif option in merged:
            merged[option] = value
        else:
            rest.append((option, value))
    return [*merged.items(), *rest]


def check(device: Path, name: str, *, keep_open: int) -> None:
    """Check the filesystem before a mount, and repair what can be repaired without asking.

    Only ext4 needs it: its journal may hold errors that only e2fsck clears. On a clean filesystem, e2fsck
    reads the superblock and ends. XFS and btrfs recover at mount, and their repair tools are for
    administrators.

    Raises:
        FailedPrecondition: the damage is more than may be repaired without asking. It was not touched.
        CommandFailed, CommandTimedOut: e2fsck failed or did not end.
    """
    if name == "ext4":
        _e2fsck(device, "-p", keep_open=keep_open)


def _e2fsck(device: Path, *options: str, keep_open: int) -> None:
    completed = run(
        ["e2fsck", *options, "--", str(device)],
        cap=_LONG_SECONDS,
        accept=range(8),
        at_deadline=AtDeadline.LEAVE,
        keep_open=(keep_open,),
    )
    if completed.code & _E2FSCK_UNCORRECTED:
        output = " ".join((completed.stdout + completed.stderr).split())
        raise FailedPrecondition(
            f"the ext4 filesystem on {device} is damaged; repair it by hand: run e2fsck on it. "
            f"e2fsck says: {output[:600]}"
        )


def grow_unmounted_ext4(device: Path, *, keep_open: int) -> None:
    """Grow the ext4 on ``device``, which is not mounted, to the size of the device.

    resize2fs requires a full check first.

    Raises:
        FailedPrecondition: the filesystem is damaged.
        CommandFailed, CommandTimedOut: e2fsck or resize2fs failed or did not end.
    """
    _e2fsck(device, "-f", "-p", keep_open=keep_open)
    run(["resize2fs", str(device)], cap=_LONG_SECONDS, at_deadline=AtDeadline.LEAVE, keep_open=(keep_open,))


def grow(device: Path, point: Path, name: str, *, keep_open: int) -> None:
    """Grow the filesystem that is mounted at ``point`` to the size of ``device``.

    Raises:
        CommandFailed, CommandTimedOut: the tool failed or did not end.
    """
    command = kind(name).grow(device, point)
    run(command, cap=_LONG_SECONDS, at_deadline=AtDeadline.LEAVE, keep_open=(keep_open,))


def recorded_errors(device: Path, name: str, *, sysfs: Path = Path("/sys/fs")) -> str:
    """The errors that the kernel has counted in the mounted filesystem on ``device``.

    Empty where there are none, or where the type has no counters.
    """
    with contextlib.suppress(FileNotFoundError):
        if name == "ext4":
            count = int((sysfs / "ext4" / device.name / "errors_count").read_text())
            return f"{count} since the last check" if count else ""
        if name == "btrfs":
            return "; ".join(filter(None, map(_btrfs_errors, _btrfs_counters(device, sysfs))))
    return ""


def _btrfs_counters(device: Path, sysfs: Path) -> list[Path]:
    return [
        link.parent.parent / "devinfo" / "1" / "error_stats"
        for link in (sysfs / "btrfs").glob(f"*/devices/{device.name}")
    ]


def _btrfs_errors(stats: Path) -> str:
    return ", ".join(line for line in stats.read_text().splitlines() if not line.endswith(" 0"))
