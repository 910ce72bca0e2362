"""Topology keys: which systems and zones a node reaches, and where a volume is.

Nodes, volumes and the requirements of requests all use the keys of this module:

- ``<driver>/<system id>``: "true" on a node that reaches the system over any transport. Each volume has it.
- ``<driver>/<system id>-sdc`` and ``<driver>/<system id>-nvme``: "true" on a node that reaches the system
  over this transport. A node has them next to the first key, for each transport and system. A volume has one
  only if its class pins the transport. Volumes of other classes fit any node that reaches their system.
- ``<driver>/zone``: the zone of a node, or of a volume in a zone.

Nodes that registered with a version before NVMe/TCP have no keys of transports, and an SDC. They count as
reaching their systems over the SDC. So a volume whose class pins the SDC gets the key only if each of the
nodes that the request names has keys of transports.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from csi_powerflex.model.transport import AUTO, SDC, TRANSPORTS

_BEFORE_NVME = SDC.name
"""The transport of nodes without keys of transports."""

Segments = Mapping[str, str]
"""One topology: ``{"<driver>/<system id>": "true", "<driver>/zone": "a"}``."""


@dataclass(frozen=True, slots=True)
class Topology:
    """The topology keys of the driver with this name."""

    driver_name: str

    @property
    def zone_key(self) -> str:
        """The key whose value is a zone."""
        return f"{self.driver_name}/zone"

    def system_key(self, system_id: str) -> str:
        """The key of a system. Its value is "true" for a node that reaches the system."""
        return f"{self.driver_name}/{system_id}"

    def transport_key(self, system_id: str, transport: str) -> str:
        """The key of a system that is reached over this transport, by its name. Its value is "true"."""
        return f"{self.system_key(system_id)}-{transport}"

    def of_node(self, systems: Mapping[str, Iterable[str]], zone: str | None = None) -> dict[str, str]:
        """The topology of a node.

        Args:
            systems: by the name of each transport, the ids of the systems that the node reaches over it.
            zone: its zone, if it has one.
        """
        reached = {name: sorted(system_ids) for name, system_ids in systems.items()}
        keys = {self.transport_key(each, name): "true" for name, ids in reached.items() for each in ids}
        return self.segments(sorted({each for ids in reached.values() for each in ids}), zone) | keys

    def of_volume(
        self, system_id: str, zone: str | None, transport: str, requirement: Iterable[Segments]
    ) -> dict[str, str]:
        """The topology of a volume.

        Args:
            system_id: its system.
            zone: its zone, if it is in one.
            transport: the transport that its class asks for, or "auto".
            requirement: the topologies that the request for it names.
        """
        segments = self.segments([system_id], zone)
        reaching = [each for each in requirement if self.reaches(each, system_id, transport)]
        old = [each for each in reaching if not self._transports(each, system_id)]
        if transport != AUTO and (transport != _BEFORE_NVME or (reaching and not old)):
            segments[self.transport_key(system_id, transport)] = "true"
        return segments

    def segments(self, system_ids: Iterable[str], zone: str | None = None) -> dict[str, str]:
        """The topology of a node that reaches these systems, or of a volume on one of them."""
        segments = {self.system_key(system_id): "true" for system_id in system_ids}
        if zone is not None:
            segments[self.zone_key] = zone
        return segments

    def reaches(self, segments: Segments, system_id: str, transport: str = AUTO) -> bool:
        """Whether a node with these segments reaches the system. Segments without a system reach all.

        Args:
            segments: the topology of the node.
            system_id: the system.
            transport: the transport over which it must be reached; "auto" for any.
        """
        systems = [key for key in segments if self._names_system(key)]
        if systems and self.system_key(system_id) not in systems:
            return False
        known = self._transports(segments, system_id) or ({_BEFORE_NVME} if systems else set())
        return transport == AUTO or not systems or transport in known

    def in_zone(self, segments: Segments, zone: str | None) -> bool:
        """Whether a node with these segments can use a volume of this zone on a system that it reaches.

        A volume without a zone is for every node. A volume in a zone is for the nodes of that zone: a node
        without a zone does not have the zone's label, so Kubernetes lets no pod there use it. Segments that
        are empty name no node at all, so any zone will do.
        """
        return zone is None or not segments or segments.get(self.zone_key) == zone

    def _names_system(self, key: str) -> bool:
        return (
            key.startswith(f"{self.driver_name}/")
            and key != self.zone_key
            and not key.endswith(tuple(f"-{name}" for name in TRANSPORTS))
        )

    def _transports(self, segments: Segments, system_id: str) -> set[str]:
        """The transports over which a node with these segments says that it reaches the system."""
        return {name for name in TRANSPORTS if self.transport_key(system_id, name) in segments}
