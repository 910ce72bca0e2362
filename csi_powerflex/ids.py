"""The identifiers that cross the CSI boundary: volume handles, group handles, node ids and zones.

Kubernetes stored these strings long ago. So parsing is strict and the format never changes.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from csi_powerflex.errors import InvalidArgument, NotFound

_OBJECT_ID = re.compile(r"[0-9a-f]{16}")
_HANDLE = re.compile(r"([0-9a-f]{16})-([0-9a-f]{16})")
# ASCII only: some other letters become A-F in upper case.
_GUID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
# NVM Express Base Specification 2.0, 4.5: a year and month, a reversed domain name, a suffix. Its limit is
# 223 bytes. Commas separate the initiators of a node id, so no NQN with a comma is accepted.
_NQN = re.compile(r"nqn\.[0-9]{4}-[0-9]{2}\.[!-+\--~]{1,211}")
# Kubernetes, "Labels and Selectors", for a value that is not empty. CSI has the same for a topology segment.
_LABEL_VALUE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
ZONE_RULE = "at most 63 letters, digits and the characters - _ . between letters or digits"
"""What ``is_zone`` requires, for messages."""

MAX_NODE_ID_BYTES = 192
"""The longest node id. CSI allows 256 bytes, Kubernetes stores at most 192 of them in a CSINode object."""


def is_object_id(text: str) -> bool:
    """Whether ``text`` has the form of a PowerFlex object id: 16 lower-case hexadecimal digits."""
    return _OBJECT_ID.fullmatch(text) is not None


def is_zone(text: str) -> bool:
    """Whether ``text`` can be the name of a zone, which is a value of a topology."""
    return is_label_value(text)


def is_label_value(text: str) -> bool:
    """Whether ``text`` can be a value of a label that is not empty, or the name in the key of a label."""
    return _LABEL_VALUE.fullmatch(text) is not None


def is_nqn(text: str) -> bool:
    """Whether ``text`` is an NVMe qualified name that a node id and a line to the kernel can hold."""
    return _NQN.fullmatch(text) is not None


class InitiatorKind(enum.StrEnum):
    """What a node uses to reach volumes; the value is its prefix in a node id."""

    SDC = "sdc"
    NVME = "nqn"


@dataclass(frozen=True, slots=True)
class Initiator:
    """One identity of a node on the array: the GUID of its SDC, or its NVMe qualified name (NQN).

    Both are compared without regard to case (protocol notes, 8), so a GUID is kept in upper case and an NQN
    in lower case.
    """

    kind: InitiatorKind
    value: str

    @classmethod
    def sdc(cls, guid: str) -> Self:
        """The initiator of an SDC that reports ``guid``, in any case and with space around it.

        Raises:
            InvalidArgument: ``guid`` is not a GUID.
        """
        stripped = guid.strip()
        if _GUID.fullmatch(stripped) is None:
            raise InvalidArgument(f"{guid!r} is not the GUID of an SDC")
        return cls(InitiatorKind.SDC, stripped.upper())

    @classmethod
    def nvme(cls, nqn: str) -> Self:
        """The initiator of an NVMe host with this NQN, in any case and with space around it.

        Raises:
            InvalidArgument: ``nqn`` is not an NVMe qualified name, or has a comma.
        """
        stripped = nqn.strip()
        if _NQN.fullmatch(stripped) is None:
            raise InvalidArgument(f"{nqn!r} is not an NVMe qualified name that a node id can hold")
        return cls(InitiatorKind.NVME, stripped.lower())

    def __str__(self) -> str:
        return f"{self.kind}:{self.value}"


_READERS = {InitiatorKind.SDC: Initiator.sdc, InitiatorKind.NVME: Initiator.nvme}


@dataclass(frozen=True, slots=True)
class VolumeHandle:
    """A volume or snapshot of one PowerFlex system: ``<system id>-<volume id>`` as a CSI volume id.

    Dell's driver uses the same form, so volumes can move from one driver to the other.
    """

    system_id: str
    volume_id: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a CSI volume id.

        Raises:
            NotFound: ``text`` cannot be a handle of this driver, so no such volume can exist.
        """
        match = _HANDLE.fullmatch(text)
        if match is None:
            raise NotFound(
                f"volume {text!r} does not exist: a volume id of this driver is two ids of "
                "16 hexadecimal digits, <system id>-<volume id>"
            )
        return cls(system_id=match[1], volume_id=match[2])

    def __str__(self) -> str:
        return f"{self.system_id}-{self.volume_id}"


