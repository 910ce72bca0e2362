"""Staging: the filesystem on a volume's device is mounted at the staging path, and unmounted again.

The state is read from the kernel (mount table, sysfs), never from a file of the driver. So a restart of this
process, of the kubelet or of the host needs no recovery. A raw block volume needs only its device.

Data comes first. A device is formatted only if three things are true: the volume context says that the volume
began empty, nothing uses the device, and probing proves it blank. In every other case the device is not
changed, and the error says what was found.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

from csi_powerflex.errors import AlreadyExists, Busy, FailedPrecondition, InvalidArgument, VolumeInUse
from csi_powerflex.host import blockdev, btrfs, filesystem, holders, mountinfo, mounts, probe
from csi_powerflex.host.run import CommandFailed
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model import format_options, mount_options
from csi_powerflex.model.capability import Filesystem, Use
from csi_powerflex.model.publish_context import PublishContext
from csi_powerflex.model.volume_context import Origin
from csi_powerflex.observability.log import Log
from csi_powerflex.operations.node import filesystem_growth, release, shared_mount, target_paths
from csi_powerflex.operations.node.device import Devices
from csi_powerflex.operations.node.filesystem_state import FilesystemState, Finding

log = Log(__name__)


@dataclass(frozen=True, slots=True)
class StageRequest:
    """What NodeStageVolume asks for.

    Attributes:
        origin: how the volume began.
        read_only: whether the volume is only read, even if its mapping allows writing.
        format_options: the user's options for mkfs.
    """

    publish_context: PublishContext
    path: str
    use: Use
    origin: Origin
    read_only: bool = False
    format_options: str = ""


class Staging:
    """Stages volumes. Staging paths must be below one of ``roots``."""

    def __init__(self, devices: Devices, roots: Sequence[Path], state: FilesystemState) -> None:
        self._devices = devices
        self._roots = roots
        self._state = state

    def stage(self, request: StageRequest) -> None:
        """Stage the volume. Returns without error if it is already staged so.

        Raises:
            Unavailable: the device did not appear, or a tool failed; nothing stays mounted.
            FailedPrecondition: the content of the device is not what was asked for, its filesystem does not
                work and is still used, or the volume is published as a block device.
            AlreadyExists: something else is mounted at the path, or the same volume in another way.
            Busy: an earlier command still uses the device.
        """
        point = target_paths.allowed(request.path, self._roots)
        options = (
            mount_options.checked(request.use.mount_options) if isinstance(request.use, Filesystem) else ()
        )
        device = self._devices.attach(request.publish_context).top
        if isinstance(request.use, Filesystem):
            wanted = _Wanted(request, request.use.type, options)
            with blockdev.locked(device) as hold:
                self._stage_filesystem(device, point, wanted, hold)
        elif mountinfo.at(point) is not None:
            raise AlreadyExists(
                f"{point} has a filesystem mounted; the volume cannot be staged there as a block device"
            )

    def _stage_filesystem(self, device: Path, point: Path, wanted: _Wanted, hold: int) -> None:
        mounted = mountinfo.at(point)
        if mounted is not None:
            if self._is_wanted(mounted, device, wanted):
                self._catch_up(device, point, wanted, hold)
                return
            release.unmount_last(wanted.handle, point, self._state)
        if self._is_mounted(device, wanted.handle) or _prepare(device, wanted, hold):
            _mount(device, point, wanted)
        else:
            _join(device, point, wanted)
        with contextlib.ExitStack() as undo:
            undo.callback(target_paths.unmount_all, point, last_resort_if_alive=False)
            _require_mounted(device, point, wanted)
            if not wanted.read_only:
                filesystem_growth.grow_mounted(device, point, wanted.type, hold)
            undo.pop_all()
        log.info("volume staged", volume=wanted.handle, device=device, point=point, filesystem=wanted.type)

    def _is_wanted(self, mounted: mountinfo.Mount, device: Path, wanted: _Wanted) -> bool:
        """Whether the mount at the staging path is the wanted one. If not, it is to be removed.

        It is to be removed where nothing uses it and it is of no use: a mount of a device that was this
        volume's before and is no volume's now, a filesystem that does not work, or one that an interrupted
        unstaging made read-only.

        Raises:
            AlreadyExists: something else is mounted there, or the same volume in another way.
            FailedPrecondition: a filesystem that does not work is still used, or another mount hides it.
        """
        users = [mount.point for mount in target_paths.others(mounted, self._roots)]
        if not mountinfo.is_of(mounted, device):
            number = mountinfo.number_behind(mounted)
            in_use = target_paths.alive(mounted) and (users or (number and self._devices.has(number)))
            if in_use:
                raise AlreadyExists(
                    f"{mounted.point} has {mounted.source} mounted, and not volume {wanted.handle}, which is "
                    f"{device}; unstage that volume first"
                )
            log.warning("mount of another device removed", point=mounted.point, source=mounted.source)
            return False
        found = self._state.defect(mounted)
        if found is not None and users:
            raise unusable_error(wanted.handle, found, users)
        if found is not None:
            log.warning("unusable filesystem removed", point=mounted.point, reason=found.description)
            return False
        if mounted.read_only and not wanted.read_only and not users:
            log.warning("read-only mount removed", point=mounted.point)
            return False
        _require_same(mounted, wanted)
        target_paths.require_visible(mounted)
        return True

    def _is_mounted(self, device: Path, handle: VolumeHandle) -> bool:
        """Whether the volume is mounted at another path. So it is formatted, and a check would be wrong.

        Raises:
            FailedPrecondition: its filesystem does not work, or it is published as a block device.
        """
        found = mountinfo.of_device(device)
        blocks = [mount.point for mount in found if mount.of_device_file]
        if blocks:
            raise FailedPrecondition(
                f"volume {handle} is published as a block device at {', '.join(blocks)}, so it cannot be "
                "mounted; unpublish it there first"
            )
        defect = self._state.defect(found[0]) if found else None
        if defect is not None:
            raise unusable_error(handle, defect, [mount.point for mount in found])
        return bool(found)

    @staticmethod
    def _catch_up(device: Path, point: Path, wanted: _Wanted, hold: int) -> None:
        """Grow a filesystem that is mounted already. If it cannot grow now, its pods can still use it."""
        if wanted.read_only:
            return
        try:
            filesystem_growth.grow_mounted(device, point, wanted.type, hold)
        except FailedPrecondition as error:
            log.warning("filesystem not grown", volume=wanted.handle, reason=error)

    def unstage(self, handle: VolumeHandle | None, path: str) -> None:
        """Unmount the volume from its staging path. Returns without error if it is not staged.

        The caller created the path and removes it.

        Raises:
            VolumeInUse: it is still published, and its device works; unstaging it now would lose data.
            FailedPrecondition: something can still write to it, or another volume is mounted at the path.
            DeadlineExceeded: writing or unmounting did not end in time.
        """
        point = target_paths.allowed(path, self._roots)
        mounted = mountinfo.at(point)
        if mounted is None:
            self._end_unmounted(handle, point)
            return
        target_paths.require_visible(mounted)
        self._devices.require_own(handle, mounted)
        if not target_paths.alive(mounted):
            target_paths.unmount_all(point, last_resort_if_alive=False)
        elif others := target_paths.others(mounted, self._roots):
            self._unstage_one_of_several(handle, mounted, others)
        else:
            release.unmount_last(handle, point, self._state)
        log.info("volume unstaged", volume=handle, point=point)

    @staticmethod
    def _unstage_one_of_several(
        handle: VolumeHandle | None, mounted: mountinfo.Mount, others: Sequence[mountinfo.Mount]
    ) -> None:
        """Unmount a volume that is staged at another path too. That mount keeps the filesystem.

        Bind mounts of this staging path are in its peer group. Another staging path is not.
        """
        published = [mount.point for mount in others if mount.peers in ("", mounted.peers)]
        if published:
            raise VolumeInUse(
                f"volume {handle} is still published at {', '.join(published)}; unpublish it there first"
            )
        target_paths.unmount_all(Path(mounted.point), last_resort_if_alive=False)

    def _end_unmounted(self, handle: VolumeHandle | None, point: Path) -> None:
        """Make sure that a volume without a mount at its staging path is not written any more.

        Raises:
            VolumeInUse: it is published as a block device.
            FailedPrecondition: something else can still write to it.
        """
        device = None if handle is None else self._devices.find(handle)
        if handle is None or device is None:
            return
        here = mountinfo.of_device(device.top)
        published = [
            mount.point for mount in here if mount.of_device_file and target_paths.inside(mount, self._roots)
        ]
        if published:
            raise VolumeInUse(
                f"volume {handle} is still published at {', '.join(published)}; unpublish it there first"
            )
        if not here:
            release.flush_device(handle, device.top)
            release.end_use(handle, device.top, point, self._state)


class _Wanted:
    """How a filesystem is to be mounted."""

    def __init__(self, request: StageRequest, filesystem_type: str, options: tuple[str, ...]) -> None:
        self.handle = request.publish_context.handle
        self.type = filesystem_type
        self.kind = filesystem.kind(filesystem_type)
        self.options = options
        self.read_only = request.read_only or request.publish_context.read_only or "ro" in options
        self.origin = request.origin
        # A copy is never formatted, and may keep options of another driver that this one does not allow.
        asked = request.format_options if request.origin is Origin.EMPTY else ""
        self.format_options = format_options.parse(filesystem_type, asked)

    def mount_options(self) -> list[str]:
        options = [option for option in self.options if option not in ("ro", "rw")]
        options += [option for option in self.kind.mount_options if option not in options]
        return ["ro" if self.read_only else "rw", *options]


def unusable_error(handle: VolumeHandle, found: Finding, users: Sequence[str]) -> FailedPrecondition:
    """The error for a filesystem that does not work, while it is still mounted at ``users``."""
    return FailedPrecondition(
        f"the filesystem of volume {handle} {found.description}, and is still used at {', '.join(users)}; "
        "end the pods that use it, then it is mounted again"
    )


def _require_same(mounted: mountinfo.Mount, wanted: _Wanted) -> None:
    """Check that the volume is mounted as it is asked for.

    Raises:
        AlreadyExists: it is not (specification, NodeStageVolume).
    """
    differences = []
    if mounted.filesystem != wanted.type:
        differences.append(f"filesystem {mounted.filesystem} instead of {wanted.type}")
    if mounted.read_only != wanted.read_only:
        differences.append("read-only" if mounted.read_only else "writable")
    context = mount_options.selinux_context(mounted.super_options)
    asked = mount_options.selinux_context(wanted.options)
    if asked is not None and context is not None and asked != context:
        differences.append(f"SELinux context {context} instead of {asked}")
    if differences:
        raise AlreadyExists(
            f"volume {wanted.handle} is staged at {mounted.point} in another way: "
            f"{', '.join(differences)}; unstage it first"
        )


def _prepare(device: Path, wanted: _Wanted, hold: int) -> bool:
    """Make sure that ``device`` has a clean filesystem of the wanted type.

    Returns whether the device can be mounted by itself. False: it is in use, perhaps by a mount in another
    mount namespace.

    Raises:
        FailedPrecondition: it has something else, or must not be formatted.
    """
    try:
        blockdev.require_unused(device)
    except Busy:
        return False
    if not wanted.read_only and blockdev.is_read_only(device):
        # A pod used it as a read-only block device. No pod uses it now.
        blockdev.set_read_only(device, read_only=False)
    content = probe.probe(device, wanted.handle)
    match content:
        case probe.Formatted(type=wanted.type):
            if not wanted.read_only:
                probe.unmark(device, wanted.handle)
                filesystem.check(device, wanted.type, keep_open=hold)
                filesystem_growth.grow_unmounted(device, wanted.type, hold)
        case probe.Blank() | probe.Unfinished():
            _format(device, wanted, content, hold)
        case probe.Formatted(type=found):
            raise FailedPrecondition(
                f"volume {wanted.handle} holds a {found} filesystem and {wanted.type} was asked for; "
                f"it was not changed: ask for {found}, or use another volume"
            )
        case probe.Foreign(description=what):
            raise FailedPrecondition(
                f"volume {wanted.handle} ({device}) holds {what}; a {wanted.type} filesystem was asked for "
                "and the volume was not changed: use it as a block volume, or empty it yourself"
            )
        case _:
            assert_never(content)
    return True


def _join(device: Path, point: Path, wanted: _Wanted) -> None:
    """Mount a filesystem that is mounted in another mount namespace: the kernel shows the same one.

    It must not be checked. An earlier unstaging has made it read-only, or somebody else uses it.

    Raises:
        Busy: it is not such a filesystem.
        CommandFailed, CommandTimedOut: it cannot be made writable.
    """
    _mode, *options = wanted.mount_options()
    if not shared_mount.mount(
        device, point, filesystem=wanted.type, options=options, read_only=wanted.read_only
    ):
        raise Busy(
            f"volume {wanted.handle} ({device}) is in use and cannot be mounted: "
            f"{holders.describe(mountinfo.device_number(device))}; end that use, or wait for its end"
        )
    with contextlib.ExitStack() as undo:
        undo.callback(target_paths.unmount_all, point, last_resort_if_alive=False)
        mounts.thaw(point)
        if not wanted.read_only:
            mounts.remount(device, point, options=["rw", *options])
        undo.pop_all()
    log.warning("volume is mounted in another mount namespace too", volume=wanted.handle, device=device)


def _format(device: Path, wanted: _Wanted, content: probe.Blank | probe.Unfinished, hold: int) -> None:
    if wanted.origin is not Origin.EMPTY:
        raise FailedPrecondition(
            f"volume {wanted.handle} was created as a {wanted.origin} and has no filesystem; it was not "
            "changed: check its source"
        )
    if wanted.read_only:
        raise FailedPrecondition(
            f"volume {wanted.handle} is blank and is used read-only, so it cannot be formatted; use it once "
            "with an access mode that writes"
        )
    if isinstance(content, probe.Unfinished):
        log.warning("unfinished filesystem erased", volume=wanted.handle, device=device)
        probe.erase_unfinished(device, wanted.handle)
    else:
        probe.mark(device, wanted.handle)
    filesystem.make(
        device,
        wanted.type,
        wanted.format_options,
        keep_open=hold,
        finished=lambda: _require_made(device, wanted),
    )
    log.info("volume formatted", volume=wanted.handle, device=device, filesystem=wanted.type)


def _require_made(device: Path, wanted: _Wanted) -> None:
    """Check that mkfs has made what the next staging accepts, and remove the mark.

    Raises:
        InvalidArgument: the format options have made something else. It was erased.
    """
    content = probe.probe(device, wanted.handle)
    if content != probe.Formatted(wanted.type):
        probe.mark(device, wanted.handle)  # mkfs may have overwritten it
        probe.erase_unfinished(device, wanted.handle)
        raise InvalidArgument(
            f"the format options of volume {wanted.handle} do not make a {wanted.type} filesystem that this "
            f"driver recognizes; the result was erased ({content}): use other options"
        )
    probe.unmark(device, wanted.handle)


def _mount(device: Path, point: Path, wanted: _Wanted) -> None:
    """Mount ``device`` at ``point``.

    Raises:
        FailedPrecondition: its filesystem is damaged, or a btrfs with the same id is in the way.
        CommandFailed: mount(8) failed for another reason.
    """
    options = wanted.mount_options()
    try:
        try:
            mounts.mount(device, point, filesystem=wanted.type, options=options)
        except CommandFailed as error:
            if not (wanted.read_only and blockdev.is_read_only(device)):
                raise
            # A copy of a mounted filesystem has a journal to replay, and a read-only device does not allow
            # that. Without the replay, the filesystem shows the state of its last checkpoint.
            log.warning("mounting without recovery", volume=wanted.handle, device=device, reason=error)
            without = [*options, wanted.kind.mount_without_recovery]
            mounts.mount(device, point, filesystem=wanted.type, options=without)
    except CommandFailed as error:
        if "needs cleaning" in error.stderr:
            raise FailedPrecondition(
                f"the {wanted.type} filesystem of volume {wanted.handle} is damaged; repair it by hand: "
                f"{error}"
            ) from error
        if wanted.type == "btrfs" and "File exists" in error.stderr:
            others = ", ".join(btrfs.mounted_with_same_id(device)) or "a device that was here before"
            raise _duplicate_id_error(device, wanted, others) from error
        raise


def _require_mounted(device: Path, point: Path, wanted: _Wanted) -> None:
    """Check that the volume's own device is mounted at ``point``, and not another one with the same id.

    Raises:
        FailedPrecondition: it does not.
    """
    mounted = mountinfo.at(point)
    if mounted is None or not mountinfo.is_of(mounted, device):
        raise _duplicate_id_error(device, wanted, "nothing" if mounted is None else mounted.source)


def _duplicate_id_error(device: Path, wanted: _Wanted, others: str) -> FailedPrecondition:
    return FailedPrecondition(
        f"volume {wanted.handle} ({device}) cannot be mounted on this node together with {others}: both "
        "have the "
        f"same {wanted.type} id, as a copy and its source do, and only Linux 6.7 and newer can mount both; "
        "stop the "
        "use of the other one here and run `btrfs device scan --forget`, or use the volume on another node"
    )
