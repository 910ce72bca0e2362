"""The user's options for making a filesystem: which ones are allowed, for each type.

CreateVolume checks them, so that a volume which no node would format is not created.
"""

from __future__ import annotations

import getopt
import shlex
from dataclasses import dataclass

from csi_powerflex.errors import InvalidArgument

# Suboptions whose value is a file or a device, by path, label or UUID (mke2fs(8), mkfs.xfs(8)).
_NAMING = frozenset({"name", "file", "device", "logdev", "rtdev"})


@dataclass(frozen=True, slots=True)
class Allowed:
    """The options of mkfs that a user may give.

    Attributes:
        short: the short options, in the form of getopt(3). Options that name a device or a file, set the
            size or override a refusal are left out.
        long: the long options.
    """

    short: str
    long: tuple[str, ...] = ()


ALLOWED = {
    "ext4": Allowed("b:C:E:g:G:i:I:J:L:m:N:O:qT:U:v"),
    "xfs": Allowed("b:d:i:Kl:L:m:n:qr:s:"),
    "btrfs": Allowed(
        "d:KL:m:Mn:O:qR:s:v",
        ("csum=", "checksum=", "data=", "metadata=", "features=", "label=", "nodesize="),
    ),
}
"""By type; the types are those of ``capability.FILESYSTEMS``."""


def parse(name: str, text: str) -> tuple[tuple[str, str], ...]:
    """The options for making a filesystem of type ``name``, as pairs of option and value.

    Raises:
        InvalidArgument: one is not allowed or not understood, or the type is not supported.
    """
    allowed = ALLOWED.get(name)
    if allowed is None:
        raise InvalidArgument(f"filesystem {name!r} is not supported; use one of {', '.join(ALLOWED)}")
    try:
        pairs, rest = getopt.getopt(shlex.split(text), allowed.short, list(allowed.long))
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
