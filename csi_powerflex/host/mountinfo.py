"""The kernel's table of mounts, /proc/thread-self/mountinfo.

Only this table tells a bind mount from a directory: both have the same device number. Reading it touches no
filesystem, so it also works while a device does not answer.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_TABLE = Path("/proc/thread-self/mountinfo")
_ESCAPE = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of mountinfo (proc(5)).

    Attributes:
        number: the kernel's id of the mount.
        device: ``major:minor`` of the filesystem, as in sysfs.
        root: the path inside the filesystem that is mounted.
        point: the path where it is mounted.
        options: the options of this mount.
        filesystem: the type of the filesystem.
        source: the device as it was named at mounting.
        super_options: the options of the filesystem, for all its mounts.
        peers: the peer group; empty for a private mount. A bind mount is in the group of its source.
    """

    number: int
    device: str
    root: str
    point: str
    options: frozenset[str]
    filesystem: str
    source: str
    super_options: frozenset[str]
    peers: str

    @property
    def read_only(self) -> bool:
        """Whether writing through this mount is refused."""
        return "ro" in self.options or "ro" in self.super_options

    @property
    def of_device_file(self) -> bool:
        """Whether this is the bind mount of a device file, as a raw block volume is published."""
        return self.filesystem in ("devtmpfs", "tmpfs") and self.root != "/"


def read() -> tuple[Mount, ...]:
    """All mounts that this process sees, in the order in which they were made."""
    return parse(_TABLE.read_bytes())


def parse(table: bytes) -> tuple[Mount, ...]:
    """The mounts of a table, which is the content of a file ``mountinfo``."""
    # Only a newline ends a line here. Others that Python would split at, such as a form feed, are not
    # escaped.
    lines = os.fsdecode(table).split("\n")
    return tuple(_parse(line) for line in lines if line)


def _with_any_of(*marks: bytes) -> tuple[Mount, ...]:
    """As ``read``, but only the mounts whose line has one of ``marks``.

    A node with thousands of volumes has more mounts, and to parse all of them takes a tenth of a second.
    """
    lines = _TABLE.read_bytes().split(b"\n")
    found = {number for mark in marks for number, line in enumerate(lines) if mark in line}
    return tuple(_parse(os.fsdecode(lines[number])) for number in sorted(found))


def at(point: Path, table: Sequence[Mount] | None = None) -> Mount | None:
    """The mount at ``point``, the topmost one where several are stacked; None where nothing is mounted."""
    wanted = str(point)
    if table is None:
        # A path that the kernel has escaped is in a line with a backslash.
        table = _with_any_of(b" %s " % os.fsencode(wanted), b"\\")
    found = [mount for mount in table if mount.point == wanted]
    return found[-1] if found else None


def number_at(descriptor: int) -> int:
    """The id of the mount that the open file ``descriptor`` was reached through."""
    text = Path(f"/proc/thread-self/fdinfo/{descriptor}").read_text()
    return int(next(line.split()[1] for line in text.splitlines() if line.startswith("mnt_id:")))


def number_of_device_file(descriptor: int) -> str:
    """The ``major:minor`` of the device whose file is open as ``descriptor``."""
    return _colon(os.fstat(descriptor).st_rdev)


def cover_of(mount: Mount) -> Mount | None:
    """The mount that hides ``mount``: the path of ``mount`` leads to it. None where nothing hides it.

    The table has both, and their order does not show which one a path leads to.

    Raises:
        OSError: the path cannot be followed.
    """
    descriptor = os.open(mount.point, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        number = number_at(descriptor)
    finally:
        os.close(descriptor)
    return None if number == mount.number else next(found for found in read() if found.number == number)


def is_of(mount: Mount, device: Path) -> bool:
    """Whether ``mount`` shows the block device: its filesystem, or its file by a bind mount."""
    return number_behind(mount) == device_number(device)


def of_device(device: Path, table: Sequence[Mount] | None = None) -> tuple[Mount, ...]:
    """Every mount that shows the block device: its filesystem, or its file by a bind mount."""
    number = device_number(device)
    if table is None:
        # The first is a filesystem on the device. The others can be what ``number_behind`` reads from a file.
        table = _with_any_of(f" {number} ".encode(), b" 0:", b"tmpfs")
    return tuple(mount for mount in table if number_behind(mount) == number)


def device_number(device: Path) -> str:
    """The ``major:minor`` of the block device file ``device``.

    Raises:
        OSError: there is no such file.
    """
    return _colon(device.stat().st_rdev)


def number_behind(mount: Mount) -> str | None:
    """The ``major:minor`` of the block device that ``mount`` shows; None where it shows none."""
    if mount.of_device_file:
        # Read from the bound file: the name in the table may belong to another device now.
        return _number_of_file(mount.point)
    if mount.device.startswith("0:") and mount.source.startswith("/dev/"):
        # A mount of btrfs has a number of its own, so the number is read from the device's file.
        return _number_of_file(mount.source)
    return mount.device


def _number_of_file(path: str) -> str | None:
    try:
        status = os.stat(path)  # noqa: PTH116 - a plain string from the kernel, and hot
    except OSError:
        return None
    return _colon(status.st_rdev) if stat.S_ISBLK(status.st_mode) else None


def _colon(number: int) -> str:
    return f"{os.major(number)}:{os.minor(number)}"


def _parse(line: str) -> Mount:
    left, _, right = line.partition(" - ")
    number, _parent, device, root, point, options, *tags = left.split(" ")
    filesystem, source, super_options = right.split(" ", 2)
    return Mount(
        number=int(number),
        device=device,
        root=_plain(root),
        point=_plain(point),
        options=frozenset(options.split(",")),
        filesystem=filesystem,
        source=_plain(source),
        super_options=frozenset(super_options.split(",")),
        peers=next((tag for tag in tags if tag.startswith("shared:")), ""),
    )


def _plain(text: str) -> str:
    """``text`` with the kernel's octal escapes (space, tab, newline, backslash) decoded."""
    if "\\" not in text:
        return text
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), text)
