"""Staging and target paths: which are allowed, and how they are created, unmounted and removed.

The caller names the paths, this process is root, and a path can be a mistake or an attack. So only paths
below the configured folders are allowed, symbolic links below those are refused, and nothing is ever removed
except an empty folder or an empty file.
"""

from __future__ import annotations

import contextlib
import stat
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from csi_powerflex import call_context
from csi_powerflex.errors import DeadlineExceeded, FailedPrecondition, InvalidArgument
from csi_powerflex.host import blockdev, mountinfo, mounts
from csi_powerflex.host.run import CommandFailed, CommandTimedOut
from csi_powerflex.observability.log import Log

log = Log(__name__)

BUSY_PAUSES = (0.05, 0.1, 0.2, 0.4)
"""Seconds between attempts. The kernel ends a filesystem shortly after its last unmount."""

_MAX_STACKED = 64


def allowed(text: str, roots: Sequence[Path]) -> Path:
    """``text`` as a path that may be used, written as the kernel writes it in mountinfo.

    Raises:
        InvalidArgument: it is not a plain absolute path below one of ``roots``, or a symbolic link is in it.
    """
    path = Path(text)
    if not path.is_absolute() or ".." in path.parts or "\0" in text or "\n" in text:
        raise InvalidArgument(f"{text!r} is not a plain absolute path")
    for root in roots:
        # The root itself may be a link, for example to a larger disk. A path may use either name.
        real = root.resolve()
        for name in (root, real):
            if path.is_relative_to(name) and path != name:
                return _without_links(real, path.relative_to(name))
    raise InvalidArgument(
        f"{text!r} is outside of {', '.join(map(str, roots))}; if volumes belong there, name the folder with "
        "--mount-root"
    )


def known(texts: Sequence[str], roots: Sequence[Path]) -> list[Path]:
    """The paths among ``texts`` at which a volume can be."""
    paths = []
    for text in texts:
        with contextlib.suppress(InvalidArgument):
            paths.append(allowed(text, roots))
    return paths


def _without_links(root: Path, rest: Path) -> Path:
    path = root
    for part in rest.parts:
        path = path / part
        try:
            if stat.S_ISLNK(path.lstat().st_mode):
                raise InvalidArgument(f"{path} is a symbolic link; volumes are not mounted through links")
        except FileNotFoundError:
            break
        except OSError as error:
            # A mount whose device was removed does not answer, and is no link.
            log.debug("path does not answer", path=path, reason=error)
            break
    return root / rest


def inside(mount: mountinfo.Mount, roots: Sequence[Path]) -> bool:
    """Whether ``mount`` is at or below one of ``roots``."""
    point = Path(mount.point)
    return any(point.is_relative_to(root.resolve()) for root in roots)


def unmount_all(
    point: Path,
    *,
    last_resort_if_alive: bool,
    before: Callable[[mountinfo.Mount], None] = lambda _mount: None,
    max_stacked: int = _MAX_STACKED,
) -> bool:
    """Unmount everything that is mounted at ``point``. Returns whether anything was.

    Args:
        before: called with each mount before it is unmounted.
        last_resort_if_alive: whether a mount that stays busy may be detached although its device works. The
            kernel then ends it later. This is right for a bind mount: another mount writes its data.
        max_stacked: the largest number of mounts on top of each other.

    Raises:
        FailedPrecondition: it is busy and must not be detached, or has more mounts than ``max_stacked``.
        DeadlineExceeded: unmounting did not end in time.
    """
    for count in range(max_stacked):
        mount = mountinfo.at(point)
        if mount is None:
            return count > 0
        before(mount)
        _unmount(point, mount, last_resort_if_alive=last_resort_if_alive)
    raise FailedPrecondition(f"{point} has more than {max_stacked} mounts on top of each other")