@dataclass(frozen=True, slots=True)
class GroupHandle:
    """A consistency group of snapshots; ``<system id>-<group id>`` as a CSI group snapshot id."""

    system_id: str
    group_id: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a CSI group snapshot id.

        Raises:
            NotFound: ``text`` cannot be a group of this driver, so no such group can exist.
        """
        match = _HANDLE.fullmatch(text)
        if match is None:
            raise NotFound(
                f"group snapshot {text!r} does not exist: an id of this driver is two ids of 16 hexadecimal "
                "digits, <system id>-<group id>"
            )
        return cls(system_id=match[1], group_id=match[2])

    def __str__(self) -> str:
        return f"{self.system_id}-{self.group_id}"


@dataclass(frozen=True, slots=True)
class NodeIdentity:
    """A node: the initiators by which it reaches volumes, at most one of each kind and at least one.

    As a CSI node id it reads ``sdc:<GUID>``, ``nqn:<NQN>``, or both with a comma between them.

    Attributes:
        initiators: in the order of ``InitiatorKind``.
        skipped: parts of the node id of a kind that this version does not know.
    """

    initiators: tuple[Initiator, ...]
    skipped: tuple[str, ...] = ()

    @classmethod
    def of(cls, initiators: Iterable[Initiator], skipped: Iterable[str] = ()) -> Self:
        """The node with these initiators, in any order.

        Raises:
            InvalidArgument: there is none, two are of one kind, or the node id would be too long.
        """
        listed = list(initiators)
        by_kind = {initiator.kind: initiator for initiator in listed}
        if not listed or len(by_kind) != len(listed):
            raise InvalidArgument(
                f"a node has one initiator of each kind, not {', '.join(map(str, listed)) or 'none'}"
            )
        node = cls(tuple(by_kind[kind] for kind in InitiatorKind if kind in by_kind), tuple(skipped))
        length = len(str(node).encode())
        if length > MAX_NODE_ID_BYTES:
            raise InvalidArgument(
                f"node id {node} has {length} bytes, and Kubernetes takes at most {MAX_NODE_ID_BYTES}; "
                "give this host a shorter NQN"
            )
        return node

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a CSI node id. Initiators of a kind that this version does not know are skipped.

        A newer version may have registered the node. Its volumes can still be unmapped by a known initiator.

        Raises:
            NotFound: ``text`` names no initiator of a known kind, so this driver knows no such node.
        """
        parts = [part.partition(":") for part in text.split(",")]
        try:
            initiators = [_initiator(kind, value) for kind, _, value in parts if kind in _KINDS]
            return cls.of(initiators, ("".join(part) for part in parts if part[0] not in _KINDS))
        except InvalidArgument as error:
            raise NotFound(
                f"node {text!r} does not exist: a node id of this driver reads sdc:<GUID>, nqn:<NQN>, or "
                f"both with a comma between them: {error}"
            ) from error

    def initiator(self, kind: InitiatorKind) -> Initiator | None:
        """The initiator of this kind; None if the node has none."""
        return next((initiator for initiator in self.initiators if initiator.kind is kind), None)

    def __str__(self) -> str:
        return ",".join([*map(str, self.initiators), *self.skipped])


_KINDS = frozenset(InitiatorKind)


def _initiator(kind: str, value: str) -> Initiator:
    if value != value.strip():
        raise InvalidArgument(f"{value!r} has space around it")
    return _READERS[InitiatorKind(kind)](value)
