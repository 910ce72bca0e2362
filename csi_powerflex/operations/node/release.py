"""Ending the use of a volume on this node, so that it can be unmapped without loss of data.

Another process can keep a filesystem alive after its last mount here is removed: by a copy of the mounts in
a container, a working folder or an open file. Its data could then be in memory only, while the controller
unmaps the volume. So before the last unmount, the filesystem is made read-only. The kernel writes all data
first, and afterwards nothing can change. A process that still holds the filesystem then delays no detach. If
the filesystem cannot be made read-only, a file is open for writing, and the volume stays.
"""

from __future__ import annotations

import time
from pathlib import Path

from csi_powerflex import call_context
from csi_powerflex.errors import DeadlineExceeded, FailedPrecondition
from csi_powerflex.host import blockdev, filesystem, holders, mountinfo, mounts, probe
from csi_powerflex.host.run import CommandFailed, CommandTimedOut, run
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.observability.log import Log
from csi_powerflex.operations.node import shared_mount, target_paths
from csi_powerflex.operations.node.filesystem_state import FilesystemState

log = Log(__name__)


def unmount_last(handle: VolumeHandle | None, point: Path, state: FilesystemState) -> None:
    """Unmount everything at ``point``, the last mounts of their filesystems, with all data written.

    Raises:
        FailedPrecondition: something can still write to the filesystem.
        DeadlineExceeded: writing or unmounting did not end in time.
    """
    target_paths.unmount_all(
        point, last_resort_if_alive=False, before=lambda mount: _finish_writing(handle, mount, state)
    )


def _finish_writing(handle: VolumeHandle | None, mount: mountinfo.Mount, state: FilesystemState) -> None:
    if not target_paths.alive(mount) or mount.of_device_file:
        return
    point, source = Path(mount.point), Path(mount.source)
    try:
        if "ro" in mount.super_options:
            _thaw(handle, point)
        else:
            _make_read_only(handle, source, point)
    except CommandTimedOut as error:
        raise DeadlineExceeded(
            f"the data of volume {handle} at {point} are not written yet: {error}; repeat the call"
        ) from error
    except CommandFailed as error:
        found = state.defect(mount)
        if found is None:
            users = holders.describe(mountinfo.number_behind(mount) or mount.device)
            raise FailedPrecondition(
                f"volume {handle} at {point} can still be written, something still uses it: {users}; end "
                f"that use, then repeat the call ({error.stderr})"
            ) from error
        log.warning("filesystem cannot write its data", volume=handle, point=point, reason=found.description)


def _make_read_only(handle: VolumeHandle | None, source: Path, point: Path) -> None:
    try:
        mounts.remount(source, point, options=("ro",))
    except CommandFailed:
        # The kernel refuses it while the filesystem is frozen, so what becomes read-only here is not frozen.
        if not _thaw(handle, point):
            raise
        mounts.remount(source, point, options=("ro",))


def _thaw(handle: VolumeHandle | None, point: Path) -> bool:
    thawed = mounts.thaw(point)
    if thawed:
        log.warning("frozen filesystem thawed", volume=handle, point=point)
    return thawed


def end_use(handle: VolumeHandle, device: Path, point: Path, state: FilesystemState) -> None:
    """Make sure that nothing can still write to ``device``, which is not mounted here.

    A filesystem that another process still holds is mounted at ``point`` once more, written, made read-only
    and unmounted. An earlier unstaging may have been interrupted, or somebody else has unmounted the path.

    Raises:
        FailedPrecondition: something can still write to it.
        Unavailable: the device does not answer.
        DeadlineExceeded: writing or unmounting did not end in time.
    """
    for pause in (*target_paths.BUSY_PAUSES, 0.0):
        if not blockdev.is_claimed(device):
            return
        time.sleep(min(pause, call_context.remaining(pause + 1)))
    content = probe.filesystem_of(device)
    kind = filesystem.KINDS.get(content or "")
    if kind is not None and shared_mount.mount(
        device, point, filesystem=kind.name, options=kind.mount_options, read_only=False
    ):
        unmount_last(handle, point, state)
        return
    stacked = ", ".join(blockdev.holders(device))
    users = f"the devices {stacked}" if stacked else holders.describe(mountinfo.device_number(device))
    raise FailedPrecondition(
        f"volume {handle} ({device}) is still used by {users}; its data may not be written: end that use, "
        "then repeat the call"
    )


def flush_device(handle: VolumeHandle, device: Path) -> None:
    """Write what the kernel caches of ``device`` for programs that use it directly.

    Raises:
        DeadlineExceeded: writing did not end in time.
        CommandFailed: the device gives errors.
    """
    try:
        run(["blockdev", "--flushbufs", str(device)])
    except CommandTimedOut as error:
        raise DeadlineExceeded(
            f"the data of volume {handle} on {device} are not written yet: {error}; repeat the call"
        ) from error
