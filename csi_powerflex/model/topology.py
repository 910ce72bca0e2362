"""Topology keys: which systems and zones a node reaches, and where a volume is.

Nodes, volumes and the requirements of requests all use the keys of this module.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

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

    def segments(self, system_ids: Iterable[str], zone: str | None = None) -> dict[str, str]:
        """The topology of a node that reaches these systems, or of a volume on one of them."""
        segments = {self.system_key(system_id): "true" for system_id in system_ids}
        if zone is not None:
            segments[self.zone_key] = zone
        return segments

    def transport_key(self, system_id: str, transport: str) -> str:
        """The key of a system over a transport. Its value is "true" for a node that reaches it so."""
        return f"{self.system_key(system_id)}-{transport}"

    def node_segments(self, systems: Mapping[str, Iterable[str]], zone: str | None = None) -> dict[str, str]:
        """The topology of a node.

        Args:
            systems: for each system that it reaches, the names of the transports.
            zone: its zone.
        """
        segments = self.segments(systems, zone)
        for system_id, transports in systems.items():
            segments |= {self.transport_key(system_id, transport): "true" for transport in transports}
        return segments

    def reaches(self, segments: Segments, system_id: str) -> bool:
        """Whether a node with these segments reaches the system. Segments without a system reach all."""
        systems = [key for key in segments if self._names_system(key)]
        return not systems or self.system_key(system_id) in systems

    def in_zone(self, segments: Segments, zone: str | None) -> bool:
        """Whether a node with these segments can use a volume of this zone on a system that it reaches.

        A volume without a zone is for every node. A volume in a zone is for the nodes of that zone: a node
        without a zone does not have the zone's label, so Kubernetes lets no pod there use it. Segments that
        are empty name no node at all, so any zone will do.
        """
        return zone is None or not segments or segments.get(self.zone_key) == zone

    def _names_system(self, key: str) -> bool:
        return key.startswith(f"{self.driver_name}/") and key != self.zone_key
