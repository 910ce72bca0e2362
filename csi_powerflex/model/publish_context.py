"""The publish context: what ControllerPublishVolume sends to the node about a mapped volume.

It contains everything that the node needs, and no secret.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from csi_powerflex.errors import InvalidArgument
from csi_powerflex.ids import VolumeHandle

# At most 18 digits, so the size fits in the 64 bits of CSI's sizes.
_SIZE = re.compile(r"[1-9][0-9]{0,17}")
_TRANSPORT, _SIZE_KEY, _READ_ONLY = "transport", "sizeBytes", "readOnly"
_CONNECTED = "hostConnected"
_OWN_KEYS = (_TRANSPORT, _SIZE_KEY, _READ_ONLY, _CONNECTED)


@dataclass(frozen=True, slots=True)
class PublishContext:
    """The mapping of one volume to one node.

    Attributes:
        handle: the volume. CSI sends it next to the context.
        transport: the name of the transport by which the node reaches the volume.
        size: the smallest size of the device, in bytes.
        read_only: whether the mapping allows only reading.
        host_connected: whether the array was connected to the host when the volume was mapped. The context
            says so only if it was not.
        details: what only this transport needs, such as addresses.
    """

    handle: VolumeHandle
    transport: str
    size: int
    read_only: bool
    host_connected: bool = True
    details: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, str]:
        """The publish context as CSI sends it."""
        return {
            **self.details,
            _TRANSPORT: self.transport,
            _SIZE_KEY: str(self.size),
            _READ_ONLY: "true" if self.read_only else "false",
            **({} if self.host_connected else {_CONNECTED: "false"}),
        }

    @classmethod
    def parse(cls, handle: VolumeHandle, context: Mapping[str, str]) -> Self:
        """Read the result of ``to_dict``.

        Raises:
            InvalidArgument: a key is missing, or its value is malformed.
        """
        transport, size, read_only = (context.get(key, "") for key in (_TRANSPORT, _SIZE_KEY, _READ_ONLY))
        for key, value, usable in (
            (_TRANSPORT, transport, transport != ""),
            (_SIZE_KEY, size, _SIZE.fullmatch(size) is not None),
            (_READ_ONLY, read_only, read_only in ("true", "false")),
        ):
            if not usable:
                raise InvalidArgument(
                    f"publish_context of volume {handle} has no usable {key} (found {value!r}); it must be "
                    "the one that ControllerPublishVolume returned"
                )
        return cls(
            handle=handle,
            transport=transport,
            size=int(size),
            read_only=read_only == "true",
            host_connected=context.get(_CONNECTED) != "false",
            details={key: value for key, value in context.items() if key not in _OWN_KEYS},
        )
