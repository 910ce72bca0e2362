"""The actions that map volumes to hosts, one row for each kind of host (protocol notes, 2.6)."""

from __future__ import annotations

from dataclasses import dataclass

from csi_powerflex.ids import InitiatorKind


@dataclass(frozen=True, slots=True)
class MappingActions:
    """The names of the actions of a volume, and of the keys in their bodies.

    Attributes:
        limit: the action that sets QoS limits; None where the array has none for this kind of host.
        host_id: the key of the host's id.
        every_host: the key that stands for all hosts of this kind.
    """

    map: str
    unmap: str
    limit: str | None
    host_id: str
    every_host: str


ACTIONS = {
    InitiatorKind.SDC: MappingActions(
        map="addMappedSdc",
        unmap="removeMappedSdc",
        limit="setMappedSdcLimits",
        host_id="sdcId",
        every_host="allSdcs",
    ),
    InitiatorKind.NVME: MappingActions(
        map="addMappedHost", unmap="removeMappedHost", limit=None, host_id="hostId", every_host="allHosts"
    ),
}
