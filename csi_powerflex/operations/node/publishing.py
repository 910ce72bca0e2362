"""Publishing: a staged volume appears at a pod's target path, and is removed from it.

A filesystem is bind-mounted from the staging path. A raw block device is bind-mounted onto a file. The mount
table says what is published; this module keeps no state.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from csi_powerflex.errors import AlreadyExists, Busy, FailedPrecondition, VolumeInUse
from csi_powerflex.host import blockdev, holders, mountinfo, mounts, probe
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model import mount_options
from csi_powerflex.model.capability import Filesystem, Use
from csi_powerflex.model.publish_context import PublishContext
from csi_powerflex.observability.log import Log
from csi_powerflex.operations.node import target_paths
from csi_powerflex.operations.node.device import Devices
from csi_powerflex.operations.node.filesystem_state import FilesystemState
from csi_powerflex.operations.node.staging import StageRequest, Staging, unusable_error

log = Log(__name__)


@dataclass(frozen=True, slots=True)
class PublishRequest:
    """What NodePublishVolume asks for.

    Attributes:
        read_only: whether the pod may only read, for any reason.
        exclusive: no second target path on this node is allowed (SINGLE_NODE_SINGLE_WRITER).
        stage: how the volume was staged, for staging it again; None where the request does not say it.
    """

    publish_context: PublishContext
    staging: str
    target: str
    use: Use
    read_only: bool
    exclusive: bool
    stage: StageRequest | None = None


class Publishing:
    """Publishes staged volumes. Target paths must be below one of ``roots``."""

    def __init__(
        self, devices: Devices, roots: Sequence[Path], staging: Staging, state: FilesystemState
    ) -> None:
        self._devices = devices
        self._roots = roots
        self._staging = staging
        self._state = state

    def publish(self, request: PublishRequest) -> None:
        """Publish the volume at the target path. Returns without error if it is already so.

        Raises:
            FailedPrecondition: the volume is not staged, its filesystem does not work, or an exclusive one is
                published elsewhere.
            AlreadyExists: something else is published at the target path, or the same volume in another way.
            Unavailable: the volume's device is not on this host.
        """
        target = target_paths.allowed(request.target, self._roots)
        if not request.staging:
            raise FailedPrecondition(
                f"volume {request.publish_context.handle} must be staged before it is published: "
                "staging_target_path is not set"
            )
        staging = target_paths.allowed(request.staging, self._roots)
        if isinstance(request.use, Filesystem):
            self._publish_filesystem(request, staging, target, request.use)
        else:
            self._publish_device(request, staging, target)

    def _publish_filesystem(
        self, request: PublishRequest, staging: Path, target: Path, use: Filesystem
    ) -> None:
        handle = request.publish_context.handle
        read_only = request.read_only or "ro" in mount_options.checked(use.mount_options)
        device = self._devices.published(request.publish_context).top
        self._stage_again_if_unusable(request, staging, device)
        table = mountinfo.read()
        staged = mountinfo.at(staging, table)
        if staged is None or not mountinfo.is_of(staged, device):
            found = "nothing is mounted" if staged is None else f"{staged.source} is mounted"
            raise FailedPrecondition(
                f"volume {handle} is not staged: {found} at {staging}, and its device is {device}; "
                "stage it first"
            )
        if staged.read_only and not read_only:
            raise FailedPrecondition(
                f"volume {handle} is staged read-only at {staging} and cannot be published writable; "
                "unstage it, then stage it again"
            )
        mount_target = _MountTarget(target, staging, device, read_only=read_only)
        if self._is_published(mount_target, request, table):
            return

        def check(descriptor: int) -> None:
            if mountinfo.number_at(descriptor) != staged.number:
                target_paths.require_visible(staged)

        self._put(mount_target, staging, target_paths.make_directory, check)
        log.info("volume published", volume=handle, target=target, read_only=read_only)

    def _stage_again_if_unusable(self, request: PublishRequest, staging: Path, device: Path) -> None:
        """Stage the volume again if its filesystem does not work and no pod uses it.

        A pod that starts again on its node is published before the volume is unstaged. So without this, it
        would always get the same filesystem.

        Raises:
            FailedPrecondition: pods still use it, or the content of the device is not what was asked for.
        """
        staged = mountinfo.at(staging)
        if staged is None or request.stage is None:
            return
        found = self._state.defect(staged)
        if found is None:
            return
        users = [mount.point for mount in target_paths.others(staged, self._roots)]
        if mountinfo.is_of(staged, device) and users:
            raise unusable_error(request.publish_context.handle, found, users)
        log.warning("staging again", volume=request.publish_context.handle, reason=found.description)
        self._staging.stage(request.stage)

    def _publish_device(self, request: PublishRequest, staging: Path, target: Path) -> None:
        handle = request.publish_context.handle
        if mountinfo.at(staging) is not None:
            raise FailedPrecondition(
                f"volume {handle} is staged with a filesystem at {staging} and cannot be published as a "
                "block device"
            )
        device = self._devices.attach(request.publish_context).top
        mount_target = _MountTarget(target, staging, device, read_only=request.read_only)
        table = mountinfo.read()
        others = self._others(mount_target, table)
        with blockdev.locked(device):
            if self._is_published(mount_target, request, table):
                return
            _require_no_filesystem(device, request, table)
            _protect(device, request, others)
            if not request.read_only:
                probe.unmark(device, handle)
            number = mountinfo.device_number(device)

            def check(descriptor: int) -> None:
                if mountinfo.number_of_device_file(descriptor) != number:
                    raise FailedPrecondition(f"{device} is not the device of volume {handle} any more")

            self._put(mount_target, device, target_paths.make_file, check)
        log.info("block volume published", volume=handle, target=target, read_only=request.read_only)

    def _is_published(
        self, mount_target: _MountTarget, request: PublishRequest, table: Sequence[mountinfo.Mount]
    ) -> bool:
        """Whether the volume is already published at the target path, as asked.

        Raises:
            AlreadyExists: something else is published there.
            FailedPrecondition: the volume is published elsewhere and must not be published twice.
        """
        there = mountinfo.at(mount_target.target, table)
        if (
            there is not None
            and not mountinfo.is_of(there, mount_target.device)
            and not target_paths.alive(there)
        ):
            log.warning("mount of a lost device removed", target=mount_target.target, source=there.source)
            target_paths.unmount_all(mount_target.target, last_resort_if_alive=True)
            there = None
        if there is not None:
            mount_target.require_same(there, request.publish_context.handle)
            return True
        others = self._others(mount_target, table)
        if request.exclusive and others:
            raise FailedPrecondition(
                f"volume {request.publish_context.handle} may be used by one pod only and is published at "
                f"{', '.join(mount.point for mount in others)}; unpublish it there first"
            )
        return False

    def _others(self, mount_target: _MountTarget, table: Sequence[mountinfo.Mount]) -> list[mountinfo.Mount]:
        own = (str(mount_target.target), str(mount_target.staging))
        return [
            mount
            for mount in mountinfo.of_device(mount_target.device, table)
            if mount.point not in own and target_paths.inside(mount, self._roots)
        ]

    @staticmethod
    def _put(
        mount_target: _MountTarget,
        source: Path,
        make: Callable[[Path], None],
        check: Callable[[int], None],
    ) -> None:
        with contextlib.ExitStack() as undo:
            make(mount_target.target)
            undo.callback(target_paths.remove, mount_target.target)
            mounts.bind(source, mount_target.target, read_only=mount_target.read_only, check=check)
            undo.callback(target_paths.unmount_all, mount_target.target, last_resort_if_alive=True)
            mount_target.require_shown()
            undo.pop_all()

    def unpublish(self, handle: VolumeHandle | None, target: str) -> None:
        """Unmount the volume from the target path, and remove the path. Returns without error if it is not
        there.

        Raises:
            FailedPrecondition: something other than an empty folder or file is at the target path, or another
                volume.
        """
        path = target_paths.allowed(target, self._roots)
        mounted = mountinfo.at(path)
        if mounted is not None:
            self._devices.require_own(handle, mounted)
        if target_paths.unmount_all(path, last_resort_if_alive=True):
            log.info("volume unpublished", volume=handle, target=path)
        target_paths.remove(path)


@dataclass(frozen=True, slots=True)
class _MountTarget:
    """Where a volume's device is to be published."""

    target: Path
    staging: Path
    device: Path
    read_only: bool

    def require_shown(self) -> None:
        """Check that the target path leads to the volume.

        Raises:
            FailedPrecondition: it does not.
        """
        there = mountinfo.at(self.target)
        if there is None or not mountinfo.is_of(there, self.device):
            raise FailedPrecondition(
                f"{self.target} shows {'nothing' if there is None else there.source} after the bind mount, "
                f"and not {self.device}; something else changes the mounts of this host"
            )
        target_paths.require_visible(there)

    def require_same(self, there: mountinfo.Mount, handle: VolumeHandle) -> None:
        """Check that what is mounted at the target path is what is asked for.

        Raises:
            AlreadyExists: it is not (specification, NodePublishVolume).
        """
        if not mountinfo.is_of(there, self.device):
            raise AlreadyExists(f"{self.target} has {there.source} mounted, and not volume {handle}")
        if there.read_only != self.read_only:
            state = "read-only" if there.read_only else "writable"
            raise AlreadyExists(
                f"volume {handle} is published {state} at {self.target}, and was asked for otherwise; "
                "unpublish it there first"
            )
        target_paths.require_visible(there)


