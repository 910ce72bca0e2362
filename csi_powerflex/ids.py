"""The identifiers that cross the CSI boundary: volume handles and node ids.

Both are read back from strings that Kubernetes stored long ago, so parsing is strict and formatting is
stable. They do not know whether the thing they name exists.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from csi_powerflex.errors import InvalidArgument, NotFound

_OBJECT_ID = re.compile(r"[0-9a-f]{16}")
_HANDLE = re.compile(r"([0-9a-f]{16})-([0-9a-f]{16})")
# In either case, but ASCII alone: some other letters turn into A-F when they are made upper case.
_GUID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")

MAX_NODE_ID_BYTES = 256
"""CSI's limit for a node id (specification, "Size limits")."""


def is_object_id(text: str) -> bool:
    """Whether ``text`` has the form of a PowerFlex object id: 16 lower-case hexadecimal digits."""
    return _OBJECT_ID.fullmatch(text) is not None


def is_guid(text: str) -> bool:
    """Whether ``text`` has the form of an SDC's GUID, in any case."""
    return _GUID.fullmatch(text.strip()) is not None


@dataclass(frozen=True, slots=True)
class VolumeHandle:
    """A volume or snapshot of one PowerFlex system; ``<system id>-<volume id>`` as a CSI volume id.

    Dell's driver uses the same form, so that volumes can change hands.
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
    """What a node brings to reach volumes: the GUID of its SDC, later also its NVMe qualified name.

    Written as ``sdc:<GUID>``, the parts joined by commas where there are several, so that one string
    serves as CSI node id whatever the transport.
    """

    sdc_guid: str

    @classmethod
    def of_sdc(cls, guid: str) -> Self:
        """The identity of a node whose SDC reports ``guid``, in any case.

        Raises:
            InvalidArgument: ``guid`` is not a GUID.
        """
        stripped = guid.strip()
        if _GUID.fullmatch(stripped) is None:
            raise InvalidArgument(f"{guid!r} is not the GUID of an SDC")
        return cls(sdc_guid=stripped.upper())

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a CSI node id.

        Raises:
            NotFound: ``text`` cannot be a node of this driver, so no such node can exist.
        """
        kind, _, value = text.partition(":")
        if kind != "sdc" or _GUID.fullmatch(value) is None:
            raise NotFound(
                f"node {text!r} does not exist: a node id of this driver reads sdc:<GUID of the node's SDC>"
            )
        return cls(sdc_guid=value.upper())

    def __str__(self) -> str:
        return f"sdc:{self.sdc_guid}"
