"""Whether a mounted filesystem works: one answer for health, staging, publishing and unstaging."""

from __future__ import annotations

import enum
import os
from dataclasses import dataclass

from csi_powerflex.errors import DeadlineExceeded
from csi_powerflex.host import mountinfo
from csi_powerflex.host.time_limit import TimeLimit
from csi_powerflex.operations.node import target_paths

# ext4 reports "emergency_ro" since Linux 6.14, and "shutdown" since Linux 6.15.
_READ_ONLY = frozenset({"ro", "emergency_ro"})
_SHUT_DOWN = "shutdown"


class Defect(enum.Enum):
    """What is wrong with a filesystem."""

    DEVICE_LOST = enum.auto()
    HANGS = enum.auto()
    INACCESSIBLE = enum.auto()
    READ_ONLY = enum.auto()


@dataclass(frozen=True, slots=True)
class Finding:
    """A defect, and its description for a message: "is read-only after an error"."""

    defect: Defect
    description: str


class FilesystemState:
    """Looks at mounted filesystems. One that does not answer blocks a call only for the time limit."""

    def __init__(self, time_limit: TimeLimit) -> None:
        self._time_limit = time_limit

    def defect(self, mount: mountinfo.Mount) -> Finding | None:
        """The defect of the mounted filesystem that keeps it from use; None where it works."""
        if not target_paths.alive(mount):
            return Finding(Defect.DEVICE_LOST, "has lost its device")
        return self.inaccessible(mount) or self.read_only(mount)

    def inaccessible(self, mount: mountinfo.Mount) -> Finding | None:
        """Whether it is shut down, or reading its root folder fails or does not end."""
        if _SHUT_DOWN in mount.super_options:
            return Finding(Defect.INACCESSIBLE, "was shut down after an error")
        try:
            self._time_limit.call("list", mount.point, lambda: os.listdir(mount.point))  # noqa: PTH208 - a path that may not answer, no objects
        except DeadlineExceeded as error:
            return Finding(Defect.HANGS, f"hangs: {error}")
        except OSError as error:
            return Finding(Defect.INACCESSIBLE, f"cannot be accessed: {error.strerror}")
        return None

    @staticmethod
    def read_only(mount: mountinfo.Mount) -> Finding | None:
        """Whether the kernel made it read-only: this mount allows writing, the filesystem does not."""
        if mount.super_options & _READ_ONLY and "ro" not in mount.options:
            return Finding(Defect.READ_ONLY, "was made read-only by the kernel after an error")
        return None
