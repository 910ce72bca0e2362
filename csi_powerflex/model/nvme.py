"""How a node reaches a volume over NVMe/TCP: the part of the publish context that only this transport has.

The strings end in a line that the node writes to its kernel. So parsing is strict.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from csi_powerflex.errors import InvalidArgument
from csi_powerflex.ids import VolumeHandle, is_nqn

MAX_PORTALS = 32
"""The largest number of portals in a publish context."""

_NQN_KEY, _PORTALS_KEY, _NGUID_KEY = "nqn", "portals", "nguid"
_NGUID = re.compile(r"[0-9a-f]{32}")
# IPv4, or IPv6 in brackets; the port of NVMe/TCP; the port of the discovery service.
_PORTAL = re.compile(r"(\[[0-9a-f:.]{2,45}\]|[0-9.]{7,15}):([1-9][0-9]{0,4})/([1-9][0-9]{0,4})")
_MAX_PORT = 65535


@dataclass(frozen=True, slots=True, order=True)
class Portal:
    """An address at which an SDT of the array listens.

    Attributes:
        address: an IPv4 or IPv6 address, without brackets.
        nvme_port: the port for volumes.
        discovery_port: the port of the discovery service.
    """

    address: str
    nvme_port: int
    discovery_port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``<address>:<nvme port>/<discovery port>``; an IPv6 address stands in brackets.

        Raises:
            InvalidArgument: ``text`` has another form, or the address or a port cannot exist.
        """
        match = _PORTAL.fullmatch(text)
        if match is None:
            raise InvalidArgument(f"{text!r} is not a portal <address>:<NVMe port>/<discovery port>")
        try:
            address = str(ipaddress.ip_address(match[1].strip("[]")))
        except ValueError as error:
            raise InvalidArgument(f"{match[1]!r} is not an IP address") from error
        ports = int(match[2]), int(match[3])
        if max(ports) > _MAX_PORT:
            raise InvalidArgument(f"{text!r} has a port above {_MAX_PORT}")
        return cls(address, *ports)

    def __str__(self) -> str:
        address = f"[{self.address}]" if ":" in self.address else self.address
        return f"{address}:{self.nvme_port}/{self.discovery_port}"


@dataclass(frozen=True, slots=True)
class NvmeTarget:
    """Where a volume is found over NVMe/TCP.

    Attributes:
        nqn: the NQN of the PowerFlex system; "" where the array does not tell it, so that the node has to
            ask the discovery service.
        portals: where the system's SDTs listen for this volume, the best first.
        nguid: the identity of the volume as an NVMe namespace, 32 lower-case hexadecimal digits.
    """

    nqn: str
    portals: tuple[Portal, ...]
    nguid: str

    def details(self) -> dict[str, str]:
        """The publish context's details for this transport."""
        return {
            _NQN_KEY: self.nqn,
            _PORTALS_KEY: ";".join(map(str, self.portals)),
            _NGUID_KEY: self.nguid,
        }

    @classmethod
    def parse(cls, handle: VolumeHandle, details: Mapping[str, str]) -> Self:
        """Read the result of ``details`` for a volume.

        Raises:
            InvalidArgument: a part is missing or malformed, or the NGUID is that of another volume.
        """
        nqn, portals, nguid = (details.get(key, "") for key in (_NQN_KEY, _PORTALS_KEY, _NGUID_KEY))
        for key, value, usable in (
            (_NQN_KEY, nqn, nqn == "" or is_nqn(nqn)),
            (_PORTALS_KEY, portals, 0 < len(portals.split(";")) <= MAX_PORTALS and portals != ""),
            (_NGUID_KEY, nguid, _NGUID.fullmatch(nguid) is not None and nguid.startswith(handle.volume_id)),
        ):
            if not usable:
                raise InvalidArgument(
                    f"publish_context of volume {handle} has no usable {key} for NVMe (found {value!r}); it "
                    "must be the one that ControllerPublishVolume returned"
                )
        return cls(nqn, tuple(Portal.parse(part) for part in portals.split(";")), nguid)
