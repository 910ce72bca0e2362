"""The publish context: what ControllerPublishVolume tells the node about a mapped volume.

It is all that a node has to know, and it holds no secret.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from csi_powerflex.errors import InvalidArgument
from csi_powerflex.ids import VolumeHandle

# At most 18 digits: within the 64 bits of CSI's sizes.
_SIZE = re.compile(r"[1-9][0-9]{0,17}")
_TRANSPORT, _SIZE_KEY, _READ_ONLY = "transport", "sizeBytes", "readOnly"


@dataclass(frozen=True, slots=True)
class PublishContext:
    """One volume as it is mapped to one node.

    Attributes:
        handle: the volume. CSI carries it next to the context.
        transport: the name of the transport by which the node reaches the volume.
        size: the bytes that the device must have at least.
        read_only: whether the mapping allows reading only.
        details: what only this transport has to know, such as addresses.
    """

    handle: VolumeHandle
    transport: str
    size: int
    read_only: bool
    details: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, str]:
        """The publish context as CSI carries it."""
        return {
            **self.details,
            _TRANSPORT: self.transport,
            _SIZE_KEY: str(self.size),
            _READ_ONLY: "true" if self.read_only else "false",
        }

    @classmethod
    def parse(cls, handle: VolumeHandle, context: Mapping[str, str]) -> Self:
        """Read what ``to_dict`` wrote.

        Raises:
            InvalidArgument: a key is missing or malformed.
        """
        transport, size, read_only = (context.get(key, "") for key in (_TRANSPORT, _SIZE_KEY, _READ_ONLY))
        for key, value, usable in (
            (_TRANSPORT, transport, transport != ""),
            (_SIZE_KEY, size, _SIZE.fullmatch(size) is not None),
            (_READ_ONLY, read_only, read_only in ("true", "false")),
        ):
            if not usable:
                raise InvalidArgument(
                    f"publish_context of volume {handle} lacks a usable {key} (found {value!r}); it must be "
                    "the one that ControllerPublishVolume returned"
                )
        return cls(
            handle=handle,
            transport=transport,
            size=int(size),
            read_only=read_only == "true",
            details={
                key: value for key, value in context.items() if key not in (_TRANSPORT, _SIZE_KEY, _READ_ONLY)
            },
        )
