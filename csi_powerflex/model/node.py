"""A volume as a node sees it: the ticket that admits it, what is asked of it, and the device behind it.

The controller writes a ticket into the publish context, the node reads it back: it is all a node needs to
know, and holds nothing secret.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from csi_powerflex.errors import InvalidArgument
from csi_powerflex.ids import NodeIdentity, VolumeHandle


class Origin(enum.StrEnum):
    """Whether a volume began empty or as a copy. Only one that began empty may ever be formatted."""

    EMPTY = "empty"
    COPY = "copy"


# At most 18 digits: within the 64 bits of CSI's sizes.
_SIZE = re.compile(r"[1-9][0-9]{0,17}")

ORIGIN_KEY = "origin"
"""The key of the volume context that holds the Origin."""


@dataclass(frozen=True, slots=True)
class PublishContext:
    """Leave for one node to use one volume, as ControllerPublishVolume grants it.

    ``size`` is in bytes and what the device must have at least; ``transport`` names the way to the device.
    """

    handle: VolumeHandle
    transport: str
    size: int
    read_only: bool

    def to_context(self) -> dict[str, str]:
        """The publish context that says this."""
        return {
            "transport": self.transport,
            "sizeBytes": str(self.size),
            "readOnly": "true" if self.read_only else "false",
        }

    @classmethod
    def from_context(cls, handle: VolumeHandle, context: Mapping[str, str]) -> Self:
        """Read what ``to_context`` wrote.

        Raises:
            InvalidArgument: a key is missing or malformed.
        """
        transport, size, read_only = (context.get(key, "") for key in ("transport", "sizeBytes", "readOnly"))
        for key, value, usable in (
            ("transport", transport, transport != ""),
            ("sizeBytes", size, _SIZE.fullmatch(size) is not None),
            ("readOnly", read_only, read_only in ("true", "false")),
        ):
            if not usable:
                raise InvalidArgument(
                    f"publish_context of volume {handle} lacks a usable {key} (found {value!r}); it must be "
                    "the one that ControllerPublishVolume returned"
                )
        return cls(handle=handle, transport=transport, size=int(size), read_only=read_only == "true")


@dataclass(frozen=True, slots=True)
class Filesystem:
    """A volume used through a filesystem: its type, and the mount options the user gave."""

    type: str
    mount_options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RawBlock:
    """A volume used as a block device."""


Use = Filesystem | RawBlock


class NodeTransport(Protocol):
    """A way from this node to its volumes. SDC is one; NVMe/TCP fits the same verbs."""

    name: str
    max_volumes: int
    """How many volumes one host can have at most, whoever uses them."""

    def prepare(self) -> None:
        """Bring up what the transport needs on this host, where the operator leaves that to the driver.

        Raises:
            FailedPrecondition, Unavailable, Busy: it could not be done.
        """
        ...

    def identity(self) -> NodeIdentity:
        """What this host is known as on the array.

        Raises:
            FailedPrecondition: the host lacks what the transport needs.
        """
        ...

    def systems(self) -> tuple[str, ...]:
        """The ids of the PowerFlex systems this host is connected to.

        Raises:
            FailedPrecondition, Unavailable: they cannot be told.
        """
        ...

    def attach(self, publish_context: PublishContext) -> Path:
        """Wait for the volume's block device and return its real path, verified to be this volume's.

        Raises:
            Unavailable: it did not come in time; the message says what was looked for and where.
            FailedPrecondition: what is there is not what the ticket says.
        """
        ...

    def find(self, handle: VolumeHandle) -> Path | None:
        """The volume's block device if it is here now, without waiting."""
        ...

    def devices(self) -> tuple[Path, ...]:
        """The block devices of all volumes that are here now, whoever uses them."""
        ...
