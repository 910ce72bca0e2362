"""The filesystems that volumes can have: making, checking, measuring and growing them.

One row per type in ``KINDS``. It does not decide whether a device may be formatted: ``operations.staging``
does.
"""

from __future__ import annotations

import getopt
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from csi_powerflex.errors import FailedPrecondition, InvalidArgument
from csi_powerflex.host import fssize
from csi_powerflex.host.run import AtDeadline, run

_LONG_SECONDS = 24 * 3600.0
"""The cap for work that takes as long as the volume is large; the deadline of the call is what counts."""

# Suboptions whose value is a file or a device, by path, label or UUID (mke2fs(8), mkfs.xfs(8)).
_NAMING = frozenset({"name", "file", "device", "logdev", "rtdev"})

# e2fsck(8), exit codes; they add up.
_E2FSCK_CORRECTED = 1 | 2
_E2FSCK_UNCORRECTED = 4


@dataclass(frozen=True, slots=True)
class Kind:
    """What one type of filesystem needs.

    ``mkfs`` and its ``defaults``: never a force option, so that the tool's own refusal is the last safeguard,
    and no discard, since a new thin volume has nothing to give back and a large one takes minutes to try.
    ``options`` are those that a user may give, as for getopt(3); whatever names a device or a file, sets
    the size or overrides a refusal is not among them. ``joined`` is an option whose values must be merged
    with ours.
    """

    name: str
    mkfs: str
    defaults: tuple[tuple[str, str], ...]
    options: str
    long_options: tuple[str, ...]
    joined: str | None
    mount_of_copy: tuple[str, ...]
    mount_without_recovery: str
    size: Callable[[Path, Path], int]
    grow: Callable[[Path, Path], tuple[str, ...]]
    tools: tuple[str, ...]


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            name="ext4",
            mkfs="mkfs.ext4",
            defaults=(("-q", ""), ("-m", "0"), ("-E", "nodiscard")),
            options="b:C:E:g:G:i:I:J:L:m:N:O:qT:U:v",
            long_options=(),
            joined="-E",
            mount_of_copy=(),
            mount_without_recovery="noload",
            size=lambda device, _point: fssize.ext4(device),
            grow=lambda device, _point: ("resize2fs", str(device)),
            tools=("mkfs.ext4", "e2fsck", "resize2fs"),
        ),
        Kind(
            name="xfs",
            mkfs="mkfs.xfs",
            defaults=(("-q", ""), ("-K", "")),
            options="b:d:i:Kl:L:m:n:qr:s:",
            long_options=(),
            joined=None,
            # A copy carries the UUID of its source, and XFS refuses to mount the same one twice.
            mount_of_copy=("nouuid",),
            mount_without_recovery="norecovery",
            size=lambda _device, point: fssize.xfs(point),
            grow=lambda _device, point: ("xfs_growfs", "-d", str(point)),
            tools=("mkfs.xfs", "xfs_growfs"),
        ),
        Kind(
            name="btrfs",
            mkfs="mkfs.btrfs",
            defaults=(("-q", ""), ("-K", "")),
            options="d:KL:m:Mn:O:qR:s:v",
            long_options=("csum=", "checksum=", "data=", "metadata=", "features=", "label=", "nodesize="),
            joined=None,
            # Since Linux 6.7 a second mount of the same UUID gets a temporary one by itself; see host.twins.
            mount_of_copy=(),
            mount_without_recovery="rescue=nologreplay",
            size=lambda _device, point: fssize.btrfs(point),
            grow=lambda _device, point: ("btrfs", "filesystem", "resize", "max", str(point)),
            tools=("mkfs.btrfs", "btrfs"),
        ),
    )
}


def kind(name: str) -> Kind:
    """The filesystem of that name.

    Raises:
        InvalidArgument: this driver does not make it.
    """
    found = KINDS.get(name)
    if found is None:
        raise InvalidArgument(f"filesystem type {name!r} is not supported; choose one of {', '.join(KINDS)}")
    return found


def format_options(name: str, text: str) -> tuple[tuple[str, str], ...]:
    """The options that the user wants for making a filesystem, as pairs of option and value.

    Raises:
        InvalidArgument: one is not allowed or not understood.
    """
    allowed = kind(name)
    try:
        pairs, rest = getopt.getopt(shlex.split(text), allowed.options, list(allowed.long_options))
    except (getopt.GetoptError, ValueError) as error:
        raise InvalidArgument(f"format options {text!r} for {name}: {error}") from error
    if rest:
        raise InvalidArgument(f"format options {text!r} for {name}: {rest[0]!r} is not an option")
    for option, value in pairs:
        if not value.isprintable():
            raise InvalidArgument(f"format options {text!r} for {name}: {option} holds a control character")
        if "/" in value or _NAMING.intersection(part.partition("=")[0].strip() for part in value.split(",")):
            raise InvalidArgument(
                f"format options {text!r} for {name}: {option} must not name a file or device"
            )
    return tuple(pairs)


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
        options: from ``format_options``.
        keep_open: what ``blockdev.held`` gave, so that mkfs holds the device as long as it runs.
        finished: called when the filesystem is whole, be it after this call has ended for lack of time.

    Raises:
        CommandFailed, CommandTimedOut: as they say; a half-made filesystem may be there.
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


def _merged(of: Kind, options: tuple[tuple[str, str], ...]) -> list[tuple[str, str]]:
    """Our defaults and the user's options, which win; where a tool heeds only the last, values are joined."""
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
    """Check and repair what can be repaired without asking, where the type has no better way at mount.

    ext4 needs it: its journal may hold errors that only e2fsck clears; on a clean filesystem it reads the
    superblock and ends. XFS and btrfs recover at mount, and their repair tools are for people.

    Raises:
        FailedPrecondition: it is damaged beyond what may be repaired unasked; nothing else was changed.
        CommandFailed, CommandTimedOut: as they say.
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
        words = " ".join((completed.stdout + completed.stderr).split())
        raise FailedPrecondition(
            f"the ext4 filesystem on {device} is damaged and needs a person: run e2fsck on it by hand. "
            f"e2fsck says: {words[:600]}"
        )


def grow_unmounted_ext4(device: Path, *, keep_open: int) -> None:
    """Grow ext4 on ``device`` to the device's size while it is not mounted; resize2fs asks for a full
    check first.

    Raises:
        FailedPrecondition: it is damaged.
        CommandFailed, CommandTimedOut: as they say.
    """
    _e2fsck(device, "-f", "-p", keep_open=keep_open)
    run(["resize2fs", str(device)], cap=_LONG_SECONDS, at_deadline=AtDeadline.LEAVE, keep_open=(keep_open,))


def grow(device: Path, point: Path, name: str, *, keep_open: int) -> None:
    """Grow the filesystem that is mounted at ``point`` to the size of ``device``.

    Raises:
        CommandFailed, CommandTimedOut: as they say.
    """
    command = kind(name).grow(device, point)
    run(command, cap=_LONG_SECONDS, at_deadline=AtDeadline.LEAVE, keep_open=(keep_open,))
