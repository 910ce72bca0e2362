"""What this process may do on this host, and what the kernel is: cheap to read, and without any command."""

from __future__ import annotations

import ctypes
import os
import re
from dataclasses import dataclass
from pathlib import Path

from csi_powerflex.host import mountinfo
from csi_powerflex.host.mountinfo import Mount
from csi_powerflex.host.syscalls import LIBC

CAPABILITIES = {
    "CAP_DAC_OVERRIDE": 1,
    "CAP_SYS_MODULE": 16,
    "CAP_SYS_CHROOT": 18,
    "CAP_SYS_PTRACE": 19,
    "CAP_SYS_ADMIN": 21,
    "CAP_SYS_RESOURCE": 24,
}
"""The numbers of the capabilities that the driver uses (capabilities(7), linux/capability.h)."""

_STATUS = Path("/proc/self/status")
# adjtimex(2): the kernel's clock is not synchronized. The structure has 208 bytes or less.
_TIME_ERROR = 5
_TIMEX_BYTES = 512


@dataclass(frozen=True, slots=True)
class HostFacts:
    """Facts about this process and this host.

    Attributes:
        user: the effective user id.
        capabilities: the names of ``CAPABILITIES`` that this process has.
        kernel: the release of the kernel, such as "6.1.0-18-amd64".
        mounts: the mounts that this process sees.
    """

    user: int
    capabilities: frozenset[str]
    kernel: str
    mounts: tuple[Mount, ...]

    @property
    def kernel_version(self) -> tuple[int, int] | None:
        """The first two numbers of the release."""
        match = re.match(r"(\d+)\.(\d+)", self.kernel)
        return (int(match[1]), int(match[2])) if match else None

    def mount_of(self, folder: Path) -> Mount | None:
        """The mount that ``folder`` is in."""
        real = folder.resolve()
        holding = [mount for mount in self.mounts if real.is_relative_to(mount.point)]
        # Of several mounts at one path, the last one is on top.
        return max(reversed(holding), key=lambda mount: len(mount.point), default=None)


def read() -> HostFacts:
    """The facts as they are now."""
    mask = re.search(r"^CapEff:\s*([0-9a-fA-F]+)$", _STATUS.read_text(), flags=re.MULTILINE)
    effective = int(mask[1], 16) if mask else 0
    return HostFacts(
        user=os.geteuid(),
        capabilities=frozenset(name for name, number in CAPABILITIES.items() if effective >> number & 1),
        kernel=os.uname().release,
        mounts=mountinfo.read(),
    )


def is_folder(path: Path) -> bool:
    """Whether ``path`` leads to a folder, as far as this process may see."""
    return os.path.isdir(path)  # noqa: PTH112 - the method of Path raises an error if it may not look


def clock_is_synchronized() -> bool | None:
    """Whether the kernel says that a time service keeps its clock; None if it cannot be asked."""
    # All zeros: the call reads, and changes nothing.
    result = int(LIBC.adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES)))
    return None if result < 0 else result != _TIME_ERROR
