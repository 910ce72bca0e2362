"""The names of objects on the array.

A PowerFlex name has at most 31 characters (protocol notes, limits), and a CSI name up to 128. So the name on
the array is derived from the CSI name: one letter for the kind, the four characters of the cluster id, and 26
characters of base32 for 128 bits of the CSI name. The same CSI name always gives the same array name, which
makes creation idempotent. Two clusters can share a pool.
"""

from __future__ import annotations

import base64
import enum
import hashlib
import re
import uuid
from dataclasses import dataclass

from csi_powerflex.errors import InvalidArgument

MAX_LENGTH = 31
"""The most characters of a name on the array."""

_CLUSTER_ID = re.compile(r"[a-z0-9]{4}")
# 26 characters of base32 hold 130 bits. The last two bits are zero, so the last character has eight values.
_ARRAY_NAME = re.compile(r"([vsg])([a-z0-9]{4})[a-z2-7]{25}[aeimquy4]")
# A name in the trash: when it is due in 30 bits, most of the name before, and three characters that follow
# from the others. A volume is removed because of its name, so a word of a person must not look like one.
_TRASH_NAME = re.compile(r"t([a-z0-9]{4})([a-z2-7]{6})([a-z2-7]{17})[a-z2-7]{3}")
_TRASH_EPOCH = 1577836800  # 2020-01-01 00:00:00 UTC; the last time is in January 2054
_TRASH_LATEST = _TRASH_EPOCH + 2**30 - 1
_BASE32 = "abcdefghijklmnopqrstuvwxyz234567"
_KEPT = slice(5, 22)
_UUID_VERSION = 4
_UUID = r"([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})"


class Kind(enum.StrEnum):
    """The kind of an object: the first letter of its name."""

    VOLUME = "v"
    SNAPSHOT = "s"
    GROUP_MEMBER = "g"


# By letter: calling the enumeration would take most of the time of ``kind_and_cluster``.
_KINDS = {kind.value: kind for kind in Kind}

# A kind has one prefix. With two prefixes, pvc-X and snapshot-X would be the same volume.
_UUID_NAMES = {Kind.VOLUME: re.compile(f"pvc-{_UUID}"), Kind.SNAPSHOT: re.compile(f"snapshot-{_UUID}")}


@dataclass(frozen=True, slots=True)
class TrashName:
    """What the name of a volume in the trash says.

    Attributes:
        cluster_id: the cluster that has deleted it.
        due: when it is to be removed, in seconds since 1970.
        rest: 17 characters of the name that it had before, or of a hash of a name of another driver.
    """

    cluster_id: str
    due: int
    rest: str

    def __str__(self) -> str:
        since = self.due - _TRASH_EPOCH
        due = "".join(_BASE32[since >> shift & 31] for shift in range(25, -1, -5))
        name = f"t{self.cluster_id}{due}{self.rest}"
        return name + base64.b32encode(hashlib.sha256(name.encode()).digest())[:3].decode("ascii").lower()


def trash_name(before: str | None, cluster_id: str, due: int) -> TrashName:
    """The name in the trash of a volume that is called ``before``, to be removed at ``due``."""
    if kind_of(before) is not None:
        rest = str(before)[_KEPT]
    else:
        rest = array_name(Kind.VOLUME, cluster_id, f"trash of {before}")[_KEPT]
    return TrashName(cluster_id, min(max(due, _TRASH_EPOCH), _TRASH_LATEST), rest)


def trashed(name: str | None) -> TrashName | None:
    """What a name in the trash of any cluster says; None for any other name."""
    match = _TRASH_NAME.fullmatch(name or "")
    if match is None:
        return None
    since = 0
    for character in match[2]:
        since = since << 5 | _BASE32.index(character)
    found = TrashName(match[1], _TRASH_EPOCH + since, match[3])
    return found if str(found) == name else None


def is_trash_of(found: TrashName, csi_name: str) -> bool:
    """Whether the volume in the trash was created for this CSI name, as far as its name says."""
    return found.rest == array_name(Kind.VOLUME, found.cluster_id, csi_name)[_KEPT]


def require_cluster_id(text: str) -> str:
    """Return ``text`` if it is a cluster id.

    Raises:
        InvalidArgument: ``text`` is not four characters of a-z and 0-9.
    """
    if _CLUSTER_ID.fullmatch(text) is None:
        raise InvalidArgument(f"a cluster id is four characters of a-z and 0-9, not {text!r}")
    return text


def array_name(kind: Kind, cluster_id: str, csi_name: str) -> str:
    """The name on the array for the CSI name ``csi_name``. It has 31 characters."""
    pattern = _UUID_NAMES.get(kind)
    match = pattern.fullmatch(csi_name) if pattern else None
    bits = uuid.UUID(match[1]).bytes if match else hashlib.sha256(csi_name.encode()).digest()[:16]
    text = base64.b32encode(bits).decode("ascii").rstrip("=").lower()
    return f"{kind}{cluster_id}{text}"


def kind_and_cluster(name: str | None) -> tuple[Kind, str] | tuple[None, None]:
    """The kind and cluster id of a name that ``array_name`` makes for any cluster; None for any other."""
    match = _ARRAY_NAME.fullmatch(name or "")
    return (_KINDS[match[1]], match[2]) if match else (None, None)


def belongs_to(name: str | None, cluster_id: str) -> bool:
    """Whether ``array_name`` makes ``name`` for this cluster, for any kind."""
    return cluster_of(name) == cluster_id


def kind_of(name: str | None) -> Kind | None:
    """The kind of a name that ``array_name`` makes for any cluster; None for any other name."""
    return kind_and_cluster(name)[0]


def cluster_of(name: str | None) -> str | None:
    """The cluster id in a name that ``array_name`` makes for any cluster; None for any other name."""
    return kind_and_cluster(name)[1]


def uid_in(name: str | None) -> str | None:
    """The UID that a name was made from: of a claim for a volume, of a VolumeSnapshot for a snapshot.

    None where it was made from another name than ``pvc-<uuid>`` or ``snapshot-<uuid>``. One of 64 other names
    looks as if it had a UID, so the result only helps to find an object.
    """
    if kind_of(name) not in _UUID_NAMES:
        return None
    bits = base64.b32decode(f"{str(name)[5:].upper()}======")
    found = uuid.UUID(bytes=bits)
    # Kubernetes makes random UIDs.
    return str(found) if found.version == _UUID_VERSION else None
