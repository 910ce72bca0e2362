"""Who uses a block device: the mounts of all namespaces, and the processes with open files on it.

The answer is for error messages only. It is as complete as ``/proc`` is for this process: in a container
without ``hostPID``, other containers do not show.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from csi_powerflex.host import mountinfo

_PROC = Path("/proc")
_MOST_NAMED = 8


@dataclass(frozen=True, slots=True)
class ForeignMount:
    """A mount of the device in the mount namespace of another process.

    Attributes:
        process: the id of one process in that namespace.
        command: the name of its program.
    """

    process: int
    command: str
    point: str

    def __str__(self) -> str:
        return f"process {self.process} ({self.command}) has it mounted at {self.point}"


def _mounts_elsewhere(number: str) -> list[ForeignMount]:
    """The mounts of the device ``number`` in other mount namespaces than that of this thread."""
    seen = {_namespace(_PROC / "thread-self")}
    found = []
    for process in _processes():
        namespace = _namespace(process)
        if namespace is None or namespace in seen:
            continue
        seen.add(namespace)
        with contextlib.suppress(OSError):  # the process has ended
            table = mountinfo.parse((process / "mountinfo").read_bytes())
            found += [
                ForeignMount(int(process.name), _command(process), mount.point)
                for mount in table
                if not mount.of_device_file and mountinfo.number_behind(mount) == number
            ]
    return found


def describe(number: str) -> str:
    """Who uses the device ``number``, for an error message."""
    texts = [str(mount) for mount in _mounts_elsewhere(number)]
    texts += itertools.islice(_open_files(number), _MOST_NAMED)
    if not texts:
        return "a process or a container that this process does not see"
    more = len(texts) - _MOST_NAMED
    return "; ".join(texts[:_MOST_NAMED]) + (f"; and {more} more" if more > 0 else "")


def _open_files(number: str) -> Iterator[str]:
    """Which processes have their working folder or an open file in the filesystem on the device."""
    major, minor = number.split(":")
    device = os.makedev(int(major), int(minor))
    for process in _processes():
        if int(process.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):  # the process has ended, or is not ours to look at
            for link in (process / "cwd", process / "root", *(process / "fd").iterdir()):
                status = link.stat()
                if device in (status.st_dev, status.st_rdev):
                    yield f"process {process.name} ({_command(process)}) has {link.readlink()} open"
                    break


def _processes() -> list[Path]:
    return [path for path in _PROC.iterdir() if path.name.isdecimal()]


def _namespace(process: Path) -> str | None:
    try:
        return str((process / "ns/mnt").readlink())
    except OSError:
        return None


def _command(process: Path) -> str:
    try:
        return (process / "comm").read_text().strip()
    except OSError:
        return "ended"
