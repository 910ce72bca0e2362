"""The names of objects on the array.

A PowerFlex name has at most 31 characters (protocol notes, limits), a CSI name up to 128, so a name on
the array is derived: one letter for the kind, four characters for the cluster, and 26 characters of
base32 for 128 bits that stand for the CSI name. The same CSI name gives the same array name for ever,
which is what makes creating idempotent; two clusters can share a pool.
"""

from __future__ import annotations

import base64
import enum
import hashlib
import re
import uuid

from csi_powerflex.errors import InvalidArgument

MAX_NAME = 31
_CLUSTER_ID = re.compile(r"[a-z0-9]{4}")
_BITS_CHARACTERS = 26
# 26 characters of base32 hold 130 bits, so the last one ends in two zeros and has one of eight values.
_ARRAY_NAME = re.compile(r"([vsg])([a-z0-9]{4})[a-z2-7]{25}[aeimquy4]")
_UUID = r"([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})"


class Kind(enum.StrEnum):
    """What an object is, as the first letter of its name."""

    VOLUME = "v"
    SNAPSHOT = "s"
    GROUP_MEMBER = "g"


# One prefix for each kind: with both for both, pvc-X and snapshot-X would be one volume.
_UUID_NAMES = {Kind.VOLUME: re.compile(f"pvc-{_UUID}"), Kind.SNAPSHOT: re.compile(f"snapshot-{_UUID}")}


def require_cluster_id(text: str) -> str:
    """``text`` itself.

    Raises:
        InvalidArgument: it is not four characters of a-z and 0-9.
    """
    if _CLUSTER_ID.fullmatch(text) is None:
        raise InvalidArgument(f"a cluster id is four characters of a-z and 0-9, not {text!r}")
    return text


def array_name(kind: Kind, cluster_id: str, csi_name: str) -> str:
    """The name on the array for the CSI name ``csi_name``; always 31 characters."""
    pattern = _UUID_NAMES.get(kind)
    match = pattern.fullmatch(csi_name) if pattern else None
    bits = uuid.UUID(match[1]).bytes if match else hashlib.sha256(csi_name.encode()).digest()[:16]
    text = base64.b32encode(bits).decode("ascii").rstrip("=").lower()
    return f"{kind}{cluster_id}{text}"


def belongs_to(name: str | None, cluster_id: str) -> bool:
    """Whether ``name`` was made by ``array_name`` for this cluster, for any kind."""
    match = _ARRAY_NAME.fullmatch(name or "")
    return match is not None and match[2] == cluster_id


def kind_of(name: str | None) -> Kind | None:
    """The kind in a name that ``array_name`` made for any cluster; None for every other name."""
    match = _ARRAY_NAME.fullmatch(name or "")
    return Kind(match[1]) if match else None


def request_uuid(name: str) -> uuid.UUID:
    """The 128 bits in a name that ``array_name`` made, as the UUID of the request where that had one."""
    return uuid.UUID(bytes=base64.b32decode(name[-_BITS_CHARACTERS:].upper() + "======"))