def _unmount(point: Path, mount: mountinfo.Mount, *, last_resort_if_alive: bool) -> None:
    reason: Exception | None = None
    for pause in (*BUSY_PAUSES, 0.0):
        try:
            mounts.unmount(point)
        except CommandFailed as error:
            reason = error
        except CommandTimedOut as error:
            reason = error
            break
        else:
            return
        left = mountinfo.at(point)
        if left is None or left.number != mount.number:
            return  # another process unmounted it
        time.sleep(min(pause, call_context.remaining(pause + 1)))
    dead = not alive(mount)
    if isinstance(reason, CommandTimedOut) and not dead:
        raise DeadlineExceeded(
            f"{point} is not unmounted yet, and its data may not be written yet: {reason}; repeat the call"
        ) from reason
    if not (dead or last_resort_if_alive):
        raise FailedPrecondition(
            f"{point} cannot be unmounted, something still uses it: {reason}"
        ) from reason
    log.warning("mount detached as the last resort", point=point, source=mount.source, reason=reason)
    try:
        mounts.detach(point)
    except OSError as error:
        if mountinfo.at(point) is not None:
            raise FailedPrecondition(f"{point} cannot even be detached: {error.strerror}") from error


def alive(mount: mountinfo.Mount) -> bool:
    """Whether the kernel still has the device behind ``mount``, and the device has a size."""
    number = mountinfo.number_behind(mount)
    return number is not None and blockdev.exists(number)


def others(mounted: mountinfo.Mount, roots: Sequence[Path]) -> list[mountinfo.Mount]:
    """The other mounts of the same filesystem below ``roots``."""
    return [
        mount
        for mount in mountinfo.read()
        if mount.device == mounted.device and mount.point != mounted.point and inside(mount, roots)
    ]


def require_visible(mount: mountinfo.Mount) -> None:
    """Make sure that the path of ``mount`` leads to it.

    Raises:
        FailedPrecondition: another mount hides it.
    """
    cover = mountinfo.cover_of(mount)
    if cover is not None:
        raise FailedPrecondition(
            f"the mount at {mount.point} is hidden by the mount at {cover.point}, which was made later; "
            "unmount that one"
        )


def make_directory(path: Path) -> None:
    """Create the folder ``path`` to mount on, if it does not exist.

    Raises:
        FailedPrecondition: its parent is missing, or something else is there.
    """
    try:
        path.mkdir(mode=0o750)
    except FileExistsError:
        if not stat.S_ISDIR(path.lstat().st_mode):
            raise FailedPrecondition(
                f"{path} exists and is not a folder, so no volume can be mounted there"
            ) from None
    except OSError as error:
        raise FailedPrecondition(f"the folder {path} cannot be created: {error.strerror}") from error


def make_file(path: Path) -> None:
    """Create the empty file ``path`` to bind a device on, if it does not exist.

    Raises:
        FailedPrecondition: its parent is missing, or something else is there.
    """
    try:
        path.touch(mode=0o600, exist_ok=False)
    except FileExistsError:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_size:
            raise FailedPrecondition(
                f"{path} exists and is not an empty file, so no block device can be bound there"
            ) from None
    except OSError as error:
        raise FailedPrecondition(f"the file {path} cannot be created: {error.strerror}") from error


def remove(path: Path) -> None:
    """Remove the empty folder or file ``path``. Returns without error if it does not exist.

    Raises:
        FailedPrecondition: it is not empty, or something else.
    """
    try:
        status = path.lstat()
        if stat.S_ISDIR(status.st_mode):
            path.rmdir()
        elif stat.S_ISREG(status.st_mode) and status.st_size == 0:
            path.unlink()
        else:
            raise FailedPrecondition(
                f"{path} was not removed: it is neither an empty folder nor an empty file"
            )
    except FileNotFoundError:
        return
    except OSError as error:
        raise FailedPrecondition(
            f"{path} cannot be removed, though nothing is mounted there: {error.strerror}"
        ) from error
