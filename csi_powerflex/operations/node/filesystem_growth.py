"""Growing a volume's filesystem to the size of its device.

Every staging does it: a restored or cloned volume may be larger than its source, and an expansion may have
been interrupted. The filesystem is mounted meanwhile, if possible; ext4 needs a capability for that, which
not every container has.
"""

from __future__ import annotations

from pathlib import Path

from csi_powerflex.errors import FailedPrecondition
from csi_powerflex.host import blockdev, filesystem, fssize
from csi_powerflex.observability.log import Log
from csi_powerflex.units import MIB, readable

log = Log(__name__)

# Filesystems round their size down; XFS leaves out a last group of less than 16 MiB.
_SLACK = 64 * MIB
_CAP_SYS_RESOURCE = 24


def grow_mounted(device: Path, point: Path, filesystem_type: str, hold: int) -> None:
    """Grow the filesystem mounted at ``point``, if it is smaller than ``device``.

    Raises:
        FailedPrecondition: this process may not grow it while it is mounted.
        CommandFailed, CommandTimedOut, Unavailable: it could not be grown.
    """
    found = filesystem.kind(filesystem_type).size(device, point)
    if not _lags(found, device):
        return
    if filesystem_type == "ext4" and not can_grow_ext4_online():
        raise FailedPrecondition(
            f"the ext4 filesystem at {point} has {readable(found)} of the {readable(blockdev.size(device))} "
            "of its "
            "volume; to grow it while it is mounted, the node plugin needs the capability CAP_SYS_RESOURCE: "
            "grant "
            "it, or end all pods that use the volume on this node, and the filesystem grows at the next start"
        )
    filesystem.grow(device, point, filesystem_type, keep_open=hold)
    grown = filesystem.kind(filesystem_type).size(device, point)
    log.info("filesystem grown", device=device, point=point, before=readable(found), after=readable(grown))


def grow_unmounted(device: Path, filesystem_type: str, hold: int) -> None:
    """Grow ext4 before it is mounted, if this process may not grow it later. Other types grow while mounted.

    Raises:
        FailedPrecondition: it is damaged.
        CommandFailed, CommandTimedOut: it could not be grown.
    """
    if filesystem_type != "ext4" or can_grow_ext4_online() or not _lags(fssize.ext4(device), device):
        return
    filesystem.grow_unmounted_ext4(device, keep_open=hold)
    log.info("filesystem grown before mounting", device=device, after=readable(fssize.ext4(device)))


def can_grow_ext4_online() -> bool:
    """Whether this process may grow a mounted ext4: the kernel requires CAP_SYS_RESOURCE."""
    status = Path("/proc/self/status").read_text()
    effective = next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(effective, 16) >> _CAP_SYS_RESOURCE & 1)


def _lags(found: int, device: Path) -> bool:
    return blockdev.size(device) - found >= _SLACK