def _require_no_filesystem(device: Path, request: PublishRequest, table: Sequence[mountinfo.Mount]) -> None:
    """Make sure that no filesystem on ``device`` is mounted, on this host's own account.

    A pod that uses the block volume may have mounted it, so this is checked for its first target path only.

    Raises:
        FailedPrecondition: the volume is staged as a filesystem.
        Busy: another process has it mounted or holds it.
    """
    found = mountinfo.of_device(device, table)
    mounted = [mount.point for mount in found if not mount.of_device_file]
    if mounted:
        raise FailedPrecondition(
            f"volume {request.publish_context.handle} is mounted at {', '.join(mounted)} and cannot be "
            "published as a block device; unstage it there first"
        )
    # A device on top of it, such as a logical volume, is the pod's own affair.
    if not found and blockdev.is_claimed(device) and not blockdev.holders(device):
        raise Busy(
            f"volume {request.publish_context.handle} ({device}) is used by "
            f"{holders.describe(mountinfo.device_number(device))}; end that use, then try again"
        )


def _protect(device: Path, request: PublishRequest, others: Sequence[mountinfo.Mount]) -> None:
    """Make ``device`` writable or read-only, as asked.

    A read-only bind mount does not protect a device file. The device itself is made read-only, so all pods of
    the node share this state.

    Raises:
        VolumeInUse: another pod has the volume in the other state.
        FailedPrecondition: the volume is mapped read-only, and a writable one was asked for.
    """
    if request.publish_context.read_only and not request.read_only:
        raise FailedPrecondition(
            f"volume {request.publish_context.handle} is mapped read-only and cannot be published writable"
        )
    if blockdev.is_read_only(device) == request.read_only:
        return
    if others:
        state = "writable" if request.read_only else "read-only"
        raise VolumeInUse(
            f"block volume {request.publish_context.handle} is published {state} at "
            f"{', '.join(mount.point for mount in others)}; all pods of one node must use it in the same way"
        )
    blockdev.set_read_only(device, read_only=request.read_only)
